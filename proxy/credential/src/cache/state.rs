//! How the leases of one credential stand, for whoever looks after them.

use super::{Keeper, Slot};

/// Of all leases that are kept of a credential, one for each key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseState {
    /// Good ones.
    pub leases: usize,
    /// When the newest was minted or read, in milliseconds since the Unix epoch.
    pub minted_at_ms: Option<i64>,
    /// When that one expires, in seconds since the Unix epoch; `None`: it has no end of its own.
    pub expires_at: Option<i64>,
    /// Since when mints fail, in milliseconds since the Unix epoch: the longest, if several do.
    pub failing_since_ms: Option<i64>,
    /// The code of that failure.
    pub failure: Option<&'static str>,
    /// Whether a good lease serves although the last mint failed.
    pub stale: bool,
}

impl Keeper {
    /// How its leases stand now.
    pub(crate) fn state(&self) -> LeaseState {
        let (now, mut state) = (self.clock.now_ms(), LeaseState::default());
        state.take_up(&self.cache.shared, now);
        self.cache.keyed.iter().for_each(|slot| state.take_up(&slot, now));
        state
    }
}

impl LeaseState {
    fn take_up(&mut self, slot: &Slot, now: i64) {
        let held = slot.held.load_full().filter(|held| now < held.lease.ends_at_ms);
        if let Some(held) = &held {
            self.leases += 1;
            if self.minted_at_ms.is_none_or(|known| known < held.minted_at_ms) {
                self.minted_at_ms = Some(held.minted_at_ms);
                self.expires_at = held.lease.expires_at;
            }
        }
        let flight = slot.flight();
        if let Some(failure) = &flight.failure {
            self.stale |= held.is_some();
            if self.failing_since_ms.is_none_or(|known| known > failure.since_ms) {
                self.failing_since_ms = Some(failure.since_ms);
                self.failure = Some(failure.cause.code());
            }
        }
    }
}
