//! Leaves for whatever host a client names: which ones are services, the gateway knows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use claviger_contract::Clock;
use claviger_policy::{Authority, Host, HostPattern};
use rustls::ServerConfig;

use crate::authority::{AuthorityError, InterceptionAuthority, InterceptionRoot};

/// Hosts of one session. A client that names more has those signed anew that were not used lately.
const HOSTS_MAX: usize = 1_024;

/// An authority for each host, constrained to it.
pub(super) struct Hosts {
    root: InterceptionRoot,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<Host, Arc<InterceptionAuthority>>>,
}

impl Hosts {
    pub(super) fn new(root: InterceptionRoot, clock: Arc<dyn Clock>) -> Self {
        Self { root, clock, known: Mutex::default() }
    }

    pub(super) fn leaf(&self, host: &Host) -> Result<Arc<ServerConfig>, AuthorityError> {
        self.authority(host)?.leaf(host)
    }

    fn authority(&self, host: &Host) -> Result<Arc<InterceptionAuthority>, AuthorityError> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(authority) = known().get(host) {
            return Ok(authority.clone());
        }
        let exact = HostPattern::exact(&Authority { host: host.clone(), port: 443 });
        let made = Arc::new(InterceptionAuthority::new(&self.root, &[exact], 1, self.clock.clone())?);
        let mut known = known();
        if known.len() >= HOSTS_MAX {
            known.clear();
        }
        Ok(known.entry(host.clone()).or_insert(made).clone())
    }
}
