//! The commands, one file each.

pub(crate) mod analyze;
pub(crate) mod ca;
pub(crate) mod canary;
pub(crate) mod check;
pub(crate) mod configuration;
pub(crate) mod credential;
pub(crate) mod doctor;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod fmt;
pub(crate) mod health;
pub(crate) mod init;
pub(crate) mod issuer;
pub(crate) mod k8s;
pub(crate) mod ledger;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod preset;
pub(crate) mod process;
pub(crate) mod quickstart;
pub(crate) mod recall;
pub(crate) mod reload;
pub(crate) mod renew_grant;
pub(crate) mod resume;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod secret;
pub(crate) mod status;
pub(crate) mod suggest;
pub(crate) mod suspend;
pub(crate) mod test;
pub(crate) mod trust;
pub(crate) mod when;

use claviger_policy::document::Diagnostics;

use crate::cli::ConfigArgs;
use crate::{config, console};

/// Why a command ended badly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The configuration has errors, which were printed.
    #[error("claviger: {errors} in the configuration", errors = plural(*.0, "error"))]
    Config(usize),
    /// The call itself is wrong: nothing was tried.
    #[error("claviger: {0}")]
    Call(String),
    /// Anything else, said in full.
    #[error("claviger: {0}")]
    Other(String),
}

impl Failure {
    /// An error with what caused it, unless its own words say so already.
    pub(crate) fn with_causes(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(deeper) = cause {
            let words = deeper.to_string();
            if !text.contains(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            cause = deeper.source();
        }
        Self::Other(text)
    }

    /// 2: the configuration or the call is wrong; 1: it did not work.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Call(_) => 2,
            Self::Other(_) => 1,
        }
    }

    /// What was asked for makes no sense.
    pub(crate) fn call(error: impl std::fmt::Display) -> Self {
        Self::Call(error.to_string())
    }

    /// From any error, with what was being done.
    pub(crate) fn doing(what: &str) -> impl FnOnce(&dyn std::fmt::Display) -> Self {
        let what = what.to_owned();
        move |error| Self::Other(format!("failed to {what}: {error}"))
    }
}

/// The file that a command is to read.
pub(crate) fn configuration(args: &ConfigArgs) -> Result<config::Source, Failure> {
    config::discover(args.config.as_ref()).map_err(Failure::call)
}

/// What a command yields.
pub(crate) type Done = Result<std::process::ExitCode, Failure>;

/// Prints findings; an error among them ends the command.
pub(crate) fn report(found: &Diagnostics) -> Result<(), Failure> {
    // As `check` prints them, whichever part found what first.
    let mut sorted = found.clone();
    sorted.sort();
    console::diagnostics(&sorted);
    let errors = found.iter().filter(|one| one.severity == claviger_policy::document::Severity::Error).count();
    if errors > 0 { Err(Failure::Config(errors)) } else { Ok(()) }
}

/// As [`report`], where the rest was compiled without the teams whose files are wrong: those end nothing.
pub(crate) fn report_platform(found: &Diagnostics) -> Result<(), Failure> {
    let mut platform = found.clone();
    platform.retain(|one| one.team.is_none());
    if platform.has_errors() {
        return report(found);
    }
    let mut sorted = found.clone();
    sorted.sort();
    console::diagnostics(&sorted);
    Ok(())
}

/// "1 error", "2 errors".
pub(crate) fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
