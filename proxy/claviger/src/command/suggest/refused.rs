//! Refused requests from the ledger, one of each shape.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use claviger_contract::{Clock as _, SystemClock};
use claviger_ledger::query::{self, Exchange, Principals, Record, Select, Window};
use claviger_policy::Recorded;

use crate::command::Failure;
use crate::command::explain::advice::advice;
use crate::command::recall::{self, Lacking};

/// More different requests than these are not looked at.
const SHAPES_MAX: usize = 5_000;

/// How far the proof looks back.
const RECENT_MS: i64 = 86_400_000;

/// Requests that are alike.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) recorded: Recorded,
    /// The id of the newest.
    pub(super) sample: String,
    pub(super) count: u64,
}

/// What was refused, by shape.
#[derive(Debug, Default)]
pub(super) struct Refused {
    shapes: BTreeMap<String, Shape>,
    /// How many requests; also those that are of no shape here.
    pub(super) total: u64,
    /// Those that could not be looked at.
    pub(super) left_out: u64,
    /// Since when, in milliseconds.
    pub(super) since_ms: i64,
}

/// Requests of one caller to one service.
#[derive(Clone, Debug)]
pub(super) struct Group(Vec<Shape>);

impl Group {
    pub(super) fn requests(&self) -> Vec<Recorded> {
        self.0.iter().map(|shape| shape.recorded.clone()).collect()
    }

    pub(super) fn shapes(&self) -> &[Shape] {
        &self.0
    }
}

/// What tells requests apart: all that a rule can ask about, but for time and address.
pub(super) fn key(recorded: &Recorded) -> String {
    let Recorded { principal, method, authority, path, .. } = recorded;
    format!("{}\u{1f}{authority}\u{1f}{method}\u{1f}{path}", caller(principal))
}

fn caller(principal: &claviger_policy::Principal) -> String {
    format!("{}\u{1f}{}\u{1f}{:?}", principal.id, principal.attested_by, principal.attributes)
}

impl Refused {
    fn add(&mut self, decided: &Record) {
        self.total += 1;
        let Ok(recorded) = recall::recorded(decided) else {
            self.left_out += 1;
            return;
        };
        let key = key(&recorded);
        let sample = decided.text("id").unwrap_or_default().to_owned();
        if let Some(shape) = self.shapes.get_mut(&key) {
            (shape.count, shape.sample) = (shape.count + 1, sample);
        } else if self.shapes.len() < SHAPES_MAX {
            self.shapes.insert(key, Shape { recorded, sample, count: 1 });
        } else {
            self.left_out += 1;
        }
    }

    pub(super) fn shapes(&self) -> impl Iterator<Item = (&String, &Shape)> {
        self.shapes.iter()
    }

    /// By caller and host.
    pub(super) fn groups(self) -> Vec<Group> {
        let mut groups: BTreeMap<String, Vec<Shape>> = BTreeMap::new();
        for shape in self.shapes.into_values() {
            let key = format!("{}\u{1f}{}", caller(&shape.recorded.principal), shape.recorded.authority);
            groups.entry(key).or_default().push(shape);
        }
        groups.into_values().map(Group).collect()
    }
}

/// Whether a missing rule refused it, or would have.
fn lacks_a_rule(decided: &Record) -> bool {
    let code = decided.text("would").or_else(|| decided.text("code"));
    matches!(code, Some("no_rule" | "body_fact_unavailable"))
}

/// The request that is asked about, and when it was; an error says why no rule helps.
pub(super) fn one(records: &[Record]) -> Result<(Group, i64), String> {
    let Some(decided) = records.first().filter(|record| record.kind() == "decided") else {
        return Err("its decision is in the ledger no more".to_owned());
    };
    let code = decided.text("code").unwrap_or_default();
    if decided.allowed() == Some(true) && decided.text("would").is_none() {
        return Err(format!("it was allowed by rule `{}`", decided.text("rule").unwrap_or("?")));
    }
    let by_policy =
        matches!(code, "no_rule" | "denied_by_rule" | "ambiguous" | "body_fact_unavailable" | "unknown_service");
    if decided.allowed() != Some(true) && !by_policy {
        let advice = advice(code).map(|advice| format!(": {}; {}", advice.what, advice.remedy)).unwrap_or_default();
        return Err(format!("it was refused as `{code}`, which no rule changes{advice}"));
    }
    let recorded = recall::recorded(decided).map_err(|lacking| match lacking {
        Lacking::Principal => "nobody was attested".to_owned(),
        Lacking::Target => format!("no target could be read ({})", decided.text("detail").unwrap_or(code)),
        Lacking::Unreadable => "its record cannot be read as a request".to_owned(),
    })?;
    let sample = decided.text("id").unwrap_or_default().to_owned();
    Ok((Group(vec![Shape { recorded, sample, count: 1 }]), decided.at_ms().unwrap_or_default()))
}

/// What a missing rule refused in a window, of some principals.
pub(super) fn all(ledger: &Path, window: Window, principal: Option<Principals>) -> Result<Refused, Failure> {
    gather(ledger, Select { window, principal, ..Select::default() }, lacks_a_rule)
}

/// All that was refused in the last day, or since a moment before that.
pub(super) fn recent(ledger: &Path, since_ms: Option<i64>) -> Result<Refused, Failure> {
    let day = SystemClock.now_ms().saturating_sub(RECENT_MS);
    let since_ms = since_ms.map_or(day, |since| since.min(day));
    let window = Window { since_ms: Some(since_ms), until_ms: None };
    let refused = |decided: &Record| decided.allowed() == Some(false) || lacks_a_rule(decided);
    let mut recent = gather(ledger, Select { window, ..Select::default() }, refused)?;
    recent.since_ms = since_ms;
    Ok(recent)
}

fn gather(ledger: &Path, select: Select, wanted: impl Fn(&Record) -> bool) -> Result<Refused, Failure> {
    let mut refused = Refused::default();
    let mut each = |exchange: Exchange<'_>| {
        if wanted(exchange.decided) {
            refused.add(exchange.decided);
        }
        ControlFlow::Continue(())
    };
    query::select(ledger, &select, &mut each).map_err(|error| Failure::with_causes(&error))?;
    Ok(refused)
}
