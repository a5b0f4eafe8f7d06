//! `claviger doctor -- CMD`: a command under `exec`, and what became of its requests.

use std::ffi::OsString;
use std::process::{Command, ExitStatus, Stdio};

use claviger_contract::{Clock as _, SystemClock};
use tokio::signal::unix::{SignalKind, signal};

use super::check::{Check, Id};
use super::network::{self, Seen};
use super::scene::Scene;
use crate::cli::Output;
use crate::command::{Failure, plural};

/// `exec` itself ends with this where its command never ran.
const NEVER_RAN: i32 = 125;

/// Runs it and looks at what was recorded meanwhile.
pub(crate) fn checks(scene: &Scene<'_>, control: &tokio::runtime::Runtime) -> Result<Vec<Check>, Failure> {
    let since_ms = SystemClock.now_ms();
    let status = run(scene, control)?;
    let own = scene.ledger.as_deref();
    let sessions = own.map(claviger_ledger::sessions::all).unwrap_or_default();
    let seen = network::seen(&sessions, since_ms);
    let mut all = vec![ended(status)];
    all.extend(told(&seen));
    Ok(all)
}

fn run(scene: &Scene<'_>, control: &tokio::runtime::Runtime) -> Result<ExitStatus, Failure> {
    let failed = |error: std::io::Error| Failure::doing("run the command")(&error);
    // Who interrupts means the command: what became of it is still told.
    let _held = control.block_on(async { [SignalKind::interrupt(), SignalKind::quit()].map(|kind| signal(kind).ok()) });
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    let mut words: Vec<OsString> = vec!["exec".into()];
    if let Some(file) = &scene.args.config.config {
        words.extend(["--config".into(), file.into()]);
    }
    if let Some(identity) = &scene.args.identity {
        words.extend(["--as".into(), identity.into()]);
    }
    words.extend(["--quiet".into(), "--".into()]);
    words.extend(scene.args.command.iter().cloned());
    command.args(words);
    if scene.args.output == Output::Json {
        // Standard output is the report's.
        command.stdout(Stdio::from(rustix::io::dup(std::io::stderr()).map_err(|error| failed(error.into()))?));
    }
    command.status().map_err(failed)
}

fn ended(status: ExitStatus) -> Check {
    match status.code() {
        Some(0) => Check::ok(Id::CommandEnded, "the command ended well"),
        Some(NEVER_RAN) => Check::error(
            Id::CommandEnded,
            "the command was not started",
            "`claviger exec` has said why, above",
            "put that right; `claviger doctor` without a command looks at all the rest",
        ),
        Some(code) => Check::warning(
            Id::CommandEnded,
            format!("the command ended with exit code {code}"),
            "it says why itself, if what stands below does not",
            "look at the first line below that is not as it should be",
        ),
        None => Check::warning(Id::CommandEnded, "the command was ended", status.to_string(), "run it again"),
    }
}

fn told(seen: &Seen) -> Vec<Check> {
    let count = plural(usize::try_from(seen.allowed).unwrap_or(usize::MAX), "request");
    let mut all = Vec::new();
    all.extend(network::told(&seen.denied, &|what, kind| network::denied(Id::CommandDenied, what, kind).worse()));
    all.extend(network::told(&seen.failed, &|what, kind| network::failed(Id::CommandFailed, what, kind).worse()));
    all.extend(network::told(&seen.tls, &|host, kind| network::untrusting(Id::CommandTls, host, kind)));
    all.extend(network::told(&seen.bypassed, &|host, kind| network::bypassed(Id::CommandBypassed, host, kind)));
    let passed = match (seen.allowed, all.is_empty()) {
        (0, true) => "it has sent no request, neither through the proxy nor around it".to_owned(),
        (_, _) => format!("{count} passed"),
    };
    all.insert(0, Check::ok(Id::CommandAllowed, passed));
    all
}
