//! The one thread that drains the rings, chains the records and writes them.

mod batch;
mod file;
mod lane;
pub(crate) mod recover;
mod stdout;
mod syncing;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use self::batch::Batch;
use self::file::FileSink;
use self::lane::{Lane, Target};
use self::stdout::StdoutSink;
use crate::commit::CommitError;
use crate::encode::Encoder;
use crate::error::LedgerError;
use crate::gate::Gate;
use crate::ledger::{Progress, Rings};
use crate::producer::{Entry, Ring};
use crate::settings::{LedgerSettings, Sink};

/// While there is work, the rings are looked at this often, and producers make no system call: often while much comes, so
/// that little piles up, and rarely while little does, since each look wakes a thread beside the data cores.
const PACE: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_millis(80);

/// A batch of fewer bytes is little: half as many looks would do.
const LITTLE: usize = 32 << 10;

/// One of more is much: there are to be twice as many.
const MUCH: usize = 128 << 10;

/// After so long without work the writer parks until it is woken.
const IDLE: Duration = Duration::from_secs(1);

/// How long a sink that failed is left alone.
const RETRY: Duration = Duration::from_millis(200);

/// A batch is written when it has so many bytes, or the rings are empty.
const BATCH_BYTES: u64 = 256 << 10;

#[derive(Debug)]
pub(crate) struct Writer {
    /// The file first: with `ledger.required` its result decides.
    lanes: Vec<Lane>,
    required: bool,
    batch_bytes: usize,
    batch: Batch,
    encoder: Encoder,
    worked_at: Instant,
    /// How long the next rest is.
    pace: Duration,
    gate: Arc<Gate>,
    rings: Arc<Rings>,
    progress: Arc<Progress>,
}

impl Writer {
    /// Opens the sinks, the file first.
    pub(crate) fn open(settings: &LedgerSettings) -> Result<Vec<Lane>, LedgerError> {
        let mut lanes = Vec::new();
        if settings.sinks.contains(&Sink::File) {
            let (sink, opened) = FileSink::open(settings)?;
            lanes.push(Lane::new(Target::File(sink), opened));
        }
        if settings.sinks.contains(&Sink::Stdout) {
            lanes.push(Lane::new(Target::Stdout(StdoutSink::default()), file::Opened::default()));
        }
        Ok(lanes)
    }

    pub(crate) fn new(
        lanes: Vec<Lane>,
        settings: &LedgerSettings,
        gate: Arc<Gate>,
        rings: Arc<Rings>,
        progress: Arc<Progress>,
    ) -> Self {
        // Small files get small batches, so that a file exceeds `rotate_size` by nothing.
        let batch_bytes = (settings.rotate_size / 4).clamp(4 << 10, BATCH_BYTES);
        Self {
            lanes,
            required: settings.required,
            batch_bytes: usize::try_from(batch_bytes).unwrap_or(usize::MAX),
            batch: Batch::default(),
            encoder: Encoder::default(),
            worked_at: Instant::now(),
            pace: *PACE.start(),
            gate,
            rings,
            progress,
        }
    }

    pub(crate) fn run(mut self) {
        let _guard =
            CloseOnExit { gate: self.gate.clone(), rings: self.rings.clone(), progress: self.progress.clone() };
        loop {
            // Both are read before the rings: what was queued before them is drained below.
            let (asked, done) = self.progress.flushes();
            let closing = self.gate.closed.load(Ordering::SeqCst);
            let drained = self.drain();
            let had_work = !self.batch.is_empty();
            self.pace = next_pace(self.pace, self.batch.len());
            let written = self.write(asked != done || closing);
            if had_work {
                self.worked_at = Instant::now();
            }
            if written && !drained {
                continue;
            }
            if asked != done {
                self.progress.flushed(asked);
            }
            if closing {
                break;
            }
            self.rest(written);
        }
        for lane in &mut self.lanes {
            lane.close();
        }
    }

    /// Moves events from the rings to the batch. `false` if the batch is full before the rings are empty.
    fn drain(&mut self) -> bool {
        let Self { rings, batch, encoder, gate, batch_bytes, .. } = self;
        let overflowed = gate.overflowed.swap(0, Ordering::Relaxed);
        if overflowed > 0 {
            batch.overflowed(overflowed, gate.clock.now_ms(), encoder);
        }
        for queue in [&rings.control, &rings.connections] {
            // Only what is there now: a queue that fills as fast as it empties must not hold up the others.
            for _ in 0..queue.len() {
                if batch.len() >= *batch_bytes {
                    return false;
                }
                let Some(event) = queue.pop() else { break };
                batch.push(&event, encoder);
            }
        }
        // What happened first comes first, whichever core it happened on; of each core in its order. So no busy core starves
        // another either.
        let mut cores: Vec<Core<'_>> = rings.cores.iter().map(|ring| Core::new(ring)).collect();
        while batch.len() < *batch_bytes {
            let first = cores.iter_mut().filter(|core| core.next.is_some()).min_by_key(|core| core.at_ms());
            let Some(core) = first else { return true };
            core.next.take().into_iter().for_each(|entry| batch.push_entry(entry, encoder));
            core.advance();
        }
        // What was taken out already is written too.
        for entry in cores.iter_mut().filter_map(|core| core.next.take()) {
            batch.push_entry(entry, encoder);
        }
        false
    }

    /// Writes the batch to every sink. `false` if a required file refused it; then the batch is kept.
    fn write(&mut self, insist: bool) -> bool {
        let now_ms = self.gate.clock.now_ms();
        let mut records = 0;
        let mut lost = 0;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let decides = self.required && index == 0;
            match lane.write(&self.batch, &mut self.encoder, now_ms, insist) {
                Ok(written) if index == 0 => records = written,
                Ok(_) => {}
                Err(error) if decides => {
                    self.gate.refusing.store(true, Ordering::Release);
                    self.batch.settle(Err(&CommitError::Write(error.clone())));
                    self.progress.update(|stats| stats.error = Some(error));
                    return false;
                }
                Err(_) => lost += lane.lose(&self.batch),
            }
        }
        if self.required {
            self.gate.refusing.store(false, Ordering::Release);
        }
        let head = self.lanes.first().map(Lane::head);
        let error = self.lanes.iter().find_map(Lane::error);
        // Before the batch is settled: who was told that a record is durable finds it counted.
        self.progress.update(|stats| {
            stats.records += records;
            stats.batches += u64::from(records > 0);
            stats.lost += lost;
            stats.head = head.unwrap_or(stats.head);
            stats.error = error;
        });
        self.batch.settle(Ok(()));
        self.batch.clear();
        true
    }

    /// Waits for more to do.
    fn rest(&mut self, written: bool) {
        if !written {
            park_timeout(RETRY);
            return;
        }
        if !self.required && self.worked_at.elapsed() < IDLE {
            park_timeout(self.pace);
            return;
        }
        self.gate.announce_sleep();
        if self.rings.are_empty() {
            // A flush or shutdown that came meanwhile has left its token: parking returns at once.
            if self.lanes.iter().any(Lane::owes) {
                park_timeout(RETRY);
            } else {
                std::thread::park();
            }
        }
        self.gate.announce_awake();
    }
}

/// What a core's ring has for a batch. Given free when it is dropped.
struct Core<'a> {
    ring: &'a Ring,
    next: Option<Entry>,
    /// Only what was there at first: a ring that fills as fast as it empties must not hold up the others.
    left: usize,
    popped: usize,
}

impl<'a> Core<'a> {
    fn new(ring: &'a Ring) -> Self {
        let mut core = Self { ring, next: None, left: ring.queue.len(), popped: 0 };
        core.advance();
        core
    }

    fn at_ms(&self) -> Option<i64> {
        self.next.as_ref().map(Entry::at_ms)
    }

    fn advance(&mut self) {
        let Some(left) = self.left.checked_sub(1) else { return };
        self.left = left;
        self.next = self.ring.queue.pop();
        self.popped += usize::from(self.next.is_some());
    }
}

impl Drop for Core<'_> {
    fn drop(&mut self) {
        self.ring.free(self.popped);
    }
}

/// How long to rest after a batch of so many bytes.
fn next_pace(pace: Duration, batch: usize) -> Duration {
    match batch {
        0..LITTLE => (pace * 2).min(*PACE.end()),
        LITTLE..=MUCH => pace,
        _ => (pace / 2).max(*PACE.start()),
    }
}

/// However the writer ends, nobody waits for it in vain and nothing more is reserved.
struct CloseOnExit {
    gate: Arc<Gate>,
    rings: Arc<Rings>,
    progress: Arc<Progress>,
}

impl Drop for CloseOnExit {
    fn drop(&mut self) {
        self.gate.closed.store(true, Ordering::SeqCst);
        // Dropped entries settle their tickets as closed.
        for ring in &self.rings.cores {
            while ring.queue.pop().is_some() {}
        }
        self.progress.ended();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pace after some looks, of which each found so many bytes for each millisecond of its rest.
    fn settled(from: u64, bytes_per_ms: usize) -> u64 {
        let rested = |pace: Duration| usize::try_from(pace.as_millis()).unwrap();
        let pace = (0..10).fold(Duration::from_millis(from), |pace, _| next_pace(pace, bytes_per_ms * rested(pace)));
        u64::try_from(pace.as_millis()).unwrap()
    }

    #[test]
    fn little_is_looked_at_rarely_and_much_often() {
        // 300, 1,000, 5,000 and 30,000 requests a second, of a KiB each.
        for (bytes_per_ms, expected) in [(0, 80), (300, 80), (1_000, 40), (5_000, 10), (30_000, 10)] {
            assert_eq!(settled(10, bytes_per_ms), expected, "{bytes_per_ms} bytes a millisecond");
        }
        // From the other end it may stay where a batch is neither little nor much.
        for (bytes_per_ms, expected) in [(300, 80), (1_000, 80), (5_000, 20), (30_000, 10)] {
            assert_eq!(settled(80, bytes_per_ms), expected, "{bytes_per_ms} bytes a millisecond");
        }
    }
}
