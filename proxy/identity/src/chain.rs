//! A listener's attestors, in order.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use claviger_contract::{Attested, Clock};
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;

use crate::attestor::{Attestor, Evidence, Verdict};
use crate::os::UnixPeer;
use crate::svid::verifier::SvidVerifier;
use crate::token::jws;
use crate::{IdentityError, proof_digest};

/// What is known of a connection before any request.
#[derive(Clone, Debug, Default)]
pub struct ConnectionFacts<'a> {
    /// The client's certificate chain, leaf first; empty if it showed none.
    pub certificates: &'a [CertificateDer<'static>],
    /// Who is at the other end of a Unix socket.
    pub unix_peer: Option<UnixPeer>,
    /// The client's address; `None`: a Unix socket.
    pub peer_ip: Option<IpAddr>,
}

/// The facts of a connection, and what its chain said of them. Kept for its requests.
#[derive(Clone, Debug)]
pub struct ConnectionProofs {
    certificates: Arc<[CertificateDer<'static>]>,
    unix_peer: Option<UnixPeer>,
    is_neighbour: bool,
    /// The chain that gave the verdicts, one for each of its attestors, with the attestor's epoch.
    chain: u64,
    verdicts: Vec<(u64, Verdict)>,
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
    id: u64,
    clock: Arc<dyn Clock>,
    attestors: Vec<Arc<dyn Attestor>>,
}

impl Chain {
    pub(crate) fn new(clock: Arc<dyn Clock>, attestors: Vec<Arc<dyn Attestor>>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), clock, attestors }
    }

    /// A verifier for the TLS server, if a certificate can be a proof here. It takes a connection without
    /// a certificate (the next attestor may know the caller), refuses one with a bad certificate during the
    /// handshake, and follows the bundles as they change.
    ///
    /// [`IdentityError::of_handshake`] finds the reason in a failed handshake.
    pub fn client_verifier(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        let attestors: Vec<_> =
            self.attestors.iter().filter(|it| it.evidence() == Evidence::Certificate).cloned().collect();
        if attestors.is_empty() {
            return None;
        }
        let judge = move |chain: &[CertificateDer<'static>]| {
            for attestor in &attestors {
                match attestor.attest_certificates(chain) {
                    Verdict::Attested(_) => return Ok(()),
                    Verdict::Refused(error) => return Err(error),
                    Verdict::Absent => {}
                }
            }
            Err(UNKNOWN_TRUST_DOMAIN)
        };
        Some(Arc::new(SvidVerifier::new(Box::new(judge))))
    }

    /// Whether a token in the request can be a proof here.
    pub fn takes_tokens(&self) -> bool {
        self.has(Evidence::Token)
    }

    /// Whether the peer of a Unix socket can be a proof here.
    pub fn takes_unix_peer(&self) -> bool {
        self.has(Evidence::UnixPeer)
    }

    /// Whether nearness can be a proof here, so that nobody else may reach the listener.
    pub fn takes_neighbours(&self) -> bool {
        self.attestors.iter().any(|attestor| matches!(attestor.evidence(), Evidence::Locality { .. }))
    }

    /// Whether nearness can be a proof here though other workloads may share the loopback addresses.
    pub fn takes_strange_neighbours(&self) -> bool {
        self.has(Evidence::Locality { is_private: false })
    }

    /// Whether a connection can be a proof without anything in the request.
    pub fn has_connection_attestor(&self) -> bool {
        self.has(Evidence::Certificate) || self.takes_unix_peer() || self.takes_neighbours()
    }

    /// Keeps what a connection shows, and judges it. Call once per connection, after the handshake, also after one
    /// that resumed a session: its certificates are judged here against the bundles of now.
    pub fn attest_connection(&self, facts: &ConnectionFacts<'_>) -> ConnectionProofs {
        let mut proofs = ConnectionProofs {
            certificates: facts.certificates.into(),
            unix_peer: facts.unix_peer.clone(),
            // Not taken for granted on a loopback listener: a host can be told to route to it from outside.
            is_neighbour: facts.peer_ip.is_none_or(|address| address.to_canonical().is_loopback()),
            chain: self.id,
            verdicts: Vec::new(),
        };
        // The epoch is read first: a change in between makes the verdict old.
        proofs.verdicts = self.attestors.iter().map(|it| (it.epoch(), judge(&**it, &proofs))).collect();
        proofs
    }

    /// Says who makes a request: walks the attestors in order, an absent proof leads to the next, a bad one
    /// to refusal (no downgrade).
    ///
    /// `token` is what the request shows as a proof, without `Bearer`. For a slot that may hold something else, such
    /// as that of an API key, ask [`crate::looks_like_token`] first. A token that no attestor knows the issuer of is
    /// bad. What holds for a connection is judged again when bundles change, when the proof ends, and
    /// when `connection` was made by the chain of an earlier generation.
    pub async fn attest(&self, connection: &ConnectionProofs, token: Option<&[u8]>) -> Outcome {
        let mut shown: Option<(claviger_contract::ProofDigest, Option<_>)> = None;
        for (at, attestor) in self.attestors.iter().enumerate() {
            if matches!(attestor.evidence(), Evidence::Locality { .. }) {
                if !connection.is_neighbour {
                    continue;
                }
                match attestor.attest_neighbour().await {
                    Verdict::Attested(attested) => return Outcome::Attested(attested),
                    Verdict::Refused(error) => return Outcome::Refused(error),
                    Verdict::Absent => continue,
                }
            }
            if attestor.evidence() != Evidence::Token {
                match self.verdict(at, &**attestor, connection) {
                    Verdict::Attested(attested) => return Outcome::Attested(attested),
                    Verdict::Refused(error) => return Outcome::Refused(error),
                    Verdict::Absent => {}
                }
                let has_certificates = !connection.certificates.is_empty();
                if has_certificates && self.is_last(at, Evidence::Certificate) {
                    return Outcome::Refused(UNKNOWN_TRUST_DOMAIN);
                }
                continue;
            }
            let Some(token) = token else { continue };
            let (digest, claims) = shown.get_or_insert_with(|| (proof_digest(&digest(&SHA256, token)), None));
            if let Some(attested) = attestor.recall_token(digest) {
                return Outcome::Attested(attested);
            }
            if attestor.owns_opaque_token(token) {
                return match attestor.attest_token(token, *digest).await {
                    Ok(attested) => Outcome::Attested(attested),
                    Err(error) => Outcome::Refused(error),
                };
            }
            let claims = claims.get_or_insert_with(|| jws::peek_claims(token));
            let Some(claims) = claims else { return Outcome::Refused(NO_TOKEN) };
            if attestor.owns_token(claims) {
                return match attestor.attest_token(token, *digest).await {
                    Ok(attested) => Outcome::Attested(attested),
                    Err(error) => Outcome::Refused(error),
                };
            }
            if self.is_last(at, Evidence::Token) {
                return Outcome::Refused(IdentityError::UnknownIssuer);
            }
        }
        Outcome::Absent
    }

    /// Whether this is the last attestor that could judge such evidence: what it does not know either is bad, and
    /// attestors of other evidence, which stand after it, are not asked.
    fn is_last(&self, at: usize, evidence: Evidence) -> bool {
        let last = self.attestors.iter().rposition(|attestor| attestor.evidence() == evidence);
        last == Some(at)
    }

    fn verdict(&self, at: usize, attestor: &dyn Attestor, connection: &ConnectionProofs) -> Verdict {
        let verdict = match connection.verdicts.get(at) {
            Some((epoch, verdict)) if connection.chain == self.id && *epoch == attestor.epoch() => verdict.clone(),
            _ => judge(attestor, connection),
        };
        match verdict {
            Verdict::Attested(attested) if attested.proof.expires_at.is_some_and(|ends| self.clock.now() >= ends) => {
                Verdict::Refused(IdentityError::Expired)
            }
            other => other,
        }
    }

    /// Whether what made the caller of a request under way would still make it: the certificate or the peer of its
    /// connection, or its token under the keys of now. Makes no call.
    pub fn still_holds(&self, connection: &ConnectionProofs, attested: &Attested) -> bool {
        let same = |verdict| matches!(verdict, Verdict::Attested(now) if now.principal.id == attested.principal.id);
        self.attestors.iter().enumerate().any(|(at, attestor)| match attestor.evidence() {
            Evidence::Certificate | Evidence::UnixPeer => {
                attested.proof.token.is_none() && same(self.verdict(at, &**attestor, connection))
            }
            Evidence::Token => attested.proof.token.is_some() && attestor.still_holds(attested),
            Evidence::Locality { .. } => connection.is_neighbour && attestor.still_holds(attested),
        })
    }

    /// Changes whenever an earlier [`Outcome`] may no longer be right though its proof has not ended: a bundle, a
    /// revocation list or a key set was replaced. Read it before [`Chain::attest`], and keep both together.
    pub fn epoch(&self) -> u64 {
        self.attestors.iter().fold(0, |sum, attestor| sum.wrapping_add(attestor.epoch()))
    }

    fn has(&self, evidence: Evidence) -> bool {
        self.attestors.iter().any(|attestor| attestor.evidence() == evidence)
    }
}

const UNKNOWN_TRUST_DOMAIN: IdentityError =
    IdentityError::Untrusted("no attestor of this listener knows the trust domain");
const NO_TOKEN: IdentityError = IdentityError::Malformed("not a JWS in compact serialisation");

fn judge(attestor: &dyn Attestor, connection: &ConnectionProofs) -> Verdict {
    match (attestor.evidence(), &connection.unix_peer) {
        (Evidence::Certificate, _) if !connection.certificates.is_empty() => {
            attestor.attest_certificates(&connection.certificates)
        }
        (Evidence::UnixPeer, Some(peer)) => attestor.attest_peer(peer),
        (Evidence::Certificate | Evidence::UnixPeer | Evidence::Token | Evidence::Locality { .. }, _) => {
            Verdict::Absent
        }
    }
}
