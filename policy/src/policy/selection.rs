//! The rules that can concern a principal. It depends on nothing but which selectors are satisfied, so that callers who
//! satisfy the same share one list, and only the first of them looks at every rule.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Candidate, Data};
use crate::rule::Selected;
use crate::value::Truth;

/// Lists that are remembered. Callers choose what they satisfy only within what they are attested for.
const REMEMBERED_MAX: usize = 1_024;

/// For each service the enforced candidates, then the observed ones, each in order of rank.
#[derive(Debug)]
pub(super) struct Selection {
    candidates: Box<[Candidate]>,
    spans: Box<[Span]>,
}

/// Where a service's candidates stand.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    observed: u32,
    end: u32,
}

/// The lists of one policy.
#[derive(Debug, Default)]
pub(super) struct Selections(RwLock<HashMap<Box<[Truth]>, Arc<Selection>>>);

impl Selections {
    /// The list of who satisfies this.
    pub(super) fn of(&self, data: &Data, selected: &Selected<'_>) -> Arc<Selection> {
        let satisfied = satisfied(data, selected);
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&*satisfied).cloned();
        if let Some(known) = known {
            return known;
        }
        let made = Arc::new(Selection::make(data, selected));
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(satisfied, made.clone());
        made
    }
}

/// All that [`Rule::concerns`] asks of a principal: its workloads, its home, and the conditions that rules have on it.
fn satisfied(data: &Data, selected: &Selected<'_>) -> Box<[Truth]> {
    let own = data.conditional.iter().filter_map(|at| data.set.rules.get(*at));
    let own = own.map(|rule| rule.asks_of(selected.principal));
    selected.workloads.iter().copied().chain([Truth::from(selected.at_home)]).chain(own).collect()
}

impl Selection {
    /// Looks at every rule.
    fn make(data: &Data, selected: &Selected<'_>) -> Self {
        let concerned: Vec<bool> = data.set.rules.iter().map(|rule| rule.matches(rule.concerns(selected))).collect();
        let mut candidates = Vec::new();
        let place = |candidates: &Vec<Candidate>| u32::try_from(candidates.len()).unwrap_or(u32::MAX);
        let mut spans = Vec::with_capacity(data.ranked.len());
        for ranked in &data.ranked {
            let start = place(&candidates);
            let mut observed = Vec::new();
            for candidate in ranked {
                let Some(instance) = data.instance(candidate.instance) else { continue };
                if !concerned.get(instance.rule).copied().unwrap_or_default() {
                    continue;
                }
                let enforced = data.set.rules.get(instance.rule).is_some_and(|rule| rule.enforce);
                if enforced { candidates.push(*candidate) } else { observed.push(*candidate) }
            }
            let boundary = place(&candidates);
            candidates.append(&mut observed);
            spans.push(Span { start, observed: boundary, end: place(&candidates) });
        }
        Self { candidates: candidates.into(), spans: spans.into() }
    }

    /// The enforced candidates of a service, in order of rank.
    pub(super) fn enforced(&self, service: usize) -> &[Candidate] {
        self.slice(service, |span| span.start..span.observed)
    }

    /// The candidates with `enforce = false`, in order of rank.
    pub(super) fn observed(&self, service: usize) -> &[Candidate] {
        self.slice(service, |span| span.observed..span.end)
    }

    fn slice(&self, service: usize, part: impl Fn(&Span) -> Range<u32>) -> &[Candidate] {
        let range = self.spans.get(service).map(part).unwrap_or_default();
        self.candidates.get(range.start as usize..range.end as usize).unwrap_or_default()
    }
}
