//! Systems that are not Linux: there is no sandbox, and that is said.

use std::process::Child;
use std::sync::Arc;

use claviger_contract::{Clock, EventSink};
use tokio::runtime::Handle;

use super::hidden::{self, Caller, Wishes};
use super::{Mode, SandboxArgs, readable};
use crate::command::Failure;
use crate::command::exec::child::{Launch, Sockets, SpawnError, Surroundings, command, loopback};
use crate::console;

/// No sandbox.
pub(crate) struct Sandbox {
    args: SandboxArgs,
}

impl Sandbox {
    /// Says that there is none.
    pub(crate) fn prepare(args: &SandboxArgs, _around: &Surroundings) -> Result<Option<(Self, Sockets)>, Failure> {
        if args.sandbox == Mode::Require {
            return Err(Failure::Other(
                "`--sandbox=require`: this system has no sandbox that Claviger knows".to_owned(),
            ));
        }
        Ok(Some((Self { args: args.clone() }, Sockets { forward: loopback()?, gateway: loopback()? })))
    }

    /// There is nothing that could be watched.
    pub(crate) fn watch(&mut self, _: &Handle, _: Arc<dyn EventSink>, _: Arc<dyn Clock>, _quiet: bool) {}

    /// Starts the command as it is.
    pub(crate) fn spawn(self, launch: &Launch) -> Result<Child, SpawnError> {
        let place = |error: &dyn std::fmt::Display| SpawnError::Place(error.to_string());
        let caller = Caller::this().map_err(|error| place(&error))?;
        let wishes = Wishes { hide: self.args.hide, allow: self.args.allow_read, ..Wishes::default() };
        let hidden = hidden::find(&caller, &wishes).map_err(|error| place(&error))?;
        let paths: Vec<_> = hidden.found.into_iter().map(|one| one.path).collect();
        let variables = readable::variables(&caller, &launch.environment);
        if let Some(text) = readable::sentence(&caller, &paths, &variables) {
            console::note(&format!("no sandbox around `{}`: {text}", launch.program.to_string_lossy()));
        }
        command(launch).spawn().map_err(|error| SpawnError::of(&launch.program, error))
    }
}
