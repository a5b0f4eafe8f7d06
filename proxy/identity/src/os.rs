//! What only the operating system knows.

#[cfg(target_os = "linux")]
mod kin;
mod passwd;
mod peer;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod socket;

#[cfg(target_os = "linux")]
pub(crate) use kin::is_of_own_descendant;
pub use passwd::user_name;
pub(crate) use peer::PEERS_ARE_KNOWN;
pub use peer::UnixPeer;

/// Whether a client is a process that this one started: only Linux says it.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_of_own_descendant(_: std::net::SocketAddr, _: std::net::SocketAddr) -> bool {
    false
}
