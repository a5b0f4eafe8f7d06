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

use crate::door::{Door, Layer, Problem};
use crate::meter::Tree;
use crate::scene::Scene;
use crate::server::Server;

/// The ways into a proxy, as far as it has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doors {
    /// A clear-text client of a gateway.
    pub(crate) clear: Option<Door>,
    /// A client with a certificate.
    pub(crate) mutual: Option<Door>,
    /// The same in HTTP/2.
    pub(crate) mutual_h2: Option<Door>,
    /// CONNECT, intercepted.
    pub(crate) connect: Option<Door>,
}

/// Starts a proxy, and does not wait for it.
pub(crate) type Launch = fn(&Scene) -> Result<(Server, Doors), Problem>;

/// A running proxy.
pub(crate) struct Leg {
    pub(crate) name: &'static str,
    pub(crate) doors: Doors,
    pub(crate) launch: Launch,
    server: Server,
}

/// All proxies by name; ours comes first.
pub(crate) const ALL: [(&str, Launch); 9] = [
    ("claviger", claviger::launch),
    ("before", claviger::before),
    ("nginx", nginx::launch),
    ("haproxy", haproxy::launch),
    ("envoy", envoy::launch),
    ("pingora", pingora::launch),
    ("hudsucker", hudsucker::launch),
    ("squid", squid::launch),
    ("mitmproxy", mitmproxy::launch),
];

impl Leg {
    /// Starts one and waits until it listens.
    pub(crate) fn start(scene: &Scene, name: &'static str, launch: Launch) -> Result<Self, Problem> {
        Self::of(name, launch, launch(scene)?)
    }

    /// One that was launched.
    pub(crate) fn of(name: &'static str, launch: Launch, (server, doors): (Server, Doors)) -> Result<Self, Problem> {
        let door = doors.clear.as_ref().or(doors.connect.as_ref()).ok_or("has no door")?;
        let server = server.listening(door.address)?;
        Ok(Self { name, doors, launch, server })
    }

    /// Its processes.
    pub(crate) fn tree(&self) -> Tree {
        self.server.tree()
    }
}

/// The gateways' prefix.
const PREFIX: &str = "/api";

/// The doors of a peer's gateway. It asks for no proof but a certificate.
fn gateway(scene: &Scene, clear: u16, mutual: u16) -> Doors {
    let door = |port: u16, layer| Some(Door::new(port, layer, PREFIX));
    Doors {
        clear: door(clear, Layer::Clear),
        mutual: door(mutual, Layer::Tls(scene.mutual(&["http/1.1"]))),
        mutual_h2: door(mutual, Layer::Tls(scene.mutual(&["h2"]))),
        connect: None,
    }
}

/// The door of a peer that intercepts; `to` is the port that its clients ask for.
fn forward(scene: &Scene, port: u16, to: u16) -> Doors {
    let layer = Layer::Connect { port: to, proof: None, tls: scene.intercepted() };
    Doors { connect: Some(Door::new(port, layer, "")), ..Doors::default() }
}
