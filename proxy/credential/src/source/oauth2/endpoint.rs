//! Where a client calls: endpoints that the configuration names.

use claviger_contract::Reach;
use claviger_policy::{Authority, PathMode, Scheme, Target};

/// One endpoint.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) url: url::Url,
    /// The same as a target, which bindings are checked against: what is checked is what is called.
    pub(super) target: Target,
}

impl Endpoint {
    /// `what` it is, for messages: `a token endpoint`.
    pub(super) fn parse(text: &str, what: &str, reach: &Reach) -> Result<Self, String> {
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
    pub(super) fn shown(&self) -> String {
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

/// The endpoints of one authorization server.
#[derive(Debug)]
pub(super) struct Endpoints {
    pub(super) token: Endpoint,
}
