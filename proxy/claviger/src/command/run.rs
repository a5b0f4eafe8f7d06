//! `claviger run`

use std::path::PathBuf;
use std::process::ExitCode;

use crate::app::App;
use crate::cli::ConfigArgs;
use crate::command::{Done, configuration};
use crate::os::Scheduling;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Data cores [default: one per CPU]
    #[arg(long, value_name = "N")]
    pub(crate) cores: Option<usize>,
    /// Write `ca.pem` and `bundle.pem` (with the public roots) into this folder before serving, for clients to trust
    #[arg(long, value_name = "FOLDER")]
    pub(crate) ca_dir: Option<PathBuf>,
    /// How the system schedules the threads
    #[arg(long, value_enum, default_value_t)]
    pub(crate) scheduling: Scheduling,
}

pub(crate) fn run(args: &RunArgs) -> Done {
    // Before there is a thread: those that are begun later have it from this one.
    args.scheduling.take_effect();
    let path = configuration(&args.config)?;
    App::start(path, args.cores, args.ca_dir.as_deref())?.run()?;
    Ok(ExitCode::SUCCESS)
}
