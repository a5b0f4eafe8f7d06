//! `claviger suggest`: the narrowest rule that would allow what was refused, and the proof that it does no more.

mod proof;
mod refused;
mod told;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use claviger_contract::event::RequestId;
use claviger_policy::document::{Diagnostics, Severity};
use claviger_policy::{Policy, Recorded, SuggestFor, Suggestion, Unsuggested};

use self::proof::Proof;
use self::refused::{Group, Refused};
use crate::app;
use crate::cli::ConfigArgs;
use crate::command::ledger::choose;
use crate::command::{Done, Failure, configuration, explain, report};
use crate::config::{self, Compiled, Env, More, Source};

/// How a suggestion is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables to paste, the rest as comments
    #[default]
    Toml,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct SuggestArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// How to print the suggestion
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Format,
    /// For all that was refused since then: RFC 3339, or how long ago, as `1d`
    #[arg(long, value_name = "TIME", conflicts_with = "id", required_unless_present = "id")]
    pub(crate) since: Option<String>,
    /// Only for this SPIFFE ID, or those of a pattern
    #[arg(long = "for", value_name = "SPIFFE_ID", requires = "since")]
    pub(crate) principal: Option<String>,
    /// The request that was refused
    #[arg(value_name = "REQUEST_ID")]
    pub(crate) id: Option<String>,
}

/// What a suggestion is made from.
struct Work {
    source: Source,
    env: Env,
    compiled: Compiled,
    /// Refused requests by their shape: those that are asked about, and all of the recent past.
    asked: Vec<Group>,
    recent: Refused,
    /// Stands in `why`.
    why: String,
}

/// A suggestion that was tried.
struct Proven {
    suggestion: Suggestion,
    team: Option<Arc<str>>,
    proof: Proof,
}

pub(crate) fn run(args: &SuggestArgs) -> Done {
    let source = configuration(&args.config)?;
    let mut found = Diagnostics::default();
    let draft = config::read(&source, &mut found);
    report_errors(&found)?;
    let Some(draft) = draft else { return Err(Failure::Other("the configuration could not be read".into())) };
    let ledger = draft.ledger_file().ok_or_else(|| Failure::Other("the ledger has no file to read".into()))?;
    let control = app::control_runtime()?;
    let env = app::idle_env(&control)?;
    let compiled = draft.compile(&env, 1, app::no_interception, None, &mut found);
    report_errors(&found)?;
    let Some(compiled) = compiled else { return Err(Failure::Other("the configuration did not compile".into())) };
    let (asked, why, since_ms) = match &args.id {
        Some(id) => {
            let id: RequestId = id.parse().map_err(|_| {
                Failure::Call(format!("`{id}` is no request id; the client was told it in `claviger-request-id`"))
            })?;
            let recalled = explain::after::look_up(&ledger, id)?;
            match refused::one(&recalled.records) {
                Ok((group, at_ms)) => (vec![group], format!("request {id}"), Some(at_ms)),
                Err(why) => return told::nothing(&why, args.output),
            }
        }
        None => {
            let window = choose::WindowArgs { since: args.since.clone(), until: None }.window()?;
            let principal = args.principal.as_deref().map(choose::principals).transpose()?;
            let asked = refused::all(&ledger, window, principal)?.groups();
            let since = args.since.as_deref().unwrap_or_default();
            (asked, format!("refused since {since}"), window.since_ms)
        }
    };
    if asked.is_empty() {
        return told::nothing("nothing was refused by a missing rule in this window", args.output);
    }
    let recent = refused::recent(&ledger, since_ms)?;
    let work = Work { source, env, compiled, asked, recent, why };
    work.suggest(args.output)
}

/// Only errors: what the configuration is warned about is not the question here.
fn report_errors(found: &Diagnostics) -> Result<(), Failure> {
    if found.iter().any(|one| one.severity == Severity::Error) { report(found) } else { Ok(()) }
}

impl Work {
    fn policy(&self) -> &Policy {
        &self.compiled.generation.policy
    }

    fn suggest(&self, output: Format) -> Done {
        let (mut proven, mut refusals) = (Vec::new(), Vec::new());
        for group in &self.asked {
            match self.suggest_one(group)? {
                Ok(one) => proven.push(one),
                Err(why) => refusals.push((group, why)),
            }
        }
        told::print(&proven, &refusals, &self.recent, output);
        let holds = proven.iter().all(|one| one.proof.holds());
        Ok(if refusals.is_empty() && holds { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    /// A rule for requests of one caller to one service.
    fn suggest_one(&self, group: &Group) -> Result<Result<Proven, Unsuggested>, Failure> {
        let requests = group.requests();
        let team =
            requests.first().and_then(|one| self.policy().team_of(&one.principal.id)).map(|team| team.name().clone());
        let several_attestors = self.compiled.attestors.attribute_names().len() > 1;
        let mut given = SuggestFor { why: &self.why, several_attestors, team: team.as_deref(), lowest: false };
        // A rule of another credential may want some of the same requests: then that one keeps them.
        for lowest in [false, true] {
            given.lowest = lowest;
            let suggestion = match self.policy().suggest(&requests, &given) {
                Ok(suggestion) => suggestion,
                Err(why) => return Ok(Err(why)),
            };
            let mut found = Diagnostics::default();
            if let Some(after) = self.compile_with(&suggestion, team.clone(), &mut found) {
                let proof = self.prove(&requests, &after, &found);
                return Ok(Ok(Proven { suggestion, team, proof }));
            }
            if lowest {
                report(&found)?;
            }
        }
        Err(Failure::Other("the configuration does not load with the suggested rule".into()))
    }

    /// The configuration as if the tables stood in their file.
    fn compile_with(
        &self,
        suggestion: &Suggestion,
        team: Option<Arc<str>>,
        found: &mut Diagnostics,
    ) -> Option<Compiled> {
        let more = More { text: suggestion.to_string(), team };
        let draft = config::read_with(&self.source, Some(&more), found)?;
        draft.compile(&self.env, 2, app::no_interception, None, found)
    }

    fn prove(&self, requests: &[Recorded], after: &Compiled, found: &Diagnostics) -> Proof {
        proof::prove(self.policy(), &after.generation.policy, requests, &self.recent, found)
    }
}
