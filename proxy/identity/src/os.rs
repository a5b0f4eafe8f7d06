//! What only the operating system knows.

mod peer;

pub use peer::UnixPeer;
