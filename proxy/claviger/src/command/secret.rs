//! `claviger secret`: the sealed store. Values come from the terminal or stdin, never from arguments,
//! where other users of the machine and the shell's history would see them.

mod list;
mod place;
mod probe;
mod rotate;

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use claviger_contract::Secret;
use claviger_credential::BoundHost;
use claviger_policy::document::Diagnostics;

use self::place::Place;
pub(crate) use self::rotate::RotateArgs;
use crate::admin::client::{Client, ClientError};
use crate::admin::{Change, Changed, Standing};
use crate::cli::{ConfigArgs, Output};
use crate::command::{Done, Failure, configuration, report};
use crate::{config, console};

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
        /// The name, as in `secret://sealed/NAME`; or a whole reference, for another sealed store
        name: String,
        /// The service whose hosts the value may go to, in clear text if the service says so
        #[arg(long = "for", value_name = "SERVICE", required_unless_present = "hosts")]
        service: Option<String>,
        /// A host the value may go to over TLS, as `api.example.com` or `*.example.com:8443`; `http://HOST` for one
        /// that is reached in clear text; may be repeated
        #[arg(long = "host", value_name = "HOST", conflicts_with = "service")]
        hosts: Vec<String>,
        /// Whom to ask about it
        #[arg(long)]
        owner: Option<String>,
        /// Ask the services that use it whether they take the value, before it is sealed
        #[arg(long)]
        probe: bool,
        /// Seal it also if that cannot be found out
        #[arg(long, requires = "probe")]
        force: bool,
    },
    /// List names, versions, ages, owners and hosts, and which are being rotated; never values
    List {
        /// How to print the list
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
        /// Another sealed store of the configuration
        #[arg(long, value_name = "NAME", default_value = "sealed")]
        store: String,
    },
    /// Seal a new value for the same hosts and owner, and keep the old one beside it until `--finish`
    ///
    /// The services that use it are asked first whether they take the new value (`check` of a service or its preset). A
    /// running proxy takes it up at once. Should an upstream refuse it with 401, the previous value serves on.
    Rotate(RotateArgs),
    /// Remove a value
    Remove {
        /// The name
        name: String,
    },
}

pub(crate) fn run(args: &SecretArgs) -> Done {
    match &args.action {
        SecretAction::Set { name, service, hosts, owner, probe, force } => {
            let (place, name) = find(args, name)?;
            let hosts = match service {
                Some(service) => hosts_of(args, service)?,
                None => hosts.clone(),
            };
            let value = read_value(name)?;
            let wanted = probe::Wanted { ask: *probe, force: *force };
            // A host that cannot be read is told by the store.
            if let Ok(bound) = hosts.iter().map(|host| BoundHost::parse(host)).collect::<Result<Vec<_>, _>>()
                && *probe
            {
                probe::probe(&place, name, &value, bound, wanted)?;
            }
            let entry = place.store.set(name, value, hosts, owner.clone()).map_err(other)?;
            console::out(&format!("sealed `{name}` (version {}) for {}", entry.version, joined(&entry.hosts)));
            console::out(&format!("refer to it as secret://{}/{name}", place.store_name));
            take_up(&place.socket, &place.store_name, name, Change::Set);
        }
        SecretAction::List { output, store } => list::list(&Place::find(args, store)?.store, *output)?,
        SecretAction::Rotate(rotate) => {
            let (place, name) = find(args, &rotate.name)?;
            rotate::rotate(&place, name, rotate)?;
        }
        SecretAction::Remove { name } => {
            let (place, name) = find(args, name)?;
            place.store.remove(name).map_err(other)?;
            console::out(&format!("removed `{name}`"));
            take_up(&place.socket, &place.store_name, name, Change::Removed);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The store that holds the secret, and its name there.
fn find<'a>(args: &SecretArgs, written: &'a str) -> Result<(Place, &'a str), Failure> {
    let (name, reference) = place::parse_name(written)?;
    let store = reference.as_ref().map_or("sealed", |reference| reference.store());
    Ok((Place::find(args, store)?, name))
}

/// Tells the running process, which would notice by itself within about a second, and says what it has then.
pub(crate) fn take_up(socket: &Path, store_name: &str, name: &str, change: Change) {
    let changed = Changed { store: store_name.to_owned(), name: name.to_owned(), change };
    let answer = match Client::at(socket).post("/v1/secrets", &changed) {
        Ok(answer) => answer,
        // Nobody is there to be told.
        Err(ClientError::NotRunning(_)) => return,
        Err(error) => {
            console::note(&format!(
                "the running process looks at the store every second, but could not be told: {error}"
            ));
            return;
        }
    };
    let standing: Vec<Standing> =
        answer.get("credentials").cloned().and_then(|all| serde_json::from_value(all).ok()).unwrap_or_default();
    for Standing { credential, version, previous, at, error } in standing {
        let beside = previous.map_or_else(String::new, |previous| format!(", with {previous} beside it"));
        match (version, error) {
            (Some(version), _) => {
                console::out(&format!(
                    "the running process took version {version} of credential `{credential}` up at {at}{beside}"
                ));
            }
            (None, Some(error)) => console::note(&format!("the running process: {error}")),
            (None, None) => {}
        }
    }
}

fn joined(hosts: &[BoundHost]) -> String {
    hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The hosts of a service in the configuration.
fn hosts_of(args: &SecretArgs, service: &str) -> Result<Vec<String>, Failure> {
    let source = configuration(&args.config)?;
    let mut found = Diagnostics::default();
    // Only the service is needed, so other errors do not matter; those of the service do.
    let hosts = config::read(&source, &mut found).and_then(|draft| draft.service_hosts(service, &mut found));
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

// Takes the error by value, as `map_err` hands it.
#[allow(clippy::needless_pass_by_value, reason = "passed to map_err")]
fn other(error: impl std::error::Error) -> Failure {
    Failure::with_causes(&error)
}
