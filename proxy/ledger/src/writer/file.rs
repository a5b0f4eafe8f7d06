//! Records in a file that rotates.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::recover::{self, Recovered};
use super::syncing::Syncing;
use crate::chain::Head;
use crate::error::LedgerError;
use crate::settings::LedgerSettings;
use crate::{files, os};

/// How often the name is checked: someone else may have moved the file away.
const CHECK: Duration = Duration::from_secs(1);

/// What opening a sink found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    /// The record to continue from.
    pub(crate) head: Head,
    /// Bytes that were cut off the end.
    pub(crate) torn: u64,
}

impl Default for Opened {
    fn default() -> Self {
        Self { head: Head::GENESIS, torn: 0 }
    }
}

/// The current file and its place in the row of files.
#[derive(Debug)]
pub(crate) struct FileSink {
    path: PathBuf,
    rotate_size: u64,
    keep: usize,
    /// Each write is made durable before it counts.
    durable: bool,
    current: Option<Current>,
    /// A write that failed and could not be undone: cut this file to this length when it opens again.
    undo: Option<((u64, u64), u64)>,
    /// The full file before this one.
    syncing: Syncing,
    _lock: File,
}

#[derive(Debug)]
struct Current {
    file: File,
    /// What is no regular file (a pipe, a device) neither rotates nor recovers.
    regular: bool,
    identity: Option<(u64, u64)>,
    len: u64,
    first_seq: Option<u64>,
    checked: Instant,
}

impl FileSink {
    /// Locks the ledger and opens its file.
    pub(crate) fn open(settings: &LedgerSettings) -> Result<(Self, Opened), LedgerError> {
        let path = settings.path.clone();
        let folder = os::folder_of(&path);
        os::create_private_folder(folder).map_err(LedgerError::io("create", folder))?;
        let lock_path = os::with_suffix(&path, ".lock");
        let lock = os::lock(&lock_path).map_err(LedgerError::io("lock", &lock_path))?;
        let lock = lock.ok_or_else(|| LedgerError::Locked { path: path.clone() })?;
        let mut sink = Self {
            path,
            rotate_size: settings.rotate_size,
            keep: settings.keep,
            durable: settings.required,
            current: None,
            undo: None,
            syncing: Syncing::default(),
            _lock: lock,
        };
        let opened = sink.open_file(Head::GENESIS)?;
        Ok((sink, opened))
    }

    /// Opens the file again if a write failed or its name now means another file; `known` is the last
    /// record that was written.
    pub(crate) fn ensure_open(&mut self, known: Head) -> Result<Opened, LedgerError> {
        let as_it_was = Opened { head: known, torn: 0 };
        let Some(current) = &mut self.current else { return self.open_file(known) };
        if !current.regular || current.checked.elapsed() < CHECK {
            return Ok(as_it_was);
        }
        current.checked = Instant::now();
        let named = std::fs::metadata(&self.path).ok();
        if named.is_some_and(|named| os::identity(&named) == current.identity) {
            return Ok(as_it_was);
        }
        self.close();
        self.open_file(known)
    }

    fn open_file(&mut self, known: Head) -> Result<Opened, LedgerError> {
        let path = &self.path;
        let mut file = os::open_to_append(path).map_err(LedgerError::io("open", path))?;
        let metadata = file.metadata().map_err(LedgerError::io("read", path))?;
        let (regular, identity) = (metadata.is_file(), os::identity(&metadata));
        let mut found = Recovered::default();
        let mut head = known;
        if regular {
            if let Some((undone, len)) = self.undo
                && identity == Some(undone)
                && len < metadata.len()
            {
                file.set_len(len).map_err(LedgerError::io("truncate", path))?;
            }
            found = recover::recover(&mut file, path)?;
            let last = match found.last {
                None if known == Head::GENESIS => self.last_rotated()?,
                last => last,
            };
            // A file that ends before what was written here is not the file that was written: the chain
            // goes on from what was, and `verify` shows the gap.
            head = last.filter(|last| last.seq > known.seq).unwrap_or(known);
            if self.durable {
                let folder = os::folder_of(path);
                os::sync_folder(folder).map_err(LedgerError::io("sync", folder))?;
            }
        }
        self.undo = None;
        let Recovered { first_seq, len, torn, .. } = found;
        self.current = Some(Current { file, regular, identity, len, first_seq, checked: Instant::now() });
        Ok(Opened { head, torn })
    }

    /// Where the chain stood when the last full file was put aside.
    fn last_rotated(&self) -> Result<Option<Head>, LedgerError> {
        let folder = os::folder_of(&self.path);
        let full = files::list_rotated(&self.path).map_err(LedgerError::io("read", folder))?;
        full.last().map_or(Ok(None), |(_, path)| recover::last_of(path))
    }

    /// Writes whole lines, the first of which has the number `first_seq`; on an error none of them stays.
    pub(crate) fn write(&mut self, lines: &[u8], first_seq: u64) -> Result<(), LedgerError> {
        let added = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        if self.current.as_ref().is_some_and(|current| current.is_full(added, self.rotate_size)) {
            self.rotate()?;
        }
        let failed = LedgerError::io("write", &self.path);
        let Some(current) = &mut self.current else { return Err(failed(io::ErrorKind::NotFound.into())) };
        let written = current.file.write_all(lines).and_then(|()| match self.durable && current.regular {
            true => current.file.sync_data(),
            false => Ok(()),
        });
        if let Err(error) = written {
            self.abandon();
            return Err(failed(error));
        }
        current.len = current.len.saturating_add(added);
        current.first_seq.get_or_insert(first_seq);
        Ok(())
    }

    /// Undoes a write and closes the file: after a failed sync its pages may claim to be clean, so what
    /// is not known to be durable is cut off and written anew.
    fn abandon(&mut self) {
        let Some(current) = self.current.take() else { return };
        if current.regular && current.file.set_len(current.len).is_err() {
            self.undo = current.identity.map(|identity| (identity, current.len));
        }
    }

    /// Puts the full file aside and begins a new one. If it cannot be put aside, it goes on growing.
    fn rotate(&mut self) -> Result<(), LedgerError> {
        let Some(Current { first_seq: Some(first_seq), .. }) = &self.current else { return Ok(()) };
        let full = files::rotated(&self.path, *first_seq);
        let moved = full.try_exists().and_then(|exists| match exists {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => std::fs::rename(&self.path, &full),
        });
        if moved.is_err() {
            return Ok(());
        }
        // What is required is durable already.
        if let Some(Current { file, .. }) = self.current.take()
            && !self.durable
        {
            // What the disk refuses is lost where the system fails next, as all that it was not asked for.
            self.syncing.begin(move || drop(file.sync_data()));
        }
        // The caller holds the head; a new file is empty, so it says nothing of it.
        let unknown = Head { seq: u64::MAX, link: Head::GENESIS.link };
        self.open_file(unknown)?;
        self.prune();
        Ok(())
    }

    /// Removes the oldest full files beyond `keep`. What cannot be removed is tried again next time.
    fn prune(&self) {
        let full = files::list_rotated(&self.path).unwrap_or_default();
        for (_, path) in full.iter().take(full.len().saturating_sub(self.keep)) {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Makes what was written durable and closes the file.
    pub(crate) fn close(&mut self) {
        if let Some(current) = self.current.take() {
            // There is nobody left to tell; a required ledger has synced every write already.
            let _ = current.file.sync_data();
        }
        self.syncing.finish();
    }
}

impl Current {
    fn is_full(&self, added: u64, rotate_size: u64) -> bool {
        self.regular && self.len > 0 && self.len.saturating_add(added) > rotate_size
    }
}
