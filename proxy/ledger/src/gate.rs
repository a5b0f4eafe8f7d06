//! What producers and the writer share besides the rings: flags and the wake-up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use claviger_contract::Clock;

/// Read by every producer, written rarely: it stays in every core's cache.
#[derive(Debug)]
pub(crate) struct Gate {
    /// `ledger.required`.
    pub(crate) required: bool,
    /// Required and not writable: nothing may be sent.
    pub(crate) refusing: AtomicBool,
    /// The writer has ended or is about to.
    pub(crate) closed: AtomicBool,
    /// The writer parks until someone wakes it.
    sleeping: AtomicBool,
    writer: OnceLock<Thread>,
    /// For the `finished` record of a request that was dropped.
    pub(crate) clock: Arc<dyn Clock>,
    /// Control events that found their ring full, not yet told by a `lost` record.
    pub(crate) overflowed: AtomicU64,
}

impl Gate {
    pub(crate) fn new(required: bool, clock: Arc<dyn Clock>) -> Self {
        Self {
            required,
            refusing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            writer: OnceLock::new(),
            clock,
            overflowed: AtomicU64::new(0),
        }
    }

    /// Whether nothing may be reserved.
    pub(crate) fn is_shut(&self) -> bool {
        self.refusing.load(Ordering::Acquire) || self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn set_writer(&self, thread: Thread) {
        // Set once, by the one who starts the thread.
        let _ = self.writer.set(thread);
    }

    /// After a push: costs a load, and a system call only if the writer parks.
    ///
    /// The load is sequentially consistent, as is the push before it: either it sees the flag, or the
    /// writer's look at the rings after setting the flag sees the push. No wake-up is lost.
    pub(crate) fn wake_if_sleeping(&self) {
        if self.sleeping.load(Ordering::SeqCst) && self.sleeping.swap(false, Ordering::SeqCst) {
            self.unpark();
        }
    }

    /// Ends the writer's poll interval early.
    pub(crate) fn wake(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
        self.unpark();
    }

    /// By the writer, before its last look at the rings.
    pub(crate) fn announce_sleep(&self) {
        self.sleeping.store(true, Ordering::SeqCst);
    }

    #[cfg(test)]
    pub(crate) fn is_sleeping(&self) -> bool {
        self.sleeping.load(Ordering::SeqCst)
    }

    /// By the writer, once it is up again.
    pub(crate) fn announce_awake(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
    }

    fn unpark(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }
}
