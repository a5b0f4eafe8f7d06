//! Continuing an existing file: finding its last record, and cutting off what a crash left behind it.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use crate::chain::{Head, Sealed, read_seq};
use crate::error::LedgerError;
use crate::os;

/// The last record is looked for in so many bytes: more than the longest line and the largest batch.
const TAIL: u64 = 4 << 20;

/// It is looked for in so many bytes first, which hold it unless the file was torn: a start does not wait for the rest.
const LIKELY: u64 = 64 << 10;

/// What a file holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) last: Option<Head>,
    pub(crate) first_seq: Option<u64>,
    /// In bytes, once the torn end is cut off.
    pub(crate) len: u64,
    /// Bytes that were cut off.
    pub(crate) torn: u64,
}

/// Finds the last intact record; what stands behind it moves to `PATH.torn`.
pub(crate) fn recover(file: &mut File, path: &Path) -> Result<Recovered, LedgerError> {
    let read = |source| LedgerError::io("read", path)(source);
    let len = file.metadata().map_err(read)?.len();
    let Tail { bytes: tail, last, good } = Tail::read(file, len).map_err(read)?;
    let tail_len = tail.len();
    if last.is_none() {
        // Nothing but a first record that was cut short, or no ledger at all: that is left alone.
        let only_torn = len <= TAIL && !tail.contains(&b'\n');
        if !only_torn {
            return Err(LedgerError::Damaged { path: path.to_owned() });
        }
    }
    let torn = tail.get(good..).unwrap_or_default();
    if !torn.is_empty() {
        let aside = os::with_suffix(path, ".torn");
        let kept = os::open_to_append(&aside).and_then(|mut aside| {
            aside.write_all(torn)?;
            aside.write_all(b"\n")?;
            aside.sync_data()
        });
        kept.map_err(LedgerError::io("write", &aside))?;
        let len = len - u64::try_from(torn.len()).unwrap_or(0);
        file.set_len(len).map_err(LedgerError::io("truncate", path))?;
    }
    let torn = u64::try_from(tail_len - good).unwrap_or(0);
    let first_seq = first_seq(file).map_err(read)?;
    Ok(Recovered { last, first_seq, len: len - torn, torn })
}

/// The last record of a file that is only read; `None` if it is empty.
pub(crate) fn last_of(path: &Path) -> Result<Option<Head>, LedgerError> {
    let mut file = File::open(path).map_err(LedgerError::io("open", path))?;
    let len = file.metadata().map_err(LedgerError::io("read", path))?.len();
    let tail = Tail::read(&mut file, len).map_err(LedgerError::io("read", path))?;
    match tail.last {
        None if tail.bytes.contains(&b'\n') => Err(LedgerError::Damaged { path: path.to_owned() }),
        last => Ok(last),
    }
}

/// The end of a file: as much of it as holds an intact record, at most [`TAIL`] bytes.
struct Tail {
    bytes: Vec<u8>,
    last: Option<Head>,
    /// Where the last intact record ends in `bytes`.
    good: usize,
}

impl Tail {
    fn read(file: &mut File, len: u64) -> io::Result<Self> {
        let mut size = LIKELY;
        loop {
            file.seek(SeekFrom::Start(len.saturating_sub(size)))?;
            let mut bytes = Vec::with_capacity(usize::try_from(size.min(len)).unwrap_or(0));
            file.take(size).read_to_end(&mut bytes)?;
            let (last, good) = last_record(&bytes);
            if last.is_some() || size >= len.min(TAIL) {
                return Ok(Self { bytes, last, good });
            }
            size = TAIL;
        }
    }
}

/// The last intact record of some lines, and where it ends.
fn last_record(tail: &[u8]) -> (Option<Head>, usize) {
    let mut end = tail.len();
    while let Some(newline) = tail.get(..end).and_then(|lines| lines.iter().rposition(|b| *b == b'\n')) {
        let before = tail.get(..newline).unwrap_or_default();
        let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let line = before.get(start..).unwrap_or_default();
        if let (Some(seq), Some(Sealed { link, intact: true, .. })) = (read_seq(line), Sealed::read(line)) {
            return (Some(Head { seq, link }), newline + 1);
        }
        end = newline;
    }
    (None, 0)
}

fn first_seq(file: &mut File) -> io::Result<Option<u64>> {
    file.seek(SeekFrom::Start(0))?;
    let mut line = Vec::new();
    BufReader::new(file.take(TAIL)).read_until(b'\n', &mut line)?;
    Ok(read_seq(&line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> Vec<u8> {
        let (mut head, mut lines) = (Head::GENESIS, Vec::new());
        for _ in 0..count {
            head.append(br#"{"at":"x","type":"t"}"#, &mut lines);
        }
        lines
    }

    fn check(content: &[u8], last_seq: Option<u64>, torn: &[u8]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        std::fs::write(&path, content).unwrap();
        let recovered = recover(&mut os::open_to_append(&path).unwrap(), &path).unwrap();
        assert_eq!(recovered.last.map(|head| head.seq), last_seq);
        assert_eq!(recovered.first_seq, last_seq.map(|_| 1));
        assert_eq!(recovered.torn, torn.len() as u64);
        assert_eq!(std::fs::read(&path).unwrap(), content[..content.len() - torn.len()]);
        assert_eq!(recovered.len, (content.len() - torn.len()) as u64);
        match std::fs::read(os::with_suffix(&path, ".torn")) {
            Ok(kept) => assert_eq!(kept, [torn, b"\n"].concat()),
            Err(_) => assert!(torn.is_empty()),
        }
    }

    #[test]
    fn the_end_that_a_crash_left_is_cut_off() {
        let three = lines(3);
        check(b"", None, b"");
        check(&three, Some(3), b"");
        for torn in [&b"{"[..], b"{\"seq\":4,\"at\":\"2026", b"\0\0\0\0", b"\0\0\0}\n", b"\n"] {
            check(&[&three, torn].concat(), Some(3), torn);
        }
        check(b"{\"seq\":1,", None, b"{\"seq\":1,");
        let without_break = &three[..three.len() - 1];
        let third = &without_break[lines(2).len()..];
        check(without_break, Some(2), third);
    }

    #[test]
    fn the_last_record_is_found_before_a_long_torn_end_and_in_a_long_file() {
        let long = lines(2_000);
        assert!(u64::try_from(long.len()).unwrap() > 2 * LIKELY, "{}", long.len());
        check(&long, Some(2_000), b"");
        let zeros = vec![0; usize::try_from(2 * LIKELY).unwrap()];
        for torn in [&b"{\"seq\":2001,"[..], &zeros] {
            check(&[&long, torn].concat(), Some(2_000), torn);
        }
    }

    #[test]
    fn a_last_record_longer_than_what_is_read_first_is_found() {
        let (mut head, mut content) = (Head::GENESIS, Vec::new());
        for size in [1, 2 * usize::try_from(LIKELY).unwrap()] {
            head.append(format!(r#"{{"at":"{}","type":"t"}}"#, "x".repeat(size)).as_bytes(), &mut content);
        }
        check(&content, Some(2), b"");
        check(&[&content[..], b"{\"seq\":3"].concat(), Some(2), b"{\"seq\":3");
    }

    #[test]
    fn a_file_that_is_no_ledger_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "remember the milk\nand the bread\n").unwrap();
        let error = recover(&mut os::open_to_append(&path).unwrap(), &path).unwrap_err();
        assert!(matches!(error, LedgerError::Damaged { .. }));
        assert_eq!(std::fs::read(&path).unwrap(), b"remember the milk\nand the bread\n");
    }
}
