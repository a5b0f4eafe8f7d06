//! All credentials of one configuration.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use claviger_contract::{Attested, Clock, EventSink, Outbound};
use claviger_policy::document::{Diagnostics, Located, Table};
use claviger_policy::{CredentialFacts, Grant, HostPattern, Scheme};

use crate::{CredentialError, Lease, LeaseAnswer};

/// What credentials need of the process around them.
#[derive(Clone, Debug)]
pub struct CredentialEnv {
    /// Holds `sealed/` and `keys/`.
    pub state_dir: PathBuf,
    /// Control calls.
    pub outbound: Arc<dyn Outbound>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Takes what happens to credentials.
    pub events: Arc<dyn EventSink>,
    /// The control runtime: mints and refreshes run there.
    pub runtime: tokio::runtime::Handle,
}

/// `[service.NAME] secret = "secret://…"`: a static credential named after the service.
#[derive(Clone, Debug)]
pub struct ServiceSecret {
    /// The service's name.
    pub service: Located<String>,
    /// The reference.
    pub reference: Located<String>,
    /// The service's hosts.
    pub hosts: Vec<HostPattern>,
    /// What is spoken to the service.
    pub scheme: Scheme,
}

/// All credentials of one configuration, with their caches.
#[derive(Debug)]
pub struct Credentials {
    by_name: HashMap<Arc<str>, ()>,
}

impl Credentials {
    /// Takes the root keys `store` and `credential`.
    pub fn take(
        root: &mut Table,
        shorthands: Vec<ServiceSecret>,
        env: &CredentialEnv,
        previous: Option<&Credentials>,
        out: &mut Diagnostics,
    ) -> Self {
        let _ = (root, shorthands, env, previous, out);
        Self { by_name: HashMap::new() }
    }

    /// What policy knows of the credentials.
    pub fn facts(&self) -> Vec<CredentialFacts> {
        Vec::new()
    }

    /// A lease, at once if one is at hand.
    pub fn lease(&self, name: &str, grant: &Grant, attested: &Attested) -> LeaseAnswer {
        let _ = (grant, attested, self.by_name.get(name));
        let error = CredentialError::Unknown(name.into());
        LeaseAnswer::Wait(Box::pin(std::future::ready(Err(error))))
    }

    /// Upstream refused the value (401).
    pub fn invalidate(&self, lease: &Arc<Lease>) {
        let _ = lease;
    }
}
