//! Who is calling: attestors for X.509-SVIDs, JWTs, Unix peers and sessions of `claviger exec`.
//!
//! A listener names attestors in order and gets a [`Chain`]. For a connection the chain judges what the
//! handshake and the kernel say, for each request what the request shows, and answers with an [`Outcome`].

mod attestor;
mod attestors;
mod chain;
mod error;
mod issuer;
mod os;
mod svid;
mod token;
mod trust_domains;
mod watched;

pub use attestor::complete_attestor;
pub use attestor::exec_session::{
    Kinship, NoRandomness, SessionIdentity, SessionToken, looks_like_session_token, session_chain,
};
pub use attestors::{Attestors, IdentityEnv, Profile};
pub use chain::{Chain, ConnectionFacts, ConnectionProofs, Outcome};
pub use error::IdentityError;
pub use issuer::{Cause, Documents, Issuer, IssuerKeys, IssuerSettings, KeyFacts, SigningAlgorithm};
pub use os::{UnixPeer, user_name};
pub use token::jws::{looks_like_token, token_end};

/// A SHA-256 digest as the key of a proof.
fn proof_digest(digest: &aws_lc_rs::digest::Digest) -> claviger_contract::ProofDigest {
    let mut bytes = [0; 32];
    // SHA-256 has 32 bytes; the copy is written so that it cannot panic.
    for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    claviger_contract::ProofDigest(bytes)
}
