//! What the kernel supports of what Claviger would use.

use super::check::{Check, Id};
use crate::{command::plural, os};

/// Connections are files: with fewer, a gateway refuses clients.
const FILES_FEW: u64 = 4_096;

/// All of this category.
pub(crate) fn checks() -> Vec<Check> {
    let mut all = sandbox();
    all.push(peers());
    all.push(files());
    all
}

fn peers() -> Check {
    let known = std::os::unix::net::UnixStream::pair().and_then(|(one, _other)| claviger_identity::UnixPeer::of(&one));
    match known {
        Ok(peer) if peer.exe.is_some() => {
            Check::ok(Id::KernelPeer, "the kernel says who is at the other end of a Unix socket, and by which program")
        }
        Ok(_) => Check::warning(
            Id::KernelPeer,
            "the kernel says which user is at the other end of a Unix socket, and not by which program",
            "SO_PEERPIDFD needs Linux 6.5, and /proc",
            "do not rely on `exe` of `kind = \"unix-peer\"` on this machine",
        ),
        Err(error) => Check::warning(
            Id::KernelPeer,
            "this system does not say who is at the other end of a Unix socket",
            error.to_string(),
            "use another kind of attestor than `unix-peer` here",
        ),
    }
}

fn files() -> Check {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    match limit.maximum {
        Some(most) if most < FILES_FEW => {
            let what = format!(
                "this user's processes may open {} at most",
                plural(usize::try_from(most).unwrap_or(usize::MAX), "file")
            );
            let next = "raise it for a shared proxy: `LimitNOFILE=` of the unit, or /etc/security/limits.conf";
            Check::warning(Id::KernelFiles, what, "each connection takes one, with its upstream two", next)
        }
        Some(most) => Check::ok(Id::KernelFiles, format!("a process may open {most} files")),
        None => Check::ok(Id::KernelFiles, "a process may open any number of files"),
    }
}

fn sandbox() -> Vec<Check> {
    Vec::new()
}
