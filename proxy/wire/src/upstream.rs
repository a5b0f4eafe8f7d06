//! Upstream connections: pooled per data core, verified as the grant's host, never shared across
//! transports. [`Injected`] is the only thing that can be sent.
//!
//! An HTTP/1.1 connection has no task of its own: whoever uses it drives it, so that nothing is handed from one task to
//! another on the way of a request. An idle one is looked at when it is taken, and once a second.

mod connection;

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use claviger_contract::Moment;
use claviger_credential::{Injected, Lease, LeasedCertificate};
use claviger_policy::{Authority, Grant};
use foldhash::fast::RandomState;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use self::connection::{Connection, Shared, Wire};
use crate::ahead::Ahead;
use crate::body::{Sent, SentBody};
use crate::driver::Driver;
use crate::generation::{Service, Transport};
use crate::io::LocalExecutor;
use crate::refusal::{Refusal, RefusalCode};
use crate::resolve::{DialError, Resolver};
use crate::settings::Limits;
use crate::tls::Tls;
use crate::trust;

/// Requests on one h2 connection; more open another.
const STREAMS_MAX: usize = 100;

/// What an upstream may send ahead of its reader, in bytes.
const STREAM_WINDOW: u32 = 262_144;

/// Room for every stream's window.
const CONNECTION_WINDOW: u32 = 100 * STREAM_WINDOW;

/// The upstream connections of one data core.
pub(crate) struct Pool {
    hosts: RefCell<HashMap<Key, Host, RandomState>>,
    resolver: Resolver,
}

/// Connections are shared only between requests of one transport to one authority that show the same certificate.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    transport: u64,
    authority: Authority,
    /// The certificate that was shown; 0: none.
    certificate: u64,
}

#[derive(Default)]
struct Host {
    idle: Vec<(Wire, Moment)>,
    shared: Vec<Shared>,
    /// Lent and idle h1 connections, and the shared one.
    open: usize,
    /// Of connections on which a certificate is shown: TLS with it, and whether anybody still has it.
    shown: Option<Shown>,
}

/// A certificate in use.
struct Shown {
    certificate: std::sync::Weak<LeasedCertificate>,
    tls: Arc<rustls::ClientConfig>,
}

impl Host {
    /// Its certificate was replaced or given up: nobody will ask for these connections again.
    fn is_orphaned(&self) -> bool {
        self.shown.as_ref().is_some_and(|shown| shown.certificate.strong_count() == 0)
    }
}

/// What upstream answered, with what is needed to judge and to end it.
pub(crate) struct Answered {
    pub(crate) response: Response<Incoming>,
    pub(crate) grant: Grant,
    pub(crate) lease: Option<Arc<Lease>>,
    pub(crate) lent: Lent,
}

/// A connection in use. Dropped without being given back, an h1 connection is closed.
pub(crate) struct Lent {
    pool: Rc<Pool>,
    key: Key,
    wire: Option<Wire>,
    /// A connection whose request is still being written serves nobody else.
    sent: Rc<Sent>,
    /// Of an upload that goes on beside its answer; ends the connection after that.
    _apart: Option<http1::SendRequest<SentBody>>,
    /// A place on a shared connection.
    _stream: Option<Rc<()>>,
}

impl Lent {
    /// The answer was read to its end: the connection may serve the next request.
    pub(crate) fn give_back(mut self) {
        if let Some(wire) = self.wire.take()
            && !wire.sender.is_closed()
            && self.sent.ended.get()
        {
            let mut hosts = self.pool.hosts.borrow_mut();
            if let Some(host) = hosts.get_mut(&self.key) {
                host.idle.push((wire, Moment::now()));
            }
        }
    }

    /// Asks the answer's body for more, which its connection has to bring.
    pub(crate) fn poll_frame(
        &mut self,
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.wire {
            Some(wire) => wire.driver.poll_with(cx, |cx| Pin::new(&mut *incoming).poll_frame(cx)),
            None => Pin::new(incoming).poll_frame(cx),
        }
    }
}

impl Pool {
    pub(crate) fn new(resolver: Resolver) -> Rc<Self> {
        Rc::new(Self { hosts: RefCell::default(), resolver })
    }

    /// Sends one request, over an idle connection if one still lives.
    ///
    /// A connection that closed before any byte of the request was written is replaced: hyper gives
    /// such a request back untouched. Nothing else is ever sent twice from here. How long the answer may take is for the
    /// caller to say.
    pub(crate) async fn send(
        self: &Rc<Self>,
        service: &Service,
        limits: &Limits,
        injected: Injected,
        streaming: Option<SentBody>,
        sent: &Rc<Sent>,
    ) -> Result<Box<Answered>, Refusal> {
        let certificate = injected.certificate().cloned();
        let (grant, lease, parts, whole) = injected.into_parts();
        let body = match (whole, streaming) {
            (Some(whole), _) => SentBody::full(whole, sent),
            (None, Some(streaming)) => streaming,
            (None, None) => SentBody::none(sent),
        };
        let key = Key {
            transport: service.transport.id,
            authority: grant.target().authority().clone(),
            certificate: certificate.as_ref().map_or(0, |certificate| certificate.id.get()),
        };
        let mut request = Request::from_parts(parts, body);
        loop {
            let (mut connection, reused) = match std::future::poll_fn(|cx| Poll::Ready(self.take(&key, cx))).await {
                Some(connection) => (connection, true),
                // Boxed: most requests find a connection, and keep no room for the way to one.
                None => (Box::pin(self.connect(&key, service, limits, certificate.as_ref())).await?, false),
            };
            connection.shape(&mut request, &grant);
            match connection.send(request).await {
                Ok(response) => {
                    let lent = connection.lend(self, key, sent);
                    return Ok(Box::new(Answered { response, grant, lease, lent }));
                }
                Err(mut error) => match error.take_message().filter(|_| reused) {
                    Some(unsent) => request = unsent,
                    None => return Err(broken(&error.into_error())),
                },
            }
        }
    }

    fn take(&self, key: &Key, cx: &mut Context<'_>) -> Option<Connection> {
        loop {
            let mut candidate = {
                let mut hosts = self.hosts.borrow_mut();
                let host = hosts.get_mut(key)?;
                host.shared.retain(|shared| !shared.sender.is_closed());
                if let Some(shared) = host.shared.iter().find(|shared| shared.has_room()) {
                    return Some(Connection::Http2(shared.sender.clone(), shared.streams.clone()));
                }
                host.idle.pop()?.0
            };
            // One that is not ready for a request may have the end of its last exchange to see. Whether upstream has closed
            // meanwhile shows when the request is sent, which then comes back untouched.
            if !candidate.is_ready() {
                candidate.driver.drive(cx);
            }
            if candidate.is_ready() {
                return Some(Connection::Http1(candidate));
            }
            candidate.close();
        }
    }

    async fn connect(
        self: &Rc<Self>,
        key: &Key,
        service: &Service,
        limits: &Limits,
        certificate: Option<&Arc<LeasedCertificate>>,
    ) -> Result<Connection, Refusal> {
        let slot = {
            let mut hosts = self.hosts.borrow_mut();
            let host = hosts.entry(key.clone()).or_default();
            if host.open >= limits.upstream_max {
                let detail = format!("{} connections to `{}` are open", host.open, key.authority);
                return Err(Refusal::new(RefusalCode::Overloaded, detail));
            }
            host.open += 1;
            Slot { pool: Rc::downgrade(self), key: key.clone() }
        };
        let transport = &service.transport;
        let tls = match (&transport.tls, certificate) {
            (Some(tls), Some(certificate)) => Some(self.tls_with(key, tls, certificate)?),
            // Never in clear text: that is refused where the service is read.
            (None, Some(_)) => return Err(Refusal::new(RefusalCode::CredentialRefused, "a certificate needs TLS")),
            (tls, None) => tls.clone(),
        };
        let work = self.handshake(key, transport, tls, limits, slot);
        match tokio::time::timeout(limits.connect_timeout, work).await {
            Ok(connection) => connection,
            Err(_) => {
                let detail = format!("no connection to `{}` within {:?}", key.authority, limits.connect_timeout);
                Err(Refusal::new(RefusalCode::UpstreamTimeout, detail))
            }
        }
    }

    /// TLS in which a certificate is shown: made once for each certificate, and never for another.
    fn tls_with(
        &self,
        key: &Key,
        tls: &Arc<rustls::ClientConfig>,
        certificate: &Arc<LeasedCertificate>,
    ) -> Result<Arc<rustls::ClientConfig>, Refusal> {
        let mut hosts = self.hosts.borrow_mut();
        let host = hosts.entry(key.clone()).or_default();
        if let Some(shown) = &host.shown {
            return Ok(shown.tls.clone());
        }
        let tls = trust::with_certificate(tls, &certificate.certificate).map_err(|error| {
            let detail = format!("the client certificate cannot be shown: {error}");
            Refusal::because(RefusalCode::CredentialRefused, "certificate_unusable", detail)
        })?;
        host.shown = Some(Shown { certificate: Arc::downgrade(certificate), tls: tls.clone() });
        Ok(tls)
    }

    async fn handshake(
        self: &Rc<Self>,
        key: &Key,
        transport: &Transport,
        tls: Option<Arc<rustls::ClientConfig>>,
        limits: &Limits,
        slot: Slot,
    ) -> Result<Connection, Refusal> {
        let stream = self
            .resolver
            .dial(&key.authority, &transport.guard, transport.connect.as_ref(), limits.connect_timeout)
            .await
            .map_err(|error| dial_refusal(&error))?;
        let Some(tls) = tls else { return self.http1(stream, slot).await };
        let name = ServerName::try_from(key.authority.host.as_str().to_owned())
            .map_err(|_| Refusal::new(RefusalCode::UpstreamUntrusted, "the host cannot stand in a certificate"))?;
        let stream = TlsConnector::from(tls).connect(name, Ahead::new(stream)).await.map_err(|error| {
            let code = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::InvalidCertificate(_)) => RefusalCode::UpstreamUntrusted,
                Some(_) | None => RefusalCode::UpstreamUnreachable,
            };
            Refusal::new(code, format!("TLS with `{}`: {error}", key.authority))
        })?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let stream = Tls::new(stream);
        match is_http2 {
            true => self.http2(key, stream, slot).await,
            false => self.http1(stream, slot).await,
        }
    }

    async fn http1<I>(self: &Rc<Self>, stream: I, slot: Slot) -> Result<Connection, Refusal>
    where
        I: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(262_144)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        Ok(Connection::Http1(Wire { sender, driver: Driver::new(connection), slot }))
    }

    async fn http2<I>(self: &Rc<Self>, key: &Key, stream: I, slot: Slot) -> Result<Connection, Refusal>
    where
        I: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (sender, connection) = http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            // Every stream may fill its window without taking from the others: a client that does not
            // read stops itself only.
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(STREAMS_MAX)
            .keep_alive_interval(Duration::from_secs(30))
            .max_header_list_size(262_144)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        let streams = Rc::new(());
        if let Some(host) = self.hosts.borrow_mut().get_mut(key) {
            host.shared.push(Shared { sender: sender.clone(), streams: streams.clone() });
        }
        tokio::task::spawn_local(async move {
            let _slot = slot;
            let _ = connection.await;
        });
        Ok(Connection::Http2(sender, streams))
    }

    /// Closes what has been idle for too long, and forgets hosts without connections.
    pub(crate) fn sweep(&self, limits: &Limits) {
        let now = Moment::now();
        let mut cx = Context::from_waker(Waker::noop());
        // Put aside: what is dropped counts itself out of the pool.
        let mut over: Vec<Wire> = Vec::new();
        for host in self.hosts.borrow_mut().values_mut() {
            host.idle.iter_mut().for_each(|(wire, _)| wire.driver.drive(&mut cx));
            let keep = if host.is_orphaned() { 0 } else { limits.pool_idle_max };
            let surplus = host.idle.len().saturating_sub(keep);
            let expired = |since: Moment| now.since(since) >= limits.pool_idle_timeout;
            let mut place = 0;
            over.extend(
                host.idle
                    .extract_if(.., |(wire, since)| {
                        place += 1;
                        place <= surplus || !wire.is_ready() || expired(*since)
                    })
                    .map(|(wire, _)| wire),
            );
            let orphaned = host.is_orphaned();
            // One count is the pool's own: without others nothing is under way on it.
            let idle = |shared: &Shared| Rc::strong_count(&shared.streams) == 1;
            host.shared.retain(|shared| !(shared.sender.is_closed() || (orphaned && idle(shared))));
        }
        over.into_iter().for_each(Wire::close);
        self.hosts.borrow_mut().retain(|_, host| host.open > 0);
    }
}

/// Counts one open connection for as long as it lives.
struct Slot {
    /// Idle connections belong to the pool themselves.
    pool: Weak<Pool>,
    key: Key,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade()
            && let Some(host) = pool.hosts.borrow_mut().get_mut(&self.key)
        {
            host.open = host.open.saturating_sub(1);
        }
    }
}

fn broken(error: &hyper::Error) -> Refusal {
    Refusal::new(RefusalCode::UpstreamBroken, error.to_string())
}

/// What a failed dial means to the client and the operator.
pub(crate) fn dial_refusal(error: &DialError) -> Refusal {
    let code = match error {
        DialError::Refused(_) => RefusalCode::AddressRefused,
        DialError::NoSuchHost { .. } | DialError::Connect { .. } => RefusalCode::UpstreamUnreachable,
        DialError::Timeout { .. } => RefusalCode::UpstreamTimeout,
    };
    Refusal::because(code, error.code(), error.to_string())
}
