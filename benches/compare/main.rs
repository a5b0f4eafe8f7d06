//! Claviger and nginx at the same work, in turns: a keep-alive client in clear text, an upstream over
//! TLS, a credential written into each request, one record (nginx: one log line) per request.
//!
//!     cargo run --release -p claviger-benches --bin compare -- [ROUNDS] [SECONDS]
//!
//! What is measured is CPU time (user and system) of the proxy's processes per request, which holds on
//! a shared machine as long as the ratio is taken within a run. Needs `tests/run --install-only`.

mod load;
mod nginx;

use std::path::Path;
use std::time::Duration;

use claviger_tests::World;

/// The path that every request asks for, behind each proxy's prefix.
const PATH: &str = "/api/v1/hello";

/// A proxy under load.
struct Leg {
    name: &'static str,
    pid: u32,
    address: std::net::SocketAddr,
    authorization: Option<String>,
}

/// What one leg did in one round.
struct Sample {
    requests: u64,
    cpu_us: f64,
    p50_us: u64,
    p99_us: u64,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(default, |text| text.parse().unwrap());
    let (rounds, seconds) = (number(5), number(3));
    if cfg!(debug_assertions) {
        panic!("measure a release build: cargo run --release -p claviger-benches --bin compare");
    }
    let world = World::new();
    let upstream = nginx::upstream(&world);
    let peer = nginx::proxy(&world, upstream.port);
    world.seal("api", &world.canary, &["api.test"]);
    world.configure(&world.usual(upstream.port, ""));
    let proxy = world.start();
    let legs = [
        Leg { name: "nginx", pid: peer.pid, address: ([127, 0, 0, 1], peer.port).into(), authorization: None },
        Leg {
            name: "claviger",
            pid: proxy.pid(),
            address: proxy.address("gateway").parse().unwrap(),
            authorization: Some(format!("Bearer {}", world.token("app"))),
        },
    ];
    let mut samples: [Vec<Sample>; 2] = Default::default();
    for round in 0..=rounds {
        for (leg, samples) in legs.iter().zip(&mut samples) {
            let sample = measure(leg, Duration::from_secs(seconds));
            // The first round warms up.
            if round > 0 {
                samples.push(sample);
            }
        }
    }
    println!("| proxy | requests | CPU per request, median | p50 | p99 |\n|---|---|---|---|---|");
    for (leg, samples) in legs.iter().zip(&samples) {
        let total: u64 = samples.iter().map(|sample| sample.requests).sum();
        let (p50, p99) = (median(samples, |s| s.p50_us as f64), median(samples, |s| s.p99_us as f64));
        println!("| {} | {total} | {:.1} µs | {p50:.0} µs | {p99:.0} µs |", leg.name, median(samples, |s| s.cpu_us));
    }
    let ratios: Vec<f64> = samples[0].iter().zip(&samples[1]).map(|(peer, ours)| ours.cpu_us / peer.cpu_us).collect();
    println!(
        "\nclaviger / nginx, by round: {}",
        ratios.iter().map(|r| format!("{r:.2}")).collect::<Vec<_>>().join(" ")
    );
}

fn measure(leg: &Leg, time: Duration) -> Sample {
    let before = cpu_ticks(leg.pid);
    let mut latencies = load::run(leg.address, PATH, leg.authorization.as_deref(), time);
    let ticks = cpu_ticks(leg.pid) - before;
    latencies.sort_unstable();
    let at = |part: usize| latencies[(latencies.len() - 1) * part / 100];
    // A clock tick is 10 ms on every Linux that this runs on (USER_HZ).
    let cpu_us = ticks as f64 * 10_000.0 / latencies.len() as f64;
    Sample { requests: latencies.len() as u64, cpu_us, p50_us: at(50), p99_us: at(99) }
}

/// User and system time of a process and its children, in clock ticks.
fn cpu_ticks(pid: u32) -> u64 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let own = stat(Path::new(&format!("/proc/{pid}/stat")));
    own + children.split_whitespace().map(|child| cpu_ticks(child.parse().unwrap())).sum::<u64>()
}

fn stat(file: &Path) -> u64 {
    let text = std::fs::read_to_string(file).unwrap();
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th field behind it.
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
