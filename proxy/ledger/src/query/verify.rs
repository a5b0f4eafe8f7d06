//! Whether a chain is whole, and the exact place where it is not.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use claviger_contract::event::RequestId;
use serde::Deserialize;

use super::parts::{self, Line, Lines, Part};
use crate::chain::{Head, Link, Sealed, read_seq};
use crate::error::LedgerError;
use crate::files;

/// A record's number and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The sequence number.
    pub seq: u64,
    /// RFC 3339, UTC.
    pub at: String,
}

/// What a whole chain holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Files read.
    pub files: u64,
    /// Records read.
    pub records: u64,
    /// The oldest record. Its number is greater than 1 if retention has removed older files.
    pub first: Option<Position>,
    /// The newest record.
    pub last: Option<Position>,
    /// `decided` records that allow.
    pub allowed: u64,
    /// `decided` records that deny.
    pub denied: u64,
    /// `finished` records.
    pub finished: u64,
    /// Events that `lost` records say are missing.
    pub lost: u64,
    /// Requests that were decided and not finished, oldest first: in flight, or cut off by a crash.
    pub open: Vec<RequestId>,
    /// `finished` records without a `decided` one: normal only where older files were removed.
    pub orphans: u64,
    /// Bytes behind the last line break: a record that is being written, or that a crash cut short.
    pub torn: u64,
    /// The last record, to be kept elsewhere as an anchor.
    pub head: Option<Head>,
}

impl VerifyReport {
    /// Together with another ledger's; the last record stays this one's.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.files += other.files;
        self.records += other.records;
        self.allowed += other.allowed;
        self.denied += other.denied;
        self.finished += other.finished;
        self.lost += other.lost;
        self.open.extend(other.open);
        self.orphans += other.orphans;
        self.torn += other.torn;
        self
    }
}

/// What is wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// The line has not the shape of a record.
    #[error("this line is no ledger record")]
    NotARecord,
    /// The bytes do not have the hash that the line ends with.
    #[error("this record was edited: its hash does not fit its bytes")]
    Edited,
    /// Records were taken out.
    #[error("records {from} to {to} are missing before this one")]
    Missing {
        /// The first one missing.
        from: u64,
        /// The last one missing.
        to: u64,
    },
    /// A record stands where it does not belong.
    #[error("this record was moved or repeated: record {expected} belongs here")]
    Reordered {
        /// The number that belongs here.
        expected: u64,
    },
    /// The record is in itself sound but follows from another one.
    #[error("this record does not follow from the one before it: the chain was replaced here")]
    Replaced,
    /// The file ends within a line although another file follows.
    #[error("this file was cut short: its last line has no end, and another file follows")]
    CutInside,
    /// An anchor names this record, but with another hash.
    #[error("this record is not the one that the anchor names")]
    NotAnchored,
    /// An anchor names a later record than the last.
    #[error("the ledger was cut short behind this record: the anchor names record {anchor}")]
    CutShort {
        /// The anchor's number.
        anchor: u64,
    },
}

/// Why a chain is not whole.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The first break.
    #[error("{}:{line}: {kind}", .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line in it, from 1; 0 if the file is empty.
        line: u64,
        /// The number of the record there, if it can be read.
        seq: Option<u64>,
        /// What is wrong.
        kind: Break,
    },
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] LedgerError),
}

/// Checks every line of a ledger: its hash, and that it follows from the line before, over all files.
///
/// Records that were cut off the very end leave a whole chain behind; only an anchor finds that
/// ([`verify_anchored`]).
///
/// # Errors
/// The first place where the chain breaks, or that the ledger cannot be read.
pub fn verify(path: &Path) -> Result<VerifyReport, VerifyError> {
    verify_anchored(path, &[])
}

/// As [`verify`], and the ledger holds the records that `anchors` name, with the same hashes. An anchor
/// just before the oldest record says that the older ones were put away on purpose.
///
/// # Errors
/// As [`verify`].
pub fn verify_anchored(path: &Path, anchors: &[Head]) -> Result<VerifyReport, VerifyError> {
    let mut check = Check::new(anchors);
    let parts = parts::parts(path)?;
    let whole_row = parts.iter().any(|part| files::rotated_seq(part.path()).is_some());
    let count = parts.len();
    let mut parts = parts.into_iter().enumerate();
    while let Some((index, mut part)) = parts.next() {
        // Removed by retention since it was listed: only the oldest ever is.
        let Some(mut lines) = part.open()? else { continue };
        check.begin(&part, whole_row);
        if let Err(kind) = check.file(&mut lines, index + 1 == count)? {
            let kind = match kind {
                Break::Missing { from, .. } if occurs_later(from, lines, parts.map(|(_, part)| part))? => {
                    Break::Reordered { expected: from }
                }
                kind => kind,
            };
            return Err(check.broken(kind));
        }
    }
    check.finish()
}

/// Whether a missing record stands further on: then it was moved, not removed.
fn occurs_later(seq: u64, mut rest: Lines, parts: impl Iterator<Item = Part>) -> Result<bool, LedgerError> {
    let has = |lines: &mut Lines| -> Result<bool, LedgerError> {
        while let Some(line) = lines.next_whole()? {
            if read_seq(line) == Some(seq) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    if has(&mut rest)? {
        return Ok(true);
    }
    for mut part in parts {
        if let Some(mut lines) = part.open()?
            && has(&mut lines)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The fields that are counted.
#[derive(Deserialize)]
struct Facts<'a> {
    #[serde(borrow)]
    at: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    decision: Option<Cow<'a, str>>,
    #[serde(default)]
    count: Option<u64>,
}

struct Check<'a> {
    anchors: &'a [Head],
    report: VerifyReport,
    /// By id, with the number of the `decided` record.
    open: HashMap<RequestId, u64>,
    path: PathBuf,
    line: u64,
    seq: Option<u64>,
    /// What the first record of this file must be, where that is known.
    starts_at: Option<u64>,
}

impl<'a> Check<'a> {
    fn new(anchors: &'a [Head]) -> Self {
        Self {
            anchors,
            report: VerifyReport::default(),
            open: HashMap::new(),
            path: PathBuf::new(),
            line: 0,
            seq: None,
            starts_at: None,
        }
    }

    fn begin(&mut self, part: &Part, whole_row: bool) {
        self.report.files += 1;
        self.path = part.path().to_owned();
        (self.line, self.seq) = (0, None);
        // A ledger of one file has lost none to retention, so it starts with the first record.
        self.starts_at = files::rotated_seq(part.path()).or((!whole_row).then_some(1));
    }

    fn file(&mut self, lines: &mut Lines, is_last: bool) -> Result<Result<(), Break>, LedgerError> {
        while let Some(line) = lines.next()? {
            self.line += 1;
            self.seq = None;
            let checked = match line {
                Line::Whole(line) => self.record(line),
                Line::TooLong => Err(Break::NotARecord),
                Line::Torn(bytes) if is_last => {
                    self.report.torn = bytes;
                    Ok(())
                }
                Line::Torn(_) => Err(Break::CutInside),
            };
            if checked.is_err() {
                return Ok(checked);
            }
        }
        Ok(Ok(()))
    }

    fn record(&mut self, line: &[u8]) -> Result<(), Break> {
        self.seq = read_seq(line);
        let sealed = Sealed::read(line).ok_or(Break::NotARecord)?;
        if !sealed.intact {
            return Err(Break::Edited);
        }
        let seq = self.seq.ok_or(Break::NotARecord)?;
        let facts: Facts<'_> = serde_json::from_slice(line).map_err(|_| Break::NotARecord)?;
        self.follows(seq, sealed.prev)?;
        let head = Head { seq, link: sealed.link };
        if self.anchors.iter().any(|anchor| anchor.seq == seq && *anchor != head) {
            return Err(Break::NotAnchored);
        }
        self.report.head = Some(head);
        self.count(seq, &facts);
        Ok(())
    }

    fn follows(&mut self, seq: u64, prev: Link) -> Result<(), Break> {
        let (expected, link) = match self.report.head {
            Some(head) => (head.seq + 1, Some(head.link)),
            None => self.start(seq),
        };
        if seq > expected {
            return Err(Break::Missing { from: expected, to: seq - 1 });
        }
        if seq < expected {
            return Err(Break::Reordered { expected });
        }
        if link.is_some_and(|link| link != prev) {
            return Err(Break::Replaced);
        }
        Ok(())
    }

    /// What the oldest record must be, and what it must follow from, where that is known.
    fn start(&self, seq: u64) -> (u64, Option<Link>) {
        let genesis = (seq == 1).then_some(Link::GENESIS);
        match self.anchors.iter().find(|anchor| anchor.seq.checked_add(1) == Some(seq)) {
            Some(anchor) => (seq, Some(anchor.link)),
            None => (self.starts_at.unwrap_or(seq), genesis),
        }
    }

    fn count(&mut self, seq: u64, facts: &Facts<'_>) {
        let report = &mut self.report;
        report.records += 1;
        let position = || Position { seq, at: facts.at.as_ref().to_owned() };
        report.first.get_or_insert_with(position);
        match &mut report.last {
            // In place: one allocation per ledger, not per record.
            Some(last) => {
                last.seq = seq;
                facts.at.as_ref().clone_into(&mut last.at);
            }
            None => report.last = Some(position()),
        }
        let id = facts.id.as_ref().and_then(|id| id.parse::<RequestId>().ok());
        match (facts.kind.as_ref(), id) {
            ("decided", Some(id)) => {
                match facts.decision.as_deref() {
                    Some("allow") => report.allowed += 1,
                    _ => report.denied += 1,
                }
                self.open.insert(id, seq);
            }
            ("finished", Some(id)) => {
                report.finished += 1;
                report.orphans += u64::from(self.open.remove(&id).is_none());
            }
            ("lost", _) => report.lost += facts.count.unwrap_or(0),
            _ => {}
        }
    }

    fn finish(mut self) -> Result<VerifyReport, VerifyError> {
        let last = self.report.head.map_or(0, |head| head.seq);
        if let Some(anchor) = self.anchors.iter().map(|anchor| anchor.seq).max().filter(|anchor| *anchor > last) {
            return Err(self.broken(Break::CutShort { anchor }));
        }
        let mut open: Vec<(u64, RequestId)> = self.open.drain().map(|(id, seq)| (seq, id)).collect();
        open.sort_unstable();
        self.report.open = open.into_iter().map(|(_, id)| id).collect();
        Ok(self.report)
    }

    fn broken(&self, kind: Break) -> VerifyError {
        VerifyError::Broken { path: self.path.clone(), line: self.line, seq: self.seq, kind }
    }
}
