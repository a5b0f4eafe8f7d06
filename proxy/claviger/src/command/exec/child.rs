//! Where the command of a session runs, and where the session listens for it.
//!
//! The place is made first, since the proxy listens in it: without a sandbox on the loopback address of this machine;
//! with one on that of the command's own network, in sockets that a stage process binds there and hands over. The
//! proxy then adopts the sockets, the environment is made of their ports, and the command starts in the place.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;

use claviger_contract::{Clock, EventSink};
use tokio::runtime::Handle;

use super::sandbox::{Sandbox, SandboxArgs};
use crate::command::Failure;

/// What a place must know before the proxy starts.
pub(crate) struct Surroundings {
    /// The session's own folder (0700): the command may read it.
    pub(crate) folder: PathBuf,
    /// The state folder, with sealed secrets, the ledger and the authorities: the command has no business there.
    pub(crate) state_dir: PathBuf,
    /// The files of the configuration.
    pub(crate) configuration: Vec<PathBuf>,
}

/// The sockets in which a session listens: bound, on port 0, as the command reaches them.
pub(crate) struct Sockets {
    /// For `HTTPS_PROXY`.
    pub(crate) forward: TcpListener,
    /// For base URLs.
    pub(crate) gateway: TcpListener,
}

/// What is started.
pub(crate) struct Launch {
    /// As on the command line: found by `PATH` of `environment` if it has no slash.
    pub(crate) program: OsString,
    /// Without the program itself.
    pub(crate) arguments: Vec<OsString>,
    /// All of the command's environment; nothing is inherited besides.
    pub(crate) environment: Vec<(OsString, OsString)>,
}

/// Why a command did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    /// There is none of that name: exit code 127.
    #[error("`{0}` is not found")]
    NotFound(String),
    /// It is no program that may be run: exit code 126.
    #[error("`{0}` cannot be run: {1}")]
    NotExecutable(String, std::io::Error),
    /// The place could not be prepared any further.
    #[error("{0}")]
    Place(String),
}

impl SpawnError {
    /// As shells say it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound(_) => 127,
            Self::NotExecutable(..) => 126,
            Self::Place(_) => 1,
        }
    }

    /// What the system's error means for a program of that name.
    pub(crate) fn of(program: &OsString, error: std::io::Error) -> Self {
        let name = program.to_string_lossy().into_owned();
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::NotFound(name),
            _ => Self::NotExecutable(name, error),
        }
    }
}

/// Where a command will run.
pub(crate) enum Place {
    /// With everything that its user may do.
    Open,
    /// Out of reach of secrets and of any way out but the proxy.
    Closed(Box<Sandbox>),
}

impl Place {
    /// Makes the place and the sockets in it.
    pub(crate) fn prepare(args: &SandboxArgs, around: &Surroundings) -> Result<(Self, Sockets), Failure> {
        match Sandbox::prepare(args, around)? {
            Some((sandbox, sockets)) => Ok((Self::Closed(Box::new(sandbox)), sockets)),
            None => Ok((Self::Open, Sockets { forward: loopback()?, gateway: loopback()? })),
        }
    }

    /// Notices, from now on, which clients of the command go around the proxy: a record of each, and a line on stderr unless
    /// `quiet`. Call it when the ledger is there and before [`Place::spawn`]; `runtime` is the session's control runtime.
    pub(crate) fn watch(&mut self, runtime: &Handle, events: Arc<dyn EventSink>, clock: Arc<dyn Clock>, quiet: bool) {
        if let Self::Closed(sandbox) = self {
            sandbox.watch(runtime, events, clock, quiet);
        }
    }

    /// Starts the command: it inherits terminal and standard streams and stays in the process group of its parent, so
    /// that a terminal's signals reach both.
    pub(crate) fn spawn(self, launch: &Launch) -> Result<Child, SpawnError> {
        match self {
            Self::Open => command(launch).spawn().map_err(|error| SpawnError::of(&launch.program, error)),
            Self::Closed(sandbox) => sandbox.spawn(launch),
        }
    }
}

/// The command as it starts without a sandbox.
pub(crate) fn command(launch: &Launch) -> Command {
    let mut command = Command::new(&launch.program);
    command.args(&launch.arguments).env_clear().envs(launch.environment.iter().map(|(name, value)| (name, value)));
    command
}

/// A socket that only this machine reaches.
pub(crate) fn loopback() -> Result<TcpListener, Failure> {
    let failed = |error: std::io::Error| Failure::doing("listen on a loopback address")(&error);
    TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).map_err(failed)
}
