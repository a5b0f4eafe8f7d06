//! Which running process a command means, and which state lies under it.

use std::path::PathBuf;

use clap::Args;
use claviger_policy::document::Diagnostics;

use crate::admin::client::Client;
use crate::cli::ConfigArgs;
use crate::command::{Failure, configuration, report};
use crate::config;

/// Where to look, if not where the configuration says.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ProcessArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The state folder, instead of the configuration's; then no configuration is read
    #[arg(long, value_name = "FOLDER", global = true)]
    pub(crate) state_dir: Option<PathBuf>,
    /// The admin socket, instead of the configuration's
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) socket: Option<PathBuf>,
}

/// A process, or what it left.
pub(crate) struct Process {
    pub(crate) socket: PathBuf,
    pub(crate) state_dir: PathBuf,
    /// Names of services and credentials, as far as the configuration could be read.
    services: Vec<String>,
    credentials: Vec<String>,
}

impl Process {
    /// By the arguments, else by the configuration. Only its places are needed: whoever stops something in an incident
    /// must not be kept by another line of the file.
    pub(crate) fn find(args: &ProcessArgs) -> Result<Self, Failure> {
        if let Some(folder) = &args.state_dir {
            let socket = args.socket.clone().unwrap_or_else(|| folder.join("admin.sock"));
            let (services, credentials) = (Vec::new(), Vec::new());
            return Ok(Self { socket, state_dir: folder.clone(), services, credentials });
        }
        let source = configuration(&args.config)?;
        let mut found = Diagnostics::default();
        let draft = config::read(&source, &mut found);
        let of_places = |key: &str| key == "state_dir" || (key == "admin.socket" && args.socket.is_none());
        if draft.is_none() || found.iter().any(|one| of_places(&one.key)) {
            report(&found).map_err(|_| {
                Failure::Call(format!(
                    "`{}` does not say where the process is\n  help: say it with `--state-dir FOLDER`",
                    source.display()
                ))
            })?;
        }
        let Some(draft) = draft else { return Err(Failure::Call("the configuration could not be read".to_owned())) };
        let socket = args.socket.clone().unwrap_or_else(|| draft.admin.socket.clone());
        let state_dir = draft.state_dir.clone();
        let (services, mut credentials) = draft.names();
        // A service with `secret = …` has a credential of its name.
        credentials.extend(services.clone());
        Ok(Self { socket, state_dir, services, credentials })
    }

    /// Asks it.
    pub(crate) fn client(&self) -> Client {
        Client::at(&self.socket)
    }

    /// What a configuration that nobody runs names of this kind; nothing if none was read.
    pub(crate) fn names_of(&self, kind: claviger_contract::Suspendable) -> &[String] {
        match kind {
            claviger_contract::Suspendable::Service => &self.services,
            claviger_contract::Suspendable::Credential => &self.credentials,
            claviger_contract::Suspendable::Principal => &[],
        }
    }
}

/// Who runs this command, as records name it.
pub(crate) fn myself() -> String {
    let uid = rustix::process::getuid().as_raw();
    match claviger_identity::user_name(uid) {
        Some(name) => format!("{name} (uid {uid})"),
        None => format!("uid {uid}"),
    }
}
