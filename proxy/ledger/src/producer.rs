//! The data cores' side: reserve two slots, then push `decided` and `finished` into them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use claviger_contract::event::{Decided, Finished, RequestId};
use crossbeam_queue::SegQueue;

use crate::commit::{Commit, CommitError, Settle, Ticket};
use crate::gate::Gate;

/// What stands in a ring.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Boxed: inline it was no faster, and the ring's memory more than twice as much.
    Decided(Box<Decided>, Option<Settle>),
    Finished(Finished),
}

impl Entry {
    /// When it happened, in milliseconds since the Unix epoch.
    pub(crate) fn at_ms(&self) -> i64 {
        match self {
            Self::Decided(decided, _) => decided.at_ms,
            Self::Finished(finished) => finished.at_ms,
        }
    }
}

/// One data core's ring.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Not an array of all slots: most of them are never filled, and would be memory all the same.
    pub(crate) queue: SegQueue<Entry>,
    capacity: usize,
    /// Slots promised or filled. A push needs no check: they never exceed the capacity.
    taken: AtomicUsize,
    /// How often [`CoreLedger::reserve`] said no.
    pub(crate) refused: AtomicU64,
    gate: Arc<Gate>,
}

impl Ring {
    pub(crate) fn new(slots: usize, gate: Arc<Gate>) -> Arc<Self> {
        Arc::new(Self {
            queue: SegQueue::new(),
            capacity: slots.max(2),
            taken: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            gate,
        })
    }

    /// Gives slots back: by the writer after it popped them, or by a reservation that was not used.
    pub(crate) fn free(&self, slots: usize) {
        // Release: who takes the slot next also sees that it was emptied.
        self.taken.fetch_sub(slots, Ordering::Release);
    }

    fn push(&self, entry: Entry) {
        // A slot was reserved, so there are never more entries than slots.
        self.queue.push(entry);
        self.gate.wake_if_sleeping();
    }
}

/// One data core's entrance to the ledger. Clones share the core's ring.
#[derive(Clone, Debug)]
pub struct CoreLedger(pub(crate) Arc<Ring>);

impl CoreLedger {
    /// Reserves a slot for `decided` and one for `finished`, so that neither can be refused later.
    ///
    /// `None` if the ring has no two free slots, the ledger is required and cannot be written, or it is
    /// shut down: nothing may be sent then (503). An open request holds one slot until it is finished.
    pub fn reserve(&self) -> Option<Reservation> {
        let ring = &self.0;
        if ring.gate.is_shut() {
            ring.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let capacity = ring.capacity;
        let taken = ring.taken.fetch_add(2, Ordering::Acquire) + 2;
        if taken > capacity {
            ring.free(2);
            ring.refused.fetch_add(1, Ordering::Relaxed);
            ring.gate.wake();
            return None;
        }
        // Crossing, not being above: once per batch, not once per request.
        let high = capacity / 2;
        if taken >= high && taken < high + 2 {
            ring.gate.wake();
        }
        Some(Reservation(Some(ring.clone())))
    }
}

/// Two slots. Dropped unused, it gives them back.
#[derive(Debug)]
pub struct Reservation(Option<Arc<Ring>>);

impl Reservation {
    /// Writes the `decided` record.
    pub fn decided(mut self, decided: Decided) -> Open {
        let ring = self.0.take();
        let (id, at_ms) = (decided.id, decided.at_ms);
        let mut ticket = None;
        if let Some(ring) = &ring {
            ticket = ring.gate.required.then(Ticket::new);
            ring.push(Entry::Decided(Box::new(decided), ticket.clone().map(Settle)));
            // Pushed after the writer's last look: it will not be written.
            if let Some(ticket) = &ticket
                && ring.gate.closed.load(Ordering::SeqCst)
            {
                ticket.settle(Err(CommitError::Closed));
            }
        }
        Open { ring, id, at_ms, ticket }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(ring) = self.0.take() {
            ring.free(2);
        }
    }
}

/// A request that was decided and has not ended. Dropped without [`Open::finished`], it writes a
/// `finished` record with the code `aborted`, so that every request has both.
#[derive(Debug)]
#[must_use = "dropping it records the request as aborted"]
pub struct Open {
    ring: Option<Arc<Ring>>,
    id: RequestId,
    at_ms: i64,
    ticket: Option<Arc<Ticket>>,
}

impl Open {
    /// Resolves when the `decided` record is durable: await it before anything is sent upstream.
    ///
    /// At once where `ledger.required` is off.
    ///
    /// # Errors
    /// The record could not be written; the request must be refused.
    pub fn committed(&self) -> Commit {
        Commit(self.ticket.clone())
    }

    /// Writes the `finished` record, under the id of the `decided` one.
    pub fn finished(mut self, mut finished: Finished) {
        if let Some(ring) = self.ring.take() {
            finished.id = self.id;
            ring.push(Entry::Finished(finished));
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(ring) = self.ring.take() else { return };
        let at_ms = ring.gate.clock.now_ms();
        let elapsed_ms = u64::try_from(at_ms.saturating_sub(self.at_ms)).unwrap_or(0);
        let aborted = Finished {
            id: self.id,
            at_ms,
            code: "aborted",
            status: 0,
            upstream_status: None,
            duration_us: elapsed_ms.saturating_mul(1_000),
            first_byte_us: None,
            request_bytes: 0,
            response_bytes: 0,
            masked: 0,
            replayed: false,
            served_version: None,
        };
        ring.push(Entry::Finished(aborted));
    }
}
