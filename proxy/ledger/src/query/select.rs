//! Requests by who, where and how they were decided.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use super::facts::{Facts, Start, or_empty};
use super::record::{Exchange, Record};
use super::walk::{Visit, Window, walk};
use crate::error::LedgerError;

/// Tells the principals that are meant by their SPIFFE IDs.
pub type Principals = Box<dyn Fn(&str) -> bool>;

/// Which requests are wanted; what is `None` or empty asks nothing.
#[derive(Default)]
pub struct Select {
    /// When they were decided.
    pub window: Window,
    /// Whether a principal is one of those that are meant.
    pub principal: Option<Principals>,
    /// `[service.NAME]`.
    pub service: Option<String>,
    /// `[credential.NAME]`.
    pub credential: Option<String>,
    /// Allowed, or refused.
    pub allowed: Option<bool>,
    /// The code of the decision, such as `no_rule`.
    pub code: Option<String>,
    /// A host, with its port or without.
    pub host: Option<String>,
    /// Only those that something with `enforce = false` would have decided otherwise.
    pub observed: bool,
    /// Only those with an alert: something of one workload was used by another, or elsewhere.
    pub alerts: bool,
}

impl fmt::Debug for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select").field("window", &self.window).finish_non_exhaustive()
    }
}

impl Select {
    pub(crate) fn wants(&self, facts: &Facts<'_>) -> bool {
        let is = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        let credential =
            facts.credential.as_ref().and_then(|stamp| stamp.name.as_ref()).map_or("", |name| name.as_str());
        let allowed = or_empty(&facts.decision) == "allow";
        self.principal.as_ref().is_none_or(|is| facts.principal.as_ref().is_some_and(|one| is(one.as_str())))
            && is(&self.service, or_empty(&facts.service))
            && is(&self.credential, credential)
            && is(&self.code, or_empty(&facts.code))
            && self.allowed.is_none_or(|wanted| wanted == allowed)
            && self.host.as_deref().is_none_or(|host| is_host(or_empty(&facts.host), host))
            && (!self.observed || facts.observed.is_some())
            && (!self.alerts || facts.alert.is_some())
    }
}

/// `api.test` means every port, `api.test:443` one. Hosts have no case.
fn is_host(recorded: &str, wanted: &str) -> bool {
    let bare = recorded.rsplit_once(':').map_or(recorded, |(host, _)| host);
    recorded.eq_ignore_ascii_case(wanted) || bare.eq_ignore_ascii_case(wanted)
}

/// Hands each request that is wanted to `each`, with its end, in the order in which they ended; those that have no end come
/// where the ledger or its process ends. Stops when `each` breaks. Holds only what is open at one time in memory.
///
/// # Errors
/// There is no ledger, or it cannot be read.
pub fn select(
    path: &Path,
    select: &Select,
    each: &mut dyn FnMut(Exchange<'_>) -> ControlFlow<()>,
) -> Result<(), LedgerError> {
    walk(path, select.window, &mut Selecting { select, each })
}

struct Selecting<'a> {
    select: &'a Select,
    each: &'a mut dyn FnMut(Exchange<'_>) -> ControlFlow<()>,
}

impl Visit for Selecting<'_> {
    type Open = Record;

    fn decided(&mut self, _: &Start<'_>, line: &str) -> Option<Record> {
        self.select.wants(&Facts::read(line)?).then(|| Record::parse(line))?
    }

    fn ended(&mut self, decided: Record, finished: Option<&str>) -> ControlFlow<()> {
        let finished = finished.and_then(Record::parse);
        (self.each)(Exchange { decided: &decided, finished: finished.as_ref() })
    }
}
