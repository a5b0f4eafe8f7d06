//! Calls that Claviger makes on its own behalf: token endpoints, key sets, secret stores.
//!
//! Deliberately absent: redirects, proxies of the environment, retries, a cookie jar, decompression
//! (a small answer must stay small), and a client without explicit roots.

mod failure;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use claviger_contract::outbound::{OutboundFailure, OutboundRequest, OutboundResponse, Reach};
use claviger_contract::{Outbound, OutboundError, Secret};
use claviger_policy::Host;
use dashmap::DashMap;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use zeroize::{Zeroize, Zeroizing};

use crate::address::AddressGuard;
use crate::resolve::Resolver;
use crate::trust::{TrustRoots, client_config, client_identity};

/// Different [`Reach`]es remembered at once; a reload leaves old ones behind.
const CLIENTS_MAX: usize = 64;
/// Within the timeout of the call.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_PER_HOST_MAX: usize = 4;
const USER_AGENT: &str = concat!("claviger/", env!("CARGO_PKG_VERSION"));

/// [`Outbound`] over one connection pool per [`Reach`].
///
/// Connections belong to the runtime that opened them: use one value from one runtime (the control runtime).
#[derive(Debug)]
pub struct ReqwestOutbound {
    resolver: Resolver,
    clients: DashMap<Reach, reqwest::Client>,
}

impl ReqwestOutbound {
    /// Shares the resolver, and with it its cache.
    pub fn new(resolver: Resolver) -> Self {
        Self { resolver, clients: DashMap::new() }
    }

    fn client(&self, reach: &Reach) -> Result<reqwest::Client, OutboundFailure> {
        if let Some(client) = self.clients.get(reach) {
            return Ok(client.clone());
        }
        let client = self.build(reach)?;
        if self.clients.len() >= CLIENTS_MAX {
            // Calls under way hold their own clone.
            self.clients.clear();
        }
        self.clients.insert(reach.clone(), client.clone());
        Ok(client)
    }

    fn build(&self, reach: &Reach) -> Result<reqwest::Client, OutboundFailure> {
        let roots = match &reach.ca_pem {
            Some(pem) => TrustRoots::from_pem(pem).map_err(|_| OutboundFailure::Tls)?,
            None => TrustRoots::bundled(),
        };
        let shown = reach.client_certificate.as_deref().map(client_identity).transpose();
        let shown = shown.map_err(|_| OutboundFailure::Tls)?;
        let tls = client_config(&roots, &[b"h2", b"http/1.1"], shown).map_err(|_| OutboundFailure::Tls)?;
        let guarded =
            Guarded { resolver: self.resolver.clone(), guard: AddressGuard::new(reach.allow_addresses.clone()) };
        reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(USER_AGENT)
            .tls_backend_preconfigured(Arc::unwrap_or_clone(tls))
            .dns_resolver(guarded)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .build()
            .map_err(|_| OutboundFailure::Tls)
    }

    async fn call(&self, reach: &Reach, request: OutboundRequest) -> Result<OutboundResponse, OutboundFailure> {
        admit(reach, &request.url)?;
        let OutboundRequest { method, url, headers, body, timeout, max_response } = request;
        let mut builder = self.client(reach)?.request(method, url).headers(headers);
        if let Some(body) = body {
            builder = builder.body(Bytes::from_owner(SecretBody(body)));
        }
        let exchange = async {
            let response = builder.send().await.map_err(|error| failure::of(&error))?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = read(response, max_response).await?;
            Ok(OutboundResponse { status, headers, body })
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(OutboundFailure::Timeout))
    }
}

#[async_trait]
impl Outbound for ReqwestOutbound {
    async fn send(&self, reach: &Reach, request: OutboundRequest) -> Result<OutboundResponse, OutboundError> {
        let endpoint = endpoint(&request.url);
        self.call(reach, request).await.map_err(|kind| OutboundError { endpoint, kind })
    }
}

/// What can be told from the URL alone. The client asks no resolver about an address that stands in
/// the URL, so such an address is judged here.
fn admit(reach: &Reach, url: &url::Url) -> Result<(), OutboundFailure> {
    let ip = match url.host() {
        Some(url::Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
        Some(url::Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        Some(url::Host::Domain(_)) | None => None,
    };
    match url.scheme() {
        "https" => {}
        "http" if ip.is_some_and(|ip| ip.to_canonical().is_loopback()) => {}
        _ => return Err(OutboundFailure::Cleartext),
    }
    let guard = AddressGuard::new(reach.allow_addresses.clone());
    ip.map_or(Ok(()), |ip| guard.permits(ip)).map_err(|_| OutboundFailure::AddressRefused)
}

/// Scheme, host, port and path. A query, user information or a fragment may hold a secret.
fn endpoint(url: &url::Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

async fn read(mut response: reqwest::Response, max: usize) -> Result<Secret, OutboundFailure> {
    let announced = response.content_length().map(usize::try_from);
    let expected = match announced {
        Some(Ok(length)) if length <= max => length,
        Some(_) => return Err(OutboundFailure::TooLarge),
        None => 0,
    };
    let mut body = Zeroizing::new(Vec::with_capacity(expected));
    while let Some(chunk) = response.chunk().await.map_err(|error| failure::of(&error))? {
        if max - body.len() < chunk.len() {
            return Err(OutboundFailure::TooLarge);
        }
        append(&mut body, &chunk);
    }
    Ok(Secret::new(std::mem::take(&mut *body)))
}

/// Grows by hand: what `Vec` leaves behind when it moves is not wiped.
fn append(body: &mut Vec<u8>, chunk: &[u8]) {
    if body.capacity() - body.len() < chunk.len() {
        let mut larger = Vec::with_capacity((body.len() + chunk.len()).max(body.capacity() * 2));
        larger.extend_from_slice(body);
        std::mem::swap(body, &mut larger);
        larger.zeroize();
    }
    body.extend_from_slice(chunk);
}

/// The body goes out without being copied, and is wiped when the client lets go of it.
struct SecretBody(Secret);

impl AsRef<[u8]> for SecretBody {
    #[allow(clippy::disallowed_methods, reason = "the body of a control call is written to its endpoint")]
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

/// Yields only addresses that the guard permits; the client dials those and no others.
struct Guarded {
    resolver: Resolver,
    guard: AddressGuard,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, guard) = (self.resolver.clone(), self.guard.clone());
        Box::pin(async move {
            let host = Host::parse(name.as_str())?;
            let ips = resolver.resolve(&host, &guard).await?;
            // Port 0: the client fills in the URL's.
            let addresses: Addrs = Box::new(ips.into_iter().map(|ip| (ip, 0).into()));
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests;
