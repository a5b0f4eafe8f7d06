//! Who is at the other end of a Unix socket.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// The peer of a Unix socket, as the kernel saw it when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixPeer {
    /// The effective user id at connect time.
    pub uid: u32,
    /// The effective group id at connect time.
    pub gid: u32,
    /// The process id, in this process's namespace.
    pub pid: i32,
    /// The executable; `None` if it cannot be known for certain.
    pub exe: Option<PathBuf>,
}

impl UnixPeer {
    /// Asks the kernel. Call it right after accept: the process may end at any time.
    ///
    /// # Errors
    /// If the socket is no Unix socket, or the system has no way to tell.
    pub fn of(_socket: impl AsFd) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
