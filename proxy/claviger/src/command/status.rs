//! `claviger status`: what runs.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::cli::Output;
use crate::command::process::{Process, ProcessArgs};
use crate::command::{Done, Failure};
use crate::console;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
}

pub(crate) fn run(args: &StatusArgs) -> Done {
    let process = Process::find(&args.process)?;
    let status = process.client().get("/v1/status")?;
    match args.output {
        Output::Json => {
            console::out(&serde_json::to_string_pretty(&status).map_err(|error| Failure::Other(error.to_string()))?);
        }
        Output::Text => show(&status),
    }
    Ok(ExitCode::SUCCESS)
}

fn show(status: &Value) {
    let text = |path: &str| match status.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    console::out(&format!("claviger {} (pid {}), {}", text("/version"), text("/pid"), text("/phase")));
    console::out(&format!("started     {}", text("/started_at")));
    console::out(&format!("generation  {}", text("/generation")));
    for listener in status.get("listeners").and_then(Value::as_array).into_iter().flatten() {
        let part = |key: &str| listener.get(key).and_then(Value::as_str).unwrap_or_default();
        console::out(&format!("listener    {} on {}", part("name"), part("bind")));
    }
    for team in status.get("teams").and_then(Value::as_array).into_iter().flatten() {
        let part = |key: &str| team.get(key).and_then(Value::as_str).unwrap_or_default();
        console::out(&format!("team        {}: {}", part("name"), part("state")));
    }
    console::out(&format!("suspended   {}", text("/suspensions")));
    for what in ["state", "ledger"] {
        let complaint = text(&format!("/{what}/complaint"));
        console::out(&format!("{what:<11} {}", if complaint.is_empty() { "ok" } else { &complaint }));
    }
}
