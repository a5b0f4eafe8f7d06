//! How bytes move: listeners, interception, the request pipeline, upstream connections.
//!
//! A request's life stands in `pipeline.rs`, on one screen. Data cores (one thread and runtime each)
//! own accept, pipeline and upstream connections. What they share on the request path is swapped or
//! counted atomically: the running [`Generation`] with its leases and leaves, names that were resolved,
//! and metrics.

mod address;
mod ahead;
mod aimed;
mod authority;
mod bindings;
mod body;
mod body_facts;
mod canary;
mod challenge;
mod client_body;
mod connection;
mod driver;
mod exchange;
mod generation;
mod head;
mod intercept;
mod io;
mod keep_alive;
mod listener;
mod metrics;
mod outbound;
mod phantom;
mod pipeline;
pub mod preset;
mod probe;
mod refusal;
mod relay;
mod request_id;
mod resolve;
mod server;
mod settings;
mod suspended;
mod tls;
mod trail;
mod trust;
mod upstream;
mod watch;

pub use address::{AddressGuard, AddressRefused};
pub use authority::{InterceptionAuthority, InterceptionRoot};
pub use canary::{CANARY, Canaries, CanaryKey, in_shape_of, is_canary};
pub use generation::{Generation, Listener, Service};
pub use listener::bind_unix;
pub use metrics::Metrics;
pub use outbound::ReqwestOutbound;
pub use phantom::{HandleKey, HandleKeyError};
pub use probe::{Verdict, probe};
pub use refusal::{Refusal, RefusalCode};
pub use relay::{Gateway, MachineProof, Refused, Relay, RelayEnv};
pub use resolve::Resolver;
pub use server::{OnRefused, Server, ServerEnv, StartError, View};
pub use settings::{
    AuthenticateAt, Bind, Check, ClientSettings, Limits, ListenerSettings, LoginProtocol, LoginSettings, Mode,
    OAuth2Paths, PublicBind, ServerIdentity, ServiceSettings, SessionSettings, Unmatched,
};
pub use suspended::Suspended;
pub use trust::{TrustError, TrustRoots};
