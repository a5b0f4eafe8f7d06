//! A proxy that judges nothing itself: it ends the TLS of one session's clients with a root of its own, and passes
//! every request on to a gateway, over verified TLS and with the proof of the machine that it runs on.
//!
//! Clients trust the session's root, which lives as long as the session; the gateway's interception root is nobody's
//! business but the gateway's. What is allowed, injected and recorded, the gateway says: no credential comes here.
//!
//! Deliberately absent: a way past the gateway, and any retry of a request that may have been read.

mod hosts;
mod upstream;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use claviger_contract::event::RequestId;
use claviger_contract::{Clock, Secret};
use claviger_policy::{Authority, Scheme};
use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::{Method, Request, Response, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use self::hosts::Hosts;
use self::upstream::Upstream;
use crate::authority::InterceptionRoot;
use crate::head::{self, Marks};
use crate::refusal::{self, Challenge, REFUSED, Refusal, RefusalCode};
use crate::request_id::REQUEST_ID;
use crate::trust::TrustRoots;

/// From a connection's first byte to the end of a head or handshake.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// What a relay is made of.
pub struct RelayEnv {
    /// Bound sockets of the session: clients speak to them as to a forward proxy.
    pub sockets: Vec<std::net::TcpListener>,
    /// Bound sockets for base URLs: `http://ADDRESS/TOKEN/SERVICE/…`, where a client takes no proxy.
    pub bases: Vec<std::net::TcpListener>,
    /// The session's proof: the token in clients' `Proxy-Authorization`, or ahead of the path.
    pub session: Secret,
    /// Signs what clients are shown.
    pub root: InterceptionRoot,
    /// Where requests go.
    pub gateway: Gateway,
    /// What the machine proves itself by.
    pub proof: Arc<dyn MachineProof>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Is told of every request that was refused.
    pub refused: Arc<dyn Fn(Refused) + Send + Sync>,
}

/// A gateway listener of a Claviger elsewhere.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Host and port; its certificate is verified as this host.
    pub authority: Authority,
    /// Who vouches for it.
    pub roots: TrustRoots,
}

/// A request that was not passed, for whoever started the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// `POST`.
    pub method: String,
    /// `https://api.x.com/v1/things`, without the query.
    pub url: String,
    /// The stable code (`docs/errors.md`).
    pub code: String,
    /// By which the gateway's operator finds it; of this relay's own if the gateway was not reached.
    pub request_id: String,
    /// What went wrong here; `None`: the gateway refused.
    pub detail: Option<String>,
}

/// What a machine or a job proves itself by, renewed before it ends.
#[async_trait]
pub trait MachineProof: Send + Sync {
    /// The token to show now, if it is a token.
    ///
    /// # Errors
    /// In words for people: what could not be had, and from where.
    async fn token(&self) -> Result<Option<Arc<Secret>>, String>;

    /// The certificate to show now, if it is one. The number changes whenever the certificate does.
    fn certificate(&self) -> (u64, Option<Arc<CertifiedKey>>);
}

/// A relay that serves. It ends when this is dropped.
#[derive(Debug)]
pub struct Relay {
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

struct Shared {
    session: Secret,
    hosts: Hosts,
    upstream: Upstream,
    refused: Arc<dyn Fn(Refused) + Send + Sync>,
}

/// Where a request arrived.
#[derive(Clone, Debug)]
enum Place {
    /// As to a proxy: absolute-form or CONNECT, with the session's proof in a header.
    Proxy,
    /// In a connection whose proof was seen, to this host.
    Inside(Arc<Authority>),
    /// As to a server, with the session's proof ahead of the path.
    Base,
}

type AnswerBody = BoxBody<Bytes, hyper::Error>;

impl fmt::Debug for RelayEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayEnv").field("gateway", &self.gateway).finish_non_exhaustive()
    }
}

impl Relay {
    /// Serves on the runtime that this is called in.
    ///
    /// # Errors
    /// If a socket cannot be served.
    pub fn start(env: RelayEnv) -> std::io::Result<Self> {
        let RelayEnv { sockets, bases, session, root, gateway, proof, clock, refused } = env;
        let (hosts, upstream) = (Hosts::new(root, clock), Upstream::new(gateway, proof));
        let shared = Arc::new(Shared { session, hosts, upstream, refused });
        let mut tasks = Vec::new();
        let proxies = sockets.into_iter().map(|socket| (socket, Place::Proxy));
        for (socket, place) in proxies.chain(bases.into_iter().map(|socket| (socket, Place::Base))) {
            socket.set_nonblocking(true)?;
            let socket = tokio::net::TcpListener::from_std(socket)?;
            tasks.push(tokio::spawn(accept(shared.clone(), socket, place)));
        }
        Ok(Self { tasks })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

async fn accept(shared: Arc<Shared>, socket: tokio::net::TcpListener, place: Place) {
    loop {
        match socket.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(shared.clone(), stream, place.clone(), false));
            }
            // Out of descriptors, mostly: others are closed meanwhile.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Serves HTTP on a connection.
async fn serve<I>(shared: Arc<Shared>, stream: I, place: Place, is_h2: bool)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let (shared, place) = (shared.clone(), place.clone());
        async move { Ok::<_, Infallible>(handle(&shared, &place, request).await) }
    });
    // How a connection ends shows in its requests.
    let _ = match is_h2 {
        true => {
            let builder = http2::Builder::new(TokioExecutor::new());
            builder.serve_connection(TokioIo::new(stream), service).await
        }
        false => {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            builder.serve_connection(TokioIo::new(stream), service).with_upgrades().await
        }
    };
}

async fn handle(shared: &Arc<Shared>, place: &Place, request: Request<Incoming>) -> Response<AnswerBody> {
    let (method, url) = (request.method().to_string(), shared.shown(place, request.uri()));
    let passed = match place {
        Place::Proxy if request.method() == Method::CONNECT => open(shared, request),
        Place::Proxy | Place::Inside(_) | Place::Base => pass(shared, place, request).await,
    };
    let told = |code: &str, request_id: String, detail: Option<String>| {
        (shared.refused)(Refused { method, url, code: code.to_owned(), request_id, detail });
    };
    match passed {
        Ok(response) => {
            let word = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
            if let Some(code) = word(REFUSED) {
                told(code, word(REQUEST_ID).unwrap_or_default().to_owned(), None);
            }
            response
        }
        Err(refusal) => {
            let id = request_id();
            let challenge = if matches!(place, Place::Proxy) { Challenge::Proxy } else { Challenge::Origin };
            // A client that was asked for its proof comes again with it: nothing has gone wrong yet.
            if refusal.code != RefusalCode::NoIdentity {
                told(refusal.code.as_str(), id.to_string(), Some(refusal.detail));
            }
            refusal::answer(refusal.code, id, challenge)
                .map(|body| Full::new(body).map_err(|never| match never {}).boxed())
        }
    }
}

/// CONNECT: what follows is TLS, which ends here.
fn open(shared: &Arc<Shared>, mut request: Request<Incoming>) -> Result<Response<AnswerBody>, Refusal> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, _) = request.into_parts();
    shared.admit(head::proxy_token(&head.headers)?.as_deref())?;
    let authority = head::connect_authority(&head)?;
    let shared = shared.clone();
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let failed = |what: String| {
            let (code, request_id) = ("intercepted_tls_failed".to_owned(), request_id().to_string());
            let url = format!("https://{}", named(Scheme::Https, &authority));
            (shared.refused)(Refused { method: "CONNECT".to_owned(), url, code, request_id, detail: Some(what) });
        };
        let leaf = match shared.hosts.leaf(&authority.host) {
            Ok(leaf) => leaf,
            Err(error) => return failed(error.to_string()),
        };
        let handshake = TlsAcceptor::from(leaf).accept(TokioIo::new(upgraded));
        let stream = match tokio::time::timeout(HEAD_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return failed(error.to_string()),
            Err(_) => return failed("the client began no TLS".to_owned()),
        };
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let inside: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> =
            Box::pin(serve(shared.clone(), stream, Place::Inside(Arc::new(authority)), is_h2));
        inside.await;
    });
    Ok(Response::new(Full::default().map_err(|never| match never {}).boxed()))
}

/// One request, to the gateway.
async fn pass(shared: &Shared, place: &Place, request: Request<Incoming>) -> Result<Response<AnswerBody>, Refusal> {
    let (mut head, body) = request.into_parts();
    head.extensions.clear();
    let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let (scheme, authority, path) = match place {
        Place::Proxy => {
            shared.admit(head::proxy_token(&head.headers)?.as_deref())?;
            let (scheme, authority) = head::named_target(&head, None)?;
            (scheme, authority, path.to_owned())
        }
        Place::Inside(authority) => {
            let (scheme, authority) = head::named_target(&head, Some(authority))?;
            (scheme, authority, path.to_owned())
        }
        Place::Base => {
            let rest = shared.admitted_path(path)?.to_owned();
            // Its own name is none of a service's: the gateway goes by the path, as it does for its own clients.
            head::check_framing(&head, Marks::of(&head.headers))?;
            (Scheme::Https, shared.upstream.gateway.authority.clone(), rest)
        }
    };
    let marks = Marks::of(&head.headers);
    head::strip_request(&mut head.headers, marks);
    head::strip_proof(&mut head.headers, Some(&shared.session));
    let named = named(scheme, &authority);
    head.uri = absolute(scheme, &named, &path)?;
    let host = HeaderValue::from_str(&named);
    head.headers.insert(HOST, host.map_err(|_| Refusal::new(RefusalCode::BadTarget, "the host cannot be written"))?);
    let token = shared.upstream.proof.token().await.map_err(|why| Refusal::new(RefusalCode::InvalidIdentity, why))?;
    if let Some(token) = token {
        head.headers.insert(PROXY_AUTHORIZATION, bearer(&token)?);
    }
    let mut response = shared.upstream.send(Request::from_parts(head, body)).await?;
    let marks = Marks::of(response.headers());
    head::strip_response(response.headers_mut(), marks);
    Ok(response.map(BodyExt::boxed))
}

/// As clients name it: without the port that the scheme has anyway.
fn named(scheme: Scheme, authority: &Authority) -> String {
    if authority.port == scheme.default_port() { authority.host.to_string() } else { authority.to_string() }
}

/// The request as h2 writes it; for h1 the path is taken out of it again.
fn absolute(scheme: Scheme, authority: &str, path: &str) -> Result<Uri, Refusal> {
    let built = Uri::builder().scheme(scheme.as_str()).authority(authority).path_and_query(path).build();
    built.map_err(|error| Refusal::new(RefusalCode::BadTarget, error.to_string()))
}

#[allow(clippy::disallowed_methods, reason = "the machine's proof is shown to the gateway, and to nobody else")]
fn bearer(token: &Secret) -> Result<HeaderValue, Refusal> {
    let text = [b"Bearer ", token.expose()].concat();
    let mut value = HeaderValue::from_bytes(&text)
        .map_err(|_| Refusal::new(RefusalCode::InvalidIdentity, "the machine's token cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

impl Shared {
    /// Whether the client has the session's proof.
    #[allow(clippy::disallowed_methods, reason = "compared with what the client shows")]
    fn admit(&self, shown: Option<&[u8]>) -> Result<(), Refusal> {
        let Some(shown) = shown else {
            return Err(Refusal::new(RefusalCode::NoIdentity, "no proof of this session"));
        };
        verify_slices_are_equal(shown, self.session.expose())
            .map_err(|_| Refusal::new(RefusalCode::InvalidIdentity, "not the proof of this session"))
    }

    /// What is behind the proof in a path.
    fn admitted_path<'a>(&self, path: &'a str) -> Result<&'a str, Refusal> {
        let rest = path.strip_prefix('/').unwrap_or(path);
        let (shown, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        self.admit(Some(shown).filter(|shown| !shown.is_empty()).map(str::as_bytes))?;
        Ok(if rest.is_empty() { "/" } else { rest })
    }

    /// A URL for people: without the query, and without the proof.
    fn shown(&self, place: &Place, uri: &Uri) -> String {
        let path = uri.path();
        match (place, uri.authority()) {
            (Place::Inside(authority), _) => format!("https://{}{path}", named(Scheme::Https, authority)),
            (Place::Proxy, Some(authority)) => format!("{}://{authority}{path}", uri.scheme_str().unwrap_or("https")),
            (Place::Proxy, None) => path.to_owned(),
            (Place::Base, _) => self.admitted_path(path).unwrap_or_default().to_owned(),
        }
    }
}

fn request_id() -> RequestId {
    let mut bytes = [0; 16];
    // Without randomness the id is of no use, and nothing else is harmed.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    RequestId(u128::from_be_bytes(bytes))
}
