//! `claviger logout`: ends what was granted by a login.

use std::process::ExitCode;

use clap::Args;

use super::login::{Subject, explained};
use crate::admin::Change;
use crate::cli::ConfigArgs;
use crate::command::Done;
use crate::console;

#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The credential, or a service that gets it
    name: String,
    /// Remove it here also if its server cannot be told
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &LogoutArgs) -> Done {
    let subject = Subject::find(&args.config, &args.name)?;
    let login = &subject.login;
    let revoked = subject.control.block_on(login.end(args.force)).map_err(explained)?;
    let reference = login.reference();
    match revoked {
        Ok(true) => console::out(&format!("the server ended the grant, and `{reference}` is removed")),
        Ok(false) => console::out(&format!(
            "`{reference}` is removed; the server was not told: neither `revocation_url` nor its metadata say where"
        )),
        Err(error) => console::out(&format!("`{reference}` is removed; the server was not told: {error}")),
    }
    subject.tell(Change::Removed);
    Ok(ExitCode::SUCCESS)
}
