//! The load generator: hyper and rustls on one thread of its own process.
//!
//! Closed: each connection asks again as soon as it has its answer, which saturates the proxy. Open: requests are due at
//! fixed times, whatever became of those before; latency counts from the time that a request was due, so that a proxy
//! that stalls is not spared the requests that it kept waiting ("coordinated omission").

pub(crate) mod closed;
pub(crate) mod events;
pub(crate) mod open;

use std::time::Duration;

use crate::door::Problem;
use crate::meter::Tree;
use crate::stats::quantile;

/// What one leg did in one round.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Requests, connections or events that were served.
    pub(crate) units: u64,
    /// How long each took, in nanoseconds.
    pub(crate) latencies: Vec<u64>,
    /// What was not served: one makes the figure void.
    pub(crate) errors: u64,
    /// The first of them.
    pub(crate) problem: Option<Problem>,
}

impl Tally {
    /// Counts one answer.
    pub(crate) fn count(&mut self, took: Duration, answer: Result<usize, Problem>) {
        match answer {
            Ok(_) => {
                self.units += 1;
                self.latencies.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
            }
            Err(problem) => {
                self.errors += 1;
                self.problem.get_or_insert(problem);
            }
        }
    }

    /// Both together.
    pub(crate) fn merge(&mut self, other: Tally) {
        self.units += other.units;
        self.latencies.extend(other.latencies);
        self.errors += other.errors;
        self.problem = self.problem.take().or(other.problem);
    }

    /// A percentile of the latencies, in microseconds.
    pub(crate) fn latency_us(&mut self, share: f64) -> f64 {
        self.latencies.sort_unstable();
        quantile(&self.latencies, share) as f64 / 1000.0
    }
}

/// A tally and the CPU time that the proxy used meanwhile.
#[derive(Debug)]
pub(crate) struct Metered {
    pub(crate) tally: Tally,
    pub(crate) cpu: Duration,
}

impl Metered {
    /// Runs a load; the proxy's CPU time is taken around it.
    pub(crate) async fn around(tree: Tree, load: impl Future<Output = Tally>) -> Self {
        let before = tree.cpu();
        let tally = load.await;
        Self { cpu: tree.cpu().saturating_sub(before), tally }
    }

    /// CPU time per unit, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.tally.units.max(1) as f64
    }
}

/// Runs a load on this thread.
pub(crate) fn block_on<T>(load: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(load)
}
