//! The proxies: each at the same job.
//!
//! A prefix comes off the path, a credential goes into `Authorization`, the upstream is verified, and each request leaves
//! one line in a log. Each has [`WORKERS`](crate::scene::WORKERS) workers. Where a peer buffers its log by default it does
//! so here.

pub(crate) mod claviger;
pub(crate) mod envoy;
pub(crate) mod haproxy;
pub(crate) mod hudsucker;
pub(crate) mod mitmproxy;
pub(crate) mod nginx;
pub(crate) mod pingora;
pub(crate) mod squid;

use crate::door::{Door, Problem};
use crate::meter::Tree;
use crate::scene::Scene;

/// What keeps a proxy running.
pub(crate) trait Running {
    /// Its processes.
    fn tree(&self) -> Tree;
}

impl Running for crate::server::Server {
    fn tree(&self) -> Tree {
        crate::server::Server::tree(self)
    }
}

impl Running for claviger_tests::Proxy {
    fn tree(&self) -> Tree {
        Tree(self.pid())
    }
}

/// A running proxy and the ways into it.
pub(crate) struct Leg {
    pub(crate) name: &'static str,
    pub(crate) running: Box<dyn Running>,
    /// A clear-text client of a gateway.
    pub(crate) clear: Option<Door>,
    /// A client with a certificate.
    pub(crate) mutual: Option<Door>,
    /// The same in HTTP/2.
    pub(crate) mutual_h2: Option<Door>,
    /// CONNECT, intercepted.
    pub(crate) connect: Option<Door>,
}

/// Starts a proxy.
pub(crate) type Start = fn(&Scene) -> Result<Leg, Problem>;

/// All proxies by name; ours comes first.
pub(crate) const ALL: [(&str, Start); 9] = [
    ("claviger", claviger::start),
    ("before", claviger::before),
    ("nginx", nginx::start),
    ("haproxy", haproxy::start),
    ("envoy", envoy::start),
    ("pingora", pingora::start),
    ("hudsucker", hudsucker::start),
    ("squid", squid::start),
    ("mitmproxy", mitmproxy::start),
];

/// The gateways' prefix.
const PREFIX: &str = "/api";

/// A door of a peer, which asks for no proof but a certificate.
fn door(port: u16, layer: crate::door::Layer, prefix: &'static str) -> Option<Door> {
    Some(Door { address: ([127, 0, 0, 1], port).into(), layer, prefix, authorizations: [].into() })
}
