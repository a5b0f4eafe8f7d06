//! What happens when records cannot be written.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Command;

use claviger_contract::EventSink as _;
use claviger_ledger::query::{Record, verify};
use claviger_ledger::{CommitError, Sink};

use crate::support::{
    Folder, block_on, child, filled, finished, kinds, open, records, request, settings_of_child, start, system,
    wait_until,
};

#[test]
fn a_required_ledger_on_a_full_disk_refuses_until_it_is_mended() {
    let folder = Folder::new();
    folder.full_disk();
    let mut settings = folder.settings();
    settings.required = true;
    let ledger = start(&settings);
    let core = ledger.core(0);

    let open = open(&core, 1);
    let error = block_on(open.committed()).unwrap_err();
    assert!(matches!(&error, CommitError::Write(why) if why.contains("No space left")), "{error}");
    open.finished(finished(1));
    assert!(core.reserve().is_none(), "nothing may be sent");
    assert!(ledger.flush().is_err());
    assert!(ledger.stats().error.is_some());
    assert!(ledger.stats().refused > 0);

    folder.mend();
    ledger.flush().unwrap();
    request(&core, 2);
    ledger.shutdown();
    // What was kept is written, once; nothing is lost.
    assert_eq!(kinds(&records(&folder.ledger())), ["decided", "finished", "decided", "finished"]);
    assert_eq!(ledger.stats().lost, 0);
    verify(&folder.ledger()).unwrap();
}

#[test]
fn otherwise_a_full_disk_costs_records_and_the_ledger_says_how_many() {
    let folder = Folder::new();
    folder.full_disk();
    let ledger = start(&folder.settings());
    let core = ledger.core(0);
    for id in 1..=3 {
        let open = open(&core, id);
        block_on(open.committed()).unwrap();
        open.finished(finished(id));
    }
    assert!(ledger.flush().is_err());
    assert_eq!(ledger.stats().lost, 6);

    folder.mend();
    // It tells of the loss although no other event comes.
    ledger.flush().unwrap();
    request(&core, 4);
    ledger.flush().unwrap();
    let records = records(&folder.ledger());
    assert_eq!(kinds(&records), ["lost", "decided", "finished"]);
    assert_eq!(records[0].number("count"), Some(6));
    assert_eq!(verify(&folder.ledger()).unwrap().lost, 6);
}

#[test]
#[ignore = "run by `a_write_that_stops_in_the_middle_leaves_no_trace`"]
fn child_writes_more_than_it_may() {
    let settings = settings_of_child();
    let ledger = start(&settings);
    for id in 0.. {
        request(&ledger.core(0), id);
        if ledger.flush().is_err() {
            break;
        }
    }
    // Room again: the file goes where a full one goes.
    std::fs::rename(&settings.path, settings.path.with_file_name("ledger-00000000000000000001.jsonl")).unwrap();
    request(&ledger.core(0), 99);
    ledger.flush().unwrap();
    assert_eq!(ledger.stats().lost, 2);
}

#[test]
fn a_write_that_stops_in_the_middle_leaves_no_trace() {
    let folder = Folder::new();
    // The signal is ignored, so that the write fails instead.
    let limit = "trap '' XFSZ; ulimit -f 5";
    let child = child("disk::child_writes_more_than_it_may", folder.path(), limit);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));

    let report = verify(folder.path()).unwrap();
    assert_eq!((report.files, report.lost), (2, 2));
    assert_eq!(report.open, []);
    assert_eq!(report.allowed, report.finished);
    assert_eq!(kinds(&records(&folder.ledger())), ["lost", "decided", "finished"]);
    assert!(!folder.path().join("ledger.jsonl.torn").exists());
}

#[test]
fn events_that_find_their_queue_full_are_counted_and_told() {
    let folder = Folder::new();
    assert!(Command::new("mkfifo").arg(folder.ledger()).status().unwrap().success());
    let ledger = start(&folder.settings());
    // Nobody reads, so the writer waits for the pipe and the queue fills.
    for _ in 0..20_000 {
        ledger.emit(system("generation_loaded"));
    }
    let lost = ledger.stats().lost;
    assert!(lost > 0);

    let reader = std::fs::File::open(folder.ledger()).unwrap();
    let told = std::thread::spawn(move || {
        let (mut loaded, mut lost) = (0, 0);
        for line in BufReader::new(reader).lines() {
            let record = Record::parse(&line.unwrap()).unwrap();
            match record.kind() {
                "lost" => lost += record.number("count").unwrap(),
                _ if record.text("kind") == Some("stopped") => break,
                _ => loaded += 1,
            }
        }
        (loaded, lost)
    });
    ledger.flush().unwrap();
    ledger.emit(system("stopped"));
    assert_eq!(told.join().unwrap(), (20_000 - lost, lost));
}

#[test]
#[ignore = "run by `standard_output_is_a_sink`"]
fn child_writes_to_standard_output() {
    let mut settings = settings_of_child();
    settings.sinks = vec![Sink::Stdout];
    println!();
    filled(&settings, 3);
}

#[test]
fn standard_output_is_a_sink() {
    let folder = Folder::new();
    let mut child = child("disk::child_writes_to_standard_output", folder.path(), "");
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!folder.ledger().exists());

    let lines: String =
        output.lines().filter(|line| line.starts_with("{\"seq\":")).map(|line| format!("{line}\n")).collect();
    std::fs::write(folder.ledger(), lines).unwrap();
    assert_eq!(verify(folder.path()).unwrap().records, 6);
}

#[test]
fn a_file_that_someone_moves_away_is_begun_anew() {
    let folder = Folder::new();
    let ledger = start(&folder.settings());
    request(&ledger.core(0), 1);
    ledger.flush().unwrap();
    let full = folder.path().join("ledger-00000000000000000001.jsonl");
    std::fs::rename(folder.ledger(), full).unwrap();
    let mut id = 1;
    wait_until("the new file is there", || {
        id += 1;
        request(&ledger.core(0), id);
        ledger.flush().unwrap();
        folder.ledger().exists()
    });
    ledger.shutdown();
    let report = verify(folder.path()).unwrap();
    assert_eq!((report.files, u128::from(report.allowed)), (2, id));
}
