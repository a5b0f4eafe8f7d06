//! `claviger ca`: the certificate that clients of forward listeners must trust.

use std::process::ExitCode;

use claviger_policy::document::Diagnostics;

use crate::cli::ConfigArgs;
use crate::command::{Done, Failure, configuration, report};
use crate::{config, console, interception};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct CaArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Followed by the public roots, for variables that replace the system's: SSL_CERT_FILE, REQUESTS_CA_BUNDLE …
    #[arg(long)]
    pub(crate) bundle: bool,
}

pub(crate) fn run(args: &CaArgs) -> Done {
    let path = configuration(&args.config)?;
    let mut found = Diagnostics::default();
    let draft = config::read(&path, &mut found);
    report(&found)?;
    let Some(draft) = draft else { return Err(Failure::Other("the configuration could not be read".into())) };
    interception::load_or_create(&draft.state_dir).map_err(Failure::Other)?;
    let file = interception::certificate_path(&draft.state_dir);
    let pem = std::fs::read_to_string(&file)
        .map_err(|error| Failure::Other(format!("failed to read `{}`: {error}", file.display())))?;
    console::out_raw(&if args.bundle { interception::bundle(&pem) } else { pem });
    Ok(ExitCode::SUCCESS)
}
