//! What each rule of a service says of one request, dimension by dimension.

use http::Method;

use super::{Cited, Near, moment};
use crate::policy::Data;
use crate::rule::{Instance, Rule, RuleKind, Selected, Who};
use crate::value::Truth;
use crate::workload::{Attested, Workload};
use crate::{BodyFacts, Context, Principal, Target};

/// How near a rule comes: what holds before the first failure, whether it is the caller's, what holds in all.
type Nearness = (usize, bool, usize);

/// One request, asked of whole rules.
pub(super) struct Case<'a> {
    pub(super) data: &'a Data,
    pub(super) selected: Selected<'a>,
    pub(super) target: &'a Target,
    pub(super) method: &'a Method,
    pub(super) context: &'a Context,
    pub(super) facts: Option<&'a BodyFacts>,
    pub(super) attested: Attested,
}

impl<'a> Case<'a> {
    pub(super) fn instances(&self, service: usize) -> impl Iterator<Item = (&'a Rule, &'a Instance)> {
        let set = &self.data.set;
        let at = set.instances.iter().filter(move |instance| instance.service == service);
        at.filter_map(|instance| set.rules.get(instance.rule).map(|rule| (rule, instance)))
    }

    pub(super) fn denies(&self, service: usize) -> Vec<Cited> {
        let denies = self.instances(service).filter(|(rule, _)| rule.kind == RuleKind::Deny && rule.enforce);
        denies
            .filter(|(rule, instance)| self.fails(rule, instance).is_none())
            .map(|(rule, _)| Cited::new(rule))
            .collect()
    }

    /// The allow that fails latest, of several the one of which the most dimensions hold.
    pub(super) fn nearest(&self, service: usize) -> Option<Near> {
        let is_allow = |rule: &Rule| rule.kind == RuleKind::Allow && rule.enforce;
        let allows = self.instances(service).filter(|(rule, _)| is_allow(rule));
        let failing = allows.filter_map(|(rule, instance)| {
            let (score, dimension, failed) = self.fails(rule, instance)?;
            // A rule of the caller that fails late is nearer than one that only misses the caller.
            Some((score, Near { rule: Cited::new(rule), dimension, failed }))
        });
        // Of equals the first of the file, as `max_by_key` takes the last.
        let best = failing.collect::<Vec<_>>().into_iter().rev().max_by_key(|(score, _)| *score).map(|(_, near)| near);
        best.or_else(|| self.elsewhere(service))
    }

    /// If no allow is for the service: one that lets the caller to another.
    fn elsewhere(&self, service: usize) -> Option<Near> {
        let set = &self.data.set;
        let is_mine = |rule: &&Rule| {
            let is_for = |instance: &Instance| set.rules.get(instance.rule).is_some_and(|of| of.name == rule.name);
            let here = set.instances.iter().any(|instance| instance.service == service && is_for(instance));
            rule.kind == RuleKind::Allow && rule.enforce && !here && self.fails_who(rule).is_none()
        };
        let rule = set.rules.iter().find(is_mine)?;
        let failed = format!("no allow is for service `{}`; this one is for others", self.data.service_at(service));
        Some(Near { rule: Cited::new(rule), dimension: "to", failed })
    }

    /// `None` if the rule holds; else how many dimensions hold before the first that fails and in all, and that one.
    fn fails(&self, rule: &Rule, instance: &Instance) -> Option<(Nearness, &'static str, String)> {
        let failures = [
            ("who", self.fails_who(rule)),
            ("operation", self.fails_operation(instance)),
            ("time", self.fails_window(rule)),
            ("condition", self.fails_condition(rule)),
            ("body", self.fails_body(rule)),
        ];
        let first = failures.iter().position(|(_, failure)| failure.is_some()).unwrap_or_default();
        // One for the caller's ID that its attributes miss is nearer than one for another ID.
        let score = (first, self.names(rule), failures.iter().filter(|(_, failure)| failure.is_none()).count());
        failures.into_iter().find_map(|(dimension, failure)| failure.map(|failed| (score, dimension, failed)))
    }

    /// Whether one of its workloads has the caller's ID.
    fn names(&self, rule: &Rule) -> bool {
        let has = |at: &usize| self.data.workloads.get(*at).is_some_and(|it| it.has(&self.selected.principal.id));
        match &rule.who {
            Who::Anyone => self.selected.at_home,
            Who::Workloads(workloads) => workloads.iter().any(has),
        }
    }

    fn fails_who(&self, rule: &Rule) -> Option<String> {
        if rule.matches(rule.selects(&self.selected)) {
            return None;
        }
        let principal = self.selected.principal;
        Some(match &rule.who {
            Who::Anyone => format!("`*` means the trust domain `{}`", self.data.trust_domain),
            Who::Workloads(workloads) => {
                let named = workloads.iter().filter_map(|at| self.data.workloads.get(*at));
                let why = named.map(|workload| not_selected(workload, principal, self.attested));
                why.collect::<Vec<_>>().join("; ")
            }
        })
    }

    fn fails_operation(&self, instance: &Instance) -> Option<String> {
        let ids = instance.operations.iter();
        let operations: Vec<_> = ids.filter_map(|id| self.data.set.operations.get(*id as usize)).collect();
        let path = self.target.path();
        if operations.iter().any(|operation| operation.may_match(self.method, path)) {
            return None;
        }
        let texts: Vec<String> = operations.iter().map(|operation| format!("`{}`", operation.text)).collect();
        Some(format!("`{} {}` is none of {}", self.method, self.target.path(), texts.join(", ")))
    }

    fn fails_window(&self, rule: &Rule) -> Option<String> {
        if rule.window(self.context.now).truth == Truth::True {
            return None;
        }
        match (rule.from, rule.until) {
            (Some(from), _) if self.context.now < from => Some(format!("it holds only from {}", moment(from))),
            (_, until) => Some(format!("it ended at {}", moment(until.unwrap_or_default()))),
        }
    }

    fn fails_condition(&self, rule: &Rule) -> Option<String> {
        let principal = self.selected.principal;
        let on_principal =
            rule.principal_conditions.iter().map(|condition| (condition, condition.holds_for_principal(principal)));
        let on_request = rule
            .request_conditions
            .iter()
            .map(|condition| (condition, condition.holds_for_request(self.context).truth));
        let mut all = on_principal.chain(on_request);
        all.find(|(_, truth)| !rule.matches(*truth)).map(|(condition, truth)| fails(condition, truth))
    }

    fn fails_body(&self, rule: &Rule) -> Option<String> {
        let facts = self.facts?;
        let mut all = rule.body_conditions.iter().map(|condition| (condition, condition.holds_for_body(facts)));
        all.find(|(_, truth)| !rule.matches(*truth)).map(|(condition, truth)| fails(condition, truth))
    }
}

fn fails(condition: &crate::condition::Condition, truth: Truth) -> String {
    let how = if truth == Truth::Unknown { "unknown, which an allow does not accept" } else { "false" };
    format!("`{condition}` is {how}")
}

fn not_selected(workload: &Workload, principal: &Principal, attested: Attested) -> String {
    let name = &workload.name;
    if !workload.ids.iter().any(|id| id.matches(&principal.id)) {
        return format!("the caller's ID is none of workload `{name}`");
    }
    let unattested = Workload { attributes: Vec::new(), ..workload.clone() };
    if unattested.selects(principal, attested) == Truth::False {
        let wanted = workload.attested_by.join(", ");
        return format!("workload `{name}` is attested by {wanted}, the caller by `{}`", principal.attested_by);
    }
    if unattested.selects(principal, attested) == Truth::Unknown {
        return format!("workload `{name}` does not permit sessions of `claviger exec` (`exec = true`)");
    }
    let failing = workload.attributes.iter().find_map(|(key, test)| match principal.attributes.get(key) {
        None => Some(format!("workload `{name}` asks for attribute `{key}`, which is not attested")),
        Some(value) if test.holds(value) != Truth::True => {
            Some(format!("attribute `{key}` of the caller does not match workload `{name}`"))
        }
        Some(_) => None,
    });
    failing.unwrap_or_else(|| format!("the caller is not workload `{name}`"))
}
