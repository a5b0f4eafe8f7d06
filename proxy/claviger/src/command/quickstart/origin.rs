//! The demo API: HTTPS on a loopback port, h1 and h2, with a real check of the key.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::command::Failure;
use crate::command::quickstart::authority::Authority;
use crate::command::quickstart::key::DemoKey;

/// The name on the demo API's certificate. `.example` is reserved: no such host is on the internet (RFC 2606).
pub(crate) const HOST: &str = "demo.example";

/// The running API. It stops when this is dropped.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    serving: JoinHandle<()>,
}

/// What arrived, to tell what never did.
#[derive(Default)]
struct Seen {
    with_key: AtomicU32,
    without_key: AtomicU32,
    deletes: AtomicU32,
}

impl Origin {
    /// Binds a free port and serves from now on.
    pub(crate) async fn start(authority: &Authority, key: Arc<DemoKey>) -> Result<Self, Failure> {
        let tls = TlsAcceptor::from(Arc::new(server_config(authority)?));
        let failed = |error: std::io::Error| Failure::doing("start the demo API on a loopback port")(&error);
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let seen = Arc::new(Seen::default());
        let serving = tokio::spawn(accept(socket, tls, key, seen.clone()));
        Ok(Self { address, seen, serving })
    }

    /// How many requests came with the key, without it, and how many of all wanted to delete.
    pub(crate) fn seen(&self) -> (u32, u32, u32) {
        let read = |count: &AtomicU32| count.load(Ordering::Relaxed);
        (read(&self.seen.with_key), read(&self.seen.without_key), read(&self.seen.deletes))
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn server_config(authority: &Authority) -> Result<ServerConfig, Failure> {
    let (chain, key) = authority.issue(HOST)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| Failure::doing("set up TLS for the demo API")(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

async fn accept(socket: TcpListener, tls: TlsAcceptor, key: Arc<DemoKey>, seen: Arc<Seen>) {
    // A client that leaves before it was accepted is no reason to stop.
    loop {
        if let Ok((stream, _)) = socket.accept().await {
            tokio::spawn(serve(stream, tls.clone(), key.clone(), seen.clone()));
        }
    }
}

/// One connection. What goes wrong on it, its client sees.
async fn serve(stream: TcpStream, tls: TlsAcceptor, key: Arc<DemoKey>, seen: Arc<Seen>) {
    let Ok(stream) = tls.accept(stream).await else { return };
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| {
        let answer = answer(&request, &key, &seen);
        async { Ok::<_, Infallible>(answer) }
    });
    let _ = if is_h2 {
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await
    } else {
        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
    };
}

/// The key first, as an API does.
fn answer(request: &Request<Incoming>, key: &DemoKey, seen: &Seen) -> Response<Full<Bytes>> {
    if request.method() == Method::DELETE {
        seen.deletes.fetch_add(1, Ordering::Relaxed);
    }
    let sent = request.headers().get(AUTHORIZATION);
    let presented = sent.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if !presented.is_some_and(|presented| key.is(presented)) {
        seen.without_key.fetch_add(1, Ordering::Relaxed);
        let why = if sent.is_some() { "this API key is wrong" } else { "an API key is needed" };
        let mut refusal = json_answer(StatusCode::UNAUTHORIZED, &json!({ "error": why }));
        refusal.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return refusal;
    }
    seen.with_key.fetch_add(1, Ordering::Relaxed);
    let path = request.uri().path();
    match (request.method(), path) {
        (&Method::GET, "/v1/hello") => json_answer(StatusCode::OK, &json!({ "hello": "the API accepts this key" })),
        (&Method::GET, "/v1/models") => json_answer(StatusCode::OK, &json!({ "models": ["small", "large"] })),
        // What a careless API does: it repeats what it was sent, key and all.
        (&Method::GET, "/v1/echo") => {
            let sent = sent.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            json_answer(StatusCode::OK, &json!({ "you_sent": { "authorization": sent } }))
        }
        (&Method::DELETE, path) if path.starts_with("/v1/models/") => {
            json_answer(StatusCode::OK, &json!({ "deleted": path }))
        }
        _ => json_answer(StatusCode::NOT_FOUND, &json!({ "error": "there is no such thing here" })),
    }
}

fn json_answer(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
