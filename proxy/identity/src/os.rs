//! What only the operating system knows.

mod passwd;
mod peer;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod socket;

pub use passwd::user_name;
pub(crate) use peer::PEERS_ARE_KNOWN;
pub use peer::UnixPeer;
