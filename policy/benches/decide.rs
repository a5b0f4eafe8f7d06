//! What a decision costs over 10, 1,000 and 10,000 rules: warm (one request again and again) and
//! shuffled (2,000 callers, hits and misses, no request twice in a row).
//!
//! Besides criterion's estimates it prints the median and the 99th percentile of single decisions,
//! which include about as much time as reading the clock takes; that is printed, too.
#![allow(clippy::print_stdout, reason = "a bench prints its figures")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a bench fails by panicking")]
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

#[path = "../tests/support/fleet.rs"]
mod fleet;
#[path = "../tests/support/load.rs"]
mod load;

use std::hint::black_box;
use std::time::Instant;

use claviger_policy::{Bound, Context, Policy, Target};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fleet::Fleet;
use http::Method;

struct Setup {
    rules: usize,
    policy: Policy,
    bounds: Vec<Bound>,
    requests: Vec<(usize, Target, Method)>,
}

const CONTEXT: Context = Context { source_ip: None, now: 1_790_000_000 };

fn setup(teams: usize, rules: usize, services: usize, principals: usize) -> Setup {
    let fleet = Fleet::new(teams, rules, services, principals);
    let text = fleet.config();
    let start = Instant::now();
    let policy = load::load(&text);
    let (compiled, start) = (start.elapsed(), Instant::now());
    let bounds: Vec<Bound> = fleet.principals().iter().map(|principal| policy.bind(principal)).collect();
    let bound = start.elapsed() / u32::try_from(principals).unwrap();
    println!("{:>6} rules: compiled in {compiled:.1?}, one binding takes {bound:.1?}", teams * rules);
    let requests = fleet.cases(20_000).into_iter().map(|case| (case.caller, case.target(&policy), case.method));
    Setup { rules: teams * rules, requests: requests.collect(), policy, bounds }
}

fn percentiles(name: &str, setup: &Setup, mut pick: impl FnMut(usize) -> usize) {
    let mut samples: Vec<u64> = (0..200_000)
        .map(|turn| {
            let (caller, target, method) = &setup.requests[pick(turn)];
            let (bound, target, method) = (&setup.bounds[*caller], target.clone(), method.clone());
            let start = Instant::now();
            let decision = black_box(setup.policy.decide(bound, target, method, &CONTEXT));
            let elapsed = start.elapsed();
            drop(decision);
            u64::try_from(elapsed.as_nanos()).unwrap()
        })
        .collect();
    samples.sort_unstable();
    let (median, p99) = (samples[samples.len() / 2], samples[samples.len() * 99 / 100]);
    println!("{:>6} rules, {name:<8}: median {median} ns, p99 {p99} ns", setup.rules);
}

fn clock() {
    let mut samples: Vec<u128> = (0..100_000).map(|_| Instant::now().elapsed().as_nanos()).collect();
    samples.sort_unstable();
    println!("reading the clock: median {} ns", samples[samples.len() / 2]);
}

fn decide(criterion: &mut Criterion) {
    clock();
    let mut group = criterion.benchmark_group("decide");
    for setup in [setup(1, 10, 5, 10), setup(4, 250, 60, 2_000), setup(40, 250, 60, 2_000)] {
        let count = setup.requests.len();
        percentiles("warm", &setup, |_| 0);
        percentiles("shuffled", &setup, |turn| turn % count);
        let ask = |(caller, target, method): &(usize, Target, Method)| {
            setup.policy.decide(&setup.bounds[*caller], target.clone(), method.clone(), &CONTEXT)
        };
        group.bench_function(BenchmarkId::new("warm", setup.rules), |bencher| bencher.iter(|| ask(&setup.requests[0])));
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("shuffled", setup.rules), |bencher| {
            bencher.iter(|| {
                turn = (turn + 1) % count;
                ask(&setup.requests[turn])
            });
        });
    }
    group.finish();
}

fn canonicalize(criterion: &mut Criterion) {
    let policy = setup(1, 10, 5, 10).policy;
    let authority = claviger_policy::Authority::parse("api1.example.test", 443).unwrap();
    criterion.bench_function("canonicalize", |bencher| {
        bencher.iter(|| {
            policy.canonicalize(claviger_policy::Scheme::Https, authority.clone(), "/v1/r1/a/items/x?limit=10").unwrap()
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(std::time::Duration::from_secs(2));
    targets = decide, canonicalize
}
criterion_main!(benches);
