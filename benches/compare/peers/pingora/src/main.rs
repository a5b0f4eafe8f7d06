//! pingora at the job of `benches/compare`: a path prefix off, a credential in, verified TLS out, one log line per request.
//!
//!     peer-pingora KEY=VALUE…
//!
//! `listen` (an address, in clear text), `mutual` (one with client certificates), `certificate`, `key`, `clients` (files: what
//! is shown there, and the roots of the clients), `upstream` (an address), `sni`, `ca` (a file), `authorization` (the header's
//! value), `prefix` (of paths), `workers`, `log` (a file).

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use http::HeaderValue;
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::{HttpPeer, ProxyHttp, RequestHeader, Result, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

struct Gateway {
    upstream: String,
    sni: String,
    prefix: String,
    authorization: HeaderValue,
    // pingora has no access log of its own. Lines are buffered, as Envoy's are.
    log: Mutex<BufWriter<File>>,
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut Self::CTX) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream.as_str(), true, self.sni.clone())))
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        (): &mut Self::CTX,
    ) -> Result<()> {
        let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = path.strip_prefix(&self.prefix).unwrap_or(path).parse().unwrap();
        request.set_uri(uri);
        request.insert_header("host", self.sni.as_str())?;
        request.insert_header("authorization", self.authorization.clone())
    }

    async fn logging(&self, session: &mut Session, _: Option<&pingora::Error>, (): &mut Self::CTX) {
        let status = session.response_written().map_or(0, |response| response.status.as_u16());
        let request = session.req_header();
        let address = session.client_addr().map(ToString::to_string).unwrap_or_default();
        let mut log = self.log.lock().unwrap();
        writeln!(log, "{address} \"{} {}\" {status} {}", request.method, request.uri, session.body_bytes_sent())
            .unwrap();
    }
}

fn main() {
    let options: HashMap<String, String> = std::env::args()
        .skip(1)
        .map(|argument| argument.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap())
        .collect();
    let option = |key: &str| options.get(key).unwrap_or_else(|| panic!("{key}=… is missing")).clone();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.install_default().unwrap();
    let conf = ServerConf {
        threads: option("workers").parse().unwrap(),
        ca_file: Some(option("ca")),
        upstream_keepalive_pool_size: 1024,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let gateway = Gateway {
        upstream: option("upstream"),
        sni: option("sni"),
        prefix: option("prefix"),
        authorization: HeaderValue::from_str(&option("authorization")).unwrap(),
        log: Mutex::new(BufWriter::with_capacity(64 << 10, File::create(option("log")).unwrap())),
    };
    let mut proxy = http_proxy_service(&server.configuration, gateway);
    proxy.add_tcp(&option("listen"));
    let mut tls = TlsSettings::intermediate(&option("certificate"), &option("key")).unwrap();
    tls.enable_h2();
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(option("clients")).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    tls.set_client_cert_verifier(rustls::server::WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap());
    proxy.add_tls_with_settings(&option("mutual"), None, tls);
    server.add_service(proxy);
    server.run_forever();
}
