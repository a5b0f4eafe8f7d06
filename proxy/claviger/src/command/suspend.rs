//! `claviger suspend`

use clap::Args;

use crate::cli::ConfigArgs;
use crate::command::{Done, Failure};

#[derive(Debug, Args)]
pub(crate) struct SuspendArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

pub(crate) fn run(args: &SuspendArgs) -> Done {
    drop(args.config.clone());
    Err(Failure::Call("this command is not built yet".to_owned()))
}
