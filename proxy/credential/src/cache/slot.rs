//! The place of one lease, and what is known of the mint that fills it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use claviger_contract::event::CredentialStamp;
use claviger_policy::SpiffeId;
use tokio::sync::watch;

use super::overlap::{Overlap, Which};
use crate::error::{CredentialError, SourceError};
use crate::lease::Lease;

/// For how long a value that upstream refused is kept, in milliseconds, to be compared with the next one.
const REFUSED_MS: i64 = 30_000;

/// What those who wait for a mint are told; `None` until it ends.
pub(crate) type Landing = Option<Result<Arc<Lease>, CredentialError>>;

/// A lease and when to think of the next.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) lease: Arc<Lease>,
    pub(super) refresh_at_ms: i64,
    pub(super) minted_at_ms: i64,
    /// How long the value was to serve when it was minted, however often it was prolonged since.
    pub(super) life_ms: i64,
    /// The source's revision before the value was read.
    pub(super) revision: u64,
    /// The lease before it, while a rotation is open.
    pub(super) overlap: Option<Overlap>,
}

impl Held {
    /// Whichever of the two values has its turn.
    pub(super) fn serving(&self, now: i64, replayable: bool) -> Arc<Lease> {
        match &self.overlap {
            None => self.lease.clone(),
            Some(overlap) => match overlap.turn.pick(now, replayable) {
                Which::New => self.lease.clone(),
                Which::Previous => overlap.previous.clone(),
            },
        }
    }

    /// Ends the value at its issuer, whoever may be using it.
    pub(super) fn revoke(&self, why: &Arc<str>) {
        let previous = self.overlap.as_ref().map(|overlap| &overlap.previous);
        for revocation in [Some(&self.lease), previous].into_iter().flatten().filter_map(|it| it.revocation.as_ref()) {
            revocation.at_once(why);
        }
    }

    /// Which of the two this is; `None` if it is neither any more.
    pub(super) fn which(&self, stamp: &CredentialStamp) -> Option<Which> {
        match &self.overlap {
            _ if self.lease.stamp == *stamp => Some(Which::New),
            Some(overlap) if overlap.previous.stamp == *stamp => Some(Which::Previous),
            Some(_) | None => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) held: ArcSwapOption<Held>,
    flight: Mutex<Flight>,
    used_at_ms: AtomicI64,
    /// Whose it is, if not everyone's.
    pub(super) principal: Option<SpiffeId>,
}

/// The mint under way, and the failures since the last good one.
#[derive(Debug, Default)]
pub(super) struct Flight {
    running: Option<watch::Receiver<Landing>>,
    pub(super) failure: Option<Failure>,
    invalidated_at_ms: Option<i64>,
    /// What upstream refused, until its issuer has said whether it gives out another value or the same once more.
    pub(super) refused: Option<Arc<Lease>>,
    /// What the mint under way yields is not to be kept: it was begun before the leases were dropped.
    pub(super) discard: bool,
}

/// Why the last mint failed, and when to try again.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) cause: Arc<SourceError>,
    pub(super) count: u32,
    /// The first failure since the last good mint.
    pub(super) since_ms: i64,
    pub(super) retry_at_ms: i64,
}

impl Slot {
    /// The place of a lease that is this caller's own.
    pub(super) fn of(principal: SpiffeId) -> Self {
        Self { principal: Some(principal), ..Self::default() }
    }

    /// Never held across an await; what it guards is whole between statements, also after a panic.
    pub(super) fn flight(&self) -> MutexGuard<'_, Flight> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For requests that have a good lease: they do not wait for each other.
    pub(super) fn try_flight(&self) -> Option<MutexGuard<'_, Flight>> {
        self.flight.try_lock().ok()
    }

    pub(super) fn touch(&self, now: i64) {
        // Written only when it changes much, so that cores do not pass the cache line back and forth.
        if now.wrapping_sub(self.used_at_ms.load(Ordering::Relaxed)) >= 100 {
            self.used_at_ms.store(now, Ordering::Relaxed);
        }
    }

    pub(super) fn used_at_ms(&self) -> i64 {
        self.used_at_ms.load(Ordering::Relaxed)
    }

    /// The lease, if it may still be handed out.
    pub(super) fn good(&self, now: i64) -> Option<Arc<Lease>> {
        self.held.load().as_ref().filter(|held| now < held.lease.ends_at_ms).map(|held| held.lease.clone())
    }

    /// As [`good`](Self::good), but whichever value has its turn while a rotation is open.
    pub(super) fn serving(&self, now: i64, replayable: bool) -> Option<Arc<Lease>> {
        let held = self.held.load();
        held.as_ref().filter(|held| now < held.lease.ends_at_ms).map(|held| held.serving(now, replayable))
    }

    /// Lets go of a lease that has ended, so that its value is wiped.
    pub(super) fn drop_ended(&self, now: i64) {
        // Nobody asked for another.
        drop(self.try_flight().and_then(|mut flight| {
            let is_old = flight.invalidated_at_ms.is_some_and(|at| now.wrapping_sub(at) >= REFUSED_MS);
            flight.refused.take_if(|_| is_old)
        }));
        if self.held.load().as_ref().is_some_and(|held| now >= held.lease.ends_at_ms) {
            // Under the lock, so that a lease that lands meanwhile is not dropped in its place.
            let _flight = self.flight();
            if self.good(now).is_none() {
                self.held.store(None);
            }
        }
    }

    /// Lets go of the lease, and of one that a mint under way may yet yield; says which was held.
    pub(super) fn discard(&self) -> Option<Arc<Held>> {
        let mut flight = self.flight();
        flight.discard = flight.running().is_some();
        self.held.swap(None)
    }

    /// Whether the slot still has anything to say: a lease, a mint under way, or a back-off.
    pub(super) fn is_wanted(&self, now: i64) -> bool {
        let flight = self.flight();
        self.held.load().is_some()
            || flight.running().is_some()
            || flight.failure.as_ref().is_some_and(|failure| now < failure.retry_at_ms)
    }

    /// Drops the lease if it is the one held and no invalidation came shortly before; says whether it did.
    pub(super) fn invalidate(&self, lease: &Lease, now: i64, interval_ms: i64) -> bool {
        let mut flight = self.flight();
        let current = self.held.load().as_ref().is_some_and(|held| held.lease.stamp == lease.stamp);
        let recently = flight.invalidated_at_ms.is_some_and(|at| now.wrapping_sub(at) < interval_ms);
        if !lease.renewable || !current || recently {
            return false;
        }
        flight.invalidated_at_ms = Some(now);
        lease.because(&"upstream refused it".into());
        flight.refused = self.held.swap(None).map(|held| held.lease.clone());
        true
    }
}

impl Flight {
    /// The mint under way. One whose task died (its runtime stopped) is none.
    pub(super) fn running(&self) -> Option<&watch::Receiver<Landing>> {
        self.running.as_ref().filter(|running| running.has_changed().is_ok())
    }

    pub(super) fn start(&mut self) -> watch::Sender<Landing> {
        let (sender, receiver) = watch::channel(None);
        self.running = Some(receiver);
        sender
    }

    pub(super) fn end(&mut self) {
        self.running = None;
    }
}
