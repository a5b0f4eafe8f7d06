//! `claviger run`

use std::process::ExitCode;

use crate::app::App;
use crate::cli::RunArgs;
use crate::command::{Done, Failure};
use crate::config;

pub(crate) fn run(args: &RunArgs) -> Done {
    let path = config::discover(args.config.config.as_ref()).map_err(|error| Failure::Other(error.to_string()))?;
    App::start(path, args.cores)?.run()?;
    Ok(ExitCode::SUCCESS)
}
