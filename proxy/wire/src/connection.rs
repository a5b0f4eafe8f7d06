//! One client connection: who is behind it, and serving HTTP on it.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use claviger_contract::Attested;
use claviger_identity::{
    ConnectionFacts, ConnectionProofs, Outcome, UnixPeer, looks_like_session_token, looks_like_token,
};
use claviger_policy::{Authority, Bound, Target};
use http::request::Parts;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use crate::aimed::Aimed;
use crate::generation::{Generation, Listener};
use crate::head;
use crate::head::Marks;
use crate::io::LocalExecutor;
use crate::keep_alive::{self, Ends};
use crate::pipeline::{self, Arrived};
use crate::refusal::{Refusal, RefusalCode};
use crate::server::Core;
use crate::settings::{AuthenticateAt, ListenerSettings, Mode};

/// What is known of a client connection. Requests of one connection share it.
pub(crate) struct Connection {
    pub(crate) core: Rc<Core>,
    pub(crate) listener: Arc<Listener>,
    pub(crate) peer_ip: Option<IpAddr>,
    pub(crate) peer: Peer,
    pub(crate) inside: Option<Inside>,
    /// Ends the connection from outside.
    pub(crate) kill: Rc<Notify>,
    /// Requests that are being answered, and how many there have been.
    open: Cell<u32>,
    total: Cell<u64>,
    known: RefCell<Option<Known>>,
    aimed: Aimed,
    /// The session's token, if the client belongs to it and shows none. Asked for once: it is the kernel's word.
    vouched: OnceCell<Option<Vec<u8>>>,
}

/// What the transport says of the client.
#[derive(Clone, Default)]
pub(crate) struct Peer {
    pub(crate) certificates: Arc<[CertificateDer<'static>]>,
    pub(crate) unix: Option<UnixPeer>,
    pub(crate) remote: Option<SocketAddr>,
    /// Its place among the listener's connections; kept by what lives on inside a CONNECT.
    pub(crate) _counted: Rc<()>,
}

/// An intercepted connection lives inside a CONNECT.
pub(crate) struct Inside {
    /// What was connected to; every request in it must name this.
    pub(crate) authority: Authority,
    /// The proof that came with CONNECT.
    pub(crate) token: Option<Vec<u8>>,
}

/// What attestation yielded, for as long as generation and token stay.
#[derive(Clone)]
struct Known {
    generation: u64,
    proofs: Rc<ConnectionProofs>,
    last: Option<Last>,
}

/// The last caller, since most connections have one.
#[derive(Clone)]
struct Last {
    /// The attestors' epoch: bundles, revocation lists and keys change without a new generation.
    epoch: u64,
    token: Option<Vec<u8>>,
    attested: Attested,
    bound: Bound,
}

/// HTTP/1.1 or HTTP/2, as ALPN chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Connection {
    pub(crate) fn new(
        core: Rc<Core>,
        listener: Arc<Listener>,
        peer_ip: Option<IpAddr>,
        peer: Peer,
        inside: Option<Inside>,
    ) -> Rc<Self> {
        Rc::new(Self {
            core,
            listener,
            peer_ip,
            peer,
            inside,
            kill: Rc::default(),
            open: Cell::new(0),
            total: Cell::new(0),
            known: RefCell::default(),
            aimed: Aimed::default(),
            vouched: OnceCell::new(),
        })
    }

    /// The connection inside of a CONNECT of this one. It knows the caller as this one does.
    pub(crate) fn within(&self, inside: Inside) -> Rc<Self> {
        let (core, listener) = (self.core.clone(), self.listener.clone());
        let inner = Self::new(core, listener, self.peer_ip, self.peer.clone(), Some(inside));
        inner.known.replace(self.known.borrow().clone());
        inner
    }

    /// Whether a missing proof is asked for as a proxy does (407).
    pub(crate) fn asks_as_proxy(&self) -> bool {
        self.listener.settings.mode == Mode::Forward && self.inside.is_none()
    }

    /// The listener as the generation has it. One that was removed takes no more requests, for its
    /// attestors hold no longer.
    pub(crate) fn listener_in<'a>(&self, generation: &'a Generation) -> Result<&'a Arc<Listener>, Refusal> {
        let gone = || Refusal::new(RefusalCode::Misdirected, "the configuration has no such listener any more");
        generation.listener(&self.listener.settings.name).ok_or_else(gone)
    }

    /// Counts a request until the value is dropped.
    pub(crate) fn count_request(self: &Rc<Self>) -> CountedRequest {
        self.open.set(self.open.get() + 1);
        self.total.set(self.total.get() + 1);
        CountedRequest(self.clone())
    }

    /// Who sends this request. `slots` are the values in the places where the credential goes.
    pub(crate) async fn attest<'a>(
        &'a self,
        generation: &Generation,
        head: &Parts,
        slots: impl Iterator<Item = Cow<'a, [u8]>>,
    ) -> Result<(Attested, Bound), Refusal> {
        let listener = self.listener_in(generation)?;
        let token = self.token(&listener.settings, head, slots)?;
        let chain = &listener.chain;
        // Before the verdict: a change in between makes it old.
        let epoch = chain.epoch();
        if let Some(found) = self.recall(generation, epoch, token.as_deref()) {
            return Ok(found);
        }
        let token = token.map(Cow::into_owned);
        let proofs = self.proofs(generation, chain);
        let attested = match chain.attest(&proofs, token.as_deref()).await {
            Outcome::Attested(attested) => attested,
            Outcome::Absent => {
                return Err(Refusal::new(RefusalCode::NoIdentity, "no attestor of this listener found a proof"));
            }
            Outcome::Refused(error) => {
                return Err(Refusal::because(RefusalCode::InvalidIdentity, error.code(), error.to_string()));
            }
        };
        if attested.proof.expires_at.is_some_and(|ends| ends <= self.core.clock.now()) {
            return Err(Refusal::because(RefusalCode::InvalidIdentity, "identity_expired", "the proof has expired"));
        }
        let bound = self.core.bindings.borrow_mut().bind(&generation.policy, &attested.principal);
        // Another request may have met a newer generation meanwhile; it must not be given this binding.
        let mut known = self.known.borrow_mut();
        if let Some(known) = known.as_mut().filter(|known| known.generation == generation.number) {
            known.last = Some(Last { epoch, token, attested: attested.clone(), bound: bound.clone() });
        }
        Ok((attested, bound))
    }

    /// Whether what this connection showed still makes the caller of a request that is under way.
    pub(crate) fn still_attests(&self, generation: &Generation, attested: &Attested) -> bool {
        let Ok(listener) = self.listener_in(generation) else { return false };
        listener.chain.still_holds(&self.proofs(generation, &listener.chain), attested)
    }

    /// The proof in `Proxy-Authorization`; for a client of a session that has no way to show one, the session's own.
    pub(crate) fn proxy_token(&self, head: &Parts) -> Result<Option<Vec<u8>>, Refusal> {
        let settings = &self.listener.settings;
        let shown = head::proxy_token(&head.headers)?;
        match settings.session.as_ref().and_then(|session| session.kinship.as_ref()) {
            Some(kinship) if shown.is_none() && settings.mode == Mode::Forward => {
                let vouch = || self.peer.remote.and_then(|remote| kinship.vouch(remote));
                Ok(self.vouched.get_or_init(vouch).clone())
            }
            Some(_) | None => Ok(shown),
        }
    }

    fn token<'a>(
        &'a self,
        settings: &ListenerSettings,
        head: &Parts,
        mut slots: impl Iterator<Item = Cow<'a, [u8]>>,
    ) -> Result<Option<Cow<'a, [u8]>>, Refusal> {
        let reads_slots = settings.mode == Mode::Gateway || settings.authenticate_at == AuthenticateAt::Request;
        let shown = match &self.inside {
            Some(inside) => inside.token.as_deref().map(Cow::Borrowed),
            None => self.proxy_token(head)?.map(Cow::Owned),
        };
        // Where the proof came ahead, what stands in the API key's place is a placeholder.
        if shown.is_some() || !reads_slots {
            return Ok(shown);
        }
        let known = self.known.borrow();
        let known = known.as_ref().and_then(|known| known.last.as_ref()).and_then(|last| last.token.as_deref());
        // What was a proof a moment ago is looked at no further here.
        Ok(slots.find(|value| known == Some(value) || looks_like_token(value)))
    }

    fn recall(&self, generation: &Generation, epoch: u64, token: Option<&[u8]>) -> Option<(Attested, Bound)> {
        let known = self.known.borrow();
        let known = known.as_ref().filter(|known| known.generation == generation.number)?;
        let last = known.last.as_ref().filter(|last| last.epoch == epoch && last.token.as_deref() == token)?;
        let fresh = last.attested.proof.expires_at.is_none_or(|ends| self.core.clock.now() < ends);
        fresh.then(|| (last.attested.clone(), last.bound.clone()))
    }

    /// A new generation judges the connection's own proofs anew: its bundles may have changed.
    fn proofs(&self, generation: &Generation, chain: &claviger_identity::Chain) -> Rc<ConnectionProofs> {
        let mut known = self.known.borrow_mut();
        if let Some(known) = known.as_ref().filter(|known| known.generation == generation.number) {
            return known.proofs.clone();
        }
        let facts = ConnectionFacts {
            certificates: &self.peer.certificates,
            unix_peer: self.peer.unix.clone(),
            peer_ip: self.peer_ip,
        };
        let proofs = Rc::new(chain.attest_connection(&facts));
        *known = Some(Known { generation: generation.number, proofs: proofs.clone(), last: None });
        proofs
    }

    /// On the listener that a session has for base URLs the token stands in the path. From here on it is a proof like
    /// any other, and no record, log or upstream sees it in the path.
    pub(crate) fn take_session_token(&self, head: &mut Parts) {
        let settings = &self.listener.settings;
        if settings.session.is_some() && settings.mode == Mode::Gateway {
            head::take_path_token(head, looks_like_session_token);
        }
    }

    /// Refuses services that the session was not started for.
    pub(crate) fn serves(&self, generation: &Generation, service: &str) -> Result<(), Refusal> {
        match &self.listener_in(generation)?.settings.session {
            Some(session) if !session.serves(service) => {
                let detail = format!("the session was started without `--service {service}`");
                Err(Refusal::new(RefusalCode::OutsideSession, detail))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Canonicalises where a request wants to go. `marks` are those of its headers.
    pub(crate) fn target(&self, head: &Parts, marks: Marks, generation: &Generation) -> Result<Target, Refusal> {
        head::check_framing(head, marks)?;
        let written = head::written(head);
        if let Some(target) = written.and_then(|written| self.aimed.target(generation.number, written)) {
            return Ok(target);
        }
        let inside = self.inside.as_ref().map(|inside| &inside.authority);
        let target = head::target(head, self.listener.settings.mode, inside, &generation.policy)?;
        if let Some(written) = written {
            self.aimed.keep(generation.number, written, &target);
        }
        Ok(target)
    }
}

/// Serves HTTP until the client is done, the proxy drains, or limits are met.
pub(crate) async fn serve<I>(connection: Rc<Connection>, stream: I, protocol: Protocol)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match protocol {
        Protocol::Http1 => serve_http1(connection, stream).await,
        // Boxed: where HTTP/1.1 is spoken it would only take room.
        Protocol::Http2 => Box::pin(serve_http2(connection, stream)).await,
    }
}

async fn serve_http1<I>(connection: Rc<Connection>, stream: I)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = connection.core.generation().limits.clone();
    let ends = Ends {
        header_timeout: limits.header_timeout,
        drain: connection.core.drain.clone(),
        kill: connection.kill.clone(),
    };
    let mut builder = http1::Builder::new();
    builder
        .max_headers(limits.headers_max)
        .max_buf_size(limits.header_size.max(131_072))
        .max_header_size(limits.header_size);
    let service = service_fn(move |request| {
        let (connection, arrived) = (connection.clone(), Arrived::from(request));
        // Boxed: hyper keeps room for it for as long as it serves the connection.
        Box::pin(async move { Ok::<_, Infallible>(pipeline::handle(&connection, arrived).await) })
    });
    keep_alive::serve(stream, builder, service, ends).await;
}

async fn serve_http2<I>(connection: Rc<Connection>, stream: I)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let core = connection.core.clone();
    let limits = core.generation().limits.clone();
    let mut drain = core.drain.clone();
    let kill = connection.kill.clone();
    let idle = idle(connection.clone(), limits.header_timeout);
    let service = service_fn(move |request| {
        let (connection, arrived) = (connection.clone(), Arrived::from(request));
        // Boxed: the task of each request would be made of it, and be moved with it.
        Box::pin(async move { Ok::<_, Infallible>(pipeline::handle(&connection, arrived).await) })
    });
    let served = http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(limits.header_size).unwrap_or(65_536))
        .max_send_buf_size(65_536)
        .initial_stream_window_size(262_144)
        .initial_connection_window_size(1_048_576)
        .max_local_error_reset_streams(64)
        .max_pending_accept_reset_streams(64)
        .keep_alive_interval(limits.header_timeout)
        .keep_alive_timeout(limits.header_timeout)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    tokio::select! {
        biased;
        _ = served.as_mut() => return,
        () = kill.notified() => return,
        () = idle => served.as_mut().graceful_shutdown(),
        () = drained(&mut drain) => served.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = served => {}
        () = kill.notified() => {}
        // A client that does not even end the handshake, or ignores GOAWAY, is cut off.
        () = tokio::time::sleep(limits.drain_timeout) => {}
    }
}

/// Resolves when an h2 connection has had no request for `limit`. HTTP/1.1 has [`Ends`] for this.
async fn idle(connection: Rc<Connection>, limit: std::time::Duration) {
    let mut tick = tokio::time::interval(limit);
    tick.tick().await;
    loop {
        let before = connection.total.get();
        tick.tick().await;
        if connection.open.get() == 0 && connection.total.get() == before {
            return;
        }
    }
}

/// A request that is being answered.
pub(crate) struct CountedRequest(Rc<Connection>);

impl Drop for CountedRequest {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
    }
}

/// Resolves when the proxy begins to drain.
pub(crate) async fn drained(drain: &mut tokio::sync::watch::Receiver<bool>) {
    // The sender lives as long as the server; if it is gone, that is the end as well.
    let _ = drain.wait_for(|draining| *draining).await;
}
