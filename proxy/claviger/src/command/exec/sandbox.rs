//! `--sandbox`: the command out of reach of secrets, and of any way out but the proxy.

use std::process::Child;

use clap::Args;

use super::child::{Launch, Sockets, SpawnError, Surroundings};
use crate::command::Failure;

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SandboxArgs {}

/// A sandbox that was made and waits for its command.
pub(crate) struct Sandbox(());

impl Sandbox {
    /// Makes the sandbox that was asked for, with the sockets of the session in it; `None`: there is to be none.
    pub(crate) fn prepare(_args: &SandboxArgs, _around: &Surroundings) -> Result<Option<(Self, Sockets)>, Failure> {
        Ok(None)
    }

    /// Starts the command in it.
    pub(crate) fn spawn(self, launch: &Launch) -> Result<Child, SpawnError> {
        super::child::command(launch).spawn().map_err(|error| SpawnError::of(&launch.program, error))
    }
}
