//! `claviger test`

use clap::Args;

use crate::cli::ConfigArgs;
use crate::command::{Done, Failure};

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

pub(crate) fn run(args: &TestArgs) -> Done {
    drop(args.config.clone());
    Err(Failure::Call("this command is not built yet".to_owned()))
}
