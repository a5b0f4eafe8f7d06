//! Records that are written together.

use claviger_contract::Event;

use crate::commit::{CommitError, Settle};
use crate::encode::{Encoder, Note};
use crate::producer::Entry;

/// Encoded events, not yet chained: each sink has a chain of its own.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    settles: Vec<Settle>,
    /// Events that are lost if the batch is: those in it, and those that its notes count.
    weight: u64,
}

impl Batch {
    /// Adds an event of the control plane.
    pub(crate) fn push(&mut self, event: &Event, encoder: &mut Encoder) {
        encoder.event(event, &mut self.bytes);
        self.end_event();
    }

    /// Adds an event of a request.
    pub(crate) fn push_entry(&mut self, entry: Entry, encoder: &mut Encoder) {
        match entry {
            Entry::Decided(decided, settle) => {
                encoder.decided(&decided, &mut self.bytes);
                self.settles.extend(settle);
            }
            Entry::Finished(finished) => encoder.finished(&finished, &mut self.bytes),
        }
        self.end_event();
    }

    fn end_event(&mut self) {
        self.ends.push(self.bytes.len());
        self.weight += 1;
    }

    /// Says that so many control events found their queue full.
    pub(crate) fn overflowed(&mut self, count: u64, at_ms: i64, encoder: &mut Encoder) {
        let note = Note { count: Some(count), bytes: None, detail: "a queue for control events was full".to_owned() };
        encoder.note(at_ms, "lost", &note, &mut self.bytes);
        self.ends.push(self.bytes.len());
        self.weight += count;
    }

    /// In bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// The records, as JSON objects.
    pub(crate) fn bodies(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(|(start, end)| self.bytes.get(start..*end))
    }

    /// Tells those who wait.
    pub(crate) fn settle(&mut self, result: Result<(), &CommitError>) {
        for settle in self.settles.drain(..) {
            settle.0.settle(result.map_err(Clone::clone));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.settles.clear();
        self.weight = 0;
    }
}
