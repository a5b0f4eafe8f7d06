//! Socket options that no safe wrapper reads rightly.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A type that the kernel may fill with any bytes.
trait Plain: Copy {}
impl Plain for libc::c_int {}
impl Plain for libc::ucred {}

/// `SO_PEERCRED` (unix(7)).
///
/// The pid is 0 where the peer lives in a pid namespace that is not ours, as containers that share a socket do;
/// wrappers whose pid cannot be 0 would misread that.
pub(super) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<libc::ucred> {
    let nobody = libc::ucred { pid: 0, uid: libc::uid_t::MAX, gid: libc::gid_t::MAX };
    let credentials = option(socket, libc::SO_PEERCRED, nobody)?;
    // A socket without a peer answers with nobody instead of an error.
    if credentials.uid == libc::uid_t::MAX || credentials.gid == libc::gid_t::MAX {
        return Err(io::ErrorKind::NotConnected.into());
    }
    Ok(credentials)
}

/// `SO_PEERPIDFD`, since Linux 6.5.
pub(super) fn peer_pidfd(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let pidfd = option(socket, libc::SO_PEERPIDFD, -1)?;
    if pidfd < 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    #[allow(unsafe_code, reason = "the kernel made the descriptor for this call")]
    // SAFETY: getsockopt succeeded, so `pidfd` is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(pidfd) })
}

fn option<T: Plain>(socket: BorrowedFd<'_>, name: libc::c_int, initial: T) -> io::Result<T> {
    let mut value = initial;
    let mut length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    #[allow(unsafe_code, reason = "getsockopt takes a pointer")]
    // SAFETY: the socket is open while it is borrowed; `value` and `length` live across the call, `length` is the size
    // of `value`, and any bytes are a `T`.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut length)
    };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}
