//! What a request pays on its data core: reserving two slots, `decided`, `finished`. Serialising,
//! hashing and writing happen on the ledger's thread; `writer` measures what a record costs there.

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
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::Method;

/// As the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Requests between two flushes; each takes two slots.
const ROUND: u64 = 4_096;

fn decided() -> Decided {
    Decided {
        id: RequestId(7),
        at_ms: 1_795_341_600_000,
        trace: None,
        listener: "egress".into(),
        principal: Some(Arc::new(Principal {
            id: SpiffeId::parse("spiffe://acme.internal/github/acme/docs").unwrap(),
            attributes: Attributes::default(),
            attested_by: "mesh".into(),
        })),
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
    }
}

fn request(core: &CoreLedger, decided: Decided, finished: Finished) {
    black_box(core.reserve().expect("a free slot").decided(decided)).finished(finished);
}

/// Times `each` for rounds that fit the ring, and flushes between them, untimed.
fn in_rounds(ledger: &Ledger, iterations: u64, mut each: impl FnMut()) -> Duration {
    let mut total = Duration::ZERO;
    let mut left = iterations;
    while left > 0 {
        let round = left.min(ROUND);
        let start = Instant::now();
        for _ in 0..round {
            each();
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
    let (decided, finished) = (decided(), finished());
    let mut group = criterion.benchmark_group("enqueue");
    group.bench_function("reserve+decided+finished", |bencher| {
        bencher.iter_custom(|n| in_rounds(&ledger, n, || request(&core, decided.clone(), finished.clone())));
    });
    // What of it is the cloning of the event, which a proxy builds instead.
    group.bench_function("clone of both events", |bencher| {
        bencher.iter(|| black_box((decided.clone(), finished.clone())));
    });
    group.bench_function("reserve and give back", |bencher| bencher.iter(|| drop(black_box(core.reserve()))));
    group.finish();
}

fn writer(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::start(LedgerSettings::new(folder.path()), Arc::new(SystemClock), 1).unwrap();
    let core = ledger.core(0);
    let (decided, finished) = (decided(), finished());
    let mut group = criterion.benchmark_group("writer");
    // One request is two records. Wall time from the first push to the last byte in the kernel.
    group.throughput(Throughput::Elements(ROUND));
    group.bench_function("round of 4096 requests, written", |bencher| {
        bencher.iter(|| {
            for _ in 0..ROUND {
                request(&core, decided.clone(), finished.clone());
            }
            ledger.flush().unwrap();
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
