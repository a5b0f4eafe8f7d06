//! Destinations: the hosts and paths that a service claims.

use std::fmt;
use std::sync::Arc;

use crate::document::{Diagnostics, Located, Location, Table};
use crate::target::{Authority, Host, PathMode, Scheme, TargetError};

/// A host and port, or all hosts below a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPattern {
    /// The host, or what stands behind `*.`.
    host: Host,
    port: u16,
    wildcard: bool,
}

/// Why a text is not a host pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostPatternError {
    /// The host or the port is wrong.
    #[error(transparent)]
    Authority(#[from] TargetError),
    /// A `*` that is not the whole first label.
    #[error("`*` may only stand as the whole first label, as in `*.example.com`")]
    Wildcard,
    /// A scheme or a path was written.
    #[error("write a host without scheme and path, as `api.example.com` or `api.example.com:8443`")]
    Url,
}

impl HostPattern {
    /// Parses `api.x.com`, `api.x.com:8443`, `*.x.com`, `10.0.0.1`, `[::1]:8443`.
    ///
    /// `*.x.com` means one or more labels below `x.com`, not `x.com` itself.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, HostPatternError> {
        if text.contains('/') {
            return Err(HostPatternError::Url);
        }
        let (rest, wildcard) = match text.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        if rest.contains('*') {
            return Err(HostPatternError::Wildcard);
        }
        let Authority { host, port } = Authority::parse(rest, default_port)?;
        if wildcard && host.is_ip().is_some() {
            return Err(HostPatternError::Wildcard);
        }
        Ok(Self { host, port, wildcard })
    }

    /// The pattern of exactly one authority.
    pub fn exact(authority: &Authority) -> Self {
        Self { host: authority.host.clone(), port: authority.port, wildcard: false }
    }

    /// Whether the authority is in the pattern.
    pub fn matches(&self, authority: &Authority) -> bool {
        self.port == authority.port && self.matches_host(&authority.host)
    }

    /// Whether every authority of `other` is in this pattern.
    pub fn covers(&self, other: &Self) -> bool {
        if self.port != other.port {
            return false;
        }
        match (self.wildcard, other.wildcard) {
            (_, false) => self.matches_host(&other.host),
            (true, true) => self.host == other.host || below(other.host.as_str(), self.host.as_str()),
            (false, true) => false,
        }
    }

    /// The authority, if the pattern has exactly one.
    pub fn authority(&self) -> Option<Authority> {
        (!self.wildcard).then(|| Authority { host: self.host.clone(), port: self.port })
    }

    /// Whether the pattern begins with `*.`.
    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// The host, or what stands behind `*.`.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn matches_host(&self, host: &Host) -> bool {
        if self.wildcard {
            host.is_ip().is_none() && below(host.as_str(), self.host.as_str())
        } else {
            host == &self.host
        }
    }
}

/// Whether `host` is one or more labels below `parent`.
fn below(host: &str, parent: &str) -> bool {
    host.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.wildcard { "*." } else { "" };
        write!(f, "{star}{}", Authority { host: self.host.clone(), port: self.port })
    }
}

/// A destination as policy sees it: which hosts and paths it claims, and its named operations.
///
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct ServiceRoute(Arc<Route>);

#[derive(Debug)]
struct Route {
    name: Arc<str>,
    location: Location,
    hosts: Vec<HostPattern>,
    scheme: Scheme,
    path_mode: PathMode,
    primary: Option<Authority>,
}

impl ServiceRoute {
    /// Takes its keys (`hosts`, `paths`, `path_mode`, `cleartext`, `operations`) from `[service.NAME]`.
    pub fn take(name: Located<String>, table: &mut Table, out: &mut Diagnostics) -> Option<Self> {
        let cleartext = table.boolean("cleartext", out).is_some_and(|cleartext| cleartext.value);
        let scheme = if cleartext { Scheme::Http } else { Scheme::Https };
        let path_mode = table.choice("path_mode", &PathMode::WORDS, out).map_or(PathMode::Strict, |mode| mode.value);
        let _ = table.strings("paths", out);
        let _ = table.table("operations", out);
        let hosts: Vec<HostPattern> = table
            .strings("hosts", out)?
            .iter()
            .filter_map(|text| HostPattern::parse(&text.value, scheme.default_port()).ok())
            .collect();
        let primary = hosts.iter().find_map(HostPattern::authority);
        let (location, name) = (name.location, name.value.into());
        Some(Self(Arc::new(Route { name, location, hosts, scheme, path_mode, primary })))
    }

    /// The name.
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// Where the service is defined.
    pub fn location(&self) -> &Location {
        &self.0.location
    }

    /// The hosts that it claims, in the order of the file.
    pub fn hosts(&self) -> &[HostPattern] {
        &self.0.hosts
    }

    /// What is spoken to it.
    pub fn scheme(&self) -> Scheme {
        self.0.scheme
    }

    /// How strictly its paths are read.
    pub fn path_mode(&self) -> PathMode {
        self.0.path_mode
    }

    /// The first host that is no wildcard: where `/<service>/…` of a gateway listener goes.
    pub fn primary(&self) -> Option<&Authority> {
        self.0.primary.as_ref()
    }
}
