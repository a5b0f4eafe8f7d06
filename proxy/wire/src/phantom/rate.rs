//! How often one caller may log in.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicI64, Ordering};

use claviger_policy::SpiffeId;

/// Callers share a place by chance only, and nobody can choose to: the hash has a key of its own.
const PLACES: usize = 4_096;

/// A minute, in microseconds.
const MINUTE: i64 = 60_000_000;

/// Counts logins in as much memory as there is from the start: each place holds the time at which it is empty again
/// (GCRA), and none is ever added.
pub(crate) struct Rate {
    places: Box<[AtomicI64]>,
    hasher: RandomState,
    /// What one login adds, in microseconds.
    each: i64,
    per_minute: u32,
}

impl Rate {
    /// So many in any minute, at once or spread.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self {
            places: (0..PLACES).map(|_| AtomicI64::new(0)).collect(),
            hasher: RandomState::new(),
            each: MINUTE / i64::from(per_minute.max(1)),
            per_minute,
        }
    }

    pub(crate) fn per_minute(&self) -> u32 {
        self.per_minute
    }

    /// Whether the caller may log in now.
    pub(crate) fn admits(&self, caller: &SpiffeId, now_ms: i64) -> bool {
        let at = usize::try_from(self.hasher.hash_one(caller.as_str()) % PLACES as u64).unwrap_or_default();
        let Some(place) = self.places.get(at) else { return false };
        let now = now_ms.saturating_mul(1_000);
        let admitted = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |empty_at| {
            let next = empty_at.max(now).saturating_add(self.each);
            (next.saturating_sub(now) <= MINUTE).then_some(next)
        });
        admitted.is_ok()
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rate").field("per_minute", &self.per_minute).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_a_minute_and_one_more_after_each_part_of_it() {
        let (rate, id) = (Rate::new(60), SpiffeId::parse("spiffe://acme.test/app").unwrap());
        let start = 1_700_000_000_000;
        assert_eq!((0..100).filter(|_| rate.admits(&id, start)).count(), 60);
        assert!(!rate.admits(&id, start + 999));
        assert!(rate.admits(&id, start + 1_000));
        assert!(!rate.admits(&id, start + 1_001));
        assert_eq!((0..100).filter(|_| rate.admits(&id, start + 3_600_000)).count(), 60);
    }

    #[test]
    fn another_caller_has_a_count_of_its_own() {
        let rate = Rate::new(1);
        let ids = (0..20).map(|at| SpiffeId::parse(&format!("spiffe://acme.test/{at}")).unwrap());
        let admitted = ids.filter(|id| rate.admits(id, 5_000)).count();
        assert!(admitted > 15, "{admitted} of 20");
    }
}
