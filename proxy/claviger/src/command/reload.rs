//! `claviger reload`: has a running process take up its configuration, and says what came of it.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::admin::Reloaded;
use crate::admin::client::ClientError;
use crate::cli::Output;
use crate::command::process::{Process, ProcessArgs};
use crate::command::{Done, Failure};
use crate::console;

#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
    /// How to print what came of it
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
}

pub(crate) fn run(args: &ReloadArgs) -> Done {
    let process = Process::find(&args.process)?;
    let answer = match process.client().post("/v1/reload", &json!({})) {
        Ok(answer) => answer,
        // What was refused has said why.
        Err(ClientError::Refused { answer, .. }) if answer.get("outcome").is_some() => answer,
        Err(error) => return Err(error.into()),
    };
    let broken = |error: serde_json::Error| Failure::Other(format!("the process answered something else: {error}"));
    if args.output == Output::Json {
        console::out(&serde_json::to_string_pretty(&answer).map_err(broken)?);
    }
    let reloaded: Reloaded = serde_json::from_value(answer).map_err(broken)?;
    if args.output == Output::Text {
        reloaded.diagnostics.iter().for_each(|finding| console::cited(&finding.text));
        match &reloaded.why {
            None => console::out(&format!("generation {} is in force", reloaded.generation)),
            Some(_) => console::note(&format!("not reloaded: generation {} stays in force", reloaded.generation)),
        }
    }
    Ok(if reloaded.why.is_none() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
