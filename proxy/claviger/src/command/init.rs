//! `claviger init`

use clap::Args;

use crate::command::{Done, Failure};

#[derive(Debug, Args)]
pub(crate) struct InitArgs {}

pub(crate) fn run(_args: &InitArgs) -> Done {
    Err(Failure::Other("not there yet".to_owned()))
}
