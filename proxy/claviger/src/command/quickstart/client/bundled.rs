//! The bundled client, for machines that have neither curl nor Python: `quickstart --client METHOD URL VIA`.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::command::{Done, Failure};
use crate::{app, console};

const PATIENCE: Duration = Duration::from_secs(10);

type Problem = Box<dyn std::error::Error + Send + Sync>;

/// Makes one request and prints the answer's head, an empty line and its body.
pub(crate) fn run(args: &[String]) -> Done {
    let [method, url, via] = args else {
        return Err(Failure::Other("--client takes METHOD, URL and VIA".to_owned()));
    };
    let asked = async { tokio::time::timeout(PATIENCE, ask(method, url, via)).await? };
    let printed = app::control_runtime()?.block_on(asked).map_err(|error| Failure::doing("ask")(&error))?;
    console::out_raw(&printed);
    Ok(ExitCode::SUCCESS)
}

async fn ask(method: &str, url: &str, via: &str) -> Result<String, Problem> {
    let method: Method = method.parse()?;
    let url: Uri = url.parse()?;
    let authority = url.authority().ok_or("the URL has no host")?.clone();
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::builder().method(method).uri(path).header(HOST, authority.as_str()).body(Empty::new())?;
    if url.scheme_str() != Some("https") {
        return exchange(UnixStream::connect(via).await?, request).await;
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(via)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(authority.host().to_owned())?;
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, authority.port_u16().unwrap_or(443))).await?;
    exchange(TlsConnector::from(Arc::new(config)).connect(name, stream).await?, request).await
}

async fn exchange<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<String, Problem>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let serving = tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    serving.abort();
    let head = Response::from_parts(head, ());
    let mut printed = format!("{:?} {}\n", head.version(), head.status());
    for (name, value) in head.headers() {
        writeln!(printed, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
    }
    printed.push('\n');
    printed.push_str(&String::from_utf8_lossy(&body));
    Ok(printed)
}
