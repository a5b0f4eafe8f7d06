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
    /// The process id, in this process's namespace; 0 if the peer is not in it.
    pub pid: i32,
    /// The executable; `None` if it cannot be known for certain: the process has ended, belongs to somebody whose
    /// processes this one may not inspect, its file was deleted or replaced, or its path means another file here (a
    /// container, a mount namespace).
    pub exe: Option<PathBuf>,
}

/// Whether this system says who the peer is.
pub(crate) const PEERS_ARE_KNOWN: bool = cfg!(target_os = "linux");

impl UnixPeer {
    /// Asks the kernel. Call it right after accept: the process may end at any time, and then its executable is not
    /// known any more.
    ///
    /// uid, gid and pid are those of the moment of `connect` (unix(7), `SO_PEERCRED`); a process that hands its
    /// connected socket to another, or replaces itself by `exec`, keeps being named by them.
    ///
    /// # Errors
    /// If the socket is no connected Unix socket. Elsewhere than on Linux always [`io::ErrorKind::Unsupported`].
    #[cfg(target_os = "linux")]
    pub fn of(socket: impl AsFd) -> io::Result<Self> {
        let socket = socket.as_fd();
        let libc::ucred { pid, uid, gid } = super::socket::peer_credentials(socket)?;
        Ok(Self { uid, gid, pid, exe: super::process::executable_of_peer(socket, pid) })
    }

    /// Asks the kernel.
    ///
    /// # Errors
    /// Always [`io::ErrorKind::Unsupported`]: only Linux says who the peer is in a way that this version reads.
    #[cfg(not(target_os = "linux"))]
    pub fn of(socket: impl AsFd) -> io::Result<Self> {
        let _ = socket.as_fd();
        Err(io::ErrorKind::Unsupported.into())
    }
}
