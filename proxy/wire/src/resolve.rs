//! From a name to a connection: one resolution, judged by the guard, and only what it yielded is dialled.
//!
//! Nothing resolves a second time between the judgement and the connection, so a name that answers
//! differently the second time (DNS rebinding) gains nothing. Answers are cached unjudged: the same
//! name may be dialled under different guards.

mod race;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use claviger_policy::{Authority, Host};
use dashmap::DashMap;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::address::{AddressGuard, AddressRefused};

/// How long an answer is used.
const POSITIVE_TTL: Duration = Duration::from_secs(5);
/// How long a failure is remembered.
const NEGATIVE_TTL: Duration = Duration::from_secs(1);
/// Names remembered at once. A wildcard service or a tunnel lets clients choose names.
const NAMES_MAX: usize = 4_096;
/// One look-up; the system's own resolver may try several servers for longer.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// A look-up that ends with the runtime of another asker is asked again.
const TRIES_MAX: usize = 3;
/// How many addresses of one name are tried.
const ADDRESSES_MAX: usize = 8;
/// The next address is tried when the one before it has not answered for so long (RFC 8305 §8).
const STAGGER: Duration = Duration::from_millis(250);
/// An idle connection is probed after so long, and given up after a few unanswered probes.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));

/// Why there is no connection. All texts are for the operator: they tell what a name resolves to inside.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The guard refused every address.
    #[error(transparent)]
    Refused(#[from] AddressRefused),
    /// The name has no address, or nobody could be asked.
    #[error("`{host}` does not resolve: {reason}")]
    NoSuchHost {
        /// The name.
        host: Host,
        /// What the system's resolver said.
        reason: Arc<str>,
    },
    /// Every address failed; this is the last failure.
    #[error("failed to connect to `{address}`: {cause}")]
    Connect {
        /// The address that was tried last.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// Neither a connection nor a failure in time.
    #[error("no connection to `{authority}` within {} ms", .timeout.as_millis())]
    Timeout {
        /// What was to be dialled.
        authority: Authority,
        /// The limit.
        timeout: Duration,
    },
}

impl DialError {
    /// A stable word for the ledger and for metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(_) => "address_refused",
            Self::NoSuchHost { .. } => "no_such_host",
            Self::Connect { .. } => "connect_failed",
            Self::Timeout { .. } => "connect_timeout",
        }
    }
}

/// Resolves and dials. One per process, used from every runtime; cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

/// Asks for the addresses of a name.
pub(crate) trait Lookup: Send + Sync {
    /// All addresses, best first.
    fn addresses(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// `getaddrinfo`, which also reads the hosts file and follows the system's search domains.
struct SystemLookup;

impl Lookup for SystemLookup {
    fn addresses(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let name = name.to_owned();
        async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()) }.boxed()
    }
}

struct Inner {
    lookup: Box<dyn Lookup>,
    names: DashMap<Host, State>,
    positive_ttl: Duration,
    negative_ttl: Duration,
}

type Answer = Result<Arc<[IpAddr]>, Arc<str>>;
/// `None`: the runtime that it ran on was shut down.
type Flight = Shared<BoxFuture<'static, Option<Answer>>>;

enum State {
    /// Somebody asked; everybody waits for the same answer.
    Asked(Flight),
    Known {
        answer: Answer,
        until: Instant,
    },
}

impl State {
    fn is_live(&self) -> bool {
        match self {
            // An outcome that is there but was never stored comes from a runtime that was shut down.
            Self::Asked(flight) => flight.peek().is_none(),
            Self::Known { until, .. } => Instant::now() < *until,
        }
    }

    /// What a caller waits for or takes, unless it has to ask itself.
    fn flight(&self) -> Option<Flight> {
        self.is_live().then(|| match self {
            Self::Asked(flight) => flight.clone(),
            Self::Known { answer, .. } => std::future::ready(Some(answer.clone())).boxed().shared(),
        })
    }
}

impl Resolver {
    /// Asks the system's resolver; keeps answers for 5 seconds and failures for 1.
    pub fn new() -> Self {
        Self::with(Box::new(SystemLookup), POSITIVE_TTL, NEGATIVE_TTL)
    }

    /// Asks `lookup`.
    pub(crate) fn with(lookup: Box<dyn Lookup>, positive_ttl: Duration, negative_ttl: Duration) -> Self {
        Self(Arc::new(Inner { lookup, names: DashMap::new(), positive_ttl, negative_ttl }))
    }

    /// The addresses of a host that the guard permits, best first, at most eight. An address resolves to itself.
    pub async fn resolve(&self, host: &Host, guard: &AddressGuard) -> Result<Vec<IpAddr>, DialError> {
        if let Some(ip) = host.is_ip() {
            guard.permits(ip)?;
            return Ok(vec![ip]);
        }
        let answer = self.0.ask(host).await;
        let answer = answer.map_err(|reason| DialError::NoSuchHost { host: host.clone(), reason })?;
        let mut refused = None;
        let mut permitted = Vec::with_capacity(answer.len());
        for ip in answer.iter() {
            match guard.permits(*ip) {
                Ok(()) => permitted.push(*ip),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        match refused {
            Some(error) if permitted.is_empty() => Err(error.into()),
            None if permitted.is_empty() => Err(no_address(host)),
            _ => {
                let mut ordered = race::interleave(&permitted);
                ordered.truncate(ADDRESSES_MAX);
                Ok(ordered)
            }
        }
    }

    /// Connects to `authority`, or to `connect` in its place. The guard judges what is dialled.
    ///
    /// `timeout` is for all of it. The stream has `TCP_NODELAY` and keep-alive set.
    pub async fn dial(
        &self,
        authority: &Authority,
        guard: &AddressGuard,
        connect: Option<&Authority>,
        timeout: Duration,
    ) -> Result<TcpStream, DialError> {
        let dialled = connect.unwrap_or(authority);
        let attempt = async {
            let ips = self.resolve(&dialled.host, guard).await?;
            let addresses = ips.into_iter().map(|ip| SocketAddr::new(ip, dialled.port));
            race::first(addresses, open, STAGGER).await.unwrap_or_else(|| Err(no_address(&dialled.host)))
        };
        match tokio::time::timeout(timeout, attempt).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(error),
            Err(_elapsed) => Err(DialError::Timeout { authority: dialled.clone(), timeout }),
        }
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("names", &self.0.names.len()).finish_non_exhaustive()
    }
}

impl Inner {
    /// One look-up per name at a time, whoever asks, and it goes on when its first asker gives up.
    async fn ask(self: &Arc<Self>, host: &Host) -> Answer {
        for _ in 0..TRIES_MAX {
            if let Some(answer) = self.join(host).await {
                return answer;
            }
        }
        Err("the look-up was given up".into())
    }

    fn join(self: &Arc<Self>, host: &Host) -> Flight {
        if let Some(flight) = self.names.get(host).and_then(|state| state.flight()) {
            return flight;
        }
        if self.names.len() >= NAMES_MAX {
            self.names.retain(|_, state| state.is_live());
        }
        let room = self.names.len() < NAMES_MAX;
        match self.names.entry(host.clone()) {
            dashmap::Entry::Occupied(mut occupied) => match occupied.get().flight() {
                Some(flight) => flight,
                None => {
                    let flight = self.fly(host);
                    occupied.insert(State::Asked(flight.clone()));
                    flight
                }
            },
            dashmap::Entry::Vacant(vacant) => {
                let flight = self.fly(host);
                if room {
                    vacant.insert(State::Asked(flight.clone()));
                }
                flight
            }
        }
    }

    fn fly(self: &Arc<Self>, host: &Host) -> Flight {
        let (inner, host) = (Arc::clone(self), host.clone());
        let lookup = inner.lookup.addresses(host.as_str());
        let task = tokio::spawn(async move {
            let answer: Answer = match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
                Ok(Ok(addresses)) => Ok(addresses.into()),
                Ok(Err(error)) => Err(error.to_string().into()),
                Err(_elapsed) => Err("no answer in time".into()),
            };
            let ttl = if answer.is_ok() { inner.positive_ttl } else { inner.negative_ttl };
            if let Some(mut state) = inner.names.get_mut(&host) {
                *state = State::Known { answer: answer.clone(), until: Instant::now() + ttl };
            }
            answer
        });
        task.map(Result::ok).boxed().shared()
    }
}

fn no_address(host: &Host) -> DialError {
    DialError::NoSuchHost { host: host.clone(), reason: "it has no address".into() }
}

async fn open(address: SocketAddr) -> Result<TcpStream, DialError> {
    let connected = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE)?;
        Ok(stream)
    };
    connected.await.map_err(|cause| DialError::Connect { address, cause })
}

#[cfg(test)]
mod tests;
