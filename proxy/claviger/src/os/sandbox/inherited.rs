//! Open files that a process was started with.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::FileType;
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// The descriptor of this number, which the process that started this one left open for it.
///
/// # Errors
/// If no socket is open under that number.
#[allow(unsafe_code, reason = "the only way to a descriptor that another process left open")]
pub(crate) fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: borrowed for the time of this check only; a number that is not open is an error of the call.
    let found = unsafe { BorrowedFd::borrow_raw(number) };
    if FileType::from_raw_mode(rustix::fs::fstat(found)?.st_mode) != FileType::Socket {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: it is open, it was inherited, and this is called once at the start: nothing else here owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Has the next program not inherit folders and sockets: through an open folder every file outside is reached as it was
/// before anything was hidden, through a connected socket whoever is at its other end. Pipes and files (of a build's job
/// server, of `3<file`) were opened by the caller on purpose and stay; so do the standard streams.
#[allow(unsafe_code, reason = "descriptors that another process left open")]
pub(crate) fn leave_the_outside() -> io::Result<()> {
    let numbers: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in numbers {
        // SAFETY: borrowed for these calls only. The folder's own descriptor is closed by now, and is an error of fstat.
        let open = unsafe { BorrowedFd::borrow_raw(number) };
        let Ok(about) = rustix::fs::fstat(open) else { continue };
        let kind = FileType::from_raw_mode(about.st_mode);
        if matches!(kind, FileType::Directory | FileType::Socket) {
            fcntl_setfd(open, fcntl_getfd(open)? | FdFlags::CLOEXEC)?;
        }
    }
    Ok(())
}
