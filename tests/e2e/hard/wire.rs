//! A client that chooses every layer itself: TLS to the proxy, CONNECT, TLS inside, h1 or h2.

use std::sync::Arc;

use claviger_tests::origin::{OriginBody, full};
use claviger_tests::svid::{Svid, tls_client};
use claviger_tests::{PATIENCE, Proxy, World};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Any byte stream.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A boxed one.
pub(crate) type Stream = Box<dyn Io>;

/// HTTP on one connection.
#[derive(Clone)]
pub(crate) struct Session {
    sender: Sender,
    base: String,
}

#[derive(Clone)]
enum Sender {
    Http1(Arc<tokio::sync::Mutex<http1::SendRequest<OriginBody>>>),
    Http2(http2::SendRequest<OriginBody>),
}

/// Status and body of an answer.
pub(crate) type Answer = (u16, String);

pub(crate) async fn tcp(address: &str) -> Stream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    Box::new(stream)
}

/// TLS on a stream; says what ALPN chose. The handshake's error is the client's view of a refusal.
pub(crate) async fn tls(
    stream: Stream,
    name: &str,
    config: rustls::ClientConfig,
) -> std::io::Result<(Stream, Option<Vec<u8>>)> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    Ok((Box::new(stream), alpn))
}

/// CONNECT over HTTP/1.1. The answer's head if it is not 200.
pub(crate) async fn connect(mut stream: Stream, authority: &str, headers: &str) -> Result<Stream, String> {
    let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            break;
        }
        answer.push(byte[0]);
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if answer.starts_with("HTTP/1.1 200 ") { Ok(stream) } else { Err(answer) }
}

impl Session {
    /// Speaks HTTP/1.1 or h2 on a stream, as requests to `base` (scheme and authority).
    pub(crate) async fn over(stream: Stream, h2: bool, base: &str) -> Self {
        let io = TokioIo::new(stream);
        let sender = if h2 {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new()).handshake(io).await.unwrap();
            tokio::spawn(connection);
            Sender::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            Sender::Http1(Arc::new(tokio::sync::Mutex::new(sender)))
        };
        Self { sender, base: base.to_owned() }
    }

    /// To a TLS gateway, with an SVID if there is one.
    pub(crate) async fn gateway(world: &World, proxy: &Proxy, svid: Option<&Svid>, h2: bool) -> std::io::Result<Self> {
        let config = tls_client(world.ca.pem(), svid, &[protocol(h2)]);
        let (stream, alpn) = tls(tcp(proxy.address("gateway")).await, "localhost", config).await?;
        assert_eq!(alpn.as_deref(), Some(protocol(h2).as_bytes()));
        // In TLS 1.3 a refused client learns it only when it reads.
        let session = Self::over(stream, h2, "https://localhost").await;
        Ok(session)
    }

    /// CONNECT to `api.test` through the forward listener, in clear text or (with `outer`) in TLS, and the
    /// intercepted TLS inside.
    pub(crate) async fn forward(world: &World, proxy: &Proxy, outer: Outer<'_>, headers: &str, h2: bool) -> Self {
        let stream = tcp(proxy.address("forward")).await;
        let stream = match outer {
            Outer::Cleartext => stream,
            Outer::Tls(svid) => {
                tls(stream, "localhost", tls_client(world.ca.pem(), svid, &["http/1.1"])).await.unwrap().0
            }
        };
        let inside = connect(stream, "api.test:443", headers).await.unwrap();
        let config = tls_client(&root(world), None, &[protocol(h2)]);
        let (stream, alpn) = tls(inside, "api.test", config).await.unwrap();
        assert_eq!(alpn.as_deref(), Some(protocol(h2).as_bytes()));
        Self::over(stream, h2, "https://api.test").await
    }

    /// Sends a request whose URI is a path; the rest is as the protocol wants it.
    pub(crate) async fn send(&self, mut request: Request<OriginBody>) -> hyper::Result<Response<Incoming>> {
        let (scheme, host) = self.base.split_once("://").unwrap();
        match &self.sender {
            Sender::Http1(sender) => {
                request.headers_mut().entry("host").or_insert(host.parse().unwrap());
                // The lock lasts until the head of the answer; the body must be read before the next request.
                let mut sender = sender.lock().await;
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                *request.uri_mut() = format!("{scheme}://{host}{}", request.uri()).parse().unwrap();
                let mut sender = sender.clone();
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// A request without a body; its answer whole.
    pub(crate) async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> hyper::Result<Answer> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = tokio::time::timeout(PATIENCE, self.send(request.body(full("")).unwrap())).await.unwrap()?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// The status of a GET.
    pub(crate) async fn get(&self, path: &str) -> hyper::Result<u16> {
        Ok(self.call("GET", path, &[]).await?.0)
    }
}

/// How the forward listener is reached.
#[derive(Clone, Copy)]
pub(crate) enum Outer<'a> {
    Cleartext,
    Tls(Option<&'a Svid>),
}

fn protocol(h2: bool) -> &'static str {
    if h2 { "h2" } else { "http/1.1" }
}

/// The interception root, PEM.
pub(crate) fn root(world: &World) -> String {
    let ca = world.run(&["ca", "--config", "claviger.toml"]);
    assert!(ca.status.success(), "{}", String::from_utf8_lossy(&ca.stderr));
    String::from_utf8(ca.stdout).unwrap()
}

/// A client that ignores the environment.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// Asks again until the answer is there; what happens in between is not waited for by the clock.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(std::time::Instant::now() < deadline, "in vain: {what}");
        tokio::task::yield_now().await;
    }
}

/// Resident memory in KiB: now (`VmRSS`) or at its highest (`VmHWM`), from the kernel.
pub(crate) fn memory_kib(pid: u32, which: &str) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(which)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
