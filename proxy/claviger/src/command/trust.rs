//! `claviger trust`

use clap::Args;

use crate::command::{Done, Failure};

#[derive(Debug, Args)]
pub(crate) struct TrustArgs {}

pub(crate) fn run(_args: &TrustArgs) -> Done {
    Err(Failure::Other("not there yet".to_owned()))
}
