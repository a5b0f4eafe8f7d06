//! `claviger secret`: the sealed store. Values come from the terminal or stdin, never from arguments,
//! where other users of the machine and the shell's history would see them.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use claviger_contract::Secret;
use claviger_credential::SealedStore;
use claviger_policy::document::Diagnostics;
use serde::Serialize;

use crate::cli::{ConfigArgs, Output};
use crate::command::{Done, Failure, configuration, report};
use crate::{config, console};
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct SecretArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The state folder, instead of the configuration's
    #[arg(long, value_name = "FOLDER", global = true)]
    pub(crate) state_dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) action: SecretAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretAction {
    /// Seal a value, read from the terminal or from stdin, for the hosts of a service
    Set {
        /// The name, as in `secret://sealed/NAME`
        name: String,
        /// The service whose hosts the value may go to
        #[arg(long = "for", value_name = "SERVICE", required_unless_present = "hosts")]
        service: Option<String>,
        /// A host the value may go to, as `api.example.com` or `*.example.com:8443`; may be repeated
        #[arg(long = "host", value_name = "HOST", conflicts_with = "service")]
        hosts: Vec<String>,
        /// Whom to ask about it
        #[arg(long)]
        owner: Option<String>,
    },
    /// List names, hosts, owners and versions; never values
    List {
        /// How to print the list
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Seal a new value, for the same hosts and owner; a running proxy takes it up by itself
    Rotate {
        /// The name
        name: String,
    },
    /// Remove a value
    Remove {
        /// The name
        name: String,
    },
}

pub(crate) fn run(args: &SecretArgs) -> Done {
    let store = SealedStore::open(&state_dir(args)?);
    match &args.action {
        SecretAction::Set { name, service, hosts, owner } => {
            let hosts = match service {
                Some(service) => hosts_of(args, service)?,
                None => hosts.clone(),
            };
            let value = read_value(name)?;
            let entry = store.set(name, value, hosts, owner.clone()).map_err(other)?;
            console::out(&format!("sealed `{name}` (version {}) for {}", entry.version, joined(&entry.hosts)));
            console::out(&format!("refer to it as secret://sealed/{name}"));
        }
        SecretAction::List { output } => list(&store, *output)?,
        SecretAction::Rotate { name } => {
            let entry = store.rotate(name, read_value(name)?, &claviger_credential::Rotate::default()).map_err(other)?;
            console::out(&format!("rotated `{name}` (version {})", entry.version));
        }
        SecretAction::Remove { name } => {
            store.remove(name).map_err(other)?;
            console::out(&format!("removed `{name}`"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    version: &'a str,
    owner: Option<&'a str>,
    hosts: Vec<String>,
}

fn list(store: &SealedStore, output: Output) -> Result<(), Failure> {
    let entries = store.list().map_err(other)?;
    let listed: Vec<Listed<'_>> = entries
        .iter()
        .map(|entry| Listed {
            name: &entry.name,
            version: &entry.version,
            owner: entry.owner.as_deref(),
            hosts: entry.hosts.iter().map(ToString::to_string).collect(),
        })
        .collect();
    match output {
        Output::Json => {
            let json = serde_json::to_string_pretty(&listed).map_err(|error| other(&error))?;
            console::out(&json);
        }
        Output::Text => {
            for one in listed {
                let owner = one.owner.unwrap_or("-");
                console::out(&format!("{:<24} {:<18} {:<24} {}", one.name, one.version, owner, one.hosts.join(", ")));
            }
        }
    }
    Ok(())
}

fn joined(hosts: &[claviger_credential::BoundHost]) -> String {
    hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn state_dir(args: &SecretArgs) -> Result<PathBuf, Failure> {
    if let Some(folder) = &args.state_dir {
        return Ok(folder.clone());
    }
    let Ok(path) = config::discover(args.config.config.as_ref()) else { return Ok(config::default_state_dir()) };
    // Only the folder is needed: a secret must be settable before the file that refers to it is whole.
    let mut found = Diagnostics::default();
    let draft = config::read(&path, &mut found);
    if draft.is_none() || found.iter().any(|one| one.key == "state_dir") {
        report(&found)?;
    }
    draft.map(|draft| draft.state_dir).ok_or_else(|| Failure::Other("no configuration".into()))
}

/// The hosts of a service in the configuration.
fn hosts_of(args: &SecretArgs, service: &str) -> Result<Vec<String>, Failure> {
    let path = configuration(&args.config)?;
    let mut found = Diagnostics::default();
    // Only the service is needed, so other errors do not matter; those of the service do.
    let hosts = config::read(&path, &mut found).and_then(|draft| draft.service_hosts(service, &mut found));
    if hosts.is_none() {
        report(&found)?;
    }
    hosts.ok_or_else(|| Failure::Other("the configuration could not be read".into()))
}

/// From the terminal without echo, or all of stdin less one newline at its end.
fn read_value(name: &str) -> Result<Secret, Failure> {
    if std::io::stdin().is_terminal() {
        let value = rpassword::prompt_password(format!("value of `{name}`: ")).map_err(|error| other(&error))?;
        return not_empty(value.into_bytes());
    }
    let mut value = Vec::new();
    std::io::stdin().lock().read_to_end(&mut value).map_err(|error| other(&error))?;
    if value.last() == Some(&b'\n') {
        value.pop();
        if value.last() == Some(&b'\r') {
            value.pop();
        }
    }
    not_empty(value)
}

fn not_empty(value: Vec<u8>) -> Result<Secret, Failure> {
    if value.is_empty() {
        return Err(Failure::Other("the value is empty; pipe it in, or type it at the prompt".to_owned()));
    }
    Ok(Secret::new(value))
}

fn other(error: impl std::error::Error) -> Failure {
    Failure::with_causes(&error)
}
