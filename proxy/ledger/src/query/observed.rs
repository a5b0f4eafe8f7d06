//! What `enforce = false` left undone: requests that would have been decided otherwise, summed up.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use super::facts::{Facts, Start, or_empty};
use super::record::Record;
use super::select::Select;
use super::walk::{Visit, walk};
use crate::error::LedgerError;

/// More different rows than these are counted together.
const ROWS_MAX: usize = 10_000;

/// Requests that are alike, and what would have become of them.
#[derive(Clone, Debug)]
pub struct ObservedRow {
    /// What would have decided: a rule, or without one the reason's code.
    pub observed: String,
    /// `allow`, or the code of the refusal.
    pub would: String,
    /// How many.
    pub count: u64,
    /// The first of them: RFC 3339, UTC.
    pub first_at: String,
    /// The last of them.
    pub last_at: String,
    /// One of them: principal, service, method and path of all.
    pub sample: Record,
}

/// All of them, the most frequent first.
#[derive(Clone, Debug, Default)]
pub struct ObservedReport {
    /// The rows.
    pub rows: Vec<ObservedRow>,
    /// Requests that stand in no row, because there were too many different ones.
    pub uncounted: u64,
    /// All requests of the window, also those that nothing was observed of.
    pub requests: u64,
}

/// Sums up what was observed, in one pass and bounded memory.
///
/// # Errors
/// There is no ledger, or it cannot be read.
pub fn observed(path: &Path, select: &Select) -> Result<ObservedReport, LedgerError> {
    let mut summing = Summing { select, report: ObservedReport::default(), rows: HashMap::new(), key: String::new() };
    walk(path, select.window, &mut summing)?;
    let mut report = summing.report;
    report.rows = summing.rows.into_values().collect();
    report.rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.sample.seq().cmp(&b.sample.seq())));
    Ok(report)
}

struct Summing<'a> {
    select: &'a Select,
    report: ObservedReport,
    rows: HashMap<Box<str>, ObservedRow>,
    key: String,
}

impl Visit for Summing<'_> {
    /// Counted when it is decided: how it ends changes nothing.
    type Open = std::convert::Infallible;

    fn decided(&mut self, start: &Start<'_>, line: &str) -> Option<Self::Open> {
        let facts = Facts::read(line)?;
        if !self.select.wants(&facts) {
            return None;
        }
        self.report.requests += 1;
        let observed = facts.observed.as_ref()?.as_str();
        self.key.clear();
        for part in
            [&facts.listener, &facts.principal, &facts.service, &facts.host, &facts.method, &facts.path, &facts.would]
        {
            self.key.push_str(or_empty(part));
            self.key.push('\u{1f}');
        }
        self.key.push_str(observed);
        if let Some(row) = self.rows.get_mut(self.key.as_str()) {
            row.count += 1;
            start.at.clone_into(&mut row.last_at);
        } else if self.rows.len() >= ROWS_MAX {
            self.report.uncounted += 1;
        } else if let Some(sample) = Record::parse(line) {
            let (observed, would, at) = (observed.to_owned(), or_empty(&facts.would).to_owned(), start.at.to_owned());
            let row = ObservedRow { observed, would, count: 1, first_at: at.clone(), last_at: at, sample };
            self.rows.insert(self.key.as_str().into(), row);
        }
        None
    }

    fn ended(&mut self, open: Self::Open, _: Option<&str>) -> ControlFlow<()> {
        match open {}
    }
}
