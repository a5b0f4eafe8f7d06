//! A server on loopback that misbehaves as its paths say.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

type Answer = Response<BoxBody<Bytes, std::io::Error>>;

pub(super) struct Origin {
    address: SocketAddr,
    ca_pem: Option<Arc<[u8]>>,
    seen: Arc<Seen>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<String>>,
}

impl Origin {
    /// Serves `localhost` over TLS with a root of its own.
    pub(super) async fn start(alpn: &'static [u8]) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut root = rcgen::CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root_certificate = root.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::new(root, key);
        let leaf_key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
        let mut config = rustls::ServerConfig::builder_with_provider(crate::trust::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.into()], leaf_key.into())
            .unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        Self::listen(Some((config, root_certificate.pem().into_bytes().into()))).await
    }

    pub(super) async fn start_cleartext() -> Self {
        Self::listen(None).await
    }

    async fn listen(tls: Option<(rustls::ServerConfig, Arc<[u8]>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let (config, ca_pem) = tls.unzip();
        let acceptor = config.map(|config| TlsAcceptor::from(Arc::new(config)));
        let accepting = tokio::spawn(accept(listener, acceptor, Arc::clone(&seen)));
        Self { address, ca_pem, seen, accepting }
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn url(&self, path: &str) -> String {
        match self.ca_pem {
            Some(_) => format!("https://localhost:{}{path}", self.port()),
            None => format!("http://127.0.0.1:{}{path}", self.port()),
        }
    }

    /// Trusts this origin and lists its address.
    pub(super) fn reach(&self) -> Reach {
        Reach {
            allow_addresses: vec!["127.0.0.1".parse::<IpAddr>().unwrap().into()],
            ca_pem: self.ca_pem.clone(),
            ..Reach::default()
        }
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// Closes the listener.
    pub(super) async fn into_closed(self) {
        self.accepting.abort();
        assert!(self.accepting.await.unwrap_err().is_cancelled());
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, seen: Arc<Seen>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        seen.connections.fetch_add(1, Ordering::SeqCst);
        let (seen, acceptor) = (Arc::clone(&seen), acceptor.clone());
        tokio::spawn(async move {
            match acceptor {
                None => serve(stream, false, seen).await,
                Some(acceptor) => {
                    // The client hangs up on a certificate that it does not like.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    serve(stream, http2, seen).await;
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, http2: bool, seen: Arc<Seen>) {
    let io = TokioIo::new(stream);
    let service = service_fn(move |request| {
        seen.requests.lock().unwrap().push(request.uri().path().to_owned());
        answer(request)
    });
    // A failed connection is what some of the paths are for.
    let _ = if http2 {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
    } else {
        hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
    };
}

async fn answer(request: Request<Incoming>) -> Result<Answer, std::io::Error> {
    match request.uri().path() {
        "/echo" => Ok(Response::new(full(echo(request).await))),
        "/redirect" => {
            let answer = Response::builder().status(StatusCode::FOUND).header("location", "/echo");
            Ok(answer.body(full(Bytes::new())).unwrap())
        }
        "/refuse" => Ok(Response::builder().status(StatusCode::UNAUTHORIZED).body(full("no".into())).unwrap()),
        "/sized" => Ok(Response::new(full(vec![b'x'; 10_000].into()))),
        "/chunked" => Ok(Response::new(chunks(Some(10)))),
        "/endless" => Ok(Response::new(chunks(None))),
        "/silent" => std::future::pending().await,
        "/stalled" => {
            let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"x")))]);
            let stalled = futures_util::StreamExt::chain(first, futures_util::stream::pending());
            Ok(Response::new(BodyExt::boxed(StreamBody::new(stalled))))
        }
        "/cut" => Err(std::io::Error::other("cut")),
        other => panic!("no such path: {other}"),
    }
}

async fn echo(request: Request<Incoming>) -> Bytes {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
    let line = format!("{:?} {} {} ", head.version, head.method, head.uri.path_and_query().unwrap());
    let line = line + &header("user-agent") + " " + &header("x-asked") + " ";
    let body = body.collect().await.unwrap().to_bytes();
    [line.as_bytes(), &body].concat().into()
}

fn chunks(count: Option<usize>) -> BoxBody<Bytes, std::io::Error> {
    let chunk = || Ok(Frame::data(Bytes::from(vec![b'x'; 1_000])));
    let all = std::iter::repeat_with(chunk).take(count.unwrap_or(usize::MAX));
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(all)))
}

fn full(bytes: Bytes) -> BoxBody<Bytes, std::io::Error> {
    let never = |error: Infallible| match error {};
    if bytes.is_empty() { Empty::new().map_err(never).boxed() } else { Full::new(bytes).map_err(never).boxed() }
}
