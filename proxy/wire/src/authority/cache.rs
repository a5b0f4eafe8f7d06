//! Leaves that were signed, up to a number; the one that was signed first makes room.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use claviger_policy::Host;
use dashmap::DashMap;
use rustls::ServerConfig;

use super::AuthorityError;

/// Different hosts are signed for at once, up to so many.
const STRIPES: usize = 16;

/// A leaf that is ready to serve.
pub(super) struct Leaf {
    pub(super) config: Arc<ServerConfig>,
    pub(super) not_before: i64,
    pub(super) renew_at: i64,
}

/// The cache.
pub(super) struct Leaves {
    ready: DashMap<Host, Leaf>,
    order: Mutex<VecDeque<Host>>,
    signing: [Mutex<()>; STRIPES],
    hasher: RandomState,
    max: usize,
}

impl Leaves {
    /// Holds `max` leaves.
    pub(super) fn new(max: usize) -> Self {
        let signing = std::array::from_fn(|_| Mutex::new(()));
        Self { ready: DashMap::new(), order: Mutex::default(), signing, hasher: RandomState::new(), max }
    }

    /// The leaf of a host, made once however many ask for it at the same time.
    pub(super) fn get_or_make(
        &self,
        host: &Host,
        now: i64,
        make: impl FnOnce() -> Result<Leaf, AuthorityError>,
    ) -> Result<Arc<ServerConfig>, AuthorityError> {
        if let Some(config) = self.get(host, now) {
            return Ok(config);
        }
        let _signing = self.signing.get(self.stripe(host)).map(lock);
        if let Some(config) = self.get(host, now) {
            return Ok(config);
        }
        let leaf = make()?;
        let config = Arc::clone(&leaf.config);
        self.insert(host, leaf);
        Ok(config)
    }

    fn get(&self, host: &Host, now: i64) -> Option<Arc<ServerConfig>> {
        let leaf = self.ready.get(host)?;
        (leaf.not_before <= now && now < leaf.renew_at).then(|| Arc::clone(&leaf.config))
    }

    fn insert(&self, host: &Host, leaf: Leaf) {
        if self.ready.insert(host.clone(), leaf).is_some() {
            return;
        }
        let mut order = lock(&self.order);
        order.push_back(host.clone());
        while order.len() > self.max {
            if let Some(oldest) = order.pop_front() {
                self.ready.remove(&oldest);
            }
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "the remainder is under 16")]
    fn stripe(&self, host: &Host) -> usize {
        (self.hasher.hash_one(host) % STRIPES as u64) as usize
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ready.len()
    }
}

/// What a panicking thread left is whole: nothing here is changed in steps that could be torn.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
