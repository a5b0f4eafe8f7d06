//! `claviger exec`: a command that has no secrets, behind a proxy of its own.
//!
//! The proxy runs in this process, the command is its child. Both are gone when the command ends, and so is everything
//! that was made for them, except the ledger.

pub(crate) mod child;
mod denials;
mod detach;
pub(crate) mod folder;
pub(crate) mod gateway;
pub(crate) mod janitor;
mod print_env;
pub(crate) mod running;
pub(crate) mod sandbox;
mod serve;
mod supervise;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use claviger_wire::Unmatched;

use self::child::{Launch, SpawnError};
use self::denials::{Denials, NextCommand};
use self::folder::Folder;
use self::janitor::Janitor;
use self::print_env::Format;
use self::serve::Begun;
use crate::cli::ConfigArgs;
use crate::command::{Done, Failure, configuration};
use crate::environment::Endpoint;
use crate::{console, environment};

/// Runs CMD behind a proxy of its own: without secrets, as a workload of the configuration
#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Who the command is: a SPIFFE ID, or the name of a workload with `exec = true` [default: the only one there is]
    #[arg(long = "as", value_name = "ID")]
    pub(crate) identity: Option<String>,
    /// What is said of the command: the attribute `exec.KEY` of its principal
    #[arg(long = "attr", value_name = "KEY=VALUE")]
    pub(crate) attributes: Vec<String>,
    /// Only this service; may be repeated [default: all]
    #[arg(long = "service", value_name = "NAME")]
    pub(crate) services: Vec<String>,
    /// Leave this variable as it is, though it holds a secret
    #[arg(long, value_name = "NAME")]
    pub(crate) pass_env: Vec<String>,
    /// Hosts that no service names: refused, or passed untouched and recorded
    #[arg(long, value_enum, default_value_t)]
    pub(crate) unmatched: UnmatchedArg,
    /// Do not tell on stderr what was refused
    #[arg(long, short)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) gateway: gateway::GatewayArgs,
    #[command(flatten)]
    pub(crate) sandbox: sandbox::SandboxArgs,
    /// Print the environment of the session instead of running a command; needs --detach
    #[arg(long, value_enum, value_name = "FORMAT", num_args = 0..=1, default_missing_value = "sh", conflicts_with = "command")]
    pub(crate) print_env: Option<Format>,
    /// Serve the session in the background, for commands that are started later with its environment
    #[arg(long, conflicts_with = "command")]
    pub(crate) detach: bool,
    /// How long a detached session lasts
    #[arg(long = "for", value_name = "DURATION", default_value = "8h", value_parser = lifetime, requires = "detach")]
    pub(crate) lifetime: Duration,
    /// End a detached session with this process
    #[arg(long = "while", value_name = "PID", requires = "detach")]
    pub(crate) alongside: Option<u32>,
    /// End a detached session; $CLAVIGER_EXEC_ID has its name
    #[arg(long, value_name = "ID", conflicts_with_all = ["command", "detach", "print_env"])]
    pub(crate) end: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) serve: bool,
    /// The command and its arguments
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// `--unmatched`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnmatchedArg {
    #[default]
    Refuse,
    Tunnel,
}

impl From<UnmatchedArg> for Unmatched {
    fn from(arg: UnmatchedArg) -> Self {
        match arg {
            UnmatchedArg::Refuse => Self::Refuse,
            UnmatchedArg::Tunnel => Self::Tunnel,
        }
    }
}

/// What `exec` itself ends with where the command never ran, so that it is not taken for the command's own: as `env`,
/// `timeout` and `nice` do.
const OWN_FAILURE: u8 = 125;

pub(crate) fn run(args: &ExecArgs) -> Done {
    let code = choose(args).unwrap_or_else(|failure| {
        console::failure(&failure.to_string());
        OWN_FAILURE
    });
    Ok(ExitCode::from(code))
}

/// `--for`
fn lifetime(text: &str) -> Result<Duration, String> {
    let (shortest, longest) = (Duration::from_secs(1), Duration::from_secs(30 * 86_400));
    let lifetime = claviger_policy::document::parse_duration(text)?;
    match (shortest..=longest).contains(&lifetime) {
        true => Ok(lifetime),
        false => Err("a session lasts from 1s to 30d".to_owned()),
    }
}

fn choose(args: &ExecArgs) -> Result<u8, Failure> {
    let format = args.print_env.unwrap_or_default();
    match (&args.end, args.serve, args.detach) {
        (Some(id), ..) => detach::end(id),
        (None, true, _) => detach::serve(args, format),
        (None, false, true) => detach::start(),
        (None, false, false) if args.print_env.is_some() => running::print(args, format),
        (None, false, false) => execute(args),
    }
}

fn execute(args: &ExecArgs) -> Result<u8, Failure> {
    let Some((program, arguments)) = args.command.split_first() else {
        return Err(Failure::Call("there is no command: `claviger exec -- CMD`".to_owned()));
    };
    let through = through(args);
    let failed = |what: &'static str| move |error: std::io::Error| Failure::doing(what)(&error);
    let signals = supervise::Signals::take().map_err(failed("take signals"))?;
    let folder = serve::folder()?;
    let mut janitor = Janitor::start(folder.path()).map_err(failed("start the session's janitor"))?;
    let next = NextCommand { config: config_option(&args.config), is_here: through.is_none() };
    let denials = Denials::start(next, args.quiet).map_err(failed("start the session"))?;
    let Begun { session, mut place, endpoint } = begin(args, through, &folder, &denials)?;
    let made = make_environment(&endpoint)?;
    session.attend(&mut place, args.quiet);
    let launch = Launch {
        program: program.clone(),
        arguments: arguments.to_vec(),
        environment: complete(made, std::env::vars_os()),
    };
    let code = match place.spawn(&launch) {
        Ok(child) => {
            janitor.look_after(child.id());
            let ended = supervise::supervise(signals, &child).map_err(failed("look after the command"))?;
            // A thread that waits for it has nothing but this to tell.
            session.run(async { ended.await.unwrap_or(OWN_FAILURE) })
        }
        Err(error) => {
            session.run(std::future::ready(()));
            tell_unspawned(&error);
            error.exit_code()
        }
    };
    denials.finish();
    drop(folder);
    janitor.dismiss();
    Ok(code)
}

/// The gateway of the session, if it is to have one.
fn through(args: &ExecArgs) -> Option<String> {
    args.gateway.url(args.config.config.is_some(), &|name| std::env::var_os(name))
}

/// Begins a session that judges here, or through a gateway.
fn begin(args: &ExecArgs, through: Option<String>, folder: &Folder, denials: &Denials) -> Result<Begun, Failure> {
    match through {
        None => serve::begin(args, configuration(&args.config)?, folder, denials.teller()),
        Some(url) => gateway::begin(args, &url, folder, denials.teller()),
    }
}

/// The command's environment, as far as it differs from the caller's, and the files that it names.
fn make_environment(endpoint: &Endpoint) -> Result<environment::Environment, Failure> {
    let made = environment::make(endpoint, &|name| std::env::var_os(name));
    let mut made = made.map_err(|error| Failure::doing("write the files of the session")(&error))?;
    // For clients and scripts that take no proxy: `$CLAVIGER_BASE_URL/SERVICE` is where the service is.
    if let Some(gateway) = &endpoint.gateway {
        made.set.insert(BASE_URL.to_owned(), gateway.into());
    }
    Ok(made)
}

/// Where services are found by their names, the session's proof included.
const BASE_URL: &str = "CLAVIGER_BASE_URL";

fn tell_unspawned(error: &SpawnError) {
    console::failure(&format!("claviger: {error}"));
}

/// The caller's environment with what differs.
fn complete(
    made: environment::Environment,
    inherited: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let environment::Environment { set, remove } = made;
    let is_ours = |name: &OsString| name.to_str().is_some_and(|name| set.contains_key(name) || remove.contains(name));
    let mut all: Vec<(OsString, OsString)> = inherited.filter(|(name, _)| !is_ours(name)).collect();
    all.extend(set.into_iter().map(|(name, value)| (name.into(), value)));
    all
}

/// ` --config FILE` as a shell takes it, if there was one.
fn config_option(args: &ConfigArgs) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+' | ':' | '@' | '%');
    match args.config.as_ref().map(|file| file.display().to_string()) {
        None => String::new(),
        Some(file) if file.chars().all(is_plain) && !file.is_empty() => format!(" --config {file}"),
        Some(file) => format!(" --config '{}'", file.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_command_names_the_same_file() {
        for (file, expected) in [
            (None, ""),
            (Some("a/claviger.toml"), " --config a/claviger.toml"),
            (Some("my file.toml"), " --config 'my file.toml'"),
            (Some("it's.toml"), r" --config 'it'\''s.toml'"),
        ] {
            assert_eq!(config_option(&ConfigArgs { config: file.map(Into::into) }), expected);
        }
    }

    #[test]
    fn what_differs_replaces_and_removes() {
        let mut made = environment::Environment::default();
        made.set.insert("A".to_owned(), "new".into());
        made.remove.insert("B".to_owned());
        let inherited = [("A", "old"), ("B", "secret"), ("C", "same")];
        let all = complete(made, inherited.into_iter().map(|(name, value)| (name.into(), value.into())));
        let expected: [(OsString, OsString); 2] = [("C".into(), "same".into()), ("A".into(), "new".into())];
        assert_eq!(all, expected);
    }
}
