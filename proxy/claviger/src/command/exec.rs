//! `claviger exec`

use clap::Args;

use crate::command::{Done, Failure};

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {}

pub(crate) fn run(_args: &ExecArgs) -> Done {
    Err(Failure::Other("not there yet".to_owned()))
}
