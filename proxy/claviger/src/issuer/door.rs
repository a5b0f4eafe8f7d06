//! `issuer.bind`: a listener that anybody may read two documents from, and nothing else.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use claviger_identity::{Documents, Issuer};
use claviger_policy::document::Located;
use claviger_wire::PublicBind;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::command::Failure;
use crate::console;

/// Connections that are served at a time; more wait.
const CONNECTIONS_MAX: usize = 256;

/// For a whole connection, handshake and all: one request, whose answer is small.
const CONNECTION: Duration = Duration::from_secs(10);

/// How long after an error of accept, which is a lack of descriptors or a client that left.
const AGAIN: Duration = Duration::from_millis(50);

/// What is shown there; a reload changes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Showing {
    /// The issuer in force.
    pub(crate) issuer: Arc<ArcSwapOption<Issuer>>,
    /// Its listener's TLS.
    pub(crate) tls: Arc<ArcSwapOption<ServerConfig>>,
}

impl Showing {
    /// Reads the keys of an issuer that is to be in force, and makes those that it lacks.
    pub(crate) fn prepare(&self, issuer: Option<&Arc<Issuer>>) -> Result<(), String> {
        let Some(issuer) = issuer.filter(|issuer| !self.is_in_force(issuer)) else { return Ok(()) };
        issuer.refresh().map_err(|error| format!("`issuer`: {error}"))
    }

    /// Shows what is in force from now on, and keeps its keys up to date.
    pub(crate) fn take_up(
        &self,
        issuer: Option<Arc<Issuer>>,
        public: Option<PublicBind>,
        runtime: &tokio::runtime::Handle,
    ) {
        self.tls.store(public.and_then(|public| public.tls));
        if let Some(issuer) = issuer.as_ref().filter(|issuer| !self.is_in_force(issuer)) {
            issuer.keep_up(runtime);
        }
        self.issuer.store(issuer);
    }

    fn is_in_force(&self, issuer: &Arc<Issuer>) -> bool {
        self.issuer.load().as_ref().is_some_and(|in_force| Arc::ptr_eq(in_force, issuer))
    }
}

/// Binds the address, and serves until the runtime ends.
pub(crate) fn open(
    control: &tokio::runtime::Runtime,
    bind: &Located<std::net::SocketAddr>,
    showing: Showing,
) -> Result<(), Failure> {
    let bound = control.block_on(TcpListener::bind(bind.value));
    let socket = bound.map_err(|error| {
        Failure::Other(format!("{}: error: `issuer.bind`: failed to bind `{}`: {error}", bind.location, bind.value))
    })?;
    if let Ok(address) = socket.local_addr() {
        console::note(&format!("issuer listens on {address}"));
    }
    control.spawn(serve(socket, showing));
    Ok(())
}

async fn serve(socket: TcpListener, showing: Showing) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Never closed.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = socket.accept().await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        let showing = showing.clone();
        tokio::spawn(async move {
            // Whoever is slower has to come again.
            let _ = tokio::time::timeout(CONNECTION, greet(stream, showing)).await;
            drop(place);
        });
    }
}

async fn greet(stream: TcpStream, showing: Showing) {
    match showing.tls.load_full() {
        None => answer_on(stream, showing).await,
        Some(tls) => {
            // A client that cannot say hello has nothing to ask.
            if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                answer_on(stream, showing).await;
            }
        }
    }
}

async fn answer_on(stream: impl AsyncRead + AsyncWrite + Unpin, showing: Showing) {
    let documents = showing.issuer.load().as_ref().and_then(|issuer| issuer.documents());
    let service = service_fn(move |request| {
        let answer = answer(&request, documents.as_deref());
        async move { Ok::<_, Infallible>(answer) }
    });
    // How it ends is the client's matter.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION)
        .keep_alive(false)
        .max_headers(64)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn answer(request: &Request<Incoming>, documents: Option<&Documents>) -> Response<Full<Bytes>> {
    let Some(documents) = documents else { return plain(StatusCode::NOT_FOUND, "there is no issuer\n") };
    let document = match request.uri().path() {
        path if path == documents.discovery_path => &documents.discovery,
        path if path == documents.keys_path => &documents.keys,
        _ => return plain(StatusCode::NOT_FOUND, "no such document\n"),
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "documents are only read\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let mut response = Response::new(Full::new(document.clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(value) = HeaderValue::try_from(documents.cache_control()) {
        headers.insert(CACHE_CONTROL, value);
    }
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    // A missing document is not to be remembered: it may come.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
