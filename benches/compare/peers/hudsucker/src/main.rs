//! hudsucker at the job of `benches/compare`: CONNECT is intercepted, a credential goes in, verified TLS out, one log line
//! per request.
//!
//!     peer-hudsucker KEY=VALUE…
//!
//! `listen`, `upstream` (addresses; every name is dialled there), `ca` (the upstream's root, a file), `authorization` (the
//! header's value), `authority` and `authority_key` (files), `workers`, `log` (a file).

use std::collections::HashMap;
use std::fs::File;
use std::future::Ready;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use hudsucker::certificate_authority::RcgenAuthority;
use hudsucker::hyper::header::HeaderValue;
use hudsucker::hyper::{Method, Request, Response};
use hudsucker::hyper_util::client::legacy::connect::HttpConnector;
use hudsucker::hyper_util::client::legacy::connect::dns::Name;
use hudsucker::rcgen::{Issuer, KeyPair};
use hudsucker::rustls::crypto::aws_lc_rs;
use hudsucker::rustls::pki_types::CertificateDer;
use hudsucker::rustls::pki_types::pem::PemObject;
use hudsucker::rustls::{ClientConfig, RootCertStore};
use hudsucker::{Body, HttpContext, HttpHandler, Proxy, RequestOrResponse};

/// Every name is the upstream's.
#[derive(Clone)]
struct Fixed(SocketAddr);

impl tower_service::Service<Name> for Fixed {
    type Response = std::iter::Once<SocketAddr>;
    type Error = std::io::Error;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        std::future::ready(Ok(std::iter::once(self.0)))
    }
}

#[derive(Clone)]
struct Handler {
    authorization: HeaderValue,
    // hudsucker has no access log of its own. Lines are buffered, as Envoy's are.
    log: Arc<Mutex<BufWriter<File>>>,
    request: Option<(Method, String)>,
}

impl HttpHandler for Handler {
    async fn handle_request(&mut self, _: &HttpContext, mut request: Request<Body>) -> RequestOrResponse {
        if request.method() != Method::CONNECT {
            self.request = Some((request.method().clone(), request.uri().to_string()));
            request.headers_mut().insert("authorization", self.authorization.clone());
        }
        request.into()
    }

    async fn handle_response(&mut self, context: &HttpContext, response: Response<Body>) -> Response<Body> {
        if let Some((method, uri)) = self.request.take() {
            let mut log = self.log.lock().unwrap();
            writeln!(log, "{} \"{method} {uri}\" {}", context.client_addr, response.status().as_u16()).unwrap();
        }
        response
    }
}

fn main() {
    let options: HashMap<String, String> = std::env::args()
        .skip(1)
        .map(|argument| argument.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap())
        .collect();
    let option = |key: &str| options.get(key).unwrap_or_else(|| panic!("{key}=… is missing")).clone();
    let workers = option("workers").parse().unwrap();
    let upstream: SocketAddr = option("upstream").parse().unwrap();

    let key = KeyPair::from_pem(&std::fs::read_to_string(option("authority_key")).unwrap()).unwrap();
    let authority = std::fs::read_to_string(option("authority")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&authority, key).unwrap();
    let ca = RcgenAuthority::new(issuer, 100_000, aws_lc_rs::default_provider());

    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(option("ca")).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // As hudsucker's own connector, but for the roots and the addresses. TCP_NODELAY is not set there either.
    let mut tcp = HttpConnector::new_with_resolver(Fixed(upstream));
    tcp.enforce_http(false);
    let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap();
    runtime.block_on(async {
        let handler = Handler {
            authorization: HeaderValue::from_str(&option("authorization")).unwrap(),
            log: Arc::new(Mutex::new(BufWriter::with_capacity(64 << 10, File::create(option("log")).unwrap()))),
            request: None,
        };
        Proxy::builder()
            .with_addr(option("listen").parse().unwrap())
            .with_ca(ca)
            .with_http_connector(https.wrap_connector(Ported(tcp, upstream.port())))
            .with_http_handler(handler)
            .build()
            .unwrap()
            .start()
            .await
            .unwrap();
    });
}

/// The requests' port is the usual one, the upstream's is not.
#[derive(Clone)]
struct Ported(HttpConnector<Fixed>, u16);

impl tower_service::Service<hudsucker::hyper::Uri> for Ported {
    type Response = <HttpConnector<Fixed> as tower_service::Service<hudsucker::hyper::Uri>>::Response;
    type Error = <HttpConnector<Fixed> as tower_service::Service<hudsucker::hyper::Uri>>::Error;
    type Future = <HttpConnector<Fixed> as tower_service::Service<hudsucker::hyper::Uri>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        tower_service::Service::<hudsucker::hyper::Uri>::poll_ready(&mut self.0, context)
    }

    fn call(&mut self, uri: hudsucker::hyper::Uri) -> Self::Future {
        let at = format!("{}://{}:{}/", uri.scheme_str().unwrap_or("https"), uri.host().unwrap_or_default(), self.1);
        tower_service::Service::<hudsucker::hyper::Uri>::call(&mut self.0, at.parse().unwrap())
    }
}
