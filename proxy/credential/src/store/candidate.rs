//! A value that is not in force yet, in the place where it would stand: for a probe of it.

use std::fmt;
use std::sync::Arc;

use claviger_contract::Secret;
use claviger_policy::document::Location;

use super::{SecretStore, Stored};
use crate::binding::BoundHost;
use crate::error::StoreError;

/// A new value of one secret, before it is sealed.
pub struct Candidate {
    store: String,
    name: String,
    value: Secret,
    hosts: Vec<BoundHost>,
}

impl Candidate {
    /// The value that `secret://STORE/NAME` would have, and where it might go.
    pub fn new(store: &str, name: &str, value: &Secret, hosts: Vec<BoundHost>) -> Self {
        #[allow(clippy::disallowed_methods, reason = "a copy for the probe, wiped as the value itself is")]
        let value = Secret::new(value.expose().to_vec());
        Self { store: store.to_owned(), name: name.to_owned(), value, hosts }
    }

    /// The name of its store.
    pub(crate) fn store(&self) -> &str {
        &self.store
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Candidate(secret://{}/{})", self.store, self.name)
    }
}

/// A store in which the candidate has taken its place.
#[derive(Debug)]
pub(super) struct WithCandidate {
    pub(super) store: Arc<dyn SecretStore>,
    pub(super) candidate: Arc<Candidate>,
}

#[async_trait::async_trait]
impl SecretStore for WithCandidate {
    fn resolve(&self, name: &str, written: &Location) -> Result<String, StoreError> {
        self.store.resolve(name, written)
    }

    fn read_now(&self, name: &str) -> Option<Result<Stored, StoreError>> {
        if name != self.candidate.name {
            return self.store.read_now(name);
        }
        let Candidate { value, hosts, .. } = &*self.candidate;
        #[allow(clippy::disallowed_methods, reason = "as any store yields a value of its own")]
        let value = Secret::new(value.expose().to_vec());
        Some(Ok(Stored { value, hosts: Some(hosts.clone()), version: None, previous: None, warning: None }))
    }

    async fn read(&self, name: &str) -> Result<Stored, StoreError> {
        match self.read_now(name) {
            Some(read) => read,
            None => self.store.read(name).await,
        }
    }

    fn revision(&self, name: &str) -> u64 {
        self.store.revision(name)
    }

    fn hosts(&self, name: &str) -> Option<Vec<BoundHost>> {
        self.store.hosts(name)
    }

    fn advice(&self, name: &str, bind: &str) -> String {
        self.store.advice(name, bind)
    }

    fn sealed(&self) -> Option<&super::sealed::SealedStore> {
        self.store.sealed()
    }
}
