//! `claviger analyze`

use clap::Args;

use crate::cli::ConfigArgs;
use crate::command::{Done, Failure};

#[derive(Debug, Args)]
pub(crate) struct AnalyzeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

pub(crate) fn run(args: &AnalyzeArgs) -> Done {
    drop(args.config.clone());
    Err(Failure::Call("this command is not built yet".to_owned()))
}
