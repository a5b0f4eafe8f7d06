//! The process that sends one refresh token, and seals what comes back: see [`renewing`](crate::renewing).

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use claviger_contract::SystemClock;
use claviger_credential::Renewal;
use claviger_wire::{ReqwestOutbound, Resolver};
use tokio::signal::unix::{SignalKind, signal};

use super::{Done, Failure};

/// The most that is said to it: a form, a root, a certificate.
const SAID_MAX: u64 = 4 * 1024 * 1024;

pub(crate) fn run() -> Done {
    let failed = |error: std::io::Error| Failure::doing("renew a grant")(&error);
    let mut socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    let lock = std::io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::doing("start a runtime")(&error))?;
    // What ends other processes of a service does not end this one: it is done within moments.
    let deaf = runtime.block_on(async {
        [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()]
            .map(signal)
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
    });
    let _deaf = deaf.map_err(failed)?;
    let mut said = zeroize::Zeroizing::new(Vec::with_capacity(ROOM));
    (&socket).take(SAID_MAX).read_to_end(&mut said).map_err(failed)?;
    let renewal = Renewal::from_bytes(&said, File::from(lock))
        .ok_or_else(|| Failure::call("this command is for Claviger itself, which tells it what to do"))?;
    drop(said);
    let outbound = ReqwestOutbound::new(Resolver::new());
    let outcome = runtime.block_on(renewal.carry_out(&outbound, &SystemClock));
    release(std::io::stdout().as_fd().try_clone_to_owned().ok());
    // Whoever asked may be gone: what came back is sealed all the same.
    let _ = socket.write_all(&outcome.to_bytes());
    Ok(ExitCode::SUCCESS)
}

/// The lock is that of the open file, which standard output is as well.
fn release(lock: Option<OwnedFd>) {
    if let Some(lock) = lock {
        let _ = File::from(lock).unlock();
    }
}

/// Room for what is usually said, so that the buffer does not grow and leave copies behind.
const ROOM: usize = 256 * 1024;
