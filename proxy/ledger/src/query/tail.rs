//! The newest records, and those that are still to come.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::parts::{self, Line, Lines};
use super::record::Record;
use crate::chain::read_seq;
use crate::error::LedgerError;
use crate::{files, os};

/// How much of a file's end is read at first; twice as much each time that was too little.
const CHUNK: u64 = 64 << 10;

/// The last `count` records, oldest first, over as many files as that takes.
///
/// # Errors
/// There is no ledger, or it cannot be read.
pub fn tail(path: &Path, count: usize) -> Result<Vec<Record>, LedgerError> {
    let mut newest_first = Vec::new();
    for part in parts::parts(path)?.into_iter().rev() {
        let wanted = count.saturating_sub(newest_first.len());
        if wanted == 0 {
            break;
        }
        let path = part.path().to_owned();
        let Some(mut file) = part.into_file()? else { break };
        newest_first.extend(last_records(&mut file, &path, wanted)?);
    }
    newest_first.reverse();
    Ok(newest_first)
}

/// As [`tail`], of a ledger and those of the sessions beside it together, by their time.
///
/// # Errors
/// There is none of them, or one cannot be read.
pub fn tail_with_sessions(path: &Path, count: usize) -> Result<Vec<Record>, LedgerError> {
    let mut all = Vec::new();
    for ledger in parts::with_sessions(path)? {
        all.extend(tail(&ledger, count)?);
    }
    // All times are written in one form and in UTC, so that texts compare as times do.
    all.sort_by(|a, b| a.at().cmp(b.at()));
    all.drain(..all.len().saturating_sub(count));
    Ok(all)
}

/// The last records of one file, newest first.
fn last_records(file: &mut File, path: &Path, wanted: usize) -> Result<Vec<Record>, LedgerError> {
    let failed = |source| LedgerError::io("read", path)(source);
    let len = file.metadata().map_err(failed)?.len();
    let mut size = CHUNK;
    loop {
        let from = len.saturating_sub(size);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        file.take(len - from).read_to_end(&mut bytes).map_err(failed)?;
        // What stands before the first line break may be half a line, what stands behind the last is.
        let end = bytes.iter().rposition(|b| *b == b'\n').unwrap_or(0);
        let start = if from == 0 { 0 } else { bytes.iter().position(|b| *b == b'\n').map_or(end, |at| at + 1) };
        let lines = bytes.get(start..end).unwrap_or_default().rsplit(|b| *b == b'\n');
        let records = lines.filter_map(|line| Record::parse(std::str::from_utf8(line).ok()?));
        let records: Vec<Record> = records.take(wanted).collect();
        if records.len() == wanted || from == 0 {
            return Ok(records);
        }
        size = size.saturating_mul(2);
    }
}

/// Follows a ledger from behind the record `after` (0: from the oldest there is), over rotations.
///
/// With `tail`'s last record as `after`, nothing is missed and nothing comes twice. The ledger need not
/// exist yet.
pub fn follow(path: &Path, after: u64) -> Follow {
    Follow { path: parts::current_of(path), after, reading: None, half: Vec::new() }
}

/// Made by [`follow`]; asked again and again for what came meanwhile.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    after: u64,
    reading: Option<(Lines, Option<(u64, u64)>)>,
    /// The start of a line whose end is not written yet.
    half: Vec<u8>,
}

impl Follow {
    /// The next record; `None` if there is none yet. Lines that are no records are passed over.
    ///
    /// # Errors
    /// The ledger cannot be read. The next call tries again.
    pub fn poll(&mut self) -> Result<Option<Record>, LedgerError> {
        loop {
            if self.reading.is_none() && !self.open_next()? {
                return Ok(None);
            }
            if let Some(record) = self.read()? {
                return Ok(Some(record));
            }
            if !self.is_left_behind() {
                return Ok(None);
            }
            // The writer had moved on before this look, so one more read finds the end of the old file.
            let record = self.read()?;
            if record.is_some() {
                return Ok(record);
            }
            self.reading = None;
            self.half.clear();
        }
    }

    fn read(&mut self) -> Result<Option<Record>, LedgerError> {
        let Some((lines, _)) = &mut self.reading else { return Ok(None) };
        loop {
            let line = match lines.next()? {
                None => return Ok(None),
                Some(Line::Whole(line)) => line,
                Some(Line::TooLong) => continue,
                Some(Line::Torn(_)) => {
                    self.half.extend_from_slice(lines.torn());
                    return Ok(None);
                }
            };
            let whole = [self.half.as_slice(), line].concat();
            self.half.clear();
            if read_seq(&whole).is_none_or(|seq| seq <= self.after) {
                continue;
            }
            if let Some(record) = std::str::from_utf8(&whole).ok().and_then(Record::parse) {
                self.after = record.seq();
                return Ok(Some(record));
            }
        }
    }

    /// Opens the file with the first record that has not been seen; `false` if there is none.
    fn open_next(&mut self) -> Result<bool, LedgerError> {
        let parts = match parts::parts(&self.path) {
            Ok(parts) => parts,
            Err(LedgerError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        // The last file that starts at or before the wanted record holds it; if retention has removed
        // that one, the oldest does best. The current file starts behind all full ones.
        let wanted = self.after.saturating_add(1);
        let starts = |path: &Path| files::rotated_seq(path);
        let at = parts.iter().rposition(|part| starts(part.path()).is_some_and(|seq| seq <= wanted));
        let mut rest: Vec<_> = parts.into_iter().skip(at.unwrap_or(0)).collect();
        // A full file that was read to its end is followed by the next one.
        while rest.len() > 1 && !self.holds_more(rest.first().map(parts::Part::path))? {
            rest.remove(0);
        }
        let Some(part) = rest.into_iter().next() else { return Ok(false) };
        let path = part.path().to_owned();
        let Some(file) = part.into_file()? else { return Ok(false) };
        let identity = file.metadata().ok().and_then(|metadata| os::identity(&metadata));
        self.reading = Some((Lines::new(path, file), identity));
        Ok(true)
    }

    fn holds_more(&self, path: Option<&Path>) -> Result<bool, LedgerError> {
        let Some(path) = path else { return Ok(false) };
        match crate::writer::recover::last_of(path) {
            Ok(last) => Ok(last.is_some_and(|last| last.seq() > self.after)),
            Err(LedgerError::Damaged { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the name of the ledger means another file than the one that is read.
    fn is_left_behind(&self) -> bool {
        let Some((_, identity)) = &self.reading else { return true };
        match std::fs::metadata(&self.path) {
            Ok(named) => os::identity(&named) != *identity,
            Err(_) => false,
        }
    }
}
