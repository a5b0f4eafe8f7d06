//! `claviger run`

use std::process::ExitCode;

use crate::app::App;
use crate::cli::ConfigArgs;
use crate::command::{Done, configuration};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Data cores [default: one per CPU]
    #[arg(long, value_name = "N")]
    pub(crate) cores: Option<usize>,
}

pub(crate) fn run(args: &RunArgs) -> Done {
    let path = configuration(&args.config)?;
    App::start(path, args.cores)?.run()?;
    Ok(ExitCode::SUCCESS)
}
