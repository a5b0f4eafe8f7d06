//! Why a request is decided as it is. Off the hot path: it asks every rule of the service.

mod case;
mod recorded;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;

use self::case::Case;
pub use self::recorded::Recorded;
use crate::document::nearest;
use crate::policy::{Bound, Data, Policy};
use crate::rule::{Rule, Selected};
use crate::value::Truth;
use crate::{BodyFacts, Context, CredentialUse, Decision, Narrowing, Observed, Reason, SpiffeId, Target};

/// Why a request is decided as it is; `Display` is text for a person.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// Whether the request is allowed.
    pub allowed: bool,
    /// Why not; `None` if it is allowed, or if facts of the body decide.
    pub reason: Option<Reason>,
    /// Who asks.
    pub principal: SpiffeId,
    /// The workloads that the caller is.
    pub workloads: Vec<Arc<str>>,
    /// `METHOD scheme://host/path`, without the query.
    pub request: String,
    /// The service that claims the target.
    pub service: Option<Arc<str>>,
    /// The rule that decided.
    pub rule: Option<Cited>,
    /// The operation of the rule that matched.
    pub operation: Option<Arc<str>>,
    /// What is injected, if it is allowed.
    pub credential: Option<CredentialUse>,
    /// How far that reaches.
    pub narrow: Option<Arc<Narrowing>>,
    /// The facts of the body that decide.
    pub needs: Vec<String>,
    /// The deny rules that match.
    pub denies: Vec<Cited>,
    /// If none allows: the allow that came nearest.
    pub nearest: Option<Near>,
    /// What to look at, if no service claims the target.
    pub hint: Option<String>,
    /// A rule with `enforce = false` that would have changed the answer.
    pub observed: Option<Observed>,
    /// From when on time may change the answer, in Unix seconds.
    pub valid_until: Option<i64>,
    /// Whether segments of the path are not known: a rule that names one only may match.
    pub masked: bool,
}

/// A rule and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cited {
    /// `allow` or `deny`.
    pub kind: &'static str,
    /// Its name.
    pub name: Arc<str>,
    /// The file, as the user knows it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What its author wrote as `why`.
    pub why: Option<String>,
}

/// An allow that does not hold, and the first dimension that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// The allow.
    pub rule: Cited,
    /// `who`, `to`, `operation`, `time`, `condition` or `body`.
    pub dimension: &'static str,
    /// What failed.
    pub failed: String,
}

impl Cited {
    fn new(rule: &Rule) -> Self {
        let (file, line) = (rule.location.file().to_owned(), rule.location.line());
        Self { kind: rule.kind.as_str(), name: rule.name.clone(), file, line, why: rule.why.clone() }
    }
}

impl fmt::Display for Cited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` ({}:{})", self.kind, self.name, self.file, self.line)?;
        match &self.why {
            // A team may have written it: it must not steer a terminal, nor begin a line of ours.
            Some(why) => write!(f, ": {}", why.replace(char::is_control, " ")),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match (self.allowed, self.needs.is_empty()) {
            (true, _) => "allowed",
            (false, true) => "denied",
            (false, false) => "depends on the body",
        };
        write!(f, "{verdict}: {} as {}", self.request, self.principal)?;
        if let Some(reason) = self.reason {
            write!(f, "\n  reason: {} ({})", reason.text(), reason.code())?;
        }
        if let Some(service) = &self.service {
            write!(f, "\n  service: {service}")?;
        }
        let workloads: Vec<String> = self.workloads.iter().map(|name| format!("`{name}`")).collect();
        let workloads = if workloads.is_empty() { "none".to_owned() } else { workloads.join(", ") };
        write!(f, "\n  the caller is workload: {workloads}")?;
        if let Some(rule) = &self.rule {
            write!(f, "\n  rule: {rule}")?;
        }
        if let Some(operation) = &self.operation {
            write!(f, "\n  operation: {operation}")?;
        }
        match &self.credential {
            Some(CredentialUse::None) => f.write_str("\n  credential: none, the slots are emptied")?,
            Some(CredentialUse::Named(name)) => write!(f, "\n  credential: {name}")?,
            None => {}
        }
        if let Some(narrow) = &self.narrow {
            write!(f, ", narrowed to {narrow}")?;
        }
        if !self.needs.is_empty() {
            write!(f, "\n  needed facts: {}", self.needs.join(", "))?;
        }
        for deny in self.denies.iter().filter(|deny| self.rule.as_ref() != Some(*deny)) {
            write!(f, "\n  also matches: {deny}")?;
        }
        if let Some(near) = &self.nearest {
            write!(f, "\n  nearest: {}\n  it fails by {}: {}", near.rule, near.dimension, near.failed)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  help: {hint}")?;
        }
        if let Some(observed) = &self.observed {
            write!(f, "\n  observed only: rule `{}` would have made it: {}", observed.rule, observed.effect.code())?;
        }
        if let Some(until) = self.valid_until {
            write!(f, "\n  time may change this at {}", moment(until))?;
        }
        Ok(())
    }
}

fn moment(second: i64) -> String {
    Timestamp::from_second(second).map_or_else(|_| format!("{second} s"), |moment| moment.to_string())
}

/// Explains with `facts` of a body, if they are given; without them a rule that needs one is pending.
pub(crate) fn explain(
    policy: &Policy,
    bound: &Bound,
    target: &Target,
    method: &Method,
    context: &Context,
    facts: Option<&BodyFacts>,
) -> Explanation {
    let rebound = (!policy.made(bound)).then(|| policy.bind_as(bound.principal(), bound.attested()));
    let bound = rebound.as_ref().unwrap_or(bound);
    let data = policy.data();
    let principal = bound.principal();
    let selected = Selected::new(principal, &data.workloads, data.trust_domain.as_str(), bound.attested());
    let mut explanation = Explanation {
        allowed: false,
        reason: None,
        principal: principal.id.clone(),
        workloads: named_workloads(data, &selected),
        request: format!("{method} {}://{}{}", target.scheme(), target.host_header(), target.path()),
        service: None,
        rule: None,
        operation: None,
        credential: None,
        narrow: None,
        needs: Vec::new(),
        denies: Vec::new(),
        nearest: None,
        hint: None,
        observed: None,
        valid_until: None,
        masked: false,
    };
    let service = crate::decide::service_of(policy, target);
    explanation.service = service.and_then(|at| data.services.get(at)).map(|service| service.name().clone());
    let decided = fill_decision(&mut explanation, policy, bound, target, method, context, facts);
    let Some(service) = service else {
        explanation.hint = Some(unknown_service(policy, target));
        return explanation;
    };
    let case = Case { data, selected, target, method, context, facts, attested: bound.attested() };
    explanation.denies = case.denies(service);
    if let Some(rule) = decided {
        explanation.rule = case.instances(service).map(|(rule, _)| rule).find(|r| r.name == rule).map(Cited::new);
    }
    if !explanation.allowed && explanation.rule.is_none() && explanation.needs.is_empty() {
        explanation.nearest = case.nearest(service);
    }
    explanation
}

/// What `decide` says, so that an explanation never contradicts it; the name of the rule that decided.
fn fill_decision(
    explanation: &mut Explanation,
    policy: &Policy,
    bound: &Bound,
    target: &Target,
    method: &Method,
    context: &Context,
    facts: Option<&BodyFacts>,
) -> Option<Arc<str>> {
    let result = match policy.decide(bound, target.clone(), method.clone(), context) {
        Decision::Grant(grant) => Ok(grant),
        Decision::Denied(denial) => Err(denial),
        Decision::Pending(pending) => match facts {
            Some(facts) => pending.resolve(policy, facts, Bytes::new()),
            None => {
                explanation.needs = pending.needs().into_iter().map(str::to_owned).collect();
                return None;
            }
        },
    };
    match result {
        Ok(grant) => {
            explanation.allowed = true;
            explanation.operation = grant.operation().cloned();
            explanation.credential = Some(grant.credential().clone());
            explanation.narrow = grant.obligations().narrow.clone();
            explanation.observed = grant.observed().cloned();
            explanation.valid_until = grant.valid_until();
            grant.rule().cloned()
        }
        Err(denial) => {
            explanation.reason = Some(denial.reason);
            explanation.observed = denial.observed;
            denial.rule
        }
    }
}

fn named_workloads(data: &Data, selected: &Selected<'_>) -> Vec<Arc<str>> {
    let all = data.workloads.iter().zip(&selected.workloads);
    all.filter(|(_, truth)| **truth == Truth::True).map(|(workload, _)| workload.name.clone()).collect()
}

fn unknown_service(policy: &Policy, target: &Target) -> String {
    let authority = target.authority();
    if let Some(service) = policy.service_for(authority, target.path()) {
        let (name, scheme) = (service.name(), service.scheme());
        return format!("service `{name}` speaks {scheme} to `{authority}`, the request is {}", target.scheme());
    }
    if policy.knows(authority) {
        return format!("a service claims `{authority}`, but none claims the path");
    }
    let hosts: Vec<String> = policy.services().flat_map(crate::ServiceRoute::hosts).map(ToString::to_string).collect();
    match nearest(&authority.to_string(), hosts.iter().map(String::as_str)) {
        Some(near) => format!("no service claims `{authority}`; did you mean `{near}`?"),
        None => format!("no service claims `{authority}`; add a `[service.NAME]` with this host"),
    }
}
