//! Calls that Claviger makes on its own behalf: token endpoints, key sets, secret stores.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use claviger_policy::document::{Diagnostics, Table};
use http::{HeaderMap, Method, StatusCode};
use ipnet::IpNet;

use crate::{Secret, path};

/// How a certificate begins in PEM (RFC 7468 §5).
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// How a control call may travel: part of the settings of whatever makes the call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reach {
    /// Networks that the guard would refuse (private, loopback, …) but which are meant.
    pub allow_addresses: Vec<IpNet>,
    /// A root in PEM for this destination only; `None`: the bundled public roots.
    pub ca_pem: Option<Arc<[u8]>>,
    /// What Claviger shows of itself in TLS, where the other side asks for it.
    pub client_certificate: Option<Arc<ClientCertificate>>,
}

/// A certificate with its key, for TLS as a client.
pub struct ClientCertificate {
    /// The leaf and what leads from it to a root, in PEM.
    pub chain_pem: Vec<u8>,
    /// The leaf's private key, in PEM (PKCS #8, PKCS #1 or SEC 1).
    pub key_pem: Secret,
    /// Tells it from others: a digest of the chain. A key has one certificate at a time.
    pub digest: [u8; 32],
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate(…)")
    }
}

impl PartialEq for ClientCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for ClientCertificate {}

impl std::hash::Hash for ClientCertificate {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl Reach {
    /// Takes `allow_addresses` and `ca` (a PEM file) from a table.
    pub fn take(table: &mut Table, out: &mut Diagnostics) -> Self {
        Self::take_with_file(table, out).0
    }

    /// As [`take`](Self::take), with the file that `ca` names: what holds a `Reach` is made anew when it changes.
    pub fn take_with_file(table: &mut Table, out: &mut Diagnostics) -> (Self, Option<PathBuf>) {
        let allow_addresses = take_networks(table, "allow_addresses", out);
        let Some(written) = table.string("ca", out) else { return (Self { allow_addresses, ..Self::default() }, None) };
        let file = path::resolve(&written);
        let key = table.key_of("ca");
        let ca_pem = match std::fs::read(&file) {
            // What else is wrong with it is found by whoever builds roots of it; that it is another file, here.
            Ok(pem) if !pem.windows(CERTIFICATE.len()).any(|window| window == CERTIFICATE) => {
                out.error(&written.location, key, format!("`{}` holds no certificate", file.display()))
                    .help("name a file of certificates in PEM");
                None
            }
            Ok(pem) => Some(pem.into()),
            Err(error) => {
                out.error(&written.location, key, format!("failed to read `{}`: {error}", file.display()));
                None
            }
        };
        (Self { allow_addresses, ca_pem, client_certificate: None }, Some(file))
    }
}

/// Takes a list of networks such as `10.0.0.0/8`; a bare address is a network of one.
pub fn take_networks(table: &mut Table, name: &'static str, out: &mut Diagnostics) -> Vec<IpNet> {
    let key = table.key_of(name);
    let mut networks = Vec::new();
    for written in table.strings(name, out).unwrap_or_default() {
        let text = &written.value;
        match text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from)) {
            Ok(network) => networks.push(network),
            Err(_) => {
                out.error(&written.location, key.clone(), format!("`{text}` is not a network"))
                    .help("write an address and a prefix length, as `10.0.0.0/8`");
            }
        }
    }
    networks
}

/// One control call.
#[derive(Debug)]
pub struct OutboundRequest {
    /// The method.
    pub method: Method,
    /// An absolute `https://` URL (`http://` only to loopback addresses that [`Reach`] lists).
    pub url: url::Url,
    /// Headers; mark secret ones with `set_sensitive`.
    pub headers: HeaderMap,
    /// The body, which may hold a secret.
    pub body: Option<Secret>,
    /// For the whole call, answer included.
    pub timeout: Duration,
    /// The largest answer that is read, in bytes.
    pub max_response: usize,
}

/// The answer, whatever its status.
#[derive(Debug)]
pub struct OutboundResponse {
    /// The HTTP status; redirects are not followed and arrive here.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, which may hold a secret.
    pub body: Secret,
}

/// Why there was no answer. Names the endpoint by scheme, host and path, never a query or a body.
#[derive(Debug, thiserror::Error)]
#[error("call to `{endpoint}` failed: {kind}")]
pub struct OutboundError {
    /// Scheme, host, port and path.
    pub endpoint: String,
    /// What went wrong.
    pub kind: OutboundFailure,
}

/// The kinds of [`OutboundError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboundFailure {
    /// The address guard refused every address of the name.
    #[error("the address is private or reserved and `allow_addresses` does not list it")]
    AddressRefused,
    /// Neither `https://` nor a listed loopback address.
    #[error("only https:// is allowed")]
    Cleartext,
    /// The name does not resolve, or nothing answers there.
    #[error("cannot connect")]
    Connect,
    /// The server's certificate was refused, or TLS failed.
    #[error("TLS failed: the certificate is not trusted or not for this name")]
    Tls,
    /// No answer in time.
    #[error("timed out")]
    Timeout,
    /// The answer is larger than allowed.
    #[error("the answer is too large")]
    TooLarge,
    /// The connection broke or spoke no HTTP.
    #[error("the connection broke")]
    Broken,
}

/// Makes control calls: follows no redirect, ignores the environment's proxies, verifies TLS and
/// dials only addresses that the guard passes.
#[async_trait]
pub trait Outbound: Send + Sync + fmt::Debug {
    /// Sends one request.
    async fn send(&self, reach: &Reach, request: OutboundRequest) -> Result<OutboundResponse, OutboundError>;
}
