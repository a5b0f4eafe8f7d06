//! Two values of one credential while a rotation is open: which of them serves.
//!
//! ```text
//!                  2xx with the new value                    401 with the new value, and the
//!                  ┌───────────────────────► the new serves ─────────────┐ previous one is taken
//!   just rotated ──┤                            ▲                        ▼
//!   and not probed │      2xx with the new, or  │     the previous serves; every 30 s one request
//!                  └───► 401 with the previous ─┴──── that could be sent twice tries the new value
//! ```
//!
//! A new value that upstream does not know yet must not cost a request. So until upstream was seen to take it (by the
//! probe of `secret rotate`, or by an answer), it is tried by one request at a time, and only by one that can be sent
//! once more. That caution ends with [`PROBATION_MS`]: a rotation that was left open long ago is no reason to send the
//! former value, which may be dead by then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use http::StatusCode;

use crate::lease::Lease;

/// Between two tries of a new value that upstream refused, or that nobody has tried yet, in milliseconds.
pub(crate) const RETRY_MS: i64 = 30_000;
/// How long after a rotation a value that nobody has seen taken is treated with caution, in milliseconds.
const PROBATION_MS: i64 = 600_000;
/// So many 401s in a row for both values: it is not the value that upstream minds.
const FUTILE_MAX: u32 = 16;
/// In place of the time of the next try: the new value serves.
const NEW: i64 = i64::MIN;

/// The lease that is being replaced, and whose turn it is.
#[derive(Clone, Debug)]
pub(crate) struct Overlap {
    pub(super) previous: Arc<Lease>,
    /// Shared with what replaces this, as long as it is about the same two values.
    pub(super) turn: Arc<Turn>,
}

/// What a source yielded: a lease, and while a rotation is open the one before.
#[derive(Debug)]
pub(crate) struct Leased {
    pub(crate) lease: Lease,
    pub(crate) overlap: Option<Overlap>,
}

/// One of the two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    New,
    Previous,
}

/// What changed by an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The new value serves from now on.
    Accepted,
    /// The previous value serves, for [`RETRY_MS`] at least.
    FellBack,
}

/// Read by every request that the credential serves, written when something changes; no lock.
#[derive(Debug)]
pub(super) struct Turn {
    /// [`NEW`], or when the new value may be tried next, in milliseconds; until then the previous one serves.
    try_at_ms: AtomicI64,
    /// Whether the next fall-back is news: many requests may be refused together, and one says so.
    untold: AtomicBool,
    /// 401s for both values since one of them was taken, and the last of them.
    futile: AtomicU32,
    futile_at_ms: AtomicI64,
}

impl Turn {
    /// `since_ms`: when the new value was put in force. `proven`: upstream was seen to take it.
    pub(super) fn new(proven: bool, since_ms: i64, now: i64) -> Self {
        let trusted = proven || now.saturating_sub(since_ms) >= PROBATION_MS;
        Self {
            try_at_ms: AtomicI64::new(if trusted { NEW } else { now }),
            untold: AtomicBool::new(true),
            futile: AtomicU32::new(0),
            futile_at_ms: AtomicI64::new(0),
        }
    }

    /// Whose turn it is. A request that can be sent once more may be the one that tries the new value.
    pub(super) fn pick(&self, now: i64, replayable: bool) -> Which {
        let at = self.try_at_ms.load(Ordering::Acquire);
        if at == NEW {
            return Which::New;
        }
        if replayable && now >= at && self.may_replay(now) && self.previous_until(at, now) {
            self.untold.store(true, Ordering::Release);
            return Which::New;
        }
        Which::Previous
    }

    /// Whether a 401 is worth sending the request once more with the other value.
    pub(super) fn may_replay(&self, now: i64) -> bool {
        self.futile.load(Ordering::Relaxed) < FUTILE_MAX
            || now.saturating_sub(self.futile_at_ms.load(Ordering::Relaxed)) >= RETRY_MS
    }

    /// An answer to a request that was sent once.
    pub(super) fn answered(&self, sent: Which, status: StatusCode) -> Option<Change> {
        match sent {
            Which::New if status.is_success() => self.accept(),
            // This one could not be sent once more; the next is to fare better.
            Which::Previous if status == StatusCode::UNAUTHORIZED => self.accept(),
            Which::New | Which::Previous => None,
        }
    }

    /// An answer to a request that was sent once more after a 401; `sent` is what it was sent with at last.
    pub(super) fn replayed(&self, sent: Which, status: StatusCode, now: i64) -> Option<Change> {
        if status == StatusCode::UNAUTHORIZED {
            self.futile_at_ms.store(now, Ordering::Relaxed);
            self.futile.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.futile.store(0, Ordering::Relaxed);
        match sent {
            Which::New => self.accept(),
            Which::Previous => {
                // If it was a try, that moved the time on already.
                self.previous_until(NEW, now);
                self.untold.swap(false, Ordering::AcqRel).then_some(Change::FellBack)
            }
        }
    }

    fn accept(&self) -> Option<Change> {
        self.futile.store(0, Ordering::Relaxed);
        self.untold.store(true, Ordering::Release);
        (self.try_at_ms.swap(NEW, Ordering::AcqRel) != NEW).then_some(Change::Accepted)
    }

    /// The previous value serves until the next try; `false` if somebody else has moved it meanwhile.
    fn previous_until(&self, at: i64, now: i64) -> bool {
        let next = now.saturating_add(RETRY_MS);
        self.try_at_ms.compare_exchange(at, next, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}
