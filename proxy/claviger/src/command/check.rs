//! `claviger check`: everything that `run` would refuse, without serving.

use std::process::ExitCode;

use claviger_credential::Inventoried;
use claviger_policy::document::{self, Diagnostics, Severity};
use serde::Serialize;

use crate::app;
use crate::cli::{ConfigArgs, Output};
use crate::command::{Done, Failure, configuration, plural};
use crate::config::{Draft, Stand, Stands};
use crate::{config, console};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// How to print the findings
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// Warnings fail the check too
    #[arg(long)]
    pub(crate) strict: bool,
    /// Only the files of this team, against the platform's: what other teams say does not matter
    #[arg(long, value_name = "NAME")]
    pub(crate) team: Option<String>,
}

pub(crate) fn run(args: &CheckArgs) -> Done {
    let path = configuration(&args.config)?;
    let control = app::control_runtime()?;
    let mut found = Diagnostics::default();
    let compiled = match config::read(&path, &mut found) {
        Some(draft) => {
            let stands = stands(args, &draft)?;
            draft.compile_with(&stands, &app::idle_env(&control)?, 1, app::no_interception, None, &mut found)
        }
        None => None,
    };
    if let Some(team) = &args.team {
        found.retain(|one| one.team.as_deref() == Some(team) || one.severity == Severity::Error);
    }
    found.sort();
    let count = |severity| found.iter().filter(|one| one.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let inventory = compiled.as_ref().filter(|_| errors == 0);
    let inventory = inventory.map_or_else(Vec::new, |compiled| compiled.generation.credentials.inventory());
    match args.output {
        Output::Json => console::out(&json(&found, &inventory)?),
        Output::Text => {
            console::diagnostics(&found);
            if errors == 0
                && let Some(compiled) = &compiled
            {
                let generation = &compiled.generation;
                console::out(&format!(
                    "{}: ok, {}, {}, {}",
                    path.display(),
                    plural(generation.listeners.len(), "listener"),
                    plural(generation.services.len(), "service"),
                    plural(warnings, "warning"),
                ));
                for one in &inventory {
                    console::out(&format!("credential `{}`: {}", one.name, one.secretless.as_str()));
                }
            }
        }
    }
    Ok(if errors > 0 {
        ExitCode::from(2)
    } else if warnings > 0 && args.strict {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}

/// Which files of teams count: all, or those of one team.
fn stands(args: &CheckArgs, draft: &Draft) -> Result<Stands, Failure> {
    let Some(wanted) = &args.team else { return Ok(Stands::new()) };
    if !draft.teams.contains_key(wanted.as_str()) {
        let near = document::nearest(wanted, draft.teams.keys().map(|name| &**name));
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(Failure::Call(format!("there is no team `{wanted}`{near}")));
    }
    let others = draft.teams.keys().filter(|name| ***name != **wanted);
    Ok(others.map(|name| (name.clone(), Stand::Frozen)).collect())
}

#[derive(Serialize)]
struct Finding<'a> {
    severity: &'static str,
    file: Option<&'a str>,
    line: Option<usize>,
    column: Option<usize>,
    key: &'a str,
    message: &'a str,
    help: Option<&'a str>,
    /// Whose files are to blame.
    team: Option<&'a str>,
}

/// What is found, and of each credential whether a stored secret is behind it.
fn json(found: &Diagnostics, inventory: &[Inventoried]) -> Result<String, Failure> {
    let keys: Vec<String> = inventory.iter().map(|one| format!("credential.{}", one.name)).collect();
    let notes = inventory.iter().zip(&keys).map(|(one, key)| Finding {
        severity: "note",
        file: None,
        line: None,
        column: None,
        key,
        message: one.secretless.as_str(),
        help: None,
        team: one.team.as_deref(),
    });
    let findings: Vec<Finding<'_>> = found
        .iter()
        .map(|one| Finding {
            severity: match one.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            file: one.location.as_ref().map(|place| place.file()),
            line: one.location.as_ref().map(|place| place.line()),
            column: one.location.as_ref().map(|place| place.column()),
            key: &one.key,
            message: &one.message,
            help: one.help.as_deref(),
            team: one.team.as_deref(),
        })
        .chain(notes)
        .collect();
    serde_json::to_string_pretty(&findings).map_err(|error| Failure::doing("print the findings")(&error))
}
