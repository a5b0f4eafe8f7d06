//! `claviger resume`: ends a suspension.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use claviger_contract::{Clock, Suspendable, SystemClock};

use crate::admin::client::ClientError;
use crate::command::process::{Process, ProcessArgs, myself};
use crate::command::suspend::{directly, say_not_running};
use crate::command::{Done, Failure};
use crate::console;

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
    #[command(subcommand)]
    pub(crate) what: ResumeWhat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ResumeWhat {
    /// A caller, by the ID or pattern that was suspended
    Principal(ResumeOne),
    /// A credential
    Credential(ResumeOne),
    /// A service
    Service(ResumeOne),
}

#[derive(Debug, Args)]
pub(crate) struct ResumeOne {
    /// Which one, as `claviger suspend list` names it
    pub(crate) name: String,
}

pub(crate) fn run(args: &ResumeArgs) -> Done {
    let process = Process::find(&args.process)?;
    let (kind, name) = match &args.what {
        ResumeWhat::Principal(one) => (Suspendable::Principal, &one.name),
        ResumeWhat::Credential(one) => (Suspendable::Credential, &one.name),
        ResumeWhat::Service(one) => (Suspendable::Service, &one.name),
    };
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("kind", kind.as_str())
        .append_pair("name", name)
        .finish();
    match process.client().delete(&format!("/v1/suspensions?{query}")) {
        Ok(_) => {
            console::out(&format!("{kind} `{name}` is resumed"));
            console::note(&format!("the process at `{}` lets it pass again", process.socket.display()));
        }
        Err(ClientError::NotRunning(_)) => {
            let now_ms = SystemClock.now_ms();
            let resume = async |state: std::sync::Arc<dyn claviger_contract::SharedState>| {
                state.resume(kind, name, &myself(), now_ms).await
            };
            if directly(&process, resume)?.is_none() {
                return Err(Failure::Other(format!("{kind} `{name}` is not suspended")));
            }
            console::out(&format!("{kind} `{name}` is resumed"));
            say_not_running(&process);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(ExitCode::SUCCESS)
}
