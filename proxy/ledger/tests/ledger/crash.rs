//! A process that dies loses only what nobody was told of.

use std::io::{BufRead as _, BufReader};

use claviger_contract::event::RequestId;
use claviger_ledger::LedgerError;
use claviger_ledger::query::{Break, VerifyError, find, verify};

use crate::support::{
    Folder, block_on, child, filled, kinds, open, records, request, settings_of_child, start, start_with_cores,
};

#[test]
#[ignore = "run by `a_killed_process_loses_only_unacknowledged_records`"]
fn child_acknowledges_until_it_is_killed() {
    let mut settings = settings_of_child();
    settings.required = true;
    settings.rotate_size = 64 << 10;
    let ledger = start_with_cores(&settings, 2);
    let threads = [0, 1].map(|index| {
        let core = ledger.core(index);
        std::thread::spawn(move || {
            for id in (index as u128 + 2..).step_by(2) {
                let open = open(&core, id);
                block_on(open.committed()).unwrap();
                println!("\nacknowledged {id}");
                open.finished(crate::support::finished(id));
            }
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_killed_process_loses_only_unacknowledged_records() {
    let folder = Folder::new();
    let mut child = child("crash::child_acknowledges_until_it_is_killed", folder.path(), "");
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let acknowledged =
        lines.filter_map(|line| line.unwrap().strip_prefix("acknowledged ").map(|id| id.parse::<u128>().unwrap()));
    let mut told: Vec<u128> = Vec::new();
    for id in acknowledged {
        told.push(id);
        if told.len() == 300 {
            child.kill().unwrap();
            // What is still in the pipe was told as well; the loop reads it to its end.
        }
    }
    child.wait().unwrap();
    assert!(told.len() >= 300);

    // The next process continues the chain.
    let ledger = start(&folder.settings());
    request(&ledger.core(0), 1);
    ledger.shutdown();
    let report = verify(folder.path()).unwrap();
    assert!(report.open.len() <= 4, "{:?}", report.open);
    for id in told {
        let found = find(folder.path(), RequestId(id)).unwrap();
        assert_eq!(found.first().map(|record| record.kind()), Some("decided"), "{id}");
    }
}

#[test]
fn a_torn_line_is_put_aside_and_recorded() {
    let folder = Folder::new();
    filled(&folder.settings(), 2);
    let whole = std::fs::read(folder.ledger()).unwrap();
    let torn = b"{\"seq\":5,\"at\":\"2026-11-22T10:0";
    std::fs::write(folder.ledger(), [&whole[..], torn].concat()).unwrap();
    assert_eq!(verify(folder.path()).unwrap().torn, torn.len() as u64);

    filled(&folder.settings(), 1);
    let records = records(&folder.ledger());
    assert_eq!(kinds(&records[4..]), ["recovered", "decided", "finished"]);
    assert_eq!(records[4].number("bytes"), Some(torn.len() as u64));
    assert_eq!(std::fs::read(folder.path().join("ledger.jsonl.torn")).unwrap(), [&torn[..], b"\n"].concat());
    assert_eq!(verify(folder.path()).unwrap().records, 7);
}

#[test]
fn the_chain_continues_over_restarts() {
    let folder = Folder::new();
    for _ in 0..3 {
        filled(&folder.settings(), 2);
    }
    let report = verify(folder.path()).unwrap();
    assert_eq!((report.records, report.files), (12, 1));
}

#[test]
fn one_process_writes_a_ledger() {
    let folder = Folder::new();
    let first = start(&folder.settings());
    let clock = std::sync::Arc::new(claviger_contract::SystemClock);
    let second = claviger_ledger::Ledger::start(folder.settings(), clock.clone(), 1).unwrap_err();
    assert!(matches!(second, LedgerError::Locked { .. }));
    assert!(second.to_string().contains("another process writes the ledger"), "{second}");
    drop(first);
    claviger_ledger::Ledger::start(folder.settings(), clock, 1).unwrap();
}

#[test]
fn a_file_that_is_no_ledger_is_not_written() {
    let folder = Folder::new();
    std::fs::write(folder.ledger(), "my notes\n").unwrap();
    let clock = std::sync::Arc::new(claviger_contract::SystemClock);
    let error = claviger_ledger::Ledger::start(folder.settings(), clock, 1).unwrap_err();
    assert!(matches!(error, LedgerError::Damaged { .. }));
    assert_eq!(std::fs::read(folder.ledger()).unwrap(), b"my notes\n");
    assert!(matches!(verify(folder.path()), Err(VerifyError::Broken { line: 1, kind: Break::NotARecord, .. })));
}
