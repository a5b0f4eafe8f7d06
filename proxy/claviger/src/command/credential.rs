//! `claviger credential list`: what is behind each credential, and how it stands in the process that runs.

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use claviger_contract::Secretless;
use claviger_credential::{Inventoried, SealedStore};
use claviger_policy::document::Diagnostics;
use serde_json::{Value, json};

use crate::admin::Listed;
use crate::admin::client::Client;
use crate::cli::{ConfigArgs, Output};
use crate::command::{Done, Failure, configuration, plural, report_platform};
use crate::{app, config, console};

#[derive(Debug, Args)]
pub(crate) struct CredentialArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(subcommand)]
    pub(crate) action: CredentialAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CredentialAction {
    /// Each credential: its hosts, whose it is, whether a stored secret is behind it, and how its leases stand
    List {
        /// How to print them
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
}

pub(crate) fn run(args: &CredentialArgs) -> Done {
    let CredentialAction::List { output } = &args.action;
    let source = configuration(&args.config)?;
    let mut found = Diagnostics::default();
    let draft = config::read(&source, &mut found);
    let places = draft.map(|draft| (draft.state_dir.clone(), draft.admin.socket.clone()));
    let control = app::control_runtime()?;
    found = Diagnostics::default();
    let compiled = config::compile_standing(&source, &app::idle_env(&control)?, &mut found);
    report_platform(&found)?;
    let (Some(compiled), Some((state_dir, socket))) = (compiled, places) else {
        return Err(Failure::Other("the configuration could not be read".to_owned()));
    };
    let inventory = compiled.generation.credentials.inventory();
    let (owners, live) = (owners(&state_dir, &inventory), live(&socket));
    match output {
        Output::Json => console::out(&as_json(&inventory, &owners, live.as_ref())?),
        Output::Text => show(&inventory, &owners, live.as_ref()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Who owns the sealed secrets behind each credential, as far as somebody is named.
fn owners(state_dir: &Path, inventory: &[Inventoried]) -> HashMap<String, String> {
    let sealed = SealedStore::open(state_dir).list().unwrap_or_default();
    let owner = |name: &str| sealed.iter().find(|entry| entry.name == *name)?.owner.clone();
    let of = |one: &Inventoried| {
        let read = one.references.iter().filter(|reference| reference.store() == "sealed");
        let mut all: Vec<String> = read.filter_map(|reference| owner(reference.name())).collect();
        all.sort();
        all.dedup();
        (!all.is_empty()).then(|| (one.name.to_string(), all.join(", ")))
    };
    inventory.iter().filter_map(of).collect()
}

/// How leases stand in the process that runs, by the names of their credentials; `None` if none runs.
fn live(socket: &Path) -> Option<HashMap<String, Value>> {
    let answer = Client::at(socket).get("/v1/credentials").ok()?;
    let all = answer.get("credentials")?.as_array()?;
    Some(
        all.iter().filter_map(|one| Some((one.get("name")?.as_str()?.to_owned(), one.get("state")?.clone()))).collect(),
    )
}

/// How many have no stored secret behind them.
fn secretless(inventory: &[Inventoried]) -> usize {
    inventory.iter().filter(|one| one.secretless == Secretless::EndToEnd).count()
}

fn as_json(
    inventory: &[Inventoried],
    owners: &HashMap<String, String>,
    live: Option<&HashMap<String, Value>>,
) -> Result<String, Failure> {
    let failed = |error: serde_json::Error| Failure::doing("print the credentials")(&error);
    let mut all = Vec::new();
    for one in inventory {
        let mut listed = serde_json::to_value(Listed::from(one)).map_err(failed)?;
        if let Some(fields) = listed.as_object_mut() {
            fields.insert("owner".to_owned(), json!(owners.get(&*one.name)));
            fields.insert("state".to_owned(), json!(live.and_then(|live| live.get(&*one.name))));
        }
        all.push(listed);
    }
    let text = json!({
        "credentials": all,
        "secretless": { "end_to_end": secretless(inventory), "of": inventory.len() },
        "running": live.is_some(),
    });
    serde_json::to_string_pretty(&text).map_err(failed)
}

fn show(inventory: &[Inventoried], owners: &HashMap<String, String>, live: Option<&HashMap<String, Value>>) {
    for one in inventory {
        let whose = [one.team.as_ref().map(|team| format!("team {team}")), owners.get(&*one.name).cloned()];
        let whose = whose.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let whose = if whose.is_empty() { "-" } else { &whose };
        let (name, kind, hosts) = (&one.name, one.kind, one.hosts.join(", "));
        console::out(&format!("{name:<24} {kind:<12} {:<10}  {whose:<20} {hosts}", one.secretless.as_str()));
        if let Some(state) = live.and_then(|live| live.get(&**name)) {
            console::out(&format!("{:<24} {}", "", stand(state)));
        }
    }
    let (share, all) = (secretless(inventory), inventory.len());
    let percent = share.saturating_mul(100).checked_div(all).unwrap_or(100);
    let all = plural(all, "credential");
    console::out(&format!("{share} of {all} without a stored secret ({percent} %)"));
    if live.is_none() {
        console::note("no process runs with this configuration, so that nothing is said of leases");
    }
}

/// One line of the state that a process tells.
fn stand(state: &Value) -> String {
    let text = |name: &str| state.get(name).and_then(Value::as_str);
    let mut all = Vec::new();
    match (text("minted_at"), text("expires_at")) {
        (Some(minted), Some(expires)) => all.push(format!("minted {minted}, expires {expires}")),
        (Some(minted), None) => all.push(format!("read {minted}, without an end")),
        (None, _) => all.push("no lease yet".to_owned()),
    }
    if let Some(leases) = state.get("leases").and_then(Value::as_u64).filter(|leases| *leases > 1) {
        all.push(format!("{leases} leases"));
    }
    if let (Some(since), Some(failure)) = (text("failing_since"), text("failure")) {
        all.push(format!("failing since {since} ({failure})"));
    }
    if state.get("served_stale").and_then(Value::as_bool) == Some(true) {
        all.push("the last good value serves".to_owned());
    }
    all.join("; ")
}
