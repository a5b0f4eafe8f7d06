//! `claviger doctor`

use clap::Args;

use crate::command::{Done, Failure};

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {}

pub(crate) fn run(_args: &DoctorArgs) -> Done {
    Err(Failure::Other("not there yet".to_owned()))
}
