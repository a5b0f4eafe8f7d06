//! A proxy and an origin in one, on a loopback port: it ends the TLS of whoever asks for a host below the probe's, by
//! CONNECT or directly, with certificates of an authority, and notes how far each client came. Nothing is passed on.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use claviger_policy::{Host, HostPattern};
use claviger_wire::{InterceptionAuthority, InterceptionRoot};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use super::super::authority::PROBE_HOST;
use claviger_contract::SystemClock;

/// No head of a CONNECT is longer.
const HEAD_MAX: usize = 16 << 10;

/// How far a client came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// It asked the proxy for its host.
    pub(super) connected: bool,
    /// It was seen to try another way.
    pub(super) around: bool,
    /// Why its TLS ended, if it did.
    pub(super) tls: Option<String>,
    /// Its request arrived: it has taken the proxy, and has trusted the certificate.
    pub(super) asked: bool,
}

/// The running probe. It ends when this is dropped.
pub(super) struct Probe {
    pub(super) address: SocketAddr,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

struct State {
    authority: InterceptionAuthority,
    seen: Mutex<BTreeMap<String, Seen>>,
}

impl Probe {
    /// Binds a free port and serves from now on.
    pub(super) async fn start(root: &InterceptionRoot) -> Result<Self, String> {
        let pattern = HostPattern::parse(&format!("*.{PROBE_HOST}"), 443).map_err(|error| error.to_string())?;
        let authority = InterceptionAuthority::new(root, &[pattern], 1, Arc::new(SystemClock));
        let authority = authority.map_err(|error| error.to_string())?;
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| error.to_string())?;
        let address = socket.local_addr().map_err(|error| error.to_string())?;
        let state = Arc::new(State { authority, seen: Mutex::default() });
        let serving = tokio::spawn(accept(socket, state.clone()));
        Ok(Self { address, state, serving })
    }

    /// The host that a client is to ask, which exists nowhere.
    pub(super) fn host_of(client: &str) -> String {
        format!("{client}.{PROBE_HOST}")
    }

    /// How far the client came.
    pub(super) fn seen(&self, client: &str) -> Seen {
        let seen = self.state.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&Self::host_of(client)).cloned().unwrap_or_default()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl State {
    fn note(&self, host: &str, note: impl FnOnce(&mut Seen)) {
        note(self.seen.lock().unwrap_or_else(PoisonError::into_inner).entry(host.to_owned()).or_default());
    }

    fn leaf(&self, host: &str) -> Option<Arc<ServerConfig>> {
        self.authority.leaf(&Host::parse(host).ok()?).ok()
    }
}

async fn accept(socket: TcpListener, state: Arc<State>) {
    loop {
        if let Ok((stream, _)) = socket.accept().await {
            tokio::spawn(connection(stream, state.clone()));
        }
    }
}

/// The first byte of TLS: a handshake record (RFC 8446 §5.1).
const HANDSHAKE: u8 = 0x16;

/// One client: as a forward listener serves it, or, if it begins with TLS, as the service does.
async fn connection(mut stream: TcpStream, state: Arc<State>) {
    let mut first = [0];
    let Ok(1) = stream.peek(&mut first).await else { return };
    let (host, inside) = if first == [HANDSHAKE] {
        let Ok(hello) = LazyConfigAcceptor::new(Acceptor::default(), stream).await else { return };
        let host = hello.client_hello().server_name().map(str::to_ascii_lowercase).unwrap_or_default();
        let Some(leaf) = state.leaf(&host) else { return };
        (host, hello.into_stream(leaf).await)
    } else {
        let Some((host, leaf)) = tunnel(&mut stream, &state).await else { return };
        (host, TlsAcceptor::from(leaf).accept(stream).await)
    };
    let inside = match inside {
        Ok(inside) => inside,
        Err(error) => return state.note(&host, |seen| seen.tls = Some(error.to_string())),
    };
    let service = service_fn(move |request: Request<Incoming>| {
        state.note(&host, |seen| seen.asked = true);
        let answer = answer(request.uri().path());
        async { Ok::<_, Infallible>(answer) }
    });
    // What goes wrong from here on is the client's own matter: its request has arrived.
    let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(inside), service)
        .await;
}

/// Reads heads until one is a CONNECT that may pass. Yields its host.
async fn tunnel(stream: &mut TcpStream, state: &State) -> Option<(String, Arc<ServerConfig>)> {
    loop {
        let head = head(stream).await?;
        let host = head.strip_prefix("CONNECT ").and_then(|rest| rest.split([':', ' ']).next());
        let Some((host, leaf)) = host.and_then(|host| Some((host.to_ascii_lowercase(), state.leaf(host)?))) else {
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
            continue;
        };
        state.note(&host, |seen| seen.connected = true);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
        return Some((host, leaf));
    }
}

/// Up to the empty line, byte by byte: what follows is TLS.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
        if head.len() > HEAD_MAX {
            return None;
        }
    }
    String::from_utf8(head).ok()
}

/// As little as each client needs to be content, or to give up at once.
fn answer(path: &str) -> Response<Full<Bytes>> {
    let (status, kind, text) = if path.ends_with("/info/refs") {
        // An empty repository (gitprotocol-http, gitprotocol-pack).
        (200, "application/x-git-upload-pack-advertisement", "001e# service=git-upload-pack\n00000000")
    } else if path == "/" || path.ends_with("/ping") {
        (200, "application/json", "{}")
    } else {
        (404, "text/plain", "there is nothing here\n")
    };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}
