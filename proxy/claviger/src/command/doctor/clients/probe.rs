//! A proxy and an origin in one, on a loopback port: it ends the TLS of whoever asks for a host below the probe's, with
//! certificates of an authority, and notes how far each client came. Nothing is passed on to anybody.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use claviger_policy::{Host, HostPattern};
use claviger_wire::{InterceptionAuthority, InterceptionRoot};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::super::authority::PROBE_HOST;
use claviger_contract::SystemClock;

/// No head of a CONNECT is longer.
const HEAD_MAX: usize = 16 << 10;

/// How far a client came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// It asked the proxy for its host.
    pub(super) connected: bool,
    /// It came without the proof, and was asked for it.
    pub(super) challenged: bool,
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
    /// `user:password`, where clients have to show it.
    proof: Option<String>,
    seen: Mutex<BTreeMap<String, Seen>>,
}

impl Probe {
    /// Binds a free port and serves from now on.
    pub(super) async fn start(root: &InterceptionRoot, proof: Option<String>) -> Result<Self, String> {
        let pattern = HostPattern::parse(&format!("*.{PROBE_HOST}"), 443).map_err(|error| error.to_string())?;
        let authority = InterceptionAuthority::new(root, &[pattern], 1, Arc::new(SystemClock));
        let authority = authority.map_err(|error| error.to_string())?;
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| error.to_string())?;
        let address = socket.local_addr().map_err(|error| error.to_string())?;
        let state = Arc::new(State { authority, proof, seen: Mutex::default() });
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

/// One client, as a forward listener serves it.
async fn connection(mut stream: TcpStream, state: Arc<State>) {
    let Some((host, leaf)) = tunnel(&mut stream, &state).await else { return };
    let inside = match TlsAcceptor::from(leaf).accept(stream).await {
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
        if state.proof.as_ref().is_some_and(|proof| !shows(&head, proof)) {
            state.note(&host, |seen| seen.challenged = true);
            let challenge = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                             proxy-authenticate: Basic realm=\"claviger\"\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(challenge.as_bytes()).await.ok()?;
            continue;
        }
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

fn shows(head: &str, proof: &str) -> bool {
    let wanted = format!("basic {}", STANDARD.encode(proof));
    head.lines().filter_map(|line| line.split_once(':')).any(|(name, value)| {
        let value = value.trim();
        name.eq_ignore_ascii_case("proxy-authorization")
            && value.split_once(' ').is_some_and(|(scheme, rest)| {
                scheme.eq_ignore_ascii_case("basic") && wanted.split_once(' ').is_some_and(|(_, known)| known == rest)
            })
    })
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

#[cfg(test)]
mod tests {
    use super::shows;

    #[test]
    fn only_the_proof_passes() {
        for (head, passes) in [
            ("CONNECT a:443 HTTP/1.1\r\nProxy-Authorization: Basic dTpw\r\n\r\n", true),
            ("CONNECT a:443 HTTP/1.1\r\nproxy-authorization: basic dTpw\r\n\r\n", true),
            ("CONNECT a:443 HTTP/1.1\r\nproxy-authorization: Basic dTpx\r\n\r\n", false),
            ("CONNECT a:443 HTTP/1.1\r\nauthorization: Basic dTpw\r\n\r\n", false),
            ("CONNECT a:443 HTTP/1.1\r\nproxy-authorization: Bearer dTpw\r\n\r\n", false),
            ("CONNECT a:443 HTTP/1.1\r\n\r\n", false),
        ] {
            assert_eq!(shows(head, "u:p"), passes, "{head}");
        }
    }
}
