//! Files come and go, the chain goes on.

use std::os::unix::fs::PermissionsExt as _;

use claviger_ledger::query::{find, head, verify};

use crate::support::{Folder, files, filled, records, request, start};

#[test]
fn the_chain_continues_over_files() {
    let folder = Folder::new();
    let mut settings = folder.settings();
    settings.rotate_size = 4_096;
    filled(&settings, 30);
    let files = files(folder.path());
    assert!(files.len() > 3, "{files:?}");
    let mut expected = 1;
    for (index, file) in files.iter().enumerate() {
        assert!(std::fs::metadata(file).unwrap().len() <= 4_096, "{file:?}");
        let records = records(file);
        if index + 1 < files.len() {
            assert_eq!(file.file_name().unwrap().to_str().unwrap(), format!("ledger-{expected:020}.jsonl"));
        }
        for record in records {
            assert_eq!(record.seq(), expected);
            expected += 1;
        }
    }
    let report = verify(folder.path()).unwrap();
    assert_eq!((report.records, report.files), (60, files.len() as u64));
    assert_eq!(find(folder.path(), claviger_contract::event::RequestId(1)).unwrap().len(), 2);
}

#[test]
fn only_so_many_full_files_are_kept() {
    let folder = Folder::new();
    let mut settings = folder.settings();
    settings.rotate_size = 4_096;
    settings.keep = 2;
    filled(&settings, 40);
    assert_eq!(files(folder.path()).len(), 3);
    let report = verify(folder.path()).unwrap();
    assert!(report.first.unwrap().seq > 1);
    assert_eq!(report.last.unwrap().seq, 80);
}

#[test]
fn a_restart_between_rename_and_create_continues_the_chain() {
    let folder = Folder::new();
    filled(&folder.settings(), 2);
    std::fs::rename(folder.ledger(), folder.path().join("ledger-00000000000000000001.jsonl")).unwrap();
    assert_eq!(head(folder.path()).unwrap().unwrap().seq(), 4);
    filled(&folder.settings(), 1);
    let report = verify(folder.path()).unwrap();
    assert_eq!((report.records, report.files), (6, 2));
    assert_eq!(head(folder.path()).unwrap(), report.head);
}

#[test]
fn a_name_that_is_taken_is_not_overwritten() {
    let folder = Folder::new();
    let taken = folder.path().join("ledger-00000000000000000001.jsonl");
    let mut settings = folder.settings();
    settings.rotate_size = 4_096;
    let ledger = start(&settings);
    std::fs::write(&taken, "older").unwrap();
    for id in 0..30 {
        request(&ledger.core(0), id);
        ledger.flush().unwrap();
    }
    assert_eq!(std::fs::read(&taken).unwrap(), b"older");
    assert_eq!(records(&folder.ledger()).len(), 60);
}

#[test]
fn only_the_owner_may_read() {
    let folder = Folder::new();
    let mut settings = folder.settings();
    settings.path = folder.path().join("deep").join("er").join("ledger.jsonl");
    filled(&settings, 1);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&settings.path), 0o600);
    assert_eq!(mode(settings.path.parent().unwrap()), 0o700);
    assert_eq!(mode(&folder.path().join("deep")), 0o700);
}
