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

    /// The one destination of a target.
    pub(crate) fn of_target(target: &Target) -> Self {
        Self { pattern: HostPattern::exact(target.authority()), scheme: target.scheme() }
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

#[cfg(test)]
mod tests {
    use claviger_policy::{Authority, PathMode};
    use proptest::prelude::*;

    use super::*;

    fn hosts(texts: &[&str]) -> Vec<BoundHost> {
        texts.iter().map(|text| BoundHost::parse(text).unwrap()).collect()
    }

    #[test]
    fn a_bound_host_reads_back_and_names_one_scheme() {
        for (text, shown) in [
            ("api.x.com", "api.x.com:443"),
            ("https://api.x.com", "api.x.com:443"),
            ("*.X.com:8443", "*.x.com:8443"),
            ("http://h", "http://h:80"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            let host = BoundHost::parse(text).unwrap();
            assert_eq!(host.to_string(), shown);
            assert_eq!(BoundHost::parse(shown).unwrap(), host);
        }
        for text in ["", "h/", "ftp://h", "http://", "http://u@h", "a.*.com", "h:0", "https://http://h"] {
            assert!(BoundHost::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_intersection_is_exact() {
        let check = |a: &[&str], b: &[&str], both: &[&str]| {
            assert_eq!(intersect(&hosts(a), &hosts(b)), hosts(both), "{a:?} {b:?}");
        };
        check(&["*.x.com"], &["api.x.com", "y.com"], &["api.x.com"]);
        check(&["*.x.com"], &["*.a.x.com"], &["*.a.x.com"]);
        check(&["x.com"], &["*.x.com"], &[]);
        check(&["x.com"], &["http://x.com:443"], &[]);
        check(&["x.com"], &["x.com:8443"], &[]);
        check(&["a.x.com", "*.x.com"], &["*.x.com", "a.x.com"], &["a.x.com", "*.x.com"]);
        check(&[], &["x.com"], &[]);
    }

    fn pattern() -> impl Strategy<Value = BoundHost> {
        let name = prop_oneof![Just("a.b.c"), Just("b.c"), Just("*.b.c"), Just("*.c"), Just("d.c")];
        let port = prop_oneof![Just(""), Just(":1")];
        (any::<bool>(), name, port).prop_map(|(http, name, port)| {
            BoundHost::parse(&format!("{}{name}{port}", if http { "http://" } else { "" })).unwrap()
        })
    }

    proptest! {
        #[test]
        fn a_target_is_in_the_intersection_if_it_is_in_both(
            a in proptest::collection::vec(pattern(), 0..4),
            b in proptest::collection::vec(pattern(), 0..4),
            host in "(a|x|a\\.a)?\\.?(b|d)\\.c",
            port in prop_oneof![Just(80), Just(443), Just(1)],
            http in any::<bool>(),
        ) {
            let scheme = if http { Scheme::Http } else { Scheme::Https };
            let host = host.trim_start_matches('.');
            let authority = Authority::parse(&format!("{host}:{port}"), 443).unwrap();
            let target = Target::parse(scheme, authority, "/", PathMode::Strict).unwrap();
            let within = |hosts: &[BoundHost]| hosts.iter().any(|host| host.matches(&target));
            prop_assert_eq!(within(&intersect(&a, &b)), within(&a) && within(&b));
        }
    }
}
