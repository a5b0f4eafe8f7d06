//! What happened, as values that the ledger writes. None of them can hold a secret: there are no
//! queries, no bodies and no header values in them.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use claviger_policy::{Principal, SpiffeId};
use http::Method;

use crate::Secretless;

/// Identifies one request in answers, records and `claviger explain`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u128);

impl RequestId {
    /// 32 hexadecimal digits in lower case.
    pub fn to_hex(self) -> [u8; 32] {
        hex(self.0)
    }
}

/// 32 hexadecimal digits in lower case: ids are written twice per request and more, so without a formatter.
pub fn hex(value: u128) -> [u8; 32] {
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(value.to_be_bytes()) {
        let digit = |half: u8| half + if half < 10 { b'0' } else { b'a' - 10 };
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    digits
}

impl fmt::Display for RequestId {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for RequestId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

/// A W3C trace id (Trace Context §3.2.2.3), if the client sent one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub u128);

/// The outcome of policy, identity and credential together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request may go upstream.
    Allow,
    /// It was refused, and no byte went upstream.
    Deny,
}

/// Which credential was injected: a name and a version that says nothing about the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialStamp {
    /// `[credential.NAME]`.
    pub name: Arc<str>,
    /// Changes when the value does; random or counted, never derived from the value.
    pub version: Arc<str>,
}

/// One per request, before anything is sent upstream.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The request.
    pub id: RequestId,
    /// Milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The client's trace.
    pub trace: Option<TraceId>,
    /// `[listener.NAME]`.
    pub listener: Arc<str>,
    /// The client's address; `None` on a Unix socket.
    pub source_ip: Option<IpAddr>,
    /// Who asked; `None` if nobody could be attested.
    pub principal: Option<Arc<Principal>>,
    /// The names of the attributes that policy asks for: no other attribute of the principal is recorded.
    pub asked: Option<Arc<[Arc<str>]>>,
    /// `[service.NAME]`.
    pub service: Option<Arc<str>>,
    /// `[allow.NAME]` or `[deny.NAME]` that decided.
    pub rule: Option<Arc<str>>,
    /// The method.
    pub method: Method,
    /// `host:port` as canonicalised; `None` if the request named none that could be read.
    pub host: Option<Arc<str>>,
    /// The pattern of the rule that matched, or a path with key-like segments replaced; never the raw path.
    pub path: Option<Arc<str>>,
    /// Allowed or refused.
    pub verdict: Verdict,
    /// The stable code: `ok`, or why not.
    pub code: &'static str,
    /// For the operator: what exactly was wrong. Never for the client.
    pub detail: Option<Arc<str>>,
    /// What was injected.
    pub credential: Option<CredentialStamp>,
    /// The configuration generation that decided.
    pub generation: u64,
    /// What would have changed the verdict if it were enforced: a rule's name, or without a rule the reason's code.
    pub observed: Option<Arc<str>>,
    /// What the verdict would then have been: `allow`, or the reason's code.
    pub would: Option<&'static str>,
    /// What somebody must look at, whatever became of the request.
    pub alert: Option<Box<Alert>>,
}

/// Something of one workload was used by another, or elsewhere than where it belongs: `decided` says by whom and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// A stable word: `placeholder_stolen`.
    pub kind: &'static str,
    /// Whose it was: `[workload.NAME]`.
    pub workload: Arc<str>,
    /// What it was for: `[service.NAME]`; `None` if for any.
    pub service: Option<Arc<str>>,
    /// Where in the request it stood, in words.
    pub place: Arc<str>,
}

/// One per request, when its answer has ended or was given up.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The request.
    pub id: RequestId,
    /// Milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The stable code of the outcome: `ok`, or what broke.
    pub code: &'static str,
    /// The status that the client was sent.
    pub status: u16,
    /// The status that upstream answered with.
    pub upstream_status: Option<u16>,
    /// From the request's head to the end of the answer, in microseconds.
    pub duration_us: u64,
    /// Until the head of upstream's answer, in microseconds.
    pub first_byte_us: Option<u64>,
    /// Bytes of the request's body that were sent on.
    pub request_bytes: u64,
    /// Bytes of the answer's body that were passed back.
    pub response_bytes: u64,
    /// How often the injected value was found in the answer and masked.
    pub masked: u32,
    /// Sent once more after a 401, under the same grant.
    pub replayed: bool,
    /// The version of the credential that the answer is for, if it is not the one that `decided` names.
    pub served_version: Option<Arc<str>>,
}

/// What befell a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialEventKind {
    /// A first value was read or minted.
    Minted,
    /// A newer value replaced one before its expiry.
    Refreshed,
    /// The source did not yield a value.
    Failed,
    /// Upstream refused the value (401), or an operator dropped it.
    Invalidated,
    /// The source was unreachable, and the last good value went on serving.
    ServedStale,
    /// Upstream refused the new value of a rotation (401), and took the previous one: that serves for a while.
    FellBack,
    /// Upstream took the new value of a rotation: it serves from now on.
    Accepted,
    /// The issuer prolonged the value.
    Renewed,
    /// The value was ended at its issuer.
    Revoked,
    /// The issuer could not be brought to end the value, or could not be asked.
    RevocationFailed,
}

impl CredentialEventKind {
    /// The word in records and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Minted => "minted",
            Self::Refreshed => "refreshed",
            Self::Failed => "failed",
            Self::Invalidated => "invalidated",
            Self::ServedStale => "served_stale",
            Self::FellBack => "fell_back",
            Self::Accepted => "accepted",
            Self::Renewed => "renewed",
            Self::Revoked => "revoked",
            Self::RevocationFailed => "revocation_failed",
        }
    }
}

/// One per credential event.
#[derive(Clone, Debug)]
pub struct CredentialEvent {
    /// Milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// `[credential.NAME]`.
    pub credential: Arc<str>,
    /// The version that it concerns, if there is one.
    pub version: Option<Arc<str>>,
    /// What happened.
    pub kind: CredentialEventKind,
    /// For whom, where the value belongs to one principal.
    pub principal: Option<SpiffeId>,
    /// When the value ends, in seconds since the Unix epoch.
    pub expires_at: Option<i64>,
    /// Whether a stored secret is behind it.
    pub secretless: Option<Secretless>,
    /// Why, without any secret.
    pub detail: Option<Arc<str>>,
}

/// What the proxy itself did: started, loaded or refused a generation, drained.
#[derive(Clone, Debug)]
pub struct SystemEvent {
    /// Milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// A stable word: `started`, `generation_loaded`, `generation_refused`, `draining`, `stopped`, `secret_set`, …
    pub kind: &'static str,
    /// The generation that it concerns.
    pub generation: Option<u64>,
    /// The digest of that generation's configuration, by which a later reader knows whether it has changed.
    pub configuration: Option<Arc<str>>,
    /// Who caused it, if a person or workload did.
    pub actor: Option<Arc<str>>,
    /// More, without any secret.
    pub detail: Option<Arc<str>>,
}

/// A connection that was refused before it made a request (TLS or attestation failed).
#[derive(Clone, Debug)]
pub struct ConnectionEvent {
    /// Milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// `[listener.NAME]`.
    pub listener: Arc<str>,
    /// The client's address, or `unix`.
    pub peer: Arc<str>,
    /// The stable code.
    pub code: &'static str,
    /// For the operator.
    pub detail: Option<Arc<str>>,
}

/// Everything that the ledger writes.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request was judged.
    Decided(Box<Decided>),
    /// A request ended.
    Finished(Finished),
    /// Something befell a credential.
    Credential(CredentialEvent),
    /// The proxy did something.
    System(SystemEvent),
    /// A connection was refused.
    Connection(ConnectionEvent),
}

/// Takes events of the control plane. Requests use reserved slots of the ledger instead.
pub trait EventSink: Send + Sync + fmt::Debug {
    /// Queues the event; a full queue is counted by the sink, which then says so in the ledger itself.
    fn emit(&self, event: Event);
}
