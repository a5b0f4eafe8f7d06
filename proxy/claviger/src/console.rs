//! The one place that writes to the terminal.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this module is where printing is allowed")]

use std::io::Write;

use claviger_policy::document::Diagnostics;

/// What a command was asked for.
pub(crate) fn out(text: &str) {
    // A reader that went away (`| head`) is no error of ours.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// As [`out`], without the line's end.
pub(crate) fn out_raw(text: &str) {
    let _ = write!(std::io::stdout(), "{text}");
    let _ = std::io::stdout().flush();
}

/// What an operator should know while the proxy runs.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "claviger: {text}");
}

/// Why a command failed.
pub(crate) fn failure(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Findings about a configuration, one paragraph each.
pub(crate) fn diagnostics(found: &Diagnostics) {
    for diagnostic in found.iter() {
        failure(&diagnostic.to_string());
    }
}
