//! The ledger as the rest of the proxy holds it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use claviger_contract::{Clock, Event, EventSink};
use crossbeam_queue::ArrayQueue;

use crate::chain::Head;
use crate::commit::CommitError;
use crate::error::LedgerError;
use crate::gate::Gate;
use crate::producer::{CoreLedger, Ring};
use crate::settings::LedgerSettings;
use crate::writer::Writer;

/// Slots for events of credentials and of the proxy itself.
const CONTROL_SLOTS: usize = 4_096;

/// Slots for refused connections. Apart, so that whoever floods a listener displaces no credential event.
const CONNECTION_SLOTS: usize = 1_024;

/// Everything that the writer drains.
#[derive(Debug)]
pub(crate) struct Rings {
    pub(crate) cores: Box<[Arc<Ring>]>,
    /// Boxed: these slots are there also while they are empty.
    pub(crate) control: ArrayQueue<Box<Event>>,
    pub(crate) connections: ArrayQueue<Box<Event>>,
}

impl Rings {
    pub(crate) fn are_empty(&self) -> bool {
        self.control.is_empty() && self.connections.is_empty() && self.cores.iter().all(|ring| ring.queue.is_empty())
    }
}

/// How the ledger is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Records written since the start.
    pub records: u64,
    /// Events lost since the start: the disk refused them, or a control queue was full.
    pub lost: u64,
    /// Requests refused since the start because no slot was free or a required ledger was not writable.
    pub refused: u64,
    /// Batches written since the start.
    pub batches: u64,
    /// The last record of the file's chain (of standard output's, if there is no file).
    pub head: Head,
    /// Why the ledger cannot be written, if it cannot.
    pub error: Option<Arc<str>>,
}

/// What the writer tells, and what it is asked.
#[derive(Debug)]
pub(crate) struct Progress {
    state: Mutex<ProgressState>,
    changed: Condvar,
}

#[derive(Debug)]
struct ProgressState {
    flushes_asked: u64,
    flushes_done: u64,
    ended: bool,
    stats: Stats,
}

impl Progress {
    fn new(head: Head) -> Self {
        let stats = Stats { records: 0, lost: 0, refused: 0, batches: 0, head, error: None };
        let state = ProgressState { flushes_asked: 0, flushes_done: 0, ended: false, stats };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, ProgressState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many flushes were asked for and how many were done.
    pub(crate) fn flushes(&self) -> (u64, u64) {
        let state = self.lock();
        (state.flushes_asked, state.flushes_done)
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.lock().stats);
    }

    pub(crate) fn flushed(&self, asked: u64) {
        self.lock().flushes_done = asked;
        self.changed.notify_all();
    }

    pub(crate) fn ended(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

/// The ledger: one thread that writes, and the entrances to it.
///
/// Dropped, it writes what is queued and ends.
pub struct Ledger {
    gate: Arc<Gate>,
    rings: Arc<Rings>,
    progress: Arc<Progress>,
    /// Control events lost to full queues since the start.
    overflowed: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Ledger {
    /// Opens the sinks, continues the chain of an existing file and starts the writer.
    ///
    /// # Errors
    /// The file cannot be opened or its end is damaged, or another process writes it.
    pub fn start(settings: LedgerSettings, clock: Arc<dyn Clock>, cores: usize) -> Result<Arc<Self>, LedgerError> {
        let gate = Arc::new(Gate::new(settings.required, clock));
        let slots = settings.ring.next_power_of_two();
        let rings = Arc::new(Rings {
            cores: (0..cores.max(1)).map(|_| Ring::new(slots, gate.clone())).collect(),
            control: ArrayQueue::new(CONTROL_SLOTS),
            connections: ArrayQueue::new(CONNECTION_SLOTS),
        });
        let lanes = Writer::open(&settings)?;
        let head = lanes.first().map_or(Head::GENESIS, |lane| lane.head());
        let progress = Arc::new(Progress::new(head));
        let writer = Writer::new(lanes, &settings, gate.clone(), rings.clone(), progress.clone());
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || writer.run())
            .map_err(LedgerError::Thread)?;
        gate.set_writer(thread.thread().clone());
        let thread = Mutex::new(Some(thread));
        Ok(Arc::new(Self { gate, rings, progress, overflowed: AtomicU64::new(0), thread }))
    }

    /// The entrance of a data core. More cores than the ledger was started with share rings.
    pub fn core(&self, index: usize) -> CoreLedger {
        let cores = &self.rings.cores;
        // There is at least one ring, so neither the remainder nor the index can fail.
        #[allow(clippy::indexing_slicing, reason = "the remainder is less than the length, which is not 0")]
        CoreLedger(cores[index % cores.len()].clone())
    }

    /// Waits until everything queued before this call was written. Blocks: not for a data core.
    ///
    /// # Errors
    /// The last attempt to write failed, or the ledger has ended.
    pub fn flush(&self) -> Result<(), CommitError> {
        let mut state = self.progress.lock();
        state.flushes_asked += 1;
        let mine = state.flushes_asked;
        self.gate.wake();
        while state.flushes_done < mine && !state.ended {
            state = self.progress.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match &state.stats.error {
            Some(error) => Err(CommitError::Write(error.clone())),
            None if state.flushes_done < mine => Err(CommitError::Closed),
            None => Ok(()),
        }
    }

    /// Refuses new requests, writes what is queued, makes it durable and ends the writer. Blocks.
    /// What is finished later is not recorded, so drain first. Calling it twice is harmless.
    pub fn shutdown(&self) {
        self.gate.closed.store(true, Ordering::SeqCst);
        self.gate.wake();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A writer that panicked has closed the gate and the tickets on its way out.
            let _ = thread.join();
        }
    }

    /// The last record: kept elsewhere, it anchors the chain ([`crate::query::verify_anchored`]).
    pub fn head(&self) -> Head {
        self.progress.lock().stats.head
    }

    /// How the ledger is doing, for metrics and readiness.
    pub fn stats(&self) -> Stats {
        let mut stats = self.progress.lock().stats.clone();
        stats.lost += self.overflowed.load(Ordering::Relaxed);
        stats.refused = self.rings.cores.iter().map(|ring| ring.refused.load(Ordering::Relaxed)).sum();
        stats
    }
}

impl EventSink for Ledger {
    fn emit(&self, event: Event) {
        let queue = match &event {
            Event::Connection(_) => &self.rings.connections,
            Event::Decided(_) | Event::Finished(_) | Event::Credential(_) | Event::System(_) => &self.rings.control,
        };
        if queue.push(Box::new(event)).is_err() {
            self.overflowed.fetch_add(1, Ordering::Relaxed);
            self.gate.overflowed.fetch_add(1, Ordering::Relaxed);
        }
        self.gate.wake_if_sleeping();
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use claviger_contract::SystemClock;
    use claviger_contract::event::SystemEvent;

    use super::*;

    fn wait_until(what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn an_idle_writer_parks_and_the_next_event_wakes_it() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::start(LedgerSettings::new(folder.path()), Arc::new(SystemClock), 1).unwrap();
        for round in 1..=2 {
            wait_until("the writer is idle", || ledger.gate.is_sleeping());
            let event = SystemEvent {
                at_ms: 0,
                kind: "started",
                generation: None,
                configuration: None,
                actor: None,
                detail: None,
            };
            ledger.emit(Event::System(event));
            wait_until("the event is written", || ledger.stats().records == round);
        }
    }
}
