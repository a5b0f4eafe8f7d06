//! The closed set of attestors behind one registry: a new one is a file in `attestor/` and a line here.

pub(crate) mod exec_session;
mod jwt;
mod jwt_svid;
pub(crate) mod locality;
mod unix_peer;
mod x509_svid;

pub use jwt::complete_attestor;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use claviger_contract::{Attested, ProofDigest};
use claviger_policy::document::{Diagnostics, Located, Table};
use rustls::pki_types::CertificateDer;
use serde_json::{Map, Value};

use crate::token::remote::RemoteKeys;
use crate::{IdentityEnv, IdentityError, UnixPeer};

/// What one attestor says about a connection.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// The evidence is genuine.
    Attested(Attested),
    /// There is no evidence for this attestor: the next may look.
    Absent,
    /// There is evidence for this attestor, and it is bad: nobody else looks.
    Refused(IdentityError),
}

impl From<Result<Attested, IdentityError>> for Verdict {
    fn from(result: Result<Attested, IdentityError>) -> Self {
        result.map_or_else(Self::Refused, Self::Attested)
    }
}

/// Where an attestor's evidence comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// The TLS client certificate.
    Certificate,
    /// A token in the request.
    Token,
    /// The kernel's word about the peer of a Unix socket.
    UnixPeer,
    /// That the caller is a neighbour: behind a loopback address or a Unix socket.
    Locality {
        /// Whether loopback is known to be the workload's own.
        is_private: bool,
    },
}

/// Verifies one kind of proof.
#[async_trait]
pub(crate) trait Attestor: Send + Sync + fmt::Debug {
    /// Where its evidence comes from.
    fn evidence(&self) -> Evidence;

    /// The names of all attributes that it can yield.
    fn attribute_names(&self) -> Vec<Arc<str>>;

    /// The SPIFFE IDs that it can yield, at least, as patterns.
    fn identities(&self) -> Vec<String>;

    /// The attestor that it asks in turn.
    fn verifier(&self) -> Option<&Arc<str>> {
        None
    }

    /// Files that it was made of; the configuration is loaded again when one changes.
    fn watched_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Whether it reads files again by itself.
    fn reads_files(&self) -> bool {
        !self.watched_files().is_empty()
    }

    /// Reads its files again if they have changed.
    fn look_at_files(&self) {}

    /// Keys that it fetches.
    fn remote_keys(&self) -> Option<&Arc<RemoteKeys>> {
        None
    }

    /// What is wrong with it right now, such as a bundle file that broke after it was loaded.
    fn health(&self) -> Vec<String> {
        Vec::new()
    }

    /// Changes whenever an earlier verdict about a connection may no longer be right.
    fn epoch(&self) -> u64 {
        0
    }

    /// Judges a certificate chain, leaf first, not empty; [`Verdict::Absent`] if it is another trust domain's.
    fn attest_certificates(&self, _chain: &[CertificateDer<'static>]) -> Verdict {
        Verdict::Absent
    }

    /// Judges the peer of a Unix socket.
    fn attest_peer(&self, _peer: &UnixPeer) -> Verdict {
        Verdict::Absent
    }

    /// Judges a caller that nothing but its nearness speaks for.
    async fn attest_neighbour(&self) -> Verdict {
        Verdict::Absent
    }

    /// Whether it would still say of a token what it said when it made this caller. Asked of requests under way when
    /// keys or the configuration have changed; makes no call. Where nothing can be said, the answer is yes: the proof
    /// ends by itself.
    fn still_holds(&self, _attested: &Attested) -> bool {
        false
    }

    /// Whether it verifies what only pods of a cluster have.
    fn is_of_pods(&self) -> bool {
        false
    }

    /// The one issuer whose tokens it judges.
    fn issuer(&self) -> Option<&str> {
        None
    }

    /// A token that was verified before, while that still holds.
    fn recall_token(&self, _digest: &ProofDigest) -> Option<Attested> {
        None
    }

    /// Whether a token with these claims, which are not verified yet, is one that this attestor judges.
    fn owns_token(&self, _claims: &Map<String, Value>) -> bool {
        false
    }

    /// Whether a token that is no JWT is one that this attestor judges.
    fn owns_opaque_token(&self, _token: &[u8]) -> bool {
        false
    }

    /// Judges a token that it owns.
    async fn attest_token(&self, _token: &[u8], _digest: ProofDigest) -> Result<Attested, IdentityError> {
        Err(IdentityError::UnknownIssuer)
    }
}

/// Reads a table of one kind.
pub(crate) type Take = fn(&Located<String>, &mut Table, &IdentityEnv, &mut Diagnostics) -> Option<Arc<dyn Attestor>>;

/// The values of `kind`, and who reads the rest of the table.
pub(crate) const REGISTRY: &[(&str, Take)] = &[
    ("x509-svid", x509_svid::take),
    ("jwt", jwt::take),
    ("jwt-svid", jwt_svid::take),
    ("kubernetes", jwt::kubernetes),
    ("github-actions", jwt::github_actions),
    ("gitlab-ci", jwt::gitlab_ci),
    ("unix-peer", unix_peer::take),
];
