//! An upstream that checks its key for real, records what it was sent, and can misbehave.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::peers::ca::{IssuedFiles, TestCa};

/// A body that an origin answers with.
pub type OriginBody = BoxBody<Bytes, std::io::Error>;

/// What an origin does with a request.
pub type Handler =
    Arc<dyn Fn(Request<Incoming>) -> futures_util::future::BoxFuture<'static, Response<OriginBody>> + Send + Sync>;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// The target.
    pub uri: Uri,
    /// All headers.
    pub headers: HeaderMap,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: http::Version,
}

impl Seen {
    /// A header's only value as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        assert!(values.next().is_none(), "`{name}` stands twice");
        value.to_str().ok()
    }
}

/// A running upstream; ends with the runtime of the test.
#[derive(Clone)]
pub struct Origin {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<std::sync::atomic::AtomicUsize>,
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Origin({})", self.address)
    }
}

impl Origin {
    /// Serves TLS for `names`, signed by `ca`.
    pub async fn start(ca: &TestCa, names: &[&str], alpn: &[&str], handler: Handler) -> Self {
        let files = ca.issue(names);
        Self::serve(Some(acceptor(&files, alpn)), handler).await
    }

    /// Serves clear text.
    pub async fn start_cleartext(handler: Handler) -> Self {
        Self::serve(None, handler).await
    }

    /// An HTTP/1.1 and h2 origin for `api.test` that wants `Authorization: Bearer <key>` and answers
    /// with what it was sent, less the key.
    pub async fn keyed(ca: &TestCa, key: &str) -> Self {
        Self::start(ca, &["api.test"], &["h2", "http/1.1"], echo(key)).await
    }

    async fn serve(tls: Option<TlsAcceptor>, handler: Handler) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin =
            Self { address: listener.local_addr().unwrap(), seen: Arc::default(), connections: Arc::default() };
        let serving = origin.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                stream.set_nodelay(true).unwrap();
                serving.connections.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let (serving, tls, handler) = (serving.clone(), tls.clone(), handler.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serving.http(stream, false, handler).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                            serving.http(stream, h2, handler).await;
                        }
                    }
                });
            }
        });
        origin
    }

    async fn http<I>(&self, stream: I, h2: bool, handler: Handler)
    where
        I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let seen = self.seen.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            seen.lock().unwrap().push(Seen {
                method: request.method().clone(),
                uri: request.uri().clone(),
                headers: request.headers().clone(),
                version: request.version(),
            });
            let answering = handler(request);
            async move { Ok::<_, Infallible>(answering.await) }
        });
        let io = TokioIo::new(stream);
        if h2 {
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
        } else {
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
        }
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The only request so far.
    pub fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.into_iter().next().unwrap()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.connections.load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// Accepts TLS with an issued certificate.
pub fn acceptor(files: &IssuedFiles, alpn: &[&str]) -> TlsAcceptor {
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.cert).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Makes a handler of an async function.
pub fn handler<F, R>(f: F) -> Handler
where
    F: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
    R: Future<Output = Response<OriginBody>> + Send + 'static,
{
    Arc::new(move |request| Box::pin(f(request)))
}

/// A body that is known whole.
pub fn full(bytes: impl Into<Bytes>) -> OriginBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// Wants `Authorization: Bearer <key>`; answers with method, path and body as JSON.
pub fn echo(key: &str) -> Handler {
    let expected = format!("Bearer {key}");
    handler(move |request| {
        let expected = expected.clone();
        async move {
            let (head, body) = request.into_parts();
            if head.headers.get("authorization").map(|value| value.as_bytes()) != Some(expected.as_bytes()) {
                let mut refused = Response::new(full(r#"{"error":"wrong key"}"#));
                *refused.status_mut() = StatusCode::UNAUTHORIZED;
                return refused;
            }
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let answer = serde_json::json!({
                "method": head.method.as_str(),
                "path": head.uri.path_and_query().map(ToString::to_string),
                "body": String::from_utf8_lossy(&body),
            });
            let mut response = Response::new(full(answer.to_string()));
            response.headers_mut().insert("content-type", "application/json".parse().unwrap());
            response
        }
    })
}
