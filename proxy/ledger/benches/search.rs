//! What a question to a ledger of a million records costs: `cargo bench -p claviger-ledger --bench search`.
//!
//! One pass each, over files as rotation leaves them; printed, for a pass takes seconds.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark fails by panicking, and prints"
)]

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use claviger_ledger::query::{Exchange, Select, Window, observed, select, touched};

const REQUESTS: u64 = 500_000;
const FILES: u64 = 8;
/// 2026-11-22T00:00:00Z
const START_MS: i64 = 1_795_305_600_000;
/// A request every 100 ms.
const STEP_MS: i64 = 100;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fill(folder.path());
    println!("{} records, {} MiB", 2 * REQUESTS, bytes >> 20);
    let principal =
        || Some(Box::new(|id: &str| id == "spiffe://acme.internal/team-7/app-3") as Box<dyn Fn(&str) -> bool>);
    time("query one principal", || count(folder.path(), &Select { principal: principal(), ..Select::default() }));
    time("query denials", || count(folder.path(), &Select { allowed: Some(false), ..Select::default() }));
    let hour = Window { since_ms: Some(START_MS + 47_000_000), until_ms: None };
    time("query the last tenth", || count(folder.path(), &Select { window: hour, ..Select::default() }));
    time("query all", || count(folder.path(), &Select::default()));
    time("touched, all principals", || touched(folder.path(), &Select::default()).unwrap().operations.len());
    time("observed", || observed(folder.path(), &Select::default()).unwrap().rows.len());
}

fn time(what: &str, work: impl Fn() -> usize) {
    let begun = Instant::now();
    let found = work();
    println!("{what:<26} {:>8.0?}  {found} found", begun.elapsed());
}

fn count(path: &Path, wanted: &Select) -> usize {
    let mut found = 0;
    let mut each = |_: Exchange<'_>| {
        found += 1;
        ControlFlow::Continue(())
    };
    select(path, wanted, &mut each).unwrap();
    found
}

/// Lines as the ledger writes them, without the time that hashing takes.
fn fill(folder: &Path) -> usize {
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let (mut seq, mut bytes) = (1, 0);
    for file in 0..FILES {
        let name = if file + 1 == FILES { "ledger.jsonl".to_owned() } else { format!("ledger-{seq:020}.jsonl") };
        let mut out = std::io::BufWriter::new(std::fs::File::create(folder.join(name)).unwrap());
        for request in file * REQUESTS / FILES..(file + 1) * REQUESTS / FILES {
            let at =
                |ms: i64| jiff::Timestamp::from_millisecond(START_MS + ms).unwrap().strftime("%Y-%m-%dT%H:%M:%S.%3fZ");
            let begun = i64::try_from(request).unwrap() * STEP_MS;
            let (team, app, path) = (request % 40, request % 9, request % 30);
            let (decision, code, credential) = match request % 20 {
                0 => ("deny", "no_rule", ""),
                _ => ("allow", "ok", r#","credential":{"name":"openai-research","version":"v3"}"#),
            };
            let decided = format!(
                r#"{{"seq":{seq},"at":"{}","type":"decided","id":"{request:032x}","listener":"egress","principal":"spiffe://acme.internal/team-{team}/app-{app}","attested_by":"mesh","source_ip":"10.8.1.2","service":"openai","rule":"team-{team}-openai","method":"POST","host":"api.openai.com:443","path":"/v1/p{path}/*","decision":"{decision}","code":"{code}"{credential},"generation":7,"prev":"{hash}","hash":"{hash}"}}"#,
                at(begun)
            );
            let next = seq + 1;
            let finished = format!(
                r#"{{"seq":{next},"at":"{}","type":"finished","id":"{request:032x}","code":"ok","status":200,"upstream_status":200,"duration_us":21340,"first_byte_us":9000,"request_bytes":120,"response_bytes":4096,"masked":0,"replayed":false,"prev":"{hash}","hash":"{hash}"}}"#,
                at(begun + 21)
            );
            writeln!(out, "{decided}\n{finished}").unwrap();
            bytes += decided.len() + finished.len() + 2;
            seq += 2;
        }
    }
    bytes
}
