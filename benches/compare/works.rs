//! What is measured, and what is to be reached.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::door::{Door, Job, Problem};
use crate::legs::Leg;
use crate::load::{self, Metered, Tally, closed, open};

/// Keep-alive connections of a client.
const CONNECTIONS: usize = 32;

/// How long a leg may take to warm up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Requests a second of the open loop.
const RATE: u32 = 300;

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// CPU time per request, connection or event, in microseconds.
    CpuUs,
    /// Half of them took no longer, in microseconds.
    P50Us,
    /// All but a hundredth of them took no longer, in microseconds.
    P99Us,
    /// Requests a second.
    PerSecond,
    /// System calls per request.
    Syscalls,
}

/// What one leg did in one round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) figures: BTreeMap<Metric, f64>,
    pub(crate) errors: u64,
    pub(crate) problem: Option<Problem>,
}

/// What is to be reached: ours by the peer's at most this much, or, without a peer, at most this much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) peer: Option<&'static str>,
    pub(crate) metric: Metric,
    pub(crate) most: f64,
}

/// The way in that a work takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Clear,
    Mutual,
    MutualH2,
    Connect,
}

/// How the load is made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// So many keep-alive connections, each asking again at once.
    Closed(usize),
    /// So many requests a second.
    Open(u32),
    /// So many streams of one h2 connection, each asking again at once.
    Streams(usize),
    /// A connection for each request, so many at a time; of one host, or each of another.
    Fresh { at_a_time: usize, hosts: Hosts },
}

/// Whose certificate a new connection asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hosts {
    One,
    New,
}

/// One line of work.
pub(crate) struct Work {
    /// As `--only` takes it.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) way: Way,
    pub(crate) job: fn() -> Job,
    pub(crate) shape: Shape,
    /// Peers that would only hold up the run.
    pub(crate) without: &'static [&'static str],
    pub(crate) targets: &'static [Target],
}

const fn cpu(peer: &'static str, most: f64) -> Target {
    Target { peer: Some(peer), metric: Metric::CpuUs, most }
}

const fn p50(peer: &'static str, most: f64) -> Target {
    Target { peer: Some(peer), metric: Metric::P50Us, most }
}

const fn p99(peer: &'static str, most: f64) -> Target {
    Target { peer: Some(peer), metric: Metric::P99Us, most }
}

const fn most(metric: Metric, most: f64) -> Target {
    Target { peer: None, metric, most }
}

const GATEWAY: &[Target] = &[cpu("nginx", 1.0), cpu("envoy", 0.55), cpu("pingora", 0.75), most(Metric::Syscalls, 5.0)];
const GATEWAY_OPEN: &[Target] = &[p50("nginx", 1.0), p99("nginx", 1.0)];
const NEW_INTERCEPTED: &[Target] = &[cpu("hudsucker", 0.5), p50("hudsucker", 0.15)];

/// All of them, in the order of the page.
pub(crate) const ALL: &[Work] = &[
    Work {
        name: "get",
        title: "Gateway, small GET, saturated",
        way: Way::Clear,
        job: Job::get,
        shape: Shape::Closed(CONNECTIONS),
        without: &[],
        targets: GATEWAY,
    },
    Work {
        name: "get-300",
        title: "Gateway, small GET, 300 requests a second",
        way: Way::Clear,
        job: Job::get,
        shape: Shape::Open(RATE),
        without: &[],
        targets: GATEWAY_OPEN,
    },
    Work {
        name: "chat",
        title: "Gateway, 2 KiB LLM POST, saturated",
        way: Way::Clear,
        job: Job::chat,
        shape: Shape::Closed(CONNECTIONS),
        without: &[],
        targets: GATEWAY,
    },
    Work {
        name: "chat-300",
        title: "Gateway, 2 KiB LLM POST, 300 requests a second",
        way: Way::Clear,
        job: Job::chat,
        shape: Shape::Open(RATE),
        without: &[],
        targets: GATEWAY_OPEN,
    },
    Work {
        name: "intercept",
        title: "CONNECT with interception, small GET, saturated",
        way: Way::Connect,
        job: Job::get,
        shape: Shape::Closed(CONNECTIONS),
        without: &[],
        targets: &[cpu("hudsucker", 1.0), cpu("squid", 0.40), cpu("mitmproxy", 0.02)],
    },
    Work {
        name: "intercept-300",
        title: "CONNECT with interception, small GET, 300 requests a second",
        way: Way::Connect,
        job: Job::get,
        shape: Shape::Open(RATE),
        without: &["mitmproxy"],
        targets: &[p50("hudsucker", 1.0), p99("hudsucker", 1.0)],
    },
    Work {
        name: "mtls",
        title: "Client certificates, small GET, saturated",
        way: Way::Mutual,
        job: Job::get,
        shape: Shape::Closed(CONNECTIONS),
        without: &[],
        targets: &[cpu("nginx", 1.0), cpu("envoy", 0.6)],
    },
    Work {
        name: "mtls-new",
        title: "Client certificates, a new connection for each request",
        way: Way::Mutual,
        job: Job::get,
        shape: Shape::Fresh { at_a_time: 8, hosts: Hosts::One },
        without: &[],
        targets: &[cpu("nginx", 0.35), cpu("pingora", 1.0)],
    },
    Work {
        name: "intercept-new",
        title: "A new intercepted connection for each request, leaf certificate cached",
        way: Way::Connect,
        job: Job::get,
        shape: Shape::Fresh { at_a_time: 8, hosts: Hosts::One },
        without: &["mitmproxy", "squid"],
        targets: NEW_INTERCEPTED,
    },
    Work {
        name: "intercept-minted",
        title: "A new intercepted connection for each request, each to a host of its own: leaf certificate minted, new upstream connection",
        way: Way::Connect,
        job: Job::get,
        shape: Shape::Fresh { at_a_time: 8, hosts: Hosts::New },
        without: &["mitmproxy", "squid"],
        targets: NEW_INTERCEPTED,
    },
    Work {
        name: "mebibyte",
        title: "1 MiB there and 1 MiB back",
        way: Way::Clear,
        job: Job::mebibyte,
        shape: Shape::Closed(8),
        without: &[],
        targets: &[cpu("envoy", 1.0)],
    },
    Work {
        name: "h2",
        title: "HTTP/2 with client certificates, 100 streams of one connection, small GET",
        way: Way::MutualH2,
        job: Job::get,
        shape: Shape::Streams(100),
        without: &[],
        targets: &[cpu("envoy", 0.6)],
    },
];

impl Work {
    /// The way into a leg, if it takes part.
    pub(crate) fn door<'a>(&self, leg: &'a Leg) -> Option<&'a Door> {
        let door = match self.way {
            Way::Clear => &leg.clear,
            Way::Mutual => &leg.mutual,
            Way::MutualH2 => &leg.mutual_h2,
            Way::Connect => &leg.connect,
        };
        door.as_ref().filter(|_| !self.without.contains(&leg.name))
    }

    /// One turn of one leg.
    pub(crate) fn measure(&self, leg: &Leg, door: &Door, time: Duration, round: u32) -> Sample {
        let limit = time * 3 + PATIENCE;
        let metered = load::block_on(async { tokio::time::timeout(limit, self.load(leg, door, time, round)).await });
        match metered.unwrap_or_else(|_| Err(format!("does not end within {limit:?}"))) {
            Ok(metered) => sample(metered, time),
            Err(problem) => Sample { errors: 1, problem: Some(problem), ..Sample::default() },
        }
    }

    async fn load(&self, leg: &Leg, door: &Door, time: Duration, round: u32) -> Result<Metered, Problem> {
        let (job, tree) = ((self.job)(), leg.running.tree());
        Ok(match self.shape {
            Shape::Closed(connections) => {
                let senders = closed::warm(door, &job, connections).await?;
                Metered::around(tree, closed::keep_alive(door, &job, senders, time)).await
            }
            Shape::Open(rate) => {
                let senders = closed::warm(door, &job, CONNECTIONS).await?;
                Metered::around(tree, open::at_rate(door, &job, senders, rate, time)).await
            }
            Shape::Streams(streams) => Metered::around(tree, closed::streams(door, &job, streams, time)).await,
            Shape::Fresh { at_a_time, hosts } => {
                let own = door.host();
                let host = move |turn| match hosts {
                    Hosts::One => own.to_owned(),
                    Hosts::New => format!("h{turn}-{round}.wide.test"),
                };
                Metered::around(tree, closed::fresh(door, &job, at_a_time, time, host)).await
            }
        })
    }

    /// Whether system calls are counted.
    pub(crate) fn counts_syscalls(&self) -> bool {
        self.targets.iter().any(|target| target.metric == Metric::Syscalls)
    }
}

fn sample(mut metered: Metered, time: Duration) -> Sample {
    let cpu = metered.cpu_us();
    let Tally { units, errors, problem, .. } = &metered.tally;
    let (units, errors, problem) = (*units, *errors, problem.clone());
    if units == 0 {
        return Sample {
            errors: errors.max(1),
            problem: problem.or(Some("nothing was served".to_owned())),
            ..Sample::default()
        };
    }
    let figures = BTreeMap::from([
        (Metric::CpuUs, cpu),
        (Metric::P50Us, metered.tally.latency_us(0.5)),
        (Metric::P99Us, metered.tally.latency_us(0.99)),
        (Metric::PerSecond, units as f64 / time.as_secs_f64()),
    ]);
    Sample { figures, errors, problem }
}
