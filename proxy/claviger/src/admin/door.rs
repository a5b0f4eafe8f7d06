//! The two doors of the API: the Unix socket, where the kernel says who comes, and `[admin.remote]`, where attestors do.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, Method, Request, header};
use axum::response::{IntoResponse, Response};
use claviger_identity::{ConnectionFacts, Outcome, UnixPeer, user_name};
use claviger_wire::Bind;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::access::{Caller, Role};
use super::answer::ApiError;
use super::{Desk, client};

/// Calls that each door serves at a time; more wait.
const CONNECTIONS_MAX: u32 = 64;

/// For a handshake, and for a head.
const GREETING: Duration = Duration::from_secs(10);

/// For a whole call. A reload compiles everything.
const CALL: Duration = Duration::from_secs(60);

/// How long after an error of accept, which is a lack of descriptors or a client that left.
const AGAIN: Duration = Duration::from_millis(50);

/// A browser says where it comes from; nobody who administers is one. `Sec-Fetch-Site` is sent by a page's every
/// request, `Origin` by those of older browsers that could change something.
const OF_BROWSERS: [HeaderName; 2] = [header::ORIGIN, HeaderName::from_static("sec-fetch-site")];

/// Who is at the other end.
#[derive(Clone)]
enum Guest {
    /// The kernel said who.
    Local(Caller),
    /// The attestors will, for each call anew.
    Remote { certificates: Arc<[CertificateDer<'static>]>, unix: Option<UnixPeer>, ip: Option<IpAddr> },
}

/// Room for connections, apart for each door: strangers at one take no place at the other.
#[derive(Debug)]
pub(super) struct Guests {
    local: Arc<Semaphore>,
    remote: Arc<Semaphore>,
    closing: watch::Sender<bool>,
}

impl Default for Guests {
    fn default() -> Self {
        let room = || Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
        Self { local: room(), remote: room(), closing: watch::channel(false).0 }
    }
}

impl Guests {
    /// Lets nobody in any more, and resolves when those who are inside have had their answers.
    pub(super) async fn leave(&self) {
        self.closing.send_replace(true);
        for room in [&self.local, &self.remote] {
            // Never closed; all places are free when everybody has left.
            let _ = room.acquire_many(CONNECTIONS_MAX).await.map(tokio::sync::SemaphorePermit::forget);
        }
    }
}

/// Serves the Unix socket until the doors close.
pub(super) async fn socket(socket: UnixListener, desk: Arc<Desk>, router: Router) {
    let mut closing = desk.guests.closing.subscribe();
    loop {
        let Ok(place) = desk.guests.local.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        // Whoever the kernel does not name is nobody.
        let Some(caller) = local(&stream) else { continue };
        let (desk, router) = (desk.clone(), router.clone());
        tokio::spawn(async move {
            converse(stream, Guest::Local(caller), desk, router).await;
            drop(place);
        });
    }
}

/// The mode of the socket lets only its owner in. Asked once more here: whoever changes the mode changes no rights.
fn local(stream: &UnixStream) -> Option<Caller> {
    let uid = stream.peer_cred().ok()?.uid();
    let name = match user_name(uid) {
        Some(name) => format!("{name} (uid {uid})"),
        None => format!("uid {uid}"),
    };
    let is_owner = uid == rustix::process::geteuid().as_raw() || uid == 0;
    Some(Caller { name: name.into(), role: is_owner.then_some(Role::Admin) })
}

/// What `[admin.remote]` listens on.
pub(super) enum Remote {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Somebody at `[admin.remote]`.
enum Arrived {
    Tcp(TcpStream, IpAddr),
    Unix(UnixStream, Option<UnixPeer>),
}

impl Remote {
    async fn accept(&self) -> std::io::Result<Arrived> {
        match self {
            Self::Tcp(socket) => socket.accept().await.map(|(stream, peer)| Arrived::Tcp(stream, peer.ip())),
            Self::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                // The kernel's word is asked for at once: the process may be gone later.
                let peer = UnixPeer::of(&stream).ok();
                Ok(Arrived::Unix(stream, peer))
            }
        }
    }

    /// Binds it; where it really listens.
    pub(super) async fn bind(bind: &Bind, socket_mode: u32) -> std::io::Result<(Self, Bind)> {
        match bind {
            Bind::Tcp(address) => {
                let socket = TcpListener::bind(address).await?;
                let actual = socket.local_addr()?;
                Ok((Self::Tcp(socket), Bind::Tcp(actual)))
            }
            Bind::Unix(file) => {
                let socket = claviger_wire::bind_unix(file, socket_mode)?;
                Ok((Self::Unix(UnixListener::from_std(socket)?), bind.clone()))
            }
        }
    }
}

/// Serves attested principals until the doors close.
pub(super) async fn remote(socket: Remote, desk: Arc<Desk>, router: Router) {
    let mut closing = desk.guests.closing.subscribe();
    loop {
        let Ok(place) = desk.guests.remote.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        let Ok(arrived) = accepted else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        let (desk, router) = (desk.clone(), router.clone());
        tokio::spawn(async move {
            match arrived {
                Arrived::Tcp(stream, ip) => greet(stream, None, Some(ip), desk, router).await,
                Arrived::Unix(stream, peer) => greet(stream, peer, None, desk, router).await,
            }
            drop(place);
        });
    }
}

/// TLS, if the listener speaks it, then calls.
async fn greet<I>(stream: I, unix: Option<UnixPeer>, ip: Option<IpAddr>, desk: Arc<Desk>, router: Router)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let access = desk.access.load_full();
    let Some(listener) = &access.listener else { return };
    let Some(tls) = &listener.tls else {
        return converse(stream, Guest::Remote { certificates: Arc::new([]), unix, ip }, desk, router).await;
    };
    let mut config = (**tls).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let handshake = TlsAcceptor::from(Arc::new(config)).accept(stream);
    // A client that cannot say hello has nothing to say.
    let Ok(Ok(stream)) = tokio::time::timeout(GREETING, handshake).await else { return };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificates = certificates.iter().map(|one| one.clone().into_owned()).collect();
    converse(stream, Guest::Remote { certificates, unix, ip }, desk, router).await;
}

/// Serves calls on one connection.
async fn converse<I>(stream: I, guest: Guest, desk: Arc<Desk>, router: Router)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut closing = desk.guests.closing.subscribe();
    let service = service_fn(move |request| {
        let (guest, desk, router) = (guest.clone(), desk.clone(), router.clone());
        async move { Ok::<_, Infallible>(answer(&guest, &desk, router, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(GREETING)
        .max_headers(64)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    // How it ends is the client's matter.
    tokio::select! {
        _ = served.as_mut() => return,
        // The sender lives as long as the desk.
        _ = closing.wait_for(|closing| *closing) => served.as_mut().graceful_shutdown(),
    }
    let _ = served.await;
}

async fn answer(guest: &Guest, desk: &Desk, router: Router, request: Request<Incoming>) -> Response {
    let called = tokio::time::timeout(CALL, async {
        check(guest, &request)?;
        let caller = identify(guest, desk, &request).await?;
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(caller);
        let Ok(answer) = router.oneshot(request).await;
        Ok::<_, ApiError>(answer)
    });
    match called.await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => error.into_response(),
        Err(_) => ApiError::Timeout.into_response(),
    }
}

/// Turns away what a page in somebody's browser could send on its own.
fn check(guest: &Guest, request: &Request<Incoming>) -> Result<(), ApiError> {
    let headers = request.headers();
    if OF_BROWSERS.iter().any(|name| headers.contains_key(name)) {
        return Err(ApiError::Forbidden("browsers are not served here".to_owned()));
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    // A name that somebody else's DNS leads here is not one of ours. (Over TLS the certificate says so.)
    let is_ours = match guest {
        Guest::Local(_) => [client::HOST, "localhost"].contains(&host),
        Guest::Remote { .. } => !host.is_empty(),
    };
    if !is_ours {
        return Err(ApiError::Bad(format!("`Host` is to be `{}`", client::HOST)));
    }
    let type_ = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_json = type_.split(';').next().is_some_and(|type_| type_.trim().eq_ignore_ascii_case("application/json"));
    if [Method::POST, Method::PUT, Method::PATCH].contains(request.method()) && !is_json {
        return Err(ApiError::Bad("`Content-Type` is to be `application/json`".to_owned()));
    }
    Ok(())
}

async fn identify(guest: &Guest, desk: &Desk, request: &Request<Incoming>) -> Result<Caller, ApiError> {
    let (certificates, unix, ip) = match guest {
        Guest::Local(caller) => return Ok(caller.clone()),
        Guest::Remote { certificates, unix, ip } => (certificates, unix, ip),
    };
    let access = desk.access.load_full();
    let gone = || ApiError::Unidentified("the configuration has no `[admin.remote]` any more".to_owned());
    let chain = &access.listener.as_ref().ok_or_else(gone)?.chain;
    let token = bearer(request)?;
    // Judged for each call: few are made, and bundles and keys change meanwhile.
    let facts = ConnectionFacts { certificates, unix_peer: unix.clone(), peer_ip: *ip };
    let proofs = chain.attest_connection(&facts);
    let attested = match chain.attest(&proofs, token).await {
        Outcome::Attested(attested) => attested,
        Outcome::Absent => return Err(ApiError::Unidentified("no attestor found a proof".to_owned())),
        // Which of its claims is wrong helps whoever guesses; the code is what a client needs.
        Outcome::Refused(error) => {
            return Err(ApiError::Unidentified(format!("the proof does not hold: {}", error.code())));
        }
    };
    if attested.proof.expires_at.is_some_and(|ends| ends <= desk.clock.now()) {
        return Err(ApiError::Unidentified("the proof has expired".to_owned()));
    }
    if desk.state.suspended().stops(&attested.principal.id, desk.clock.now_ms()) {
        return Err(ApiError::Suspended);
    }
    Ok(access.caller(&attested.principal))
}

/// The token of `Authorization: Bearer`; two such headers are none.
fn bearer(request: &Request<Incoming>) -> Result<Option<&[u8]>, ApiError> {
    let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return match request.headers().contains_key(header::AUTHORIZATION) {
            true => Err(ApiError::Unidentified("`Authorization` stands twice".to_owned())),
            false => Ok(None),
        };
    };
    let (scheme, token) = value.as_bytes().split_at_checked(7).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(ApiError::Unidentified("write `Authorization: Bearer TOKEN`".to_owned()));
    }
    Ok(Some(token.trim_ascii()))
}
