//! Destinations: the hosts and paths that a service claims.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::document::{Diagnostics, Located, Location, Table};
use crate::pattern::{Operation, PathPattern};
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
    paths: Vec<PathPattern>,
    scheme: Scheme,
    path_mode: PathMode,
    primary: Option<Authority>,
    operations: BTreeMap<String, Vec<Operation>>,
}

impl ServiceRoute {
    /// Takes its keys (`hosts`, `paths`, `path_mode`, `cleartext`, `operations`) from `[service.NAME]`.
    pub fn take(name: Located<String>, table: &mut Table, out: &mut Diagnostics) -> Option<Self> {
        let cleartext = table.boolean("cleartext", out).is_some_and(|cleartext| cleartext.value);
        let scheme = if cleartext { Scheme::Http } else { Scheme::Https };
        // A mode that was misspelt must not loosen anything, nor load: the error stands in `out`.
        let path_mode = table.choice("path_mode", &PathMode::WORDS, out).map_or(PathMode::Strict, |mode| mode.value);
        let hosts = take_hosts(table, scheme, out);
        let paths = take_paths(table, path_mode, out);
        let operations = take_operations(table, path_mode, out);
        let (hosts, paths, operations) = (hosts?, paths?, operations?);
        let primary = hosts.iter().find_map(HostPattern::authority);
        let (location, name) = (name.location, name.value.into());
        Some(Self(Arc::new(Route { name, location, hosts, paths, scheme, path_mode, primary, operations })))
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

    /// Whether a path is under one of its prefixes.
    pub(crate) fn claims_path(&self, path: &str) -> bool {
        self.0.paths.iter().any(|prefix| prefix.matches(path))
    }

    pub(crate) fn paths(&self) -> &[PathPattern] {
        &self.0.paths
    }

    /// The named sets of operations (`@name`).
    pub(crate) fn operations(&self) -> &BTreeMap<String, Vec<Operation>> {
        &self.0.operations
    }
}

fn take_hosts(table: &mut Table, scheme: Scheme, out: &mut Diagnostics) -> Option<Vec<HostPattern>> {
    let key = table.key_of("hosts");
    if !table.has("hosts") {
        table.missing("hosts", out);
    }
    let texts = table.strings("hosts", out)?;
    if texts.is_empty() {
        out.error(table.location(), key, "the list is empty").help("name at least one host, as `api.example.com`");
        return None;
    }
    all(&texts, &key, out, |text| HostPattern::parse(text, scheme.default_port()).map_err(|e| format!("`{text}`: {e}")))
}

fn take_paths(table: &mut Table, mode: PathMode, out: &mut Diagnostics) -> Option<Vec<PathPattern>> {
    let key = table.key_of("paths");
    if !table.has("paths") {
        return Some(PathPattern::below("/").into_iter().collect());
    }
    let texts = table.strings("paths", out)?;
    if texts.is_empty() {
        out.error(table.location(), key, "the list is empty, so that the service has no path")
            .help("leave the key out for all paths");
        return None;
    }
    all(&texts, &key, out, |text| {
        let prefix = PathPattern::below(text)?;
        prefix.fits(mode).map_err(|error| format!("the prefix `{text}` can never match: {error}"))?;
        Ok(prefix)
    })
}

fn take_operations(
    table: &mut Table,
    mode: PathMode,
    out: &mut Diagnostics,
) -> Option<BTreeMap<String, Vec<Operation>>> {
    let mut sets = BTreeMap::new();
    if !table.has("operations") {
        return Some(sets);
    }
    let mut right = true;
    for (name, item) in table.table("operations", out)?.into_entries() {
        let key = item.key.clone();
        let operations = item.into_strings(out).and_then(|texts| {
            all(&texts, &key, out, |text| {
                let operation = Operation::parse(text)?;
                let fits = operation.path.fits(mode);
                fits.map_err(|error| format!("`{text}` can never match: {error}")).map(|()| operation)
            })
        });
        match operations {
            Some(operations) => {
                sets.insert(name.value, operations);
            }
            None => right = false,
        }
    }
    right.then_some(sets)
}

/// Parses every text, so that every error is reported; `None` if there was one.
fn all<T>(
    texts: &[Located<String>],
    key: &str,
    out: &mut Diagnostics,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<Vec<T>> {
    let mut parsed = Vec::new();
    for text in texts {
        match parse(&text.value) {
            Ok(value) => parsed.push(value),
            Err(message) => {
                out.error(&text.location, key, message);
            }
        }
    }
    (parsed.len() == texts.len()).then_some(parsed)
}
