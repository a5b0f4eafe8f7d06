//! `claviger login`: somebody grants what a credential with `grant = "refresh_token"` uses.
//!
//! No token is printed, nor written anywhere but into the sealed store.

mod browser;
mod device;
mod redirect;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use claviger_credential::{Granted, Login, LoginError, SourceError};
use claviger_policy::document::{Diagnostics, nearest};

use crate::admin::Change;
use crate::cli::ConfigArgs;
use crate::command::secret::take_up;
use crate::command::{Done, Failure, configuration, report};
use crate::config::{self, Probing};
use crate::{app, console};

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The credential to log in for, or a service that gets it
    name: String,
    /// Show a code to type in on another device, instead of using a browser here
    #[arg(long, conflicts_with_all = ["no_browser", "port"])]
    device: bool,
    /// Only print the address; open no browser
    #[arg(long)]
    no_browser: bool,
    /// The port on 127.0.0.1 that the browser comes back to, for servers that want to know it [default: any that is free]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// What to ask for, instead of the credential's `scope`; may be repeated
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// How many seconds to wait for somebody to log in
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

/// What `login` and `logout` are about, and whom to tell.
pub(super) struct Subject {
    pub(super) login: Login,
    /// Where a process that uses the store is asked.
    socket: PathBuf,
    /// Calls are made here.
    pub(super) control: tokio::runtime::Runtime,
}

impl Subject {
    pub(super) fn find(config: &ConfigArgs, name: &str) -> Result<Self, Failure> {
        let source = configuration(config)?;
        let mut found = Diagnostics::default();
        let Some(draft) = config::read(&source, &mut found) else {
            report(&found)?;
            return Err(Failure::Other("the configuration could not be read".into()));
        };
        let socket = draft.admin.socket.clone();
        let control = app::control_runtime()?;
        let probing = {
            let _inside = control.enter();
            draft.with_logins(&app::idle_env(&control)?)
        };
        let login = the_one(&probing, name)?;
        Ok(Self { login, socket, control })
    }

    /// Tells the running process.
    pub(super) fn tell(&self, change: Change) {
        let reference = self.login.reference();
        take_up(&self.socket, reference.store(), reference.name(), change);
    }
}

fn the_one(probing: &Probing, name: &str) -> Result<Login, Failure> {
    let mut logins = probing.logins(name);
    match (logins.pop(), logins.len()) {
        (Some(login), 0) => return Ok(login),
        (Some(last), _) => {
            let names: Vec<_> = logins.iter().chain([&last]).map(|login| format!("`{}`", login.credential())).collect();
            let why = format!("service `{name}` may get {}; name the credential", names.join(" or "));
            return Err(Failure::Call(why));
        }
        (None, _) => {}
    }
    // What is wrong with the file may be why there is none.
    report(&probing.found)?;
    let all = probing.all_logins();
    let help = match nearest(name, all.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if all.is_empty() => {
            "a credential that somebody logs in for has `kind = \"oauth2\"` and `grant = \"refresh_token\"`".into()
        }
        None => format!("there are {}", all.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    };
    let what = if probing.has_service(name) { "service" } else { "credential or service" };
    Err(Failure::Call(format!("there is no login for {what} `{name}`\n  help: {help}")))
}

pub(crate) fn run(args: &LoginArgs) -> Done {
    let subject = Subject::find(&args.config, &args.name)?;
    let scope = (!args.scope.is_empty()).then(|| args.scope.join(" "));
    let (login, scope) = (&subject.login, scope.as_deref());
    let sealed = subject.control.block_on(async {
        let waiting = async {
            match args.device {
                true => device::log_in(login, scope).await,
                false => browser::log_in(login, scope, args).await,
            }
        };
        let granted = tokio::time::timeout(Duration::from_secs(args.timeout), waiting)
            .await
            .unwrap_or_else(|_| Err(Failure::Other(format!("nobody logged in within {} s", args.timeout))))?;
        seal(login, granted).await
    })?;
    for line in sealed {
        console::out(&line);
    }
    subject.tell(Change::Set);
    Ok(ExitCode::SUCCESS)
}

async fn seal(login: &Login, granted: Granted) -> Result<Vec<String>, Failure> {
    let scope = granted.scope().map(console::visible);
    let entry = login.seal(granted).await.map_err(explained)?;
    let hosts: Vec<_> = entry.hosts.iter().map(ToString::to_string).collect();
    let mut lines = vec![format!(
        "logged in for credential `{}`: sealed `{}` (version {}) for {}",
        login.credential(),
        login.reference(),
        entry.version,
        hosts.join(", ")
    )];
    lines.extend(scope.map(|scope| format!("granted: {scope}")));
    Ok(lines)
}

/// An error of a login, with what to do about it.
pub(super) fn explained(error: LoginError) -> Failure {
    let help = match &error {
        LoginError::NoRefreshToken => {
            "servers give one for the scope `offline_access`, or for a parameter of their own (`parameters`)"
        }
        LoginError::NoEndpoint { key: "device_url", .. } => "leave out `--device`, or name the endpoint",
        LoginError::NoEndpoint { .. } => "name it, or log in with `--device`",
        LoginError::Source(SourceError::Refused { code: Some("invalid_client"), .. }) => {
            "the server does not take `client_id`, or what proves it (`auth`)"
        }
        LoginError::Expired => "run the command again",
        _ => return Failure::with_causes(&error),
    };
    let Failure::Other(text) = Failure::with_causes(&error) else { return Failure::with_causes(&error) };
    Failure::Other(format!("{text}\n  help: {help}"))
}
