//! `claviger run`

use std::process::ExitCode;

use crate::app::App;
use crate::cli::RunArgs;
use crate::command::{Done, configuration};

pub(crate) fn run(args: &RunArgs) -> Done {
    let path = configuration(&args.config)?;
    App::start(path, args.cores)?.run()?;
    Ok(ExitCode::SUCCESS)
}
