//! `claviger exec`

#![allow(dead_code, reason = "the seam stands before what uses it")]

pub(crate) mod child;
pub(crate) mod gateway;
pub(crate) mod sandbox;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::cli::ConfigArgs;
use crate::command::{Done, Failure};

/// Runs CMD behind a proxy of its own: without secrets, as a workload of the configuration.
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
    /// Only these services [default: all]
    #[arg(long = "service", value_name = "NAME")]
    pub(crate) services: Vec<String>,
    /// Leave this variable as it is, though it holds a secret
    #[arg(long, value_name = "NAME")]
    pub(crate) pass_env: Vec<String>,
    /// Do not tell on stderr what was refused
    #[arg(long, short)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) sandbox: sandbox::SandboxArgs,
    /// The command and its arguments
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

pub(crate) fn run(_args: &ExecArgs) -> Done {
    let _: Option<PathBuf> = None;
    Err(Failure::Other("not there yet".to_owned()))
}
