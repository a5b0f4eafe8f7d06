//! What a workload presented, once an attestor has verified it.

use std::fmt;
use std::sync::Arc;

use claviger_policy::Principal;

use crate::Secret;

/// A digest (SHA-256) of the proof as presented: the key under which everything derived from it is cached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProofDigest(pub [u8; 32]);

impl fmt::Debug for ProofDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "ProofDigest({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

/// A verified proof. Leases derived from it end with it.
#[derive(Debug)]
pub struct Proof {
    /// Its digest.
    pub digest: ProofDigest,
    /// When it ends, in seconds since the Unix epoch; `None` if it lasts as long as the connection.
    pub expires_at: Option<i64>,
    /// The token itself, for sources that exchange it; `None` for proofs that are no token.
    pub token: Option<Secret>,
}

/// A principal and the proof that it rests on.
#[derive(Clone, Debug)]
pub struct Attested {
    /// Who it is.
    pub principal: Arc<Principal>,
    /// Why we believe it.
    pub proof: Arc<Proof>,
}
