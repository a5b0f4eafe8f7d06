//! `claviger resume`

use clap::Args;

use crate::cli::ConfigArgs;
use crate::command::{Done, Failure};

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

pub(crate) fn run(args: &ResumeArgs) -> Done {
    drop(args.config.clone());
    Err(Failure::Call("this command is not built yet".to_owned()))
}
