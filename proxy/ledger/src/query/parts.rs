//! The files of a ledger in order, read line by line while someone may be writing and rotating them.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use crate::error::LedgerError;
use crate::files;

/// Longer lines are no records: each text in one is cut long before.
const LINE_MAX: u64 = 1 << 20;

/// How often the list of files is read anew because a rotation came in between.
const ATTEMPTS: usize = 16;

/// One file of a ledger.
#[derive(Debug)]
pub(crate) struct Part {
    path: PathBuf,
    /// Open from the start for the current file: its name may mean another one a moment later.
    file: Option<File>,
}

/// One line, or what stands where a line should.
#[derive(Debug)]
pub(crate) enum Line<'a> {
    /// Without its line break.
    Whole(&'a [u8]),
    /// The end of the file is not the end of a line.
    Torn(u64),
    /// Longer than any record.
    TooLong,
}

#[derive(Debug)]
pub(crate) struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: Vec<u8>,
}

/// The current file of a ledger that is named by its folder or by that file.
pub(crate) fn current_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("ledger.jsonl") } else { path.to_owned() }
}

/// The files of a ledger, oldest first.
pub(crate) fn parts(path: &Path) -> Result<Vec<Part>, LedgerError> {
    let current = current_of(path);
    if files::rotated_seq(&current).is_some() {
        let file = open(&current)?.ok_or(LedgerError::NotFound { path: current.clone() })?;
        return Ok(vec![Part { path: current, file: Some(file) }]);
    }
    let mut parts = Vec::new();
    for _ in 0..ATTEMPTS {
        let before = list(&current)?;
        let file = open(&current)?;
        let full = list(&current)?;
        // A rotation in between would hide a file: what was current has a new name and is not listed.
        let steady = before.last() == full.last();
        parts = full.into_iter().map(|path| Part { path, file: None }).collect();
        parts.extend(file.map(|file| Part { path: current.clone(), file: Some(file) }));
        if steady {
            break;
        }
    }
    if parts.is_empty() { Err(LedgerError::NotFound { path: current }) } else { Ok(parts) }
}

/// A ledger, and those of the sessions beside it; at least one of them is there.
pub(crate) fn with_sessions(path: &Path) -> Result<Vec<PathBuf>, LedgerError> {
    let sessions = crate::sessions::all(path);
    match parts(path) {
        Ok(_) => Ok([path.to_owned()].into_iter().chain(sessions).collect()),
        Err(LedgerError::NotFound { .. }) if !sessions.is_empty() => Ok(sessions),
        Err(error) => Err(error),
    }
}

fn list(current: &Path) -> Result<Vec<PathBuf>, LedgerError> {
    match files::list_rotated(current) {
        Ok(full) => Ok(full.into_iter().map(|(_, path)| path).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(LedgerError::io("read", crate::os::folder_of(current))(error)),
    }
}

fn open(path: &Path) -> Result<Option<File>, LedgerError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LedgerError::io("open", path)(error)),
    }
}

impl Part {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// `None` if retention has removed the file meanwhile.
    pub(crate) fn open(&mut self) -> Result<Option<Lines>, LedgerError> {
        let file = match self.file.take() {
            Some(file) => Some(file),
            None => open(&self.path)?,
        };
        Ok(file.map(|file| Lines::new(self.path.clone(), file)))
    }

    /// The first line, if there is a whole one; reading it takes nothing from [`Part::open`].
    pub(crate) fn first_line(&self) -> Result<Option<String>, LedgerError> {
        let Some(file) = open(&self.path)? else { return Ok(None) };
        let mut lines = Lines::with_capacity(self.path.clone(), file, 4 << 10);
        Ok(lines.next_whole()?.and_then(|line| String::from_utf8(line.to_vec()).ok()))
    }

    /// As [`Part::open`], without lines.
    pub(crate) fn into_file(mut self) -> Result<Option<File>, LedgerError> {
        match self.file.take() {
            Some(file) => Ok(Some(file)),
            None => open(&self.path),
        }
    }
}

impl Lines {
    pub(crate) fn new(path: PathBuf, file: File) -> Self {
        Self::with_capacity(path, file, 256 << 10)
    }

    fn with_capacity(path: PathBuf, file: File, capacity: usize) -> Self {
        Self { path, reader: BufReader::with_capacity(capacity, file), line: Vec::new() }
    }

    /// The next line; `None` at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<Line<'_>>, LedgerError> {
        self.line.clear();
        let mut limited = (&mut self.reader).take(LINE_MAX);
        let read = limited.read_until(b'\n', &mut self.line).map_err(LedgerError::io("read", &self.path))?;
        Ok(match self.line.strip_suffix(b"\n") {
            _ if read == 0 => None,
            Some(line) => Some(Line::Whole(line)),
            None if limited.limit() == 0 => Some(Line::TooLong),
            None => Some(Line::Torn(u64::try_from(read).unwrap_or(u64::MAX))),
        })
    }

    /// The bytes of the last [`Line::Torn`].
    pub(crate) fn torn(&self) -> &[u8] {
        &self.line
    }

    /// The next whole line; what is none is passed over.
    pub(crate) fn next_whole(&mut self) -> Result<Option<&[u8]>, LedgerError> {
        loop {
            match self.next()? {
                None => return Ok(None),
                Some(Line::Whole(_)) => break,
                Some(Line::Torn(_) | Line::TooLong) => {}
            }
        }
        // Taken again from the buffer: the borrow of a match arm would last through the loop.
        Ok(self.line.strip_suffix(b"\n"))
    }
}
