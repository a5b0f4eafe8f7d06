//! Masks one body as it streams, in constant memory.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zeroize::Zeroizing;

use super::mask;
use super::needles::Needles;

/// Masks the occurrences in one body, whatever chunks it comes in.
///
/// It withholds only a live partial match: the longest suffix of what it has seen that is the
/// beginning of a form. The next chunk, or [`EchoScanner::finish`], decides about it. So an event of
/// a stream passes at once unless its last byte may begin the value. It holds less than the longest
/// form, twice, and passes chunks without an occurrence on as they are, without copying.
pub struct EchoScanner {
    needles: Arc<Needles>,
    /// What is withheld, as it came.
    held: Zeroizing<Vec<u8>>,
    /// The same, with what is already known to belong to an occurrence masked.
    shown: Vec<u8>,
    /// Where in the body `held` begins.
    position: u64,
    /// Where in the body the last occurrence ends.
    masked_until: u64,
    masked: u32,
}

impl EchoScanner {
    pub(super) fn new(needles: Arc<Needles>) -> Self {
        Self { needles, held: Zeroizing::default(), shown: Vec::new(), position: 0, masked_until: 0, masked: 0 }
    }

    /// Takes the next bytes, and gives out what may be sent: nothing, one or two pieces, none of them empty.
    pub fn push(&mut self, chunk: Bytes, out: &mut impl Extend<Bytes>) {
        if chunk.is_empty() {
            return;
        }
        if self.held.is_empty() {
            return self.pass(chunk, 0, out);
        }
        let held = self.held.len();
        // An occurrence that begins in what is held ends within this many bytes of the chunk.
        let reach = chunk.len().min(self.needles.longest());
        let head = chunk.get(..reach).unwrap_or_default();
        self.held.extend_from_slice(head);
        self.shown.extend_from_slice(head);
        if reach == chunk.len() {
            return self.settle(out);
        }
        let Self { needles, held: text, shown, .. } = self;
        let mut spans = Vec::new();
        needles.scan(text, held, |span| add(&mut spans, span));
        let mut overhang = 0;
        for span in &spans {
            mask(shown, span.clone());
            overhang = overhang.max(span.end.saturating_sub(held));
        }
        self.count(&spans);
        self.shown.truncate(held);
        out.extend(Some(Bytes::copy_from_slice(&self.shown)));
        self.position += held as u64;
        self.held.clear();
        self.shown.clear();
        self.pass(chunk, overhang, out);
    }

    /// The body has ended: what was withheld was no occurrence, and is given out.
    pub fn finish(&mut self, out: &mut impl Extend<Bytes>) {
        if !self.shown.is_empty() {
            out.extend(Some(Bytes::copy_from_slice(&self.shown)));
            self.position += self.shown.len() as u64;
        }
        self.held.clear();
        self.shown.clear();
    }

    /// How many occurrences were masked so far. Those that overlap count once.
    pub fn masked(&self) -> u32 {
        self.masked
    }

    /// How many bytes are withheld.
    pub fn withheld(&self) -> usize {
        self.held.len()
    }

    /// A chunk that nothing is withheld before; its first `overhang` bytes end an earlier occurrence.
    fn pass(&mut self, mut chunk: Bytes, overhang: usize, out: &mut impl Extend<Bytes>) {
        let mut spans = Vec::new();
        let live = self.needles.scan(&chunk, usize::MAX, |span| add(&mut spans, span));
        if live < chunk.len() {
            // Room for what is held and what it is joined with, so that growing leaves no copy behind.
            self.held.reserve_exact(self.needles.longest() * 2);
            self.held.extend_from_slice(chunk.get(live..).unwrap_or_default());
        }
        if overhang > 0 || !spans.is_empty() {
            self.count(&spans);
            // Not copied if nobody else holds the chunk.
            let mut bytes = BytesMut::from(chunk);
            mask(&mut bytes, 0..overhang);
            spans.into_iter().for_each(|span| mask(&mut bytes, span));
            chunk = bytes.freeze();
        }
        self.shown.extend_from_slice(chunk.get(live..).unwrap_or_default());
        chunk.truncate(live);
        self.position += live as u64;
        if !chunk.is_empty() {
            out.extend(Some(chunk));
        }
    }

    /// Masks what is held, and gives out all before a live partial match.
    fn settle(&mut self, out: &mut impl Extend<Bytes>) {
        let Self { needles, held, shown, .. } = self;
        let mut spans = Vec::new();
        let live = needles.scan(held, usize::MAX, |span| add(&mut spans, span));
        spans.iter().for_each(|span| mask(shown, span.clone()));
        self.count(&spans);
        if live > 0 {
            out.extend(Some(self.shown.drain(..live).collect::<Bytes>()));
            self.held.drain(..live);
            self.position += live as u64;
        }
    }

    /// Counts the spans, which are relative to `position`, that do not overlap an earlier one.
    fn count(&mut self, spans: &[Range<usize>]) {
        for span in spans {
            if self.position + span.start as u64 >= self.masked_until {
                self.masked = self.masked.saturating_add(1);
            }
            self.masked_until = self.masked_until.max(self.position + span.end as u64);
        }
    }
}

/// Keeps the list short where occurrences overlap.
fn add(spans: &mut Vec<Range<usize>>, span: Range<usize>) {
    match spans.last_mut() {
        Some(last) if span.start < last.end => last.end = last.end.max(span.end),
        _ => spans.push(span),
    }
}

impl fmt::Debug for EchoScanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EchoScanner").field("masked", &self.masked).finish_non_exhaustive()
    }
}
