//! What all checks look at, gathered once: the configuration as far as it can be read, and the places that it names.
//!
//! Nothing here is made or changed, and nothing is asked of another machine.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::Arc;

use claviger_contract::{Clock, SystemClock};
use claviger_credential::SealedStore;
use claviger_policy::document::{Diagnostics, Located};
use claviger_wire::Bind;
use serde_json::Value;

use super::DoctorArgs;
use crate::admin::client::{Client, ClientError};
use crate::command::Failure;
use crate::config::{self, Compiled, Effective, Files, Leaf, Load, Source, Standing};
use crate::{app, interception};

/// The machine as it is found.
pub(crate) struct Scene<'a> {
    pub(crate) args: &'a DoctorArgs,
    /// The file that counts; the words of the error if there is none.
    pub(crate) source: Result<Source, String>,
    /// What is wrong with it.
    pub(crate) found: Diagnostics,
    /// Its files, if they could be read and may be used.
    pub(crate) files: Option<Files>,
    /// Every value that was written, with the dotted name of its key.
    pub(crate) leaves: Vec<(String, Leaf)>,
    /// `None`: it does not load.
    pub(crate) compiled: Option<Compiled>,
    /// How its teams stand.
    pub(crate) teams: Option<Standing>,
    pub(crate) state_dir: PathBuf,
    /// Where a running process is asked.
    pub(crate) socket: PathBuf,
    /// The configuration is there, and does not even say where its state is.
    pub(crate) blind: bool,
    /// The ledger's file, if there is one.
    pub(crate) ledger: Option<PathBuf>,
    pub(crate) sealed: SealedStore,
    /// Where the key of the sealed store lies.
    pub(crate) key_file: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
    status: OnceCell<Result<Value, ClientError>>,
}

/// An address that the configuration binds.
pub(crate) struct Listening {
    /// `listener.X`, or `admin`.
    pub(crate) key: String,
    pub(crate) bind: Bind,
}

impl<'a> Scene<'a> {
    /// Reads what is there. Only a machine that lets nothing start at all is an error.
    pub(crate) fn look(args: &'a DoctorArgs, control: &tokio::runtime::Runtime) -> Result<Self, Failure> {
        let source = config::discover(args.config.config.as_ref()).map_err(|missing| missing.to_string());
        let mut found = Diagnostics::default();
        let files = source.as_ref().ok().and_then(|source| config::files_of(source, &mut found));
        // Its findings are those of the whole, which is compiled below.
        let mut unsaid = Diagnostics::default();
        let draft = files.as_ref().and_then(|files| config::draft(files, &mut unsaid));
        let state_dir = draft.as_ref().map_or_else(config::default_state_dir, |draft| draft.state_dir.clone());
        let socket = draft.as_ref().map_or_else(|| state_dir.join("admin.sock"), |draft| draft.admin.socket.clone());
        let ledger = match &draft {
            Some(draft) => draft.ledger_file(),
            None => Some(claviger_ledger::LedgerSettings::new(&state_dir).path),
        };
        let blind = source.is_ok() && draft.is_none();
        let sealed = draft.and_then(|draft| draft.sealed_store("sealed", &mut unsaid));
        let sealed = sealed.unwrap_or_else(|| SealedStore::open(&state_dir));
        let leaves = files.as_ref().and_then(|files| Effective::of(files).ok().flatten());
        let leaves = leaves.map(|all| all.written()).unwrap_or_default();
        let key_file = leaves.iter().find(|(key, _)| key == "store.sealed.key_file").and_then(|(_, leaf)| leaf.file());
        let key_file = key_file.unwrap_or_else(|| state_dir.join("keys").join("sealed.key"));
        let env = app::idle_env(control)?;
        let interception = app::no_interception;
        let load = Load { env: &env, number: 1, interception: &interception, previous: None, at_start: None };
        let whole = match (&files, found.has_errors()) {
            (Some(files), false) => Standing::default().compile(files, None, &load, &mut found),
            _ => None,
        };
        found.sort();
        let (compiled, teams) = whole.unzip();
        Ok(Self {
            args,
            source,
            found,
            files,
            leaves,
            compiled,
            teams,
            state_dir,
            socket,
            blind,
            ledger,
            sealed,
            key_file,
            clock: Arc::new(SystemClock),
            status: OnceCell::new(),
        })
    }

    /// What the running process says of itself; asked once.
    pub(crate) fn status(&self) -> &Result<Value, ClientError> {
        self.status.get_or_init(|| Client::at(&self.socket).get("/v1/status"))
    }

    /// Seconds since the Unix epoch.
    pub(crate) fn now(&self) -> i64 {
        self.clock.now()
    }

    /// All ledgers that are there: the process's own, and those of sessions of `exec`.
    pub(crate) fn ledgers(&self) -> Vec<PathBuf> {
        let Some(own) = &self.ledger else { return Vec::new() };
        let sessions = claviger_ledger::sessions::all(own);
        own.exists().then(|| own.clone()).into_iter().chain(sessions).collect()
    }

    /// All addresses that are written, also of a configuration that does not load.
    pub(crate) fn listening(&self) -> Vec<Listening> {
        let of = |(key, leaf): &(String, Leaf)| {
            let table =
                key.strip_suffix(".bind").filter(|table| table.starts_with("listener.") || *table == "admin")?;
            let (text, location) = (leaf.text()?, leaf.location.clone()?);
            let bind = match text.strip_prefix("unix:") {
                Some(file) => {
                    Bind::Unix(claviger_contract::path::resolve(&Located { value: file.to_owned(), location }))
                }
                None => Bind::Tcp(text.parse().ok()?),
            };
            Some(Listening { key: table.to_owned(), bind })
        };
        self.leaves.iter().filter_map(of).collect()
    }

    /// The addresses of forward listeners: as the running process has them, else as they are written.
    pub(crate) fn forward_addresses(&self) -> Vec<String> {
        let is_forward = |table: &str| {
            let mode = self.leaves.iter().find(|(key, _)| *key == format!("{table}.mode"));
            mode.and_then(|(_, leaf)| leaf.text()).as_deref() == Some("forward")
        };
        let written = self.listening().into_iter().filter(|one| is_forward(&one.key));
        written.map(|one| self.bound(&one.key).unwrap_or_else(|| one.bind.to_string())).collect()
    }

    /// The address that the running process has for a listener, whose port may have been left to the system.
    pub(crate) fn bound(&self, key: &str) -> Option<String> {
        let name = key.strip_prefix("listener.")?;
        let listeners = self.status().as_ref().ok()?.get("listeners")?.as_array()?;
        let text = |listener: &'_ Value, key: &str| Some(listener.get(key)?.as_str()?.to_owned());
        let ours = listeners.iter().find(|listener| text(listener, "name").as_deref() == Some(name))?;
        text(ours, "bind")
    }

    /// Whether any listener intercepts, so that clients have to trust the authority.
    pub(crate) fn forwards(&self) -> bool {
        let is_forward = |(key, leaf): &(String, Leaf)| {
            key.starts_with("listener.") && key.ends_with(".mode") && leaf.text().as_deref() == Some("forward")
        };
        self.leaves.iter().any(is_forward)
    }

    /// The certificate that clients of forward listeners trust, if it was ever made.
    pub(crate) fn authority_file(&self) -> PathBuf {
        interception::certificate_path(&self.state_dir)
    }
}
