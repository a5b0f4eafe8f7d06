//! Which rules decided a test.

use std::collections::BTreeMap;

use claviger_policy::document::Location;
use claviger_policy::{Policy, TestOutcome, TestResult};

/// The rules that may decide, with how many tests each decided.
pub(super) struct Coverage<'p> {
    pub(super) rules: Vec<Covered<'p>>,
}

pub(super) struct Covered<'p> {
    /// `allow NAME` or `deny NAME`.
    pub(super) rule: String,
    pub(super) place: &'p Location,
    pub(super) tests: usize,
}

impl<'p> Coverage<'p> {
    pub(super) fn new(policy: &'p Policy, outcomes: &[TestOutcome<'_>], team: Option<&str>) -> Self {
        let mut decided: BTreeMap<&str, usize> = BTreeMap::new();
        for outcome in outcomes {
            if let TestResult::Judged { passed: true, explanation } = &outcome.result
                && let Some(rule) = &explanation.rule
            {
                *decided.entry(&rule.name).or_default() += 1;
            }
        }
        let wanted = |place: &Location| team.is_none_or(|team| place.team().is_some_and(|of| **of == *team));
        let rules = policy.deciding_rules().filter(|(.., place)| wanted(place));
        let rules = rules.map(|(kind, name, place)| Covered {
            rule: format!("{kind} {name}"),
            place,
            tests: decided.get(&**name).copied().unwrap_or_default(),
        });
        Self { rules: rules.collect() }
    }

    pub(super) fn covered(&self) -> usize {
        self.rules.iter().filter(|rule| rule.tests > 0).count()
    }

    /// Rounded down, so that 100 means all; of no rules, all are covered.
    pub(super) fn percent(&self) -> usize {
        (self.covered() * 100).checked_div(self.rules.len()).unwrap_or(100)
    }
}
