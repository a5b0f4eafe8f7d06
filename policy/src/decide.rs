//! The hot path: one scan over a short list. Nothing here allocates, but `needs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;

use crate::condition::{Kind, Timed};
use crate::grant::{Asking, Basis, Mode, Unapplied};
use crate::pattern::{Probe, method_bit};
use crate::policy::{Bound, Candidate, Claim, Data, Policy};
use crate::rule::{Instance, Rule};
use crate::value::Truth;
use crate::{
    BodyFacts, Context, Decision, Denial, Effect, Grant, Observed, Pending, Reason, Target, Unenforced, Waived,
};

/// What is known of a body.
#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    /// Nobody has looked yet: ask for it.
    Unasked,
    /// These facts, of a body of this length; no length: it could not be read.
    Judged(&'a BodyFacts, Option<usize>),
}

/// One request, as the rules of one service are asked about it.
pub(crate) struct Question<'a> {
    data: &'a Data,
    path: &'a str,
    method: &'a Method,
    method_bit: u16,
    probe: Probe,
    context: &'a Context,
    body: Body<'a>,
}

/// What one rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Holds,
    Fails,
    /// An allow that would hold but for a fact of the body that is unknown.
    BodyUnknown,
    /// It depends on the body, of which it wants at most so many bytes.
    WantsBody(usize),
}

/// What all enforced rules say.
enum Verdict {
    Allow { winner: Candidate, until: i64 },
    Deny(Candidate),
    Ambiguous(Candidate),
    Nothing { body_unknown: bool },
    WantsBody(usize),
}

pub(crate) fn decide(policy: &Policy, bound: &Bound, target: Target, method: Method, context: &Context) -> Decision {
    if !policy.made(bound) {
        return Decision::Denied(Denial::new(Reason::StaleBinding, target, method));
    }
    let Some(service) = service_of(policy, &target) else {
        return Decision::Denied(Denial::new(Reason::UnknownService, target, method));
    };
    if bound.frozen().is_some() {
        return Decision::Denied(frozen(bound.data(), service, target, method));
    }
    let question = Question::new(bound.data(), &target, &method, context, Body::Unasked);
    let verdict = question.judge(bound.enforced(service));
    let observed = question.observe(bound.observed(service), &verdict);
    match verdict {
        Verdict::Allow { winner, until } => match observed {
            // The answer stands, but what is observed depends on the body.
            Observation::WantsBody(limit) => pending(bound, target, method, context, limit),
            Observation::Seen(observed) => {
                let observed = observed.map(Unapplied::Observed);
                Decision::Grant(Grant::issue(bound.clone(), winner.into(), target, method, until, observed, None))
            }
        },
        Verdict::WantsBody(limit) => pending(bound, target, method, context, limit),
        Verdict::Deny(_) | Verdict::Ambiguous(_) | Verdict::Nothing { .. } => {
            Decision::Denied(denial(bound.data(), service, &verdict, target, method, observed.seen()))
        }
    }
}

fn pending(bound: &Bound, target: Target, method: Method, context: &Context, limit: usize) -> Decision {
    let (bound, context) = (bound.clone(), context.clone());
    Decision::Pending(Pending::new(Asking { bound, target, method, context, mode: Mode::Enforced }, limit))
}

/// As [`decide`], where a configuration says that denials are not applied.
pub(crate) fn decide_unenforced(
    policy: &Policy,
    _: &Unenforced,
    bound: &Bound,
    target: Target,
    method: Method,
    context: &Context,
) -> Decision {
    match decide(policy, bound, target, method, context) {
        Decision::Grant(grant) => Decision::Grant(grant),
        Decision::Pending(pending) => {
            let limit = pending.limit();
            Decision::Pending(Pending::new(Asking { mode: Mode::Waiving, ..pending.into_parts() }, limit))
        }
        Decision::Denied(denial) => waive(policy, bound, denial, context, Body::Unasked, None),
    }
}

/// Grants by the allow that a denial stood over; without one, as the client sent it.
fn waive(
    policy: &Policy,
    bound: &Bound,
    denial: Denial,
    context: &Context,
    known: Body<'_>,
    body: Option<Bytes>,
) -> Decision {
    let service = match denial.reason {
        // Not what a rule says, or fails to say: there is no service to pass it to, or no knowing who asks.
        Reason::UnknownService | Reason::StaleBinding | Reason::TeamFrozen => None,
        Reason::NoRule | Reason::DeniedByRule | Reason::Ambiguous | Reason::BodyFactUnavailable => {
            service_of(policy, &denial.target)
        }
    };
    let Some(service) = service else { return Decision::Denied(denial) };
    let question = Question::new(bound.data(), &denial.target, &denial.method, context, known);
    // Denies stand first.
    let enforced = bound.enforced(service);
    let allows = enforced.iter().position(|candidate| !candidate.denies()).unwrap_or(enforced.len());
    let (basis, until) = match question.judge(enforced.get(allows..).unwrap_or_default()) {
        Verdict::Allow { winner, until } => (winner.into(), until),
        Verdict::WantsBody(limit) => {
            let Denial { target, method, .. } = denial;
            let (bound, context) = (bound.clone(), context.clone());
            return Decision::Pending(Pending::new(
                Asking { bound, target, method, context, mode: Mode::Waiving },
                limit,
            ));
        }
        Verdict::Deny(_) | Verdict::Ambiguous(_) | Verdict::Nothing { .. } => (Basis::AsSent(service), i64::MAX),
    };
    let Denial { reason, rule, target, method, .. } = denial;
    let waived = Some(Unapplied::Waived(Waived { reason, rule }));
    Decision::Grant(Grant::issue(bound.clone(), basis, target, method, until, waived, body))
}

#[allow(clippy::result_large_err, reason = "as in `Pending::resolve`")]
pub(crate) fn resolve(
    pending: Pending,
    policy: &Policy,
    facts: &BodyFacts,
    body: Option<Bytes>,
) -> Result<Grant, Denial> {
    let Asking { bound, target, method, context, mode } = pending.into_parts();
    // After a reload the new rules hold, also for a request whose body was being read.
    let bound = if policy.made(&bound) { bound } else { policy.bind_as(bound.principal(), bound.attested()) };
    let Some(service) = service_of(policy, &target) else {
        return Err(Denial::new(Reason::UnknownService, target, method));
    };
    if bound.frozen().is_some() {
        return Err(frozen(bound.data(), service, target, method));
    }
    let known = Body::Judged(facts, body.as_ref().map(Bytes::len));
    let question = Question::new(bound.data(), &target, &method, &context, known);
    let verdict = question.judge(bound.enforced(service));
    let observed = question.observe(bound.observed(service), &verdict).seen();
    match verdict {
        Verdict::Allow { winner, until } => {
            let observed = observed.map(Unapplied::Observed);
            Ok(Grant::issue(bound, winner.into(), target, method, until, observed, body))
        }
        Verdict::Deny(_) | Verdict::Ambiguous(_) | Verdict::Nothing { .. } | Verdict::WantsBody(_) => {
            let denial = denial(bound.data(), service, &verdict, target, method, observed);
            match mode {
                Mode::Enforced => Err(denial),
                Mode::Waiving => match waive(policy, &bound, denial, &context, known, body) {
                    Decision::Grant(grant) => Ok(grant),
                    Decision::Denied(denial) => Err(denial),
                    // All that is known of the body was given: nothing waits for more of it.
                    Decision::Pending(pending) => Err(pending.into_denial()),
                },
            }
        }
    }
}

/// The service that claims the target, with the scheme that is spoken to it.
pub(crate) fn service_of(policy: &Policy, target: &Target) -> Option<usize> {
    let claim = policy.data().claim(target.authority(), target.path())?;
    (claim.scheme == target.scheme()).then_some(claim.service)
}

/// The caller's team has no rules, and its denies are lost too: no rule of the platform may hold for it either.
fn frozen(data: &Data, service: usize, target: Target, method: Method) -> Denial {
    let service = data.services.get(service).map(|service| service.name().clone());
    Denial { service, ..Denial::new(Reason::TeamFrozen, target, method) }
}

fn denial(
    data: &Data,
    service: usize,
    verdict: &Verdict,
    target: Target,
    method: Method,
    observed: Option<Observed>,
) -> Denial {
    let (reason, rule) = match verdict {
        Verdict::Deny(candidate) => (Reason::DeniedByRule, Some(candidate)),
        Verdict::Ambiguous(candidate) => (Reason::Ambiguous, Some(candidate)),
        Verdict::Nothing { body_unknown: true } | Verdict::WantsBody(_) => (Reason::BodyFactUnavailable, None),
        // An allow never becomes a denial; if it did, it would be for want of a rule.
        Verdict::Nothing { body_unknown: false } | Verdict::Allow { .. } => (Reason::NoRule, None),
    };
    let rule = rule.map(|candidate| data.rule_name(candidate.instance).clone());
    let service = data.services.get(service).map(|service| service.name().clone());
    Denial { rule, service, observed, ..Denial::new(reason, target, method) }
}

/// What the rules with `enforce = false` would have changed.
enum Observation {
    Seen(Option<Observed>),
    WantsBody(usize),
}

impl Observation {
    fn seen(self) -> Option<Observed> {
        match self {
            Self::Seen(observed) => observed,
            Self::WantsBody(_) => None,
        }
    }
}

impl<'a> Question<'a> {
    pub(crate) fn new(
        data: &'a Data,
        target: &'a Target,
        method: &'a Method,
        context: &'a Context,
        body: Body<'a>,
    ) -> Self {
        let path = target.path();
        Self { data, path, method, method_bit: method_bit(method), probe: Probe::new(path), context, body }
    }

    /// Denies come first and are all asked; then allows from the highest priority.
    fn judge(&self, candidates: &[Candidate]) -> Verdict {
        let mut wanted: Option<usize> = None;
        let (mut allow_waits, mut body_unknown) = (false, false);
        let mut winner: Option<(Candidate, &Instance, i64)> = None;
        let mut until = i64::MAX;
        for candidate in candidates {
            if !self.matches(candidate) {
                continue;
            }
            if let Some((first, instance, priority)) = winner
                && !self.competes(candidate, instance, priority)
            {
                if self.priority(candidate) == priority {
                    continue;
                }
                return allow(first, until, wanted);
            }
            let (answer, changes) = self.ask(candidate);
            until = until.min(changes);
            match answer {
                Answer::Holds if candidate.denies() => return Verdict::Deny(*candidate),
                Answer::Holds => match (winner, self.data.instance(candidate.instance)) {
                    (Some((first, ..)), _) => return Verdict::Ambiguous(first),
                    (None, Some(_)) if !candidate.is_contested() => return allow(*candidate, until, wanted),
                    (None, Some(instance)) => winner = Some((*candidate, instance, self.priority(candidate))),
                    (None, None) => {}
                },
                Answer::Fails => {}
                Answer::BodyUnknown => body_unknown = true,
                Answer::WantsBody(limit) => {
                    wanted = wanted.max(Some(limit));
                    allow_waits |= !candidate.denies();
                }
            }
        }
        match (winner, wanted) {
            (Some((first, ..)), _) => allow(first, until, wanted),
            // Only if an allow waits: a deny that waits changes nothing about a request that none allows.
            (None, Some(limit)) if allow_waits => Verdict::WantsBody(limit),
            (None, _) => Verdict::Nothing { body_unknown },
        }
    }

    /// Whether another allow would tie with the winner and wants another credential.
    fn competes(&self, candidate: &Candidate, winner: &Instance, priority: i64) -> bool {
        self.priority(candidate) == priority
            && self.data.instance(candidate.instance).is_some_and(|other| other.gift() != winner.gift())
    }

    fn priority(&self, candidate: &Candidate) -> i64 {
        self.data.rule_of(candidate.instance).map_or(i64::MIN, |rule| rule.priority)
    }

    /// Whether the operation matches.
    pub(crate) fn matches(&self, candidate: &Candidate) -> bool {
        candidate.admits(&self.probe, self.method_bit)
            && self
                .data
                .set
                .operations
                .get(candidate.operation as usize)
                .is_some_and(|operation| operation.matches(self.method, self.path))
    }

    /// What a rule whose operation matches says, and when time may change that.
    fn ask(&self, candidate: &Candidate) -> (Answer, i64) {
        if candidate.is_unconditional() {
            return (Answer::Holds, i64::MAX);
        }
        let Some(rule) = self.data.rule_of(candidate.instance) else { return (Answer::Fails, i64::MAX) };
        let Timed { truth, until } = rule.holds_for_request(self.context);
        let answer = |truth| if rule.matches(truth) { Answer::Holds } else { Answer::Fails };
        if rule.body_conditions.is_empty() || !rule.matches(truth) {
            return (answer(truth), until);
        }
        let Body::Judged(facts, length) = self.body else { return (Answer::WantsBody(rule.body_limit), until) };
        match rule.holds_for_body(facts, length) {
            Truth::Unknown if !candidate.denies() => (Answer::BodyUnknown, until),
            body => (answer(truth.min(body)), until),
        }
    }

    fn observe(&self, candidates: &[Candidate], verdict: &Verdict) -> Observation {
        let mut wanted = None;
        for candidate in candidates {
            if !self.matches(candidate) {
                continue;
            }
            let Some(effect) = self.effect(candidate, verdict) else { continue };
            match self.ask(candidate).0 {
                // A body that is waited for anyway may show an observed rule of higher rank.
                Answer::Holds if wanted.is_none() || !matches!(verdict, Verdict::Allow { .. }) => {
                    let rule = self.data.rule_name(candidate.instance).clone();
                    return Observation::Seen(Some(Observed { rule, effect }));
                }
                Answer::WantsBody(limit) => wanted = wanted.max(Some(limit)),
                Answer::Holds | Answer::Fails | Answer::BodyUnknown => {}
            }
        }
        wanted.map_or(Observation::Seen(None), Observation::WantsBody)
    }

    /// What a rule that is only observed would have changed, if it holds.
    fn effect(&self, candidate: &Candidate, verdict: &Verdict) -> Option<Effect> {
        match verdict {
            Verdict::Deny(_) | Verdict::WantsBody(_) => None,
            Verdict::Ambiguous(_) | Verdict::Nothing { .. } | Verdict::Allow { .. } if candidate.denies() => {
                // A request that is denied anyway is not changed by one more deny.
                matches!(verdict, Verdict::Allow { .. }).then_some(Effect::Deny)
            }
            Verdict::Nothing { .. } => Some(Effect::Allow),
            Verdict::Ambiguous(winner) => (self.priority(candidate) > self.priority(winner)).then_some(Effect::Allow),
            Verdict::Allow { winner, .. } => {
                let mine = self.data.instance(candidate.instance)?;
                let theirs = self.data.instance(winner.instance)?;
                if mine.gift() == theirs.gift() {
                    return None;
                }
                match self.priority(candidate).cmp(&self.priority(winner)) {
                    std::cmp::Ordering::Greater => Some(Effect::Allow),
                    std::cmp::Ordering::Equal => Some(Effect::Ambiguous),
                    std::cmp::Ordering::Less => None,
                }
            }
        }
    }
}

/// An allow stands only once no rule of higher rank waits for the body.
fn allow(winner: Candidate, until: i64, wanted: Option<usize>) -> Verdict {
    match wanted {
        Some(limit) => Verdict::WantsBody(limit),
        None => Verdict::Allow { winner, until },
    }
}

/// The body facts that rules for this request ask about.
pub(crate) fn needs<'p>(bound: &'p Bound, target: &Target, method: &Method, context: &Context) -> Vec<&'p str> {
    let data = bound.data();
    let Some(Claim { service, .. }) = data.claim(target.authority(), target.path()) else { return Vec::new() };
    let question = Question::new(data, target, method, context, Body::Unasked);
    let candidates = bound.enforced(service).iter().chain(bound.observed(service));
    let rules = candidates
        .filter(|candidate| question.matches(candidate) && matches!(question.ask(candidate).0, Answer::WantsBody(_)))
        .filter_map(|candidate| data.rule_of(candidate.instance));
    let names: BTreeSet<&str> = rules.flat_map(body_names).map(|name| &**name).collect();
    names.into_iter().collect()
}

fn body_names(rule: &Rule) -> impl Iterator<Item = &Arc<str>> {
    rule.body_conditions.iter().filter_map(|condition| match &condition.kind {
        Kind::Body { name, .. } => Some(name),
        Kind::SourceIp { .. } | Kind::Time { .. } | Kind::Attribute { .. } => None,
    })
}
