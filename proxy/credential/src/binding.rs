//! Where a value may go: hosts with their ports, over TLS unless a host says `http://`.

use std::fmt;

use claviger_policy::{HostPattern, HostPatternError, Scheme, ServiceRoute, Target};

/// One destination that a value is bound to: `api.x.com`, `*.x.com:8443`, or, for an upstream that is
/// spoken to in cleartext, `http://billing.internal:8080`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BoundHost {
    pattern: HostPattern,
    scheme: Scheme,
}

/// Why a text is no [`BoundHost`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a host: {cause}")]
pub struct BoundHostError {
    text: String,
    cause: HostPatternError,
}

impl BoundHost {
    /// Parses a host pattern; without a port it means 443, or 80 behind `http://`.
    pub fn parse(text: &str) -> Result<Self, BoundHostError> {
        let (scheme, rest) = match text.strip_prefix("http://") {
            Some(rest) => (Scheme::Http, rest),
            None => (Scheme::Https, text.strip_prefix("https://").unwrap_or(text)),
        };
        let pattern = HostPattern::parse(rest, scheme.default_port())
            .map_err(|cause| BoundHostError { text: text.to_owned(), cause })?;
        Ok(Self { pattern, scheme })
    }

    /// The hosts of a service, for `claviger secret set NAME --for SERVICE`.
    pub fn of_service(route: &ServiceRoute) -> Vec<Self> {
        Self::all(route.hosts(), route.scheme())
    }

    pub(crate) fn all(patterns: &[HostPattern], scheme: Scheme) -> Vec<Self> {
        patterns.iter().map(|pattern| Self { pattern: pattern.clone(), scheme }).collect()
    }

    /// Whether the target is this destination: host, port and scheme.
    pub fn matches(&self, target: &Target) -> bool {
        self.scheme == target.scheme() && self.pattern.matches(target.authority())
    }

    /// Whether every target of `other` is one of this.
    pub fn covers(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.pattern.covers(&other.pattern)
    }

    pub(crate) fn pattern(&self) -> &HostPattern {
        &self.pattern
    }
}

impl fmt::Display for BoundHost {
    /// What [`BoundHost::parse`] reads; always with the port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::Https => write!(f, "{}", self.pattern),
            Scheme::Http => write!(f, "http://{}", self.pattern),
        }
    }
}

/// The targets that match both lists. Patterns are nested or disjoint, so that the result is exact.
pub(crate) fn intersect(a: &[BoundHost], b: &[BoundHost]) -> Vec<BoundHost> {
    let mut both = Vec::new();
    for (left, right) in a.iter().flat_map(|left| b.iter().map(move |right| (left, right))) {
        let inner = if left.covers(right) {
            right
        } else if right.covers(left) {
            left
        } else {
            continue;
        };
        if !both.contains(inner) {
            both.push(inner.clone());
        }
    }
    both
}

/// `a`, `b` and `c`, for messages.
pub(crate) fn list(hosts: &[BoundHost]) -> String {
    hosts.iter().map(|host| format!("`{host}`")).collect::<Vec<_>>().join(", ")
}
