//! Host → services: by hash, then by suffix labels.

use std::collections::HashMap;

// Seeded for each map; the keys are the configuration's, so that nobody else can make them collide.
use foldhash::fast::RandomState;

use crate::ServiceRoute;
use crate::document::Diagnostics;
use crate::target::{Authority, Scheme};

/// A service's claim on a port of a host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    port: u16,
    pub(crate) scheme: Scheme,
    /// Whether the service claims every path, so that its prefixes need not be looked at.
    whole: bool,
    pub(crate) service: usize,
}

impl Claim {
    fn new(port: u16, service: usize, route: &ServiceRoute) -> Self {
        let whole = route.paths().iter().any(|prefix| prefix.as_str() == "/**");
        Self { port, scheme: route.scheme(), whole, service }
    }

    /// Whether the service claims the path.
    pub(crate) fn has(&self, path: &str, services: &[ServiceRoute]) -> bool {
        self.whole || services.get(self.service).is_some_and(|service| service.claims_path(path))
    }
}

/// All claims.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostIndex {
    exact: HashMap<Box<str>, Vec<Claim>, RandomState>,
    /// By what stands behind `*.`.
    below: HashMap<Box<str>, Vec<Claim>, RandomState>,
}

impl HostIndex {
    /// Two services that claim one host pattern and port must have disjoint path prefixes.
    pub(crate) fn new(services: &[ServiceRoute], out: &mut Diagnostics) -> Self {
        let mut index = Self::default();
        for (at, service) in services.iter().enumerate() {
            for pattern in service.hosts() {
                let map = if pattern.is_wildcard() { &mut index.below } else { &mut index.exact };
                let claims = map.entry(pattern.host().as_str().into()).or_default();
                let same_port = claims.iter().filter(|claim| claim.port == pattern.port());
                for other in same_port.filter_map(|claim| services.get(claim.service)) {
                    if other.name() == service.name() {
                        let message = format!("`{pattern}` is listed twice");
                        out.warning(service.location(), format!("service.{}.hosts", service.name()), message);
                    } else if let Some((mine, theirs)) = overlap(service, other) {
                        let message = format!(
                            "claims `{pattern}` with paths under `{mine}`, which service `{}` ({}) claims with `{theirs}`",
                            other.name(),
                            other.location(),
                        );
                        out.error(service.location(), format!("service.{}", service.name()), message)
                            .help("give each of them `paths` that do not overlap");
                    }
                }
                claims.push(Claim::new(pattern.port(), at, service));
            }
        }
        index
    }

    /// Whether a host as a client wrote it, perhaps with a port, could be claimed: cheaper than to read it as an authority.
    pub(crate) fn could_claim(&self, written: &str) -> bool {
        let colon = written.bytes().position(|byte| byte == b':').unwrap_or(written.len());
        let host = written.get(..colon).unwrap_or(written);
        // Upper case and addresses in brackets are read first.
        if host.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'[') {
            return true;
        }
        let below = || {
            let dots = host.bytes().enumerate().filter(|(_, byte)| *byte == b'.');
            dots.map(|(dot, _)| host.get(dot + 1..)).any(|rest| rest.is_some_and(|rest| self.below.contains_key(rest)))
        };
        self.exact.contains_key(host) || (!self.below.is_empty() && below())
    }

    /// The services of the most specific host pattern that claims the authority.
    pub(crate) fn claims(&self, authority: &Authority) -> impl Iterator<Item = Claim> {
        let port = authority.port;
        let host = authority.host.as_str();
        let claimed = |claims: &&Vec<Claim>| claims.iter().any(|claim| claim.port == port);
        let exact = self.exact.get(host).filter(claimed);
        let found = exact.or_else(|| {
            if self.below.is_empty() || authority.host.is_ip().is_some() {
                return None;
            }
            // From the longest suffix: the nearest wildcard is the most specific.
            host.match_indices('.').find_map(|(dot, _)| self.below.get(host.get(dot + 1..)?).filter(claimed))
        });
        found.into_iter().flatten().copied().filter(move |claim| claim.port == port)
    }
}

/// Two prefixes that have a path in common.
fn overlap<'s>(a: &'s ServiceRoute, b: &'s ServiceRoute) -> Option<(&'s str, &'s str)> {
    let shown = |text: &'s str| text.strip_suffix("/**").filter(|prefix| !prefix.is_empty()).unwrap_or("/");
    a.paths().iter().find_map(|mine| {
        let theirs = b.paths().iter().find(|theirs| mine.intersect(theirs).is_some())?;
        Some((shown(mine.as_str()), shown(theirs.as_str())))
    })
}
