//! What is asked of the operating system about this process itself, and about files.

mod allocator;
mod holder;
mod manager;
pub(crate) mod memory;
#[cfg(target_os = "linux")]
pub(crate) mod sandbox;
mod scheduling;

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub(crate) use allocator::Allocator;
pub(crate) use holder::holder_of;
pub(crate) use manager::tell_manager;
pub(crate) use scheduling::Scheduling;

/// Keeps secrets in memory out of core files and away from other processes of the same user.
///
/// Not dumpable: no core file, and `ptrace` and `/proc/PID/mem` need privileges. Called before
/// anything is read. A kernel that refuses is not an error: the proxy is still better than no proxy.
pub(crate) fn harden() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
}

/// As many open files as the system lets this process have: each connection is one.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        // Refused: the soft limit stays, and `connections_max` should be set below it.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}

/// One data core per CPU that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The bytes of a regular file of at most so many: no device that never ends, no pipe that nobody writes to.
pub(crate) fn read_regular(path: &Path, max: u64) -> std::io::Result<Vec<u8>> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = std::fs::File::options().read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(std::io::Error::other(format!("it has more than {max} bytes")));
    }
    Ok(bytes)
}
