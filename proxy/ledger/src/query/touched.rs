//! What principals touched in a window of time: hosts, operations, credentials, volumes.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use super::facts::{Facts, Start, or_empty};
use super::select::Select;
use super::walk::{Visit, walk};
use crate::error::LedgerError;

/// More different rows than these are counted together: a client that makes up paths must not fill memory.
const ROWS_MAX: usize = 10_000;

/// Sums over requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that were allowed.
    pub allowed: u64,
    /// Requests that were refused.
    pub denied: u64,
    /// Bytes of bodies that were sent upstream.
    pub request_bytes: u64,
    /// Bytes of bodies that came back.
    pub response_bytes: u64,
    /// The first of them: RFC 3339, UTC.
    pub first_at: String,
    /// The last of them.
    pub last_at: String,
}

impl Totals {
    fn add(&mut self, seen: &Seen, up: u64, down: u64) {
        if seen.allowed {
            self.allowed += 1
        } else {
            self.denied += 1
        }
        self.request_bytes = self.request_bytes.saturating_add(up);
        self.response_bytes = self.response_bytes.saturating_add(down);
        if self.first_at.is_empty() || seen.at < self.first_at {
            self.first_at.clone_from(&seen.at);
        }
        if seen.at > self.last_at {
            self.last_at.clone_from(&seen.at);
        }
    }

    /// All of them.
    pub fn requests(&self) -> u64 {
        self.allowed.saturating_add(self.denied)
    }
}

/// An operation as records show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TouchedOperation {
    /// `[service.NAME]`; empty if none claims the target.
    pub service: String,
    /// With its port; empty if it could not be read.
    pub host: String,
    /// The method.
    pub method: String,
    /// The template of the path.
    pub path: String,
}

/// A credential as it was injected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TouchedCredential {
    /// `[credential.NAME]`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The host that it went to.
    pub host: String,
}

/// What was touched. Each list is sorted by its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Over all.
    pub totals: Totals,
    /// Requests without an end: under way, or cut off by a crash.
    pub open: u64,
    /// By principal.
    pub principals: Vec<(String, Totals)>,
    /// By host, with its port.
    pub hosts: Vec<(String, Totals)>,
    /// By operation.
    pub operations: Vec<(TouchedOperation, Totals)>,
    /// By credential, version and host.
    pub credentials: Vec<(TouchedCredential, Totals)>,
    /// Requests that stand in no row, because there were too many different ones.
    pub uncounted: u64,
}

/// Sums up the requests that are wanted, in one pass and bounded memory.
///
/// # Errors
/// There is no ledger, or it cannot be read.
pub fn touched(path: &Path, select: &Select) -> Result<Touched, LedgerError> {
    let mut summing = Summing::new(select);
    walk(path, select.window, &mut summing)?;
    Ok(summing.finish())
}

/// Rows by key; a key is copied only when it is new.
#[derive(Debug, Default)]
struct Rows {
    at: HashMap<Box<str>, usize>,
    totals: Vec<Totals>,
}

impl Rows {
    /// The row of a key; `None` if there are too many.
    fn row(&mut self, key: &str) -> Option<usize> {
        if let Some(at) = self.at.get(key) {
            return Some(*at);
        }
        if self.totals.len() >= ROWS_MAX {
            return None;
        }
        self.totals.push(Totals::default());
        self.at.insert(key.into(), self.totals.len() - 1);
        Some(self.totals.len() - 1)
    }

    fn add(&mut self, row: Option<usize>, seen: &Seen, up: u64, down: u64) {
        if let Some(totals) = row.and_then(|row| self.totals.get_mut(row)) {
            totals.add(seen, up, down);
        }
    }

    fn sorted<K: Ord>(self, key: impl Fn(&str) -> K) -> Vec<(K, Totals)> {
        let Self { at, mut totals } = self;
        let mut rows: Vec<(K, Totals)> =
            at.iter().filter_map(|(text, row)| Some((key(text), std::mem::take(totals.get_mut(*row)?)))).collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    }
}

/// One request between its records.
struct Seen {
    at: String,
    allowed: bool,
    principal: Option<usize>,
    host: Option<usize>,
    operation: Option<usize>,
    credential: Option<usize>,
    /// Name and host, if the answer may be for another version.
    injected: Option<(Box<str>, Box<str>)>,
}

struct Summing<'a> {
    select: &'a Select,
    totals: Totals,
    open: u64,
    uncounted: u64,
    principals: Rows,
    hosts: Rows,
    operations: Rows,
    credentials: Rows,
    key: String,
}

/// Between the parts of a key; no field of a record has it unescaped.
const SEPARATOR: char = '\u{1f}';

impl<'a> Summing<'a> {
    fn new(select: &'a Select) -> Self {
        Self {
            select,
            totals: Totals::default(),
            open: 0,
            uncounted: 0,
            principals: Rows::default(),
            hosts: Rows::default(),
            operations: Rows::default(),
            credentials: Rows::default(),
            key: String::new(),
        }
    }

    fn join(&mut self, parts: [&str; 4]) {
        self.key.clear();
        for (at, part) in parts.into_iter().enumerate() {
            if at > 0 {
                self.key.push(SEPARATOR);
            }
            self.key.push_str(part);
        }
    }

    fn finish(self) -> Touched {
        let parts = |text: &str| {
            let mut parts = text.split(SEPARATOR).map(str::to_owned);
            std::array::from_fn::<String, 4, _>(|_| parts.next().unwrap_or_default())
        };
        Touched {
            totals: self.totals,
            open: self.open,
            principals: self.principals.sorted(str::to_owned),
            hosts: self.hosts.sorted(str::to_owned),
            operations: self.operations.sorted(|text| {
                let [service, host, method, path] = parts(text);
                TouchedOperation { service, host, method, path }
            }),
            credentials: self.credentials.sorted(|text| {
                let [name, version, host, _] = parts(text);
                TouchedCredential { name, version, host }
            }),
            uncounted: self.uncounted,
        }
    }
}

impl Visit for Summing<'_> {
    type Open = Seen;

    fn decided(&mut self, start: &Start<'_>, line: &str) -> Option<Seen> {
        let facts = Facts::read(line)?;
        if !self.select.wants(&facts) {
            return None;
        }
        let [service, host, method, path] = [&facts.service, &facts.host, &facts.method, &facts.path].map(or_empty);
        self.join([service, host, method, path]);
        let operation = self.operations.row(&self.key);
        let principal = self.principals.row(or_empty(&facts.principal));
        let row = self.hosts.row(host);
        self.uncounted += u64::from(operation.is_none() || principal.is_none() || row.is_none());
        let stamp = facts.credential.as_ref();
        let credential = stamp.and_then(|stamp| {
            self.join([or_empty(&stamp.name), or_empty(&stamp.version), host, ""]);
            self.credentials.row(&self.key)
        });
        Some(Seen {
            at: start.at.to_owned(),
            allowed: or_empty(&facts.decision) == "allow",
            principal,
            host: row,
            operation,
            credential,
            injected: stamp.map(|stamp| (or_empty(&stamp.name).into(), host.into())),
        })
    }

    fn ended(&mut self, seen: Seen, finished: Option<&str>) -> ControlFlow<()> {
        let facts = finished.and_then(Facts::read).unwrap_or_default();
        let (up, down) = (facts.request_bytes, facts.response_bytes);
        self.open += u64::from(finished.is_none());
        self.totals.add(&seen, up, down);
        self.principals.add(seen.principal, &seen, up, down);
        self.hosts.add(seen.host, &seen, up, down);
        self.operations.add(seen.operation, &seen, up, down);
        self.credentials.add(seen.credential, &seen, up, down);
        // Sent once more with another version: both were shown to upstream.
        if let (Some(version), Some((name, host))) = (&facts.served_version, &seen.injected) {
            self.join([name, version.as_str(), host, ""]);
            let row = self.credentials.row(&self.key);
            self.credentials.add(row, &seen, up, down);
        }
        ControlFlow::Continue(())
    }
}
