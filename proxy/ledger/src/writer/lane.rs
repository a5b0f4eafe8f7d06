//! One sink and its chain.

use std::sync::Arc;
use std::time::Instant;

use super::RETRY;
use super::batch::Batch;
use super::file::{FileSink, Opened};
use super::stdout::StdoutSink;
use crate::chain::Head;
use crate::encode::{Encoder, Note};

#[derive(Debug)]
pub(crate) enum Target {
    File(FileSink),
    Stdout(StdoutSink),
}

/// A sink, the head of its chain, and what it owes.
#[derive(Debug)]
pub(crate) struct Lane {
    target: Target,
    head: Head,
    /// Lines of the batch that is written; kept for its capacity.
    lines: Vec<u8>,
    scratch: Vec<u8>,
    /// Events that could not be written, to be told by the next record that can.
    lost: u64,
    /// Bytes that recovery cut off, to be told likewise.
    torn: u64,
    failed: Option<(Arc<str>, Instant)>,
}

impl Lane {
    pub(crate) fn new(target: Target, opened: Opened) -> Self {
        let Opened { head, torn } = opened;
        Self { target, head, lines: Vec::new(), scratch: Vec::new(), lost: 0, torn, failed: None }
    }

    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// Why the sink cannot be written.
    pub(crate) fn error(&self) -> Option<Arc<str>> {
        self.failed.as_ref().map(|(error, _)| error.clone())
    }

    /// Whether there is something to write although no event came.
    pub(crate) fn owes(&self) -> bool {
        self.lost > 0 || self.torn > 0 || self.failed.is_some()
    }

    /// Counts a batch as lost; says how many events that are.
    pub(crate) fn lose(&mut self, batch: &Batch) -> u64 {
        self.lost += batch.weight();
        batch.weight()
    }

    /// Chains the batch, after a word on what was lost before, and writes it. Says how many records.
    ///
    /// A sink that failed lately is not tried again at once unless `insist`.
    pub(crate) fn write(
        &mut self,
        batch: &Batch,
        encoder: &mut Encoder,
        now_ms: i64,
        insist: bool,
    ) -> Result<u64, Arc<str>> {
        if batch.is_empty() && !self.owes() {
            return Ok(0);
        }
        if let Some((error, at)) = &self.failed
            && !insist
            && at.elapsed() < RETRY
        {
            return Err(error.clone());
        }
        match self.try_write(batch, encoder, now_ms) {
            Ok(records) => {
                self.failed = None;
                Ok(records)
            }
            Err(error) => {
                let error: Arc<str> = error.into();
                self.failed = Some((error.clone(), Instant::now()));
                Err(error)
            }
        }
    }

    fn try_write(&mut self, batch: &Batch, encoder: &mut Encoder, now_ms: i64) -> Result<u64, String> {
        if let Target::File(file) = &mut self.target {
            let opened = file.ensure_open(self.head).map_err(|error| explain(&error))?;
            self.head = opened.head;
            self.torn += opened.torn;
        }
        let before = self.head;
        let mut head = before;
        self.lines.clear();
        for (kind, note) in self.notes() {
            self.scratch.clear();
            encoder.note(now_ms, kind, &note, &mut self.scratch);
            head.append(&self.scratch, &mut self.lines);
        }
        for body in batch.bodies() {
            head.append(body, &mut self.lines);
        }
        match &mut self.target {
            Target::File(file) => file.write(&self.lines, before.seq() + 1).map_err(|error| explain(&error))?,
            Target::Stdout(stdout) => stdout.write(&self.lines).map_err(|error| explain(&error))?,
        }
        self.head = head;
        (self.lost, self.torn) = (0, 0);
        Ok(head.seq() - before.seq())
    }

    fn notes(&self) -> impl Iterator<Item = (&'static str, Note)> + use<> {
        let torn = (self.torn > 0).then(|| {
            let detail = "the end of the file was torn by a crash and is kept beside it, in `.torn`".to_owned();
            ("recovered", Note { count: None, bytes: Some(self.torn), detail })
        });
        let lost = (self.lost > 0).then(|| {
            let detail = "these events could not be written".to_owned();
            ("lost", Note { count: Some(self.lost), bytes: None, detail })
        });
        torn.into_iter().chain(lost)
    }

    /// Makes what was written durable, as far as that goes.
    pub(crate) fn close(&mut self) {
        if let Target::File(file) = &mut self.target {
            file.close();
        }
    }
}

/// An error with its cause, on one line.
fn explain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
