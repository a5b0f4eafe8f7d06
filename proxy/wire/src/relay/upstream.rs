//! Connections to the gateway: one shared one where it speaks h2, else those that are idle.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::HOST;
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Gateway, MachineProof};
use crate::refusal::{Refusal, RefusalCode};
use crate::trust::client_config;

/// Name, connection and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Idle connections that are kept.
const IDLE_MAX: usize = 16;

/// The way to the gateway.
pub(super) struct Upstream {
    pub(super) gateway: Gateway,
    pub(super) proof: Arc<dyn MachineProof>,
    open: Arc<Mutex<Open>>,
}

/// What is open under one certificate.
#[derive(Default)]
struct Open {
    /// Which certificate; none of another is used again.
    certificate: u64,
    tls: Option<Arc<ClientConfig>>,
    idle: Vec<http1::SendRequest<Incoming>>,
    shared: Option<http2::SendRequest<Incoming>>,
}

enum Connection {
    Http1(http1::SendRequest<Incoming>),
    Http2(http2::SendRequest<Incoming>),
}

impl Upstream {
    pub(super) fn new(gateway: Gateway, proof: Arc<dyn MachineProof>) -> Self {
        Self { gateway, proof, open: Arc::default() }
    }

    /// Sends one request. One that an idle connection did not begin to send goes over another.
    pub(super) async fn send(&self, mut request: Request<Incoming>) -> Result<Response<Incoming>, Refusal> {
        loop {
            let (certificate, tls) = self.current()?;
            let (mut connection, reused) = match self.take() {
                Some(connection) => (connection, true),
                None => (self.connect(certificate, tls).await?, false),
            };
            match connection.send(request).await {
                Ok(response) => {
                    if let Connection::Http1(sender) = connection {
                        self.give_back(certificate, sender);
                    }
                    return Ok(response);
                }
                Err(mut error) => match error.take_message().filter(|_| reused) {
                    Some(unsent) => request = unsent,
                    None => return Err(Refusal::new(RefusalCode::UpstreamBroken, self.with(&error.into_error()))),
                },
            }
        }
    }

    /// TLS with the certificate of now. What was opened with another serves no more.
    fn current(&self) -> Result<(u64, Arc<ClientConfig>), Refusal> {
        let (number, certificate) = self.proof.certificate();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tls) = open.tls.as_ref().filter(|_| open.certificate == number) {
            return Ok((number, tls.clone()));
        }
        let tls = client_config(&self.gateway.roots, &[b"h2", b"http/1.1"], certificate)
            .map_err(|error| Refusal::new(RefusalCode::InvalidIdentity, error.to_string()))?;
        *open = Open { certificate: number, tls: Some(tls.clone()), ..Open::default() };
        Ok((number, tls))
    }

    fn take(&self) -> Option<Connection> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = open.shared.as_ref().filter(|shared| !shared.is_closed()) {
            return Some(Connection::Http2(shared.clone()));
        }
        open.shared = None;
        while let Some(sender) = open.idle.pop() {
            if sender.is_ready() {
                return Some(Connection::Http1(sender));
            }
        }
        None
    }

    /// Once its answer was read to the end, the connection serves others.
    fn give_back(&self, certificate: u64, mut sender: http1::SendRequest<Incoming>) {
        let open = self.open.clone();
        tokio::spawn(async move {
            if sender.ready().await.is_err() {
                return;
            }
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            if open.certificate == certificate && open.idle.len() < IDLE_MAX {
                open.idle.push(sender);
            }
        });
    }

    async fn connect(&self, certificate: u64, tls: Arc<ClientConfig>) -> Result<Connection, Refusal> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.handshake(certificate, tls)).await {
            Ok(done) => done,
            Err(_) => Err(Refusal::new(RefusalCode::UpstreamTimeout, self.with(&"no connection in time"))),
        }
    }

    async fn handshake(&self, certificate: u64, tls: Arc<ClientConfig>) -> Result<Connection, Refusal> {
        let gateway = &self.gateway.authority;
        let unreachable = |error: std::io::Error| Refusal::new(RefusalCode::UpstreamUnreachable, self.with(&error));
        // An address in brackets is one for a URL, not for a socket.
        let host = gateway.host.as_str().trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, gateway.port)).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Refusal::new(RefusalCode::UpstreamUntrusted, self.with(&"no name for a certificate")))?;
        let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(|error| {
            let code = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::InvalidCertificate(_)) => RefusalCode::UpstreamUntrusted,
                Some(_) | None => RefusalCode::UpstreamUnreachable,
            };
            Refusal::new(code, self.with(&error))
        })?;
        let broken = |error: hyper::Error| Refusal::new(RefusalCode::UpstreamBroken, self.with(&error));
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30));
            let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
            tokio::spawn(connection);
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if open.certificate == certificate {
                open.shared = Some(sender.clone());
            }
            return Ok(Connection::Http2(sender));
        }
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        Ok(Connection::Http1(sender))
    }

    /// An error, with where it happened.
    fn with(&self, error: &dyn std::fmt::Display) -> String {
        format!("the gateway `{}`: {error}", self.gateway.authority)
    }
}

impl Connection {
    async fn send(
        &mut self,
        mut request: Request<Incoming>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Incoming>>> {
        match self {
            Self::Http1(sender) => {
                *request.version_mut() = Version::HTTP_11;
                if let Some(path) = request.uri().path_and_query().cloned() {
                    *request.uri_mut() = Uri::from(path);
                }
                sender.try_send_request(request).await
            }
            Self::Http2(sender) => {
                *request.version_mut() = Version::HTTP_2;
                request.headers_mut().remove(HOST);
                sender.try_send_request(request).await
            }
        }
    }
}
