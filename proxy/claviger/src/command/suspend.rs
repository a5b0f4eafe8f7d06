//! `claviger suspend`: stops a principal, credential or service at once. Asks the running process; where none runs, it
//! writes into the state, and the next start honours it.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use claviger_contract::{Clock, SharedState, Suspendable, Suspension, SystemClock};
use claviger_policy::document::{nearest, parse_duration};
use serde_json::Value;

use crate::admin::Wanted;
use crate::admin::client::ClientError;
use crate::cli::Output;
use crate::command::process::{Process, ProcessArgs, myself};
use crate::command::{Done, Failure};
use crate::state::SqliteState;
use crate::state::detail::at;
use crate::{app, console, state};

#[derive(Debug, Args)]
pub(crate) struct SuspendArgs {
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
    #[command(subcommand)]
    pub(crate) what: SuspendWhat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SuspendWhat {
    /// A caller: a SPIFFE ID, or a pattern of IDs as `spiffe://acme.internal/payments/**`
    Principal(SuspendOne),
    /// A credential, by its name in the configuration; its leases are dropped
    Credential(SuspendOne),
    /// A service, by its name in the configuration
    Service(SuspendOne),
    /// What is suspended, since when, by whom and why
    List {
        /// How to print it
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SuspendOne {
    /// Which one
    pub(crate) name: String,
    /// Why; stands in the records of what is refused
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// When it ends by itself, in RFC 3339, as `2026-11-23T10:00:00+01:00`
    #[arg(long, value_name = "TIME", conflicts_with = "lasts")]
    pub(crate) until: Option<String>,
    /// How long it lasts, as `30m` or `7d`
    #[arg(long = "for", value_name = "DURATION")]
    pub(crate) lasts: Option<String>,
}

pub(crate) fn run(args: &SuspendArgs) -> Done {
    let process = Process::find(&args.process)?;
    match &args.what {
        SuspendWhat::Principal(one) => suspend(&process, Suspendable::Principal, one),
        SuspendWhat::Credential(one) => suspend(&process, Suspendable::Credential, one),
        SuspendWhat::Service(one) => suspend(&process, Suspendable::Service, one),
        SuspendWhat::List { output } => list(&process, *output),
    }
}

fn suspend(process: &Process, kind: Suspendable, one: &SuspendOne) -> Done {
    let now_ms = SystemClock.now_ms();
    let until = match (&one.until, &one.lasts) {
        (Some(until), _) => Some(until.clone()),
        (None, Some(lasts)) => {
            let lasts = parse_duration(lasts).map_err(Failure::Call)?;
            let lasts = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
            Some(at(now_ms.saturating_add(lasts)))
        }
        (None, None) => None,
    };
    let wanted = Wanted { kind: kind.as_str().to_owned(), name: one.name.clone(), reason: one.reason.clone(), until };
    // Here too, so that a call that makes no sense fails the same way whether a process runs or not.
    let suspension = wanted.clone().parse(myself().into(), now_ms).map_err(Failure::Call)?;
    let until = suspension.until_ms.map_or_else(String::new, |until| format!(" until {}", at(until)));
    let done = format!("{kind} `{}` is suspended{until}", suspension.name);
    match process.client().post("/v1/suspensions", &wanted) {
        Ok(answer) => {
            console::out(&done);
            console::note(&format!("the process at `{}` has it in force", process.socket.display()));
            let warnings = answer.get("warnings").and_then(Value::as_array).into_iter().flatten();
            warnings.filter_map(Value::as_str).for_each(|warning| console::note(&format!("warning: {warning}")));
        }
        Err(ClientError::NotRunning(_)) => {
            directly(process, async |state| state.suspend(&suspension).await.map(drop))?;
            console::out(&done);
            say_not_running(process);
            if let Some(warning) = unknown(process, &suspension) {
                console::note(&format!("warning: {warning}"));
            }
        }
        Err(error) => return Err(error.into()),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn say_not_running(process: &Process) {
    console::note(&format!(
        "no process answers at `{}`: it is written into `{}`, which the next start reads, and a process that runs on \
         it within a second",
        process.socket.display(),
        state::file(&process.state_dir).display()
    ));
}

/// A name that the file does not have. Those of teams stand in other files.
fn unknown(process: &Process, suspension: &Suspension) -> Option<String> {
    let known = process.names_of(suspension.kind);
    if known.is_empty() || suspension.name.contains('/') || known.iter().any(|known| **known == *suspension.name) {
        return None;
    }
    let near = nearest(&suspension.name, known.iter().map(String::as_str));
    let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    Some(format!("there is no {} `{}` in the configuration{near}", suspension.kind, suspension.name))
}

/// Changes or reads the state without a process.
pub(super) fn directly<T>(
    process: &Process,
    work: impl AsyncFnOnce(Arc<dyn SharedState>) -> Result<T, claviger_contract::StateError>,
) -> Result<T, Failure> {
    if !process.state_dir.is_dir() {
        return Err(Failure::Other(format!(
            "no process answers at `{}`, and there is no state folder `{}`\n  help: name the folder with `--state-dir`, \
             or the file with `--config`",
            process.socket.display(),
            process.state_dir.display()
        )));
    }
    let control = app::control_runtime()?;
    control
        .block_on(async {
            let state = Arc::new(SqliteState::open(&state::file(&process.state_dir)).await?);
            work(state).await
        })
        .map_err(|error| Failure::Other(error.to_string()))
}

fn list(process: &Process, output: Output) -> Done {
    let all: Vec<Value> = match process.client().get("/v1/suspensions") {
        Ok(answer) => {
            if let Some(complaint) = answer.get("complaint").and_then(Value::as_str) {
                console::note(&format!("warning: {complaint}; this is what was suspended last"));
            }
            answer.get("suspensions").and_then(Value::as_array).cloned().unwrap_or_default()
        }
        Err(ClientError::NotRunning(_)) => {
            let now_ms = SystemClock.now_ms();
            let all = directly(process, async |state| state.suspensions().await)?;
            console::note(&format!("no process answers at `{}`", process.socket.display()));
            all.iter().filter(|one| one.holds_at(now_ms)).map(crate::admin::shown).collect()
        }
        Err(error) => return Err(error.into()),
    };
    match output {
        Output::Json => {
            console::out(&serde_json::to_string_pretty(&all).map_err(|error| Failure::Other(error.to_string()))?)
        }
        Output::Text if all.is_empty() => console::out("nothing is suspended"),
        Output::Text => all.iter().for_each(|one| console::out(&line(one))),
    }
    Ok(ExitCode::SUCCESS)
}

/// `service billing  since … by …, until …: why`
fn line(one: &Value) -> String {
    let text = |key: &str| one.get(key).and_then(Value::as_str);
    let until = text("until").map_or_else(String::new, |until| format!(", until {until}"));
    let reason = text("reason").map_or_else(String::new, |reason| format!(": {reason}"));
    let (kind, name) = (text("kind").unwrap_or_default(), text("name").unwrap_or_default());
    let (since, by) = (text("since").unwrap_or_default(), text("by").unwrap_or_default());
    format!("{kind:<10} {name}  since {since} by {by}{until}{reason}")
}
