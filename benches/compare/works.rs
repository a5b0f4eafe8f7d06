//! What is measured, and what is to be reached.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::door::{Door, Job, Problem};
use crate::fresh;
use crate::legs::claviger::{USUAL, Variant};
use crate::legs::{Doors, Leg};
use crate::load::{self, Metered, Tally, closed, events, open};
use crate::scene::Scene;

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
    /// From the start of the process to its first answer, in milliseconds.
    StartMs,
    /// CPU time until then, in milliseconds.
    StartCpuMs,
    /// Resident memory of a process that has served nothing, in MiB.
    ProcessMib,
    /// Resident memory of an idle connection, in KiB.
    ConnectionKib,
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
    /// So many streams of events.
    Events(usize),
    /// A process that is started for it: until its first answer.
    Cold,
    /// A process that is started for it: the memory of idle connections.
    Idle,
    /// Two Clavigers, of which one has more of something; [`SMALL`] is compared with as a peer.
    Growth { small: Size, large: Size },
}

/// The name of the Claviger that has less.
pub(crate) const SMALL: &str = "small";

/// The name of an nginx that has as little.
pub(crate) const NGINX_SMALL: &str = "nginx-small";

/// A Claviger and its clients' keep-alive connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) variant: Variant,
    pub(crate) connections: usize,
}

const USUAL_SIZE: Size = Size { variant: USUAL, connections: CONNECTIONS };

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
const GROWTH: &[Target] = &[cpu(SMALL, 1.15)];
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
        shape: Shape::Fresh { at_a_time: 4, hosts: Hosts::One },
        without: &["mitmproxy", "squid"],
        targets: NEW_INTERCEPTED,
    },
    Work {
        name: "intercept-minted",
        title: "A new intercepted connection for each request, each to a host of its own: leaf certificate minted, new upstream connection",
        way: Way::Connect,
        job: Job::get,
        shape: Shape::Fresh { at_a_time: 4, hosts: Hosts::New },
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
    Work {
        name: "sse",
        title: "Server-sent events: 160 streams of 10 events a second; latency is an event's delay",
        way: Way::Clear,
        job: Job::events,
        shape: Shape::Events(160),
        without: &[],
        targets: &[cpu("nginx", 0.9), p50("nginx", 1.0)],
    },
    Work {
        name: "sse-intercept",
        title: "Server-sent events through CONNECT with interception",
        way: Way::Connect,
        job: Job::events,
        shape: Shape::Events(160),
        without: &["mitmproxy", "squid"],
        targets: &[cpu("hudsucker", 1.0), p50("hudsucker", 1.0)],
    },
    Work {
        name: "idle",
        title: "Idle keep-alive connections of a gateway, resident memory",
        way: Way::Clear,
        job: Job::get,
        shape: Shape::Idle,
        without: &[],
        targets: &[most(Metric::ConnectionKib, 8.0), most(Metric::ProcessMib, 12.0)],
    },
    Work {
        name: "idle-intercept",
        title: "Idle intercepted connections, resident memory",
        way: Way::Connect,
        job: Job::get,
        shape: Shape::Idle,
        without: &["mitmproxy", "squid"],
        targets: &[most(Metric::ConnectionKib, 20.0)],
    },
    Work {
        name: "cold",
        title: "Cold start to the first served request",
        way: Way::Clear,
        job: Job::get,
        shape: Shape::Cold,
        without: &[],
        targets: &[Target { peer: Some("nginx"), metric: Metric::StartMs, most: 0.8 }],
    },
    Work {
        name: "growth-workers",
        title: "Growth: 2 workers (small: 1)",
        way: Way::Clear,
        job: Job::get,
        shape: Shape::Growth {
            small: Size { variant: Variant { workers: 1, ..USUAL }, connections: CONNECTIONS },
            large: USUAL_SIZE,
        },
        without: &[],
        targets: GROWTH,
    },
    Work {
        name: "growth-connections",
        title: "Growth: 5,000 connections (small: 10), ten requests at a time",
        way: Way::Clear,
        job: Job::get,
        shape: Shape::Growth {
            small: Size { variant: USUAL, connections: 10 },
            large: Size { variant: USUAL, connections: 5_000 },
        },
        without: &[],
        targets: GROWTH,
    },
    Work {
        name: "growth-rules",
        title: "Growth: 10,000 rules (small: 10)",
        way: Way::Clear,
        job: Job::get,
        shape: Shape::Growth {
            small: Size { variant: Variant { rules: 10, ..USUAL }, connections: CONNECTIONS },
            large: Size { variant: Variant { rules: 10_000, ..USUAL }, connections: CONNECTIONS },
        },
        without: &[],
        targets: GROWTH,
    },
    Work {
        name: "growth-principals",
        title: "Growth: 10,000 principals (small: 1)",
        way: Way::Clear,
        job: Job::get,
        shape: Shape::Growth {
            small: USUAL_SIZE,
            large: Size { variant: Variant { principals: 10_000, ..USUAL }, connections: CONNECTIONS },
        },
        without: &[],
        targets: GROWTH,
    },
];

impl Way {
    /// The way into a proxy, if it has it.
    pub(crate) fn door(self, doors: &Doors) -> Option<&Door> {
        let door = match self {
            Self::Clear => &doors.clear,
            Self::Mutual => &doors.mutual,
            Self::MutualH2 => &doors.mutual_h2,
            Self::Connect => &doors.connect,
        };
        door.as_ref()
    }
}

impl Work {
    /// The way into a leg, if it takes part.
    pub(crate) fn door<'a>(&self, leg: &'a Leg) -> Option<&'a Door> {
        self.way.door(&leg.doors).filter(|_| !self.without.contains(&leg.name))
    }

    /// One turn of one leg.
    pub(crate) fn measure(&self, scene: &Scene, leg: &Leg, time: Duration, round: u32, idle: usize) -> Sample {
        let limit = time * 3 + PATIENCE;
        let sample = match self.shape {
            Shape::Cold => fresh::cold(self, scene, leg),
            Shape::Idle => fresh::idle(self, scene, leg, idle),
            _ => load::block_on(async {
                let load = tokio::time::timeout(limit, self.load(leg, time, round));
                load.await.unwrap_or_else(|_| Err(format!("does not end within {limit:?}")))
            })
            .map(|metered| sample(metered, time)),
        };
        sample.unwrap_or_else(|problem| Sample { errors: 1, problem: Some(problem), ..Sample::default() })
    }

    async fn load(&self, leg: &Leg, time: Duration, round: u32) -> Result<Metered, Problem> {
        let (job, tree) = ((self.job)(), leg.tree());
        let door = self.door(leg).ok_or("has no such door")?;
        Ok(match self.shape {
            Shape::Closed(connections) => keep_alive(leg, door, &job, [connections; 2], time).await?,
            Shape::Growth { small, large } => {
                let size = if [SMALL, NGINX_SMALL].contains(&leg.name) { small } else { large };
                let at_a_time = small.connections.min(large.connections);
                keep_alive(leg, door, &job, [size.connections, at_a_time], time).await?
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
            Shape::Events(streams) => {
                let streams = events::open(door, &job, streams).await?;
                Metered::around(tree, events::read(streams, time)).await
            }
            Shape::Cold | Shape::Idle => return Err("is not a load".to_owned()),
        })
    }

    /// Whether system calls are counted.
    pub(crate) fn counts_syscalls(&self) -> bool {
        self.targets.iter().any(|target| target.metric == Metric::Syscalls)
    }
}

async fn keep_alive(
    leg: &Leg,
    door: &Door,
    job: &Job,
    [connections, at_a_time]: [usize; 2],
    time: Duration,
) -> Result<Metered, Problem> {
    let mut senders = closed::warm(door, job, connections).await?;
    // Each token is verified once, and not while it counts.
    for turn in connections..door.authorizations.len() {
        crate::door::exchange(&mut senders[turn % connections], door.request(job, turn)).await?;
    }
    if connections.max(door.authorizations.len()) > CONNECTIONS {
        // The records of so many first requests are written meanwhile.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(Metered::around(leg.tree(), closed::keep_alive(door, job, senders, at_a_time, time)).await)
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
