//! `claviger preset`

use clap::Args;

use crate::command::{Done, Failure};

#[derive(Debug, Args)]
pub(crate) struct PresetArgs {}

pub(crate) fn run(_args: &PresetArgs) -> Done {
    Err(Failure::Other("not there yet".to_owned()))
}
