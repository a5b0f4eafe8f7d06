//! The ledgers of sessions: a process that serves one command writes none of those that others write.
//!
//! They lie in `exec/` beside the ledger of their configuration, numbered. A session takes the first that no other
//! writes, and goes on with its chain.

use std::path::{Path, PathBuf};

use crate::files;

/// The file of one of them; `current` is the file of the configuration's own ledger.
pub fn path(current: &Path, number: usize) -> PathBuf {
    current.with_file_name("exec").join(format!("{number}.jsonl"))
}

/// All that there are beside a ledger, by number; it may be named by its folder. What is one of them itself, or a full file, has none.
pub fn all(path: &Path) -> Vec<PathBuf> {
    let current = &crate::query::current_of(path);
    if files::rotated_seq(current).is_some() {
        return Vec::new();
    }
    let Ok(entries) = std::fs::read_dir(current.with_file_name("exec")) else { return Vec::new() };
    let number = |file: &PathBuf| file.file_name()?.to_str()?.strip_suffix(".jsonl")?.parse::<usize>().ok();
    let files = entries.flatten().map(|entry| entry.path());
    let mut all: Vec<(usize, PathBuf)> = files.filter_map(|file| Some((number(&file)?, file))).collect();
    all.sort_unstable();
    all.into_iter().map(|(_, file)| file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_lie_beside_the_ledger_and_have_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let current = folder.path().join("ledger.jsonl");
        assert_eq!(all(&current), [] as [PathBuf; 0]);
        std::fs::create_dir(folder.path().join("exec")).unwrap();
        for name in ["10.jsonl", "2.jsonl", "2.jsonl.lock", "2-00000000000000000001.jsonl", "x.jsonl"] {
            std::fs::write(folder.path().join("exec").join(name), "").unwrap();
        }
        assert_eq!(all(&current), [path(&current, 2), path(&current, 10)]);
        assert_eq!(all(&path(&current, 2)), [] as [PathBuf; 0]);
    }
}
