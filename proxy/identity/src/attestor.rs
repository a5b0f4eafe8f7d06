//! The closed set of attestors behind one registry: a new one is a file in `attestor/` and a line here.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use claviger_contract::Attested;
use claviger_policy::document::{Diagnostics, Located, Table};

use crate::chain::ConnectionFacts;
use crate::{IdentityEnv, IdentityError};

/// What one attestor says about one kind of evidence.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// The evidence is genuine.
    Attested(Attested),
    /// There is no evidence for this attestor: the next may look.
    Absent,
    /// There is evidence for this attestor, and it is bad: nobody else looks.
    Refused(IdentityError),
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
}

/// Verifies one kind of proof.
#[async_trait]
pub(crate) trait Attestor: Send + Sync + fmt::Debug {
    /// Where its evidence comes from.
    fn evidence(&self) -> Evidence;

    /// The names of all attributes that it can yield.
    fn attribute_names(&self) -> Vec<Arc<str>>;

    /// Files that it re-reads by itself when they change.
    fn watched_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Starts its background work; `previous` is the attestor of the same name of the generation before.
    fn start(self: Arc<Self>, _previous: Option<&Arc<dyn Attestor>>) {}

    /// What is wrong with it right now, such as a bundle file that broke after it was loaded.
    fn health(&self) -> Vec<String> {
        Vec::new()
    }

    /// Judges the connection. Called again for each request: it must be cheap for what it has judged before.
    fn attest_connection(&self, _facts: &ConnectionFacts<'_>) -> Verdict {
        Verdict::Absent
    }

    /// Judges the token; [`Verdict::Absent`] if it is another issuer's.
    async fn attest_token(&self, _token: &[u8]) -> Verdict {
        Verdict::Absent
    }
}

type Take = fn(&Located<String>, Table, &IdentityEnv, &mut Diagnostics) -> Option<Arc<dyn Attestor>>;

/// The values of `kind`, and who reads the rest of the table.
pub(crate) const REGISTRY: &[(&str, Take)] = &[];
