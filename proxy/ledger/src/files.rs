//! The files of one ledger: the current one and, beside it, the full ones, named by their first record.

use std::io;
use std::path::{Path, PathBuf};

use crate::os;

/// Digits of a sequence number in a name, so that names sort as numbers do.
const SEQ_DIGITS: usize = 20;

/// The name of a full file: `ledger.jsonl` → `ledger-00000000000000000001.jsonl`.
pub(crate) fn rotated(current: &Path, first_seq: u64) -> PathBuf {
    let (stem, extension) = split(current);
    current.with_file_name(format!("{stem}-{first_seq:0width$}{extension}", width = SEQ_DIGITS))
}

/// The full files beside the current one with the number of their first record, oldest first.
pub(crate) fn list_rotated(current: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let (stem, extension) = split(current);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(os::folder_of(current))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let seq = name
            .strip_prefix(&stem)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(&extension))
            .and_then(parse_digits);
        if let Some(seq) = seq {
            found.push((seq, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The number in the name of a full file; `None` for a current one.
pub(crate) fn rotated_seq(path: &Path) -> Option<u64> {
    let (stem, _) = split(path);
    let (_, digits) = stem.rsplit_once('-')?;
    parse_digits(digits)
}

fn parse_digits(digits: &str) -> Option<u64> {
    (digits.len() == SEQ_DIGITS && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// `ledger.jsonl` → `ledger` and `.jsonl`.
fn split(path: &Path) -> (String, String) {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    (stem, extension)
}
