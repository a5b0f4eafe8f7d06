//! What a request pays on its data core: reserving two slots, `decided`, `finished`. Encoding, hashing
//! and writing happen on the ledger's thread; `writer` measures what a request costs there.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark fails by panicking, and criterion's macros document nothing"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use claviger_contract::SystemClock;
use claviger_contract::event::{CredentialStamp, Decided, Finished, RequestId, Verdict};
use claviger_ledger::{CoreLedger, Ledger, LedgerSettings};
use claviger_policy::{Attributes, Principal, SpiffeId};
use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;

/// As the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Requests between two flushes; each takes two slots.
const ROUND: u64 = 512;

fn decided() -> Decided {
    Decided {
        id: RequestId(7),
        at_ms: 1_795_341_600_000,
        trace: None,
        listener: "egress".into(),
        source_ip: None,
        principal: Some(Arc::new(Principal {
            id: SpiffeId::parse("spiffe://acme.internal/github/acme/docs").unwrap(),
            attributes: Attributes::default(),
            attested_by: "mesh".into(),
        })),
        asked: None,
        service: Some("openai".into()),
        rule: Some("docs-llm".into()),
        method: Method::POST,
        host: Some("api.openai.com:443".into()),
        path: Some("/v1/chat/completions".into()),
        verdict: Verdict::Allow,
        code: "ok",
        detail: None,
        credential: Some(CredentialStamp { name: "openai-research".into(), version: "v3".into() }),
        generation: 7,
        observed: None,
        would: None,
        alert: None,
    }
}

fn finished() -> Finished {
    Finished {
        id: RequestId(7),
        at_ms: 1_795_341_600_021,
        code: "ok",
        status: 200,
        upstream_status: Some(200),
        duration_us: 21_340,
        first_byte_us: Some(9_000),
        request_bytes: 120,
        response_bytes: 4_096,
        masked: 0,
        replayed: false,
        served_version: None,
    }
}

fn request(core: &CoreLedger, decided: Decided, finished: Finished) {
    black_box(core.reserve().expect("a free slot").decided(decided)).finished(finished);
}

/// Times requests in rounds that fit the ring. Making the events and flushing are not timed.
fn in_rounds(ledger: &Ledger, iterations: u64) -> Duration {
    let (core, decided, finished) = (ledger.core(0), decided(), finished());
    let mut total = Duration::ZERO;
    let mut left = iterations;
    while left > 0 {
        let round = left.min(ROUND);
        let events: Vec<_> = (0..round).map(|_| (decided.clone(), finished.clone())).collect();
        let start = Instant::now();
        for (decided, finished) in events {
            request(&core, decided, finished);
        }
        total += start.elapsed();
        ledger.flush().unwrap();
        left -= round;
    }
    total
}

fn enqueue(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::start(LedgerSettings::new(folder.path()), Arc::new(SystemClock), 1).unwrap();
    let core = ledger.core(0);
    let mut group = criterion.benchmark_group("enqueue");
    group.bench_function("reserve+decided+finished", |bencher| bencher.iter_custom(|n| in_rounds(&ledger, n)));
    group.bench_function("reserve and give back", |bencher| bencher.iter(|| drop(black_box(core.reserve()))));
    group.finish();
}

/// CPU time that the ledger's thread has used (Linux: `/proc/…/schedstat`, nanoseconds first). Wall time
/// says little on a machine that others use too.
fn writer_cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let used = tasks
        .filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "ledger"))
        .map(|task| std::fs::read_to_string(task.join("schedstat")).unwrap())
        .map(|stat| stat.split(' ').next().unwrap().parse::<u64>().unwrap());
    Duration::from_nanos(used.sum())
}

fn writer(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::start(LedgerSettings::new(folder.path()), Arc::new(SystemClock), 1).unwrap();
    let mut group = criterion.benchmark_group("writer");
    group.bench_function("CPU time per request (two records)", |bencher| {
        bencher.iter_custom(|n| {
            let before = writer_cpu();
            in_rounds(&ledger, n);
            writer_cpu() - before
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = enqueue, writer
}
criterion_main!(benches);
