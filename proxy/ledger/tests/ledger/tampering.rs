//! Whatever is changed is found, at its place.

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use claviger_ledger::Head;
use claviger_ledger::query::{Break, VerifyError, VerifyReport, verify, verify_anchored};
use proptest::prelude::*;

use crate::support::{Folder, files, filled};

/// Two files of a few records.
fn ledger() -> Folder {
    let folder = Folder::new();
    let mut settings = folder.settings();
    settings.rotate_size = 4_096;
    filled(&settings, 6);
    assert_eq!(files(folder.path()).len(), 2);
    folder
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().split_inclusive('\n').map(str::to_owned).collect()
}

/// Changes the lines of the file with this index and verifies.
fn with_lines(file: usize, change: impl FnOnce(&mut Vec<String>)) -> Result<VerifyReport, (String, u64, Break)> {
    let folder = ledger();
    let path = &files(folder.path())[file];
    let mut lines = lines(path);
    change(&mut lines);
    std::fs::write(path, lines.concat()).unwrap();
    place(verify(folder.path()))
}

fn place(result: Result<VerifyReport, VerifyError>) -> Result<VerifyReport, (String, u64, Break)> {
    result.map_err(|error| match error {
        VerifyError::Broken { path, line, kind, .. } => {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), line, kind)
        }
        VerifyError::Read(error) => panic!("{error}"),
    })
}

const FULL: &str = "ledger-00000000000000000001.jsonl";

#[test]
fn an_untouched_ledger_is_whole() {
    let report = with_lines(0, |_| ()).unwrap();
    assert_eq!((report.records, report.allowed, report.finished, report.torn), (12, 6, 6, 0));
    assert_eq!(report.first.unwrap().at, "2026-11-22T10:00:00.000Z");
    assert_eq!(report.last.unwrap().seq, 12);
}

#[test]
fn every_edited_byte_is_found() {
    let folder = Folder::new();
    let mut settings = folder.settings();
    settings.rotate_size = 2_048;
    filled(&settings, 3);
    assert_eq!(files(folder.path()).len(), 2);
    let whole = verify(folder.path()).unwrap();
    for path in files(folder.path()) {
        let bytes = std::fs::read(&path).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        for at in 0..bytes.len() {
            // By turns: another bit, another case, a line break.
            let other = [bytes[at] ^ 1, bytes[at] ^ 0x20, b'\n'][at % 3];
            let other = if other == bytes[at] { b'x' } else { other };
            file.write_all_at(&[other], at as u64).unwrap();
            match verify(folder.path()) {
                Err(VerifyError::Broken { path: place, line, .. }) => {
                    let line_at = bytes[..at].iter().filter(|b| **b == b'\n').count() as u64 + 1;
                    assert_eq!((&place, line), (&path, line_at), "byte {at}");
                }
                Err(VerifyError::Read(error)) => panic!("{error}"),
                // The very last line break: what it ended is no record any more.
                Ok(report) => assert!(at == bytes.len() - 1 && report.torn > 0 && report != whole, "byte {at}"),
            }
            file.write_all_at(&[bytes[at]], at as u64).unwrap();
        }
    }
}

#[test]
fn every_removed_line_is_found() {
    let counts: Vec<usize> = files(ledger().path()).iter().map(|path| lines(path).len()).collect();
    let mut seq = 0;
    for (file, count) in counts.iter().enumerate() {
        for line in 0..*count {
            seq += 1;
            let found = with_lines(file, |lines| drop(lines.remove(line)));
            if seq == 12 {
                // The end of a chain can only be anchored elsewhere.
                assert_eq!(found.unwrap().records, 11);
                continue;
            }
            let (_, _, kind) = found.unwrap_err();
            assert_eq!(kind, Break::Missing { from: seq, to: seq });
        }
    }
}

#[test]
fn swapped_and_repeated_lines_are_found() {
    for (a, b) in [(0, 1), (1, 2), (0, 5), (3, 4)] {
        let expected = a as u64 + 1;
        let found = with_lines(0, |lines| lines.swap(a, b)).unwrap_err();
        assert_eq!(found, (FULL.to_owned(), expected, Break::Reordered { expected }), "{a} {b}");
        let found = with_lines(0, |lines| lines.insert(b + 1, lines[a].clone())).unwrap_err();
        assert_eq!(found, (FULL.to_owned(), b as u64 + 2, Break::Reordered { expected: b as u64 + 2 }), "{a} {b}");
    }
}

#[test]
fn a_file_cut_inside_or_missing_is_found() {
    let cut = |lines: &mut Vec<String>| {
        let last = lines.last_mut().unwrap();
        last.truncate(100);
    };
    let count = lines(&files(ledger().path())[0]).len() as u64;
    assert_eq!(with_lines(0, cut).unwrap_err(), (FULL.to_owned(), count, Break::CutInside));
    assert!(with_lines(1, cut).unwrap().torn == 100);

    let folder = ledger();
    std::fs::remove_file(folder.path().join(FULL)).unwrap();
    let missing = Break::Missing { from: 1, to: count };
    assert_eq!(place(verify(folder.path())).unwrap_err(), ("ledger.jsonl".to_owned(), 1, missing));
}

#[test]
fn a_chain_that_was_written_anew_is_found() {
    // Two sound ledgers with the same records but for one; the end of one behind the start of the other.
    let (ours, theirs) = (Folder::new(), Folder::new());
    filled(&ours.settings(), 3);
    filled(&theirs.settings(), 2);
    filled(&theirs.settings(), 1);
    let (mut mixed, other) = (lines(&ours.ledger()), lines(&theirs.ledger()));
    mixed.truncate(5);
    mixed.extend_from_slice(&other[5..]);
    std::fs::write(ours.ledger(), mixed.concat()).unwrap();
    assert_eq!(place(verify(ours.path())).unwrap_err(), ("ledger.jsonl".to_owned(), 6, Break::Replaced));
}

#[test]
fn anchors_find_what_the_chain_alone_cannot() {
    let folder = ledger();
    let head = verify(folder.path()).unwrap().head.unwrap();
    let anchor: Head = head.to_string().parse().unwrap();
    verify_anchored(folder.path(), &[anchor]).unwrap();

    // Cut off at the end.
    let current = folder.ledger();
    let whole = lines(&current);
    std::fs::write(&current, whole[..whole.len() - 1].concat()).unwrap();
    verify(folder.path()).unwrap();
    let found = place(verify_anchored(folder.path(), &[anchor])).unwrap_err();
    assert_eq!(found.2, Break::CutShort { anchor: 12 });

    // Another record under the same number.
    std::fs::write(&current, whole.concat()).unwrap();
    let forged: Head = format!("12:{}", "ab".repeat(32)).parse().unwrap();
    assert_eq!(place(verify_anchored(folder.path(), &[forged])).unwrap_err().2, Break::NotAnchored);

    // Older files put away on purpose.
    let full = folder.path().join(FULL);
    let before = verify(&full).unwrap().head.unwrap();
    std::fs::remove_file(&full).unwrap();
    assert!(verify(folder.path()).is_err());
    assert!(verify_anchored(folder.path(), &[before]).is_ok());
    let wrong: Head = format!("{}:{}", before.seq(), "ab".repeat(32)).parse().unwrap();
    assert_eq!(place(verify_anchored(folder.path(), &[wrong])).unwrap_err().2, Break::Replaced);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any set of lines in any order other than the written one (or a start of it) is no whole chain.
    #[test]
    fn no_other_arrangement_of_lines_is_whole(picks in prop::collection::vec(0_usize..8, 0..10)) {
        let folder = Folder::new();
        filled(&folder.settings(), 4);
        let all = lines(&folder.ledger());
        let picked: String = picks.iter().map(|line| all[*line].as_str()).collect();
        std::fs::write(folder.ledger(), picked).unwrap();
        let is_start = picks.iter().enumerate().all(|(at, line)| at == *line);
        prop_assert_eq!(verify(folder.path()).is_ok(), is_start);
    }
}
