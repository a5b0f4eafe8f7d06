//! Who is calling: attestors for X.509-SVIDs, JWTs and Unix peers.
//!
//! A listener names attestors in order and gets a [`Chain`]. For a connection the chain judges what the
//! handshake and the kernel say, for each request what the request shows, and answers with an [`Outcome`].

mod attestor;
mod attestors;
mod chain;
mod error;
mod os;

pub use attestors::{Attestors, IdentityEnv};
pub use chain::{Chain, ConnectionFacts, ConnectionProofs, Outcome};
pub use error::IdentityError;
pub use os::UnixPeer;
