//! How a client comes into a proxy, and what it asks for there.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The host that every request is for.
pub(crate) const HOST: &str = "api.test";

/// What clients of a gateway call it.
pub(crate) const GATEWAY: &str = "gateway.test";

/// What went wrong, for people.
pub(crate) type Problem = String;

/// A way into one proxy.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) layer: Layer,
    /// What stands before the upstream's path.
    pub(crate) prefix: &'static str,
    /// Values of `Authorization`, taken in turns; none: the header is left out.
    pub(crate) authorizations: Arc<[HeaderValue]>,
}

/// What lies between TCP and HTTP.
#[derive(Clone, Debug)]
pub(crate) enum Layer {
    /// Nothing.
    Clear,
    /// TLS to the proxy.
    Tls(Arc<rustls::ClientConfig>),
    /// CONNECT to this port of the host, with this `Proxy-Authorization`, and TLS in it.
    Connect { port: u16, proof: Option<String>, tls: Arc<rustls::ClientConfig> },
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) body: Bytes,
}

/// Text, a mebibyte of it.
pub(crate) fn mebibyte() -> Bytes {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| {
        let text = b"the quick brown fox jumps over the lazy dog. ".iter().copied().cycle();
        text.take(1 << 20).collect()
    });
    TEXT.clone()
}

/// A keep-alive connection.
pub(crate) type Sender = http1::SendRequest<Full<Bytes>>;

impl Job {
    /// A small GET.
    pub(crate) fn get() -> Self {
        Self { method: Method::GET, path: "/v1/hello", body: Bytes::new() }
    }

    /// A question to a language model, 2 KiB.
    pub(crate) fn chat() -> Self {
        let head = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":""#;
        let tail = r#""}]}"#;
        let text: String = "the quick brown fox jumps over the lazy dog. "
            .chars()
            .cycle()
            .take(2048 - head.len() - tail.len())
            .collect();
        Self { method: Method::POST, path: "/v1/chat/completions", body: format!("{head}{text}{tail}").into() }
    }

    /// A stream of events.
    pub(crate) fn events() -> Self {
        Self { method: Method::GET, path: "/v1/events", body: Bytes::new() }
    }

    /// A mebibyte there and a mebibyte back.
    pub(crate) fn mebibyte() -> Self {
        Self { method: Method::POST, path: "/v1/mebibyte", body: mebibyte() }
    }
}

impl Door {
    /// A door on loopback that asks for no token.
    pub(crate) fn new(port: u16, layer: Layer, prefix: &'static str) -> Self {
        Self { address: ([127, 0, 0, 1], port).into(), layer, prefix, authorizations: [].into() }
    }

    /// The request for a job; `turn` picks the authorization.
    pub(crate) fn request(&self, job: &Job, turn: usize) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(&job.method)
            .uri(format!("{}{}", self.prefix, job.path))
            .header("host", self.authority());
        if let Some(value) = self.authorizations.get(turn % self.authorizations.len().max(1)) {
            request = request.header("authorization", value);
        }
        if !job.body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        request.body(Full::new(job.body.clone())).unwrap()
    }

    /// As [`request`](Self::request), for HTTP/2.
    pub(crate) fn request_h2(&self, job: &Job, turn: usize) -> Request<Full<Bytes>> {
        let mut request = self.request(job, turn);
        request.headers_mut().remove("host");
        *request.uri_mut() = format!("https://{}{}{}", self.host(), self.prefix, job.path).parse().unwrap();
        request
    }

    /// What `Host` says: a gateway's own name, or, through CONNECT, the upstream's.
    pub(crate) fn host(&self) -> &'static str {
        if matches!(self.layer, Layer::Connect { .. }) { HOST } else { GATEWAY }
    }

    /// The same with a port where it is not the usual one.
    fn authority(&self) -> String {
        match self.layer {
            Layer::Connect { port, .. } if port != 443 => format!("{}:{port}", self.host()),
            _ => self.host().to_owned(),
        }
    }

    /// A new HTTP/1.1 connection.
    pub(crate) async fn connect(&self) -> Result<Sender, Problem> {
        self.connect_to(self.host()).await
    }

    /// A new HTTP/1.1 connection for a host of one's own.
    pub(crate) async fn connect_to(&self, host: &str) -> Result<Sender, Problem> {
        let tcp = self.tcp().await?;
        match &self.layer {
            Layer::Clear => h1(tcp).await,
            Layer::Tls(config) => h1(tls(tcp, config, host).await?).await,
            Layer::Connect { port, proof, tls: config } => {
                let tcp = tunnel(tcp, host, *port, proof.as_deref()).await?;
                h1(tls(tcp, config, host).await?).await
            }
        }
    }

    /// A new HTTP/2 connection.
    pub(crate) async fn connect_h2(&self) -> Result<http2::SendRequest<Full<Bytes>>, Problem> {
        let tcp = self.tcp().await?;
        let Layer::Tls(config) = &self.layer else { return Err("h2 needs TLS here".to_owned()) };
        let stream = tls(tcp, config, self.host()).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err("h2 was not agreed on".to_owned());
        }
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(|error| chain(&error))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn tcp(&self) -> Result<TcpStream, Problem> {
        let tcp = TcpStream::connect(self.address).await.map_err(|error| format!("connecting: {error}"))?;
        tcp.set_nodelay(true).unwrap();
        Ok(tcp)
    }
}

async fn h1<I: AsyncRead + AsyncWrite + Send + Unpin + 'static>(io: I) -> Result<Sender, Problem> {
    let (sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(|error| chain(&error))?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn tls(
    tcp: TcpStream,
    config: &Arc<rustls::ClientConfig>,
    host: &str,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Problem> {
    let name = ServerName::try_from(host.to_owned()).unwrap();
    TlsConnector::from(config.clone()).connect(name, tcp).await.map_err(|error| format!("TLS: {error}"))
}

async fn tunnel(mut tcp: TcpStream, host: &str, port: u16, proof: Option<&str>) -> Result<TcpStream, Problem> {
    let proof = proof.map(|proof| format!("proxy-authorization: {proof}\r\n")).unwrap_or_default();
    let head = format!("CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n{proof}\r\n");
    tcp.write_all(head.as_bytes()).await.map_err(|error| format!("CONNECT: {error}"))?;
    let mut answer = Vec::with_capacity(512);
    while !answer.ends_with(b"\r\n\r\n") {
        // Nothing follows the head before our own handshake, so that a byte too many can't be read.
        let read = tcp.read_buf(&mut answer).await.map_err(|error| format!("CONNECT: {error}"))?;
        if read == 0 || answer.len() > 4096 {
            return Err("CONNECT: the answer has no end".to_owned());
        }
    }
    let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    if line.split(' ').nth(1) == Some("200") { Ok(tcp) } else { Err(format!("CONNECT: {line}")) }
}

/// Sends a request and reads the answer to its end.
pub(crate) async fn exchange(sender: &mut Sender, request: Request<Full<Bytes>>) -> Result<usize, Problem> {
    sender.ready().await.map_err(|error| chain(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| chain(&error))?;
    whole(answer).await
}

/// Reads an answer to its end; how long its body was.
pub(crate) async fn whole(answer: http::Response<hyper::body::Incoming>) -> Result<usize, Problem> {
    let status = answer.status();
    let mut body = answer.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.map_err(|error| chain(&error))?.data_ref().map_or(0, Bytes::len);
    }
    if status == 200 { Ok(length) } else { Err(format!("status {status}")) }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> Problem {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
