//! What is wrong with single rules.

use jiff::Timestamp;

use crate::CredentialUse;
use crate::pattern::{Methods, Operation};
use crate::policy::Data;
use crate::rule::{Instance, Rule, RuleKind, Who};

use super::contain::{self, Named};
use super::cover::{Covered, Effect, Search};
use super::satisfy::{self, Satisfiable};
use super::{Code, Finding, Options};

/// How many of the rules that cover another are named.
const NAMED_MAX: usize = 3;

pub(super) fn find(data: &Data, options: &Options, out: &mut Vec<Finding>) {
    let mut instances: Vec<Vec<&Instance>> = vec![Vec::new(); data.set.rules.len()];
    for instance in &data.set.instances {
        if let Some(of_rule) = instances.get_mut(instance.rule) {
            of_rule.push(instance);
        }
    }
    let mut settled = vec![false; data.set.rules.len()];
    for ((rule, instances), settled) in data.set.rules.iter().zip(&instances).zip(&mut settled) {
        let case = Case { data, rule, instances };
        let before = out.len();
        case.times(options, out);
        case.conditions(options, out);
        *settled = out.get(before..).unwrap_or_default().iter().any(|finding| {
            matches!(finding.code, Code::Expired | Code::NeverMatches | Code::OnlyUnknown | Code::NoMoment)
        });
        case.breadth(out);
        case.state(out);
    }
    for (at, effect) in Search::new(data).run() {
        let is_settled = settled.get(at).copied().unwrap_or(true);
        let Some(rule) = data.set.rules.get(at).filter(|_| !is_settled) else { continue };
        out.extend(match effect {
            Effect::Some => None,
            // Of one service, each operation was warned of at load.
            Effect::NoOperation if instances.get(at).is_some_and(|all| all.len() < 2) => None,
            Effect::NoOperation => Some(finding(
                Code::NeverMatches,
                rule,
                "it never matches: none of its operations can be a request of its services",
            )),
            Effect::Covered(covered) => Some(without_effect(data, rule, &covered)),
        });
    }
}

pub(super) fn subject(rule: &Rule) -> String {
    format!("{}.{}", rule.kind.as_str(), rule.name)
}

fn finding(code: Code, rule: &Rule, message: impl Into<String>) -> Finding {
    Finding::new(code, subject(rule), &rule.location, message)
}

fn without_effect(data: &Data, rule: &Rule, covered: &Covered) -> Finding {
    let rules: Vec<&Rule> = covered.by.iter().filter_map(|at| data.set.rules.get(*at)).collect();
    let shown: Vec<String> =
        rules.iter().take(NAMED_MAX).map(|rule| format!("{} `{}`", rule.kind.as_str(), rule.name)).collect();
    let more = rules.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names = format!("{}{more}", shown.join(", "));
    let (code, message, help) = if covered.shadowed {
        let all_deny = rules.iter().all(|rule| rule.kind == RuleKind::Deny);
        let how = if all_deny { "denied by" } else { "decided before, by" };
        let message = format!("it never decides: whatever it allows is {how} {names}");
        (Code::Shadowed, message, "remove it, or narrow what stands before it")
    } else {
        let does = if rule.kind == RuleKind::Deny { "denies" } else { "allows" };
        let message = format!("without it every answer is the same: whatever it {does} is settled by {names}");
        (Code::Redundant, message, "remove it, or narrow the other where both are meant to differ")
    };
    let found = finding(code, rule, message).help(help);
    rules.iter().take(NAMED_MAX).zip(shown).fold(found, |found, (rule, name)| found.related(&rule.location, name))
}

struct Case<'a> {
    data: &'a Data,
    rule: &'a Rule,
    instances: &'a [&'a Instance],
}

impl Case<'_> {
    fn times(&self, options: &Options, out: &mut Vec<Finding>) {
        let rule = self.rule;
        let shown = |at: i64| Timestamp::from_second(at).map_or_else(|_| at.to_string(), |at| at.to_string());
        match (rule.from, rule.until) {
            (_, Some(until)) if until <= options.now => {
                let help = if rule.kind == RuleKind::Deny {
                    "remove it, or extend `until`: what it denied may be allowed now"
                } else {
                    "remove it, or extend `until`"
                };
                out.push(finding(Code::Expired, rule, format!("it ended at {}", shown(until))).help(help));
            }
            (Some(from), _) if from > options.now => {
                out.push(finding(Code::NotYetValid, rule, format!("it holds only from {}", shown(from))));
            }
            (_, Some(until)) if until <= options.now.saturating_add(options.soon) => {
                let message = format!("it ends at {}", shown(until));
                out.push(finding(Code::ExpiresSoon, rule, message).help("extend `until` while it is still needed"));
            }
            _ => {}
        }
    }

    fn conditions(&self, options: &Options, out: &mut Vec<Finding>) {
        let rule = self.rule;
        let expired = rule.until.is_some_and(|until| until <= options.now);
        if satisfy::has_no_time(rule) {
            let message = "it never holds: its conditions on the time exclude each other";
            out.push(finding(Code::NeverMatches, rule, message).help(ALL_HOLD));
        } else if !expired && !satisfy::has_moment(rule, options.now) {
            let message = "no moment of the next two years was found at which all its conditions on the time hold";
            out.push(finding(Code::NoMoment, rule, message).help(ALL_HOLD));
        }
        if satisfy::has_no_address(rule) {
            out.push(self.excluded("source.ip"));
        }
        let body: Vec<Named<'_>> = contain::named(&rule.body_conditions).collect();
        let mut worst = vec![satisfy::worst(&body)];
        worst.extend(self.callers());
        if let Some((_, Some(name))) = worst.iter().find(|(state, _)| *state == Satisfiable::Never) {
            out.push(self.excluded(name));
        } else if let Some((_, Some(name))) = worst.iter().find(|(state, _)| *state == Satisfiable::ByList) {
            let message = format!("its conditions on `{name}` hold together only where that is a list of values");
            let help = "all conditions must hold; for one of several values write `in [\"a\", \"b\"]`";
            out.push(finding(Code::NeedsList, rule, message).help(help));
        }
        self.bodies(out);
    }

    /// The best that any of its workloads does.
    fn callers(&self) -> Option<(Satisfiable, Option<&str>)> {
        let own = || contain::named(&self.rule.principal_conditions);
        match &self.rule.who {
            Who::Anyone => Some(satisfy::worst(&own().collect::<Vec<_>>())),
            Who::Workloads(workloads) => {
                let all = workloads.iter().filter_map(|at| self.data.workloads.get(*at));
                let tests =
                    all.map(|workload| workload.attributes.iter().map(|(name, test)| (name, test)).chain(own()));
                tests.map(|tests| satisfy::worst(&tests.collect::<Vec<_>>())).max_by_key(|(state, _)| *state)
            }
        }
    }

    fn excluded(&self, name: &str) -> Finding {
        let rule = self.rule;
        match rule.kind {
            RuleKind::Allow => {
                let message = format!("it never matches: its conditions on `{name}` exclude each other");
                finding(Code::NeverMatches, rule, message).help(ALL_HOLD)
            }
            RuleKind::Deny => {
                let message = format!(
                    "no value of `{name}` meets its conditions: as a deny, it fires just where `{name}` is not known"
                );
                finding(Code::OnlyUnknown, rule, message).help(ALL_HOLD)
            }
        }
    }

    /// A condition on the body of requests that have none is false.
    fn bodies(&self, out: &mut Vec<Finding>) {
        let Some(condition) = self.rule.body_conditions.first() else { return };
        let bodiless = |op: &&Operation| op.methods.mask & !Methods::BODILESS == 0;
        let Some(op) = self.operations().find(bodiless) else { return };
        let does = if self.rule.kind == RuleKind::Deny { "denies" } else { "allows" };
        let message = format!(
            "it never {does} `{}`: such requests have no body, so that `{condition}` is false for them",
            op.text
        );
        out.push(
            finding(Code::BodyOfNoBody, self.rule, message)
                .help("give the operations without a body a rule of their own, without `body.*` conditions"),
        );
    }

    fn operations(&self) -> impl Iterator<Item = &Operation> {
        let ids = self.instances.iter().flat_map(|instance| &instance.operations);
        ids.filter_map(|id| self.data.set.operations.get(*id as usize))
    }

    /// More is allowed than may be meant.
    fn breadth(&self, out: &mut Vec<Finding>) {
        let rule = self.rule;
        let with = self.instances.iter().find_map(|instance| match &instance.credential {
            CredentialUse::Named(name) => Some((name, instance.service)),
            CredentialUse::None => None,
        });
        let (Some((credential, _)), RuleKind::Allow) = (with, rule.kind) else { return };
        let whole = self.operations().find(|op| op.methods == Methods::ANY && op.path.as_str() == "/**");
        if let (Some(op), Who::Anyone) = (whole, &rule.who) {
            let message = format!(
                "every caller of this trust domain may do everything (`{}`) with credential `{credential}`",
                op.text
            );
            out.push(
                finding(Code::EverythingToEveryone, rule, message)
                    .help("name workloads in `who`, or operations in `ops`"),
            );
        } else if let Some(op) = whole
            && let Some(sets) = self.named_sets()
        {
            let message = format!("`{}` allows every operation with credential `{credential}`", op.text);
            out.push(finding(Code::EveryOperation, rule, message).help(format!("the service has named sets: {sets}")));
        }
        if rule.everywhere {
            let message = "it allows every service with a credential, also those that are added later";
            out.push(finding(Code::EveryService, rule, message).help("list the services in `to`"));
        }
    }

    fn named_sets(&self) -> Option<String> {
        let services = self.instances.iter().filter_map(|instance| self.data.services.get(instance.service));
        let sets: Vec<String> =
            services.flat_map(|service| service.operations().keys()).map(|name| format!("`@{name}`")).collect();
        (!sets.is_empty()).then(|| sets.join(", "))
    }

    fn state(&self, out: &mut Vec<Finding>) {
        let rule = self.rule;
        if !rule.enforce {
            let message = "`enforce = false`: what it would do is recorded, not done";
            out.push(
                finding(Code::NotEnforced, rule, message)
                    .help("remove `enforce` once the records show what you expect"),
            );
        }
        if rule.kind == RuleKind::Deny && rule.why.is_none() {
            let message = "it does not say why";
            out.push(finding(Code::NoReason, rule, message).help("add `why`: whoever is denied asks for it"));
        }
    }
}

const ALL_HOLD: &str = "all conditions of `when` must hold; write two rules where one of them is enough";
