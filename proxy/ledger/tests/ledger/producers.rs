//! Slots, and that each request has exactly one `decided` and one `finished` record.

use std::collections::HashMap;
use std::thread;

use claviger_contract::EventSink as _;
use claviger_ledger::CommitError;
use claviger_ledger::query::{find, verify};

use crate::support::{
    Folder, block_on, decided, finished, kinds, open, records, request, start, start_with_cores, system,
};

/// What happened on several cores stands in the order of time, also where it is written together.
#[test]
fn cores_take_turns_as_time_went() {
    let folder = Folder::new();
    let ledger = start_with_cores(&folder.settings(), 3);
    let mut open = Vec::new();
    for number in 0_u16..300 {
        let mut event = decided(u128::from(number));
        event.at_ms += i64::from(number);
        open.push(ledger.core(usize::from(number * 7 % 3)).reserve().unwrap().decided(event));
    }
    drop(open);
    ledger.shutdown();
    let ids: Vec<u128> = crate::support::files(folder.path())
        .iter()
        .flat_map(|file| records(file))
        .filter(|record| record.kind() == "decided")
        .map(|record| record.id().unwrap().0)
        .collect();
    assert_eq!(ids, (0..300).collect::<Vec<u128>>());
}

#[test]
fn four_cores_write_each_request_once() {
    const EACH: u128 = 50_000;
    let folder = Folder::new();
    let mut settings = folder.settings();
    settings.rotate_size = 16 << 20;
    settings.keep = 100;
    let ledger = start_with_cores(&settings, 4);
    let threads: Vec<_> = (0..4)
        .map(|index| {
            let core = ledger.core(index);
            thread::spawn(move || {
                for number in 0..EACH {
                    let id = index as u128 * EACH + number;
                    let reservation = loop {
                        match core.reserve() {
                            Some(reservation) => break reservation,
                            None => thread::yield_now(),
                        }
                    };
                    let open = reservation.decided(decided(id));
                    // Every eighth is given up by its client.
                    if number % 8 != 0 {
                        open.finished(finished(id));
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    ledger.shutdown();

    let report = verify(folder.path()).unwrap();
    assert_eq!((report.allowed, report.finished, report.orphans), (200_000, 200_000, 0));
    assert_eq!(report.open, []);
    assert_eq!((ledger.stats().records, ledger.stats().lost), (400_000, 0));
    let mut seen: HashMap<String, u32> = HashMap::new();
    for file in crate::support::files(folder.path()) {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            // Not parsed, as that takes long: the chain was verified above.
            let (_, id) = line.split_once("\"id\":\"").unwrap();
            let step = if line.contains("\"type\":\"decided\"") { 1 } else { 100 };
            *seen.entry(id[..32].to_owned()).or_default() += step;
        }
    }
    assert_eq!(seen.len(), 200_000);
    assert!(seen.values().all(|sum| *sum == 101));
}

#[test]
fn a_full_ring_reserves_nothing_and_recovers() {
    let folder = Folder::new();
    let mut settings = folder.settings();
    settings.ring = 64;
    let ledger = start(&settings);
    let core = ledger.core(0);
    let mut reserved: Vec<_> = (0..32).map(|_| core.reserve().unwrap()).collect();
    assert!(core.reserve().is_none());
    assert_eq!(ledger.stats().refused, 1);

    // Unused, a reservation gives its slots back.
    reserved.pop();
    let again = core.reserve().unwrap();
    assert!(core.reserve().is_none());

    // Decided, it holds one slot once the record is written, finished none.
    let open = again.decided(decided(1));
    ledger.flush().unwrap();
    assert!(core.reserve().is_none(), "63 of 64 are taken");
    open.finished(finished(1));
    ledger.flush().unwrap();
    drop(core.reserve().unwrap());
    drop(reserved);
    let all: Vec<_> = (0..32).map(|_| core.reserve().unwrap()).collect();
    drop(all);
    ledger.shutdown();
    assert_eq!(kinds(&records(&folder.ledger())), ["decided", "finished"]);
}

#[test]
fn a_request_that_is_dropped_is_recorded_as_aborted() {
    let folder = Folder::new();
    let ledger = start(&folder.settings());
    drop(open(&ledger.core(0), 5));
    ledger.flush().unwrap();
    let records = find(folder.path(), claviger_contract::event::RequestId(5)).unwrap();
    assert_eq!(kinds(&records), ["decided", "finished"]);
    assert_eq!(records[1].text("code"), Some("aborted"));
    assert_eq!(records[1].number("status"), None);
}

#[test]
fn finished_carries_the_id_of_decided() {
    let folder = Folder::new();
    let ledger = start(&folder.settings());
    open(&ledger.core(0), 5).finished(finished(6));
    ledger.flush().unwrap();
    let records = records(&folder.ledger());
    assert_eq!(records[0].id(), records[1].id());
}

#[test]
fn required_commits_without_a_flush() {
    let folder = Folder::new();
    let mut settings = folder.settings();
    settings.required = true;
    let ledger = start_with_cores(&settings, 2);
    let threads = [0, 1].map(|index| {
        let core = ledger.core(index);
        let path = folder.ledger();
        thread::spawn(move || {
            for number in 0..100 {
                let id = index as u128 * 100 + number;
                let open = open(&core, id);
                block_on(open.committed()).unwrap();
                let found = find(&path, claviger_contract::event::RequestId(id)).unwrap();
                assert_eq!(found[0].kind(), "decided");
                open.finished(finished(id));
            }
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
    ledger.shutdown();
    assert_eq!(verify(folder.path()).unwrap().records, 400);
}

#[test]
fn after_the_end_nothing_is_reserved_and_nobody_waits() {
    let folder = Folder::new();
    let mut settings = folder.settings();
    settings.required = true;
    let ledger = start(&settings);
    let core = ledger.core(0);
    let late = core.reserve().unwrap();
    request(&core, 1);
    ledger.emit(system("stopped"));
    ledger.shutdown();
    ledger.shutdown();
    assert!(core.reserve().is_none());
    assert_eq!(block_on(late.decided(decided(2)).committed()), Err(CommitError::Closed));
    assert_eq!(ledger.flush(), Err(CommitError::Closed));
    let mut written = records(&folder.ledger());
    written.sort_by_key(|record| record.kind().to_owned());
    assert_eq!(kinds(&written), ["decided", "finished", "system"]);
}
