//! Where a client calls.

use claviger_contract::Reach;
use claviger_policy::{Authority, PathMode, Scheme, Target};

use super::discovery::{Discovery, Net};
use crate::binding::BoundHost;
use crate::digest::Digester;
use crate::error::SourceError;

/// One endpoint.
#[derive(Clone, Debug)]
pub(in crate::source) struct Endpoint {
    pub(in crate::source) url: url::Url,
    /// The same as a target, which bindings are checked against: what is checked is what is called.
    pub(in crate::source) target: Target,
}

impl Endpoint {
    /// `what` it is, for messages: `a token endpoint`.
    pub(in crate::source) fn parse(text: &str, what: &str, reach: &Reach) -> Result<Self, String> {
        let url = url::Url::parse(text).map_err(|error| format!("this is not a URL: {error}"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("{what} must not hold a user or a password"));
        }
        if url.fragment().is_some() {
            return Err(format!("{what} has no fragment (RFC 6749 §3.2)"));
        }
        let host = url.host_str().ok_or("the URL has no host")?;
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" if is_listed_loopback(&url, reach) => Scheme::Http,
            _ => return Err(format!("{what} is called over https:// only")),
        };
        let authority = Authority::parse(host, scheme.default_port())
            .map(|authority| Authority { port: url.port().unwrap_or(scheme.default_port()), ..authority })
            .map_err(|error| format!("the host cannot be used: {error}"))?;
        // Only host, port and scheme are checked against bindings; the path is the endpoint's own matter.
        let target = Target::parse(scheme, authority, "/", PathMode::Strict).map_err(|error| error.to_string())?;
        Ok(Self { url, target })
    }

    /// Scheme, host, port and path, for messages; a query may hold what must not be shown.
    pub(in crate::source) fn shown(&self) -> String {
        let mut shown = self.url.clone();
        shown.set_query(None);
        shown.to_string()
    }
}

/// `http://` is for a server on this very machine that `allow_addresses` lists, as the outbound guard has it.
fn is_listed_loopback(url: &url::Url, reach: &Reach) -> bool {
    let address: std::net::IpAddr = match url.host() {
        Some(url::Host::Ipv4(address)) => address.into(),
        Some(url::Host::Ipv6(address)) => address.into(),
        Some(url::Host::Domain(_)) | None => return false,
    };
    address.is_loopback() && reach.allow_addresses.iter().any(|network| network.contains(&address))
}

/// What an endpoint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Token,
    /// RFC 7009.
    Revocation,
    /// RFC 6749 §3.1.
    Authorization,
    /// RFC 8628 §3.1.
    DeviceAuthorization,
}

/// The endpoints of one authorization server: those that the configuration names, and the rest by discovery.
#[derive(Debug)]
pub(super) struct Endpoints {
    /// The server's name, if it is configured.
    pub(super) issuer: Option<String>,
    pub(super) configured: Vec<(Which, Endpoint)>,
    pub(super) discovery: Option<Discovery>,
}

impl Endpoints {
    /// Hosts that a client of this server shows its proof to.
    pub(super) fn hosts(&self) -> Vec<BoundHost> {
        // A browser shows nothing of the client's.
        let called = self.configured.iter().filter(|(which, _)| *which != Which::Authorization);
        let configured = called.map(|(_, endpoint)| BoundHost::of_target(&endpoint.target));
        let mut hosts: Vec<_> = configured.collect();
        hosts.extend(self.discovery.iter().flat_map(Discovery::hosts).cloned());
        hosts
    }

    /// Over all that decides where calls go.
    pub(super) fn digest(&self, digester: Digester) -> Digester {
        let configured = self.configured.iter().map(|(which, endpoint)| format!("{which:?} {}", endpoint.url));
        digester
            .fields("endpoint", configured)
            .fields("issuer", &self.issuer)
            .fields("discovered on", self.discovery.iter().flat_map(Discovery::hosts))
    }

    /// An endpoint, if there is one.
    pub(super) async fn find(
        &self,
        which: Which,
        by_mtls: bool,
        net: Net<'_>,
    ) -> Result<Option<Endpoint>, SourceError> {
        match (self.configured.iter().find(|(known, _)| *known == which), &self.discovery) {
            (Some((_, endpoint)), _) => Ok(Some(endpoint.clone())),
            (None, Some(discovery)) => discovery.find(which, by_mtls, net).await,
            (None, None) => Ok(None),
        }
    }
}
