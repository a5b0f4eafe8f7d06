//! Rules without which every decision would be the same.
//!
//! A rule is cut into atoms: one service, one kind of caller, one operation. It is without effect if each atom is
//! covered by rules that settle every request of it: denies, allows of a higher priority, or allows of the same
//! credential that would take its place. Rules are judged one after the other, and one that was found to be without
//! effect covers nothing from then on: all of them can be removed together.

use std::collections::{BTreeSet, HashMap};

use crate::compile::overlap::Analysis;
use crate::pattern::{Methods, OTHER, PathPattern};
use crate::policy::{Data, OperationId};
use crate::rule::{Instance, Rule, RuleKind, Who};
use crate::workload::{IdPattern, Workload};

use super::contain::{self, Named, Reading};
use super::trie::Trie;

/// With how many allows of other credentials one is compared.
const COMPARED_MAX: usize = 1_000;

/// Why a rule is without effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Covered {
    /// Whether it never decides; else others would decide the same.
    pub(super) shadowed: bool,
    /// The rules that cover it.
    pub(super) by: BTreeSet<usize>,
}

/// Whether anything is left of a rule to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It may decide.
    Some,
    /// None of its operations can be a request of its services.
    NoOperation,
    Covered(Covered),
}

/// One operation of one rule, as an index finds it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    instance: usize,
    operation: OperationId,
}

/// A service, and a workload or everyone.
type Bucket = (usize, Option<usize>);

pub(super) struct Search<'p> {
    data: &'p Data,
    meeting: Analysis<'p>,
    buckets: HashMap<Bucket, Trie<Entry>>,
    /// By trust domain: workloads by the patterns of their IDs.
    ids: HashMap<&'p str, Trie<usize>>,
    by_rule: Vec<Vec<usize>>,
    by_service: Vec<Vec<usize>>,
    removed: Vec<bool>,
}

/// Whom an atom is about.
struct Caller<'p> {
    /// `None`: everyone, of any trust domain.
    id: Option<IdPattern>,
    attested_by: &'p [String],
    tests: Vec<Named<'p>>,
    /// The selectors under which everybody whom the atom is about is found.
    wider: Vec<Option<usize>>,
}

/// How a rule settles the requests of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settles {
    /// It decides before.
    Before,
    /// It would decide the same.
    Instead,
}

/// The methods that are not covered yet.
struct Left<'m> {
    named: u16,
    /// `None`: every method without a bit of its own.
    others: Option<Vec<&'m str>>,
}

impl<'m> Left<'m> {
    fn new(methods: &'m Methods) -> Self {
        let has_others = methods.mask & OTHER != 0;
        let others = methods.others().map(|names| names.iter().map(|name| &**name).collect());
        Self { named: methods.mask & !OTHER, others: if has_others { others } else { Some(Vec::new()) } }
    }

    fn is_empty(&self) -> bool {
        self.named == 0 && self.others.as_ref().is_some_and(Vec::is_empty)
    }

    /// Whether something was taken away.
    fn take(&mut self, methods: &Methods) -> bool {
        let before = (self.named, self.others.as_ref().map(Vec::len));
        self.named &= !methods.mask;
        if methods.mask & OTHER != 0 {
            match (methods.others(), &mut self.others) {
                (None, others) => *others = Some(Vec::new()),
                (Some(names), Some(others)) => others.retain(|other| !names.iter().any(|name| &**name == *other)),
                (Some(_), None) => {}
            }
        }
        before != (self.named, self.others.as_ref().map(Vec::len))
    }
}

impl<'p> Search<'p> {
    pub(super) fn new(data: &'p Data) -> Self {
        let meeting = Analysis::new(&data.set, &data.workloads, &data.services, &data.trust_domain);
        let mut search = Self {
            data,
            meeting,
            buckets: HashMap::new(),
            ids: HashMap::new(),
            by_rule: vec![Vec::new(); data.set.rules.len()],
            by_service: vec![Vec::new(); data.services.len()],
            removed: vec![false; data.set.rules.len()],
        };
        for (at, workload) in data.workloads.iter().enumerate() {
            for id in &workload.ids {
                search.ids.entry(id.domain.as_str()).or_default().insert(text_of(id), at);
            }
        }
        for (at, instance) in data.set.instances.iter().enumerate() {
            search.index(at, instance);
        }
        search
    }

    fn index(&mut self, at: usize, instance: &'p Instance) {
        let Some(rule) = self.data.set.rules.get(instance.rule) else { return };
        if !rule.enforce {
            return;
        }
        if let Some(of_rule) = self.by_rule.get_mut(instance.rule) {
            of_rule.push(at);
        }
        if let Some(of_service) = self.by_service.get_mut(instance.service) {
            of_service.push(at);
        }
        let selectors: Vec<Option<usize>> = match &rule.who {
            Who::Anyone => vec![None],
            Who::Workloads(workloads) => workloads.iter().copied().map(Some).collect(),
        };
        for selector in selectors {
            let bucket = self.buckets.entry((instance.service, selector)).or_default();
            for operation in &instance.operations {
                let Some(op) = self.data.set.operations.get(*operation as usize) else { continue };
                bucket.insert(op.path.as_str(), Entry { instance: at, operation: *operation });
            }
        }
    }

    /// The rules without effect, from the last in rank, so that of two that cover each other the later is named.
    pub(super) fn run(mut self) -> Vec<(usize, Effect)> {
        let mut order: Vec<usize> = (0..self.data.set.rules.len()).collect();
        order.sort_by_key(|at| {
            let rule = self.data.set.rules.get(*at);
            rule.map(|rule| (rule.kind == RuleKind::Deny, rule.priority, usize::MAX - at))
        });
        let mut found = Vec::new();
        for at in order {
            let effect = self.effect(at);
            if effect != Effect::Some {
                if let Some(removed) = self.removed.get_mut(at) {
                    *removed = true;
                }
                found.push((at, effect));
            }
        }
        found
    }

    fn effect(&self, at: usize) -> Effect {
        let (Some(rule), Some(instances)) = (self.data.set.rules.get(at), self.by_rule.get(at)) else {
            return Effect::Some;
        };
        if !rule.enforce {
            return Effect::Some;
        }
        let callers = self.callers(rule);
        let mut covered = Covered { shadowed: true, by: BTreeSet::new() };
        let mut atoms = 0;
        for instance in instances.iter().filter_map(|at| self.data.set.instances.get(*at)) {
            let floor = std::cell::OnceCell::new();
            let floor = || *floor.get_or_init(|| self.floor(rule, instance));
            for (path, methods) in self.operations(instance) {
                for caller in &callers {
                    atoms += 1;
                    if !self.covers((rule, instance), caller, (&path, methods), &floor, &mut covered) {
                        return Effect::Some;
                    }
                }
            }
        }
        if atoms == 0 { Effect::NoOperation } else { Effect::Covered(covered) }
    }

    /// The operations of a rule at a service, as far as its requests can be such.
    fn operations(&self, instance: &Instance) -> Vec<(PathPattern, &'p Methods)> {
        let Some(service) = self.data.services.get(instance.service) else { return Vec::new() };
        let ids = instance.operations.iter();
        let operations = ids.filter_map(|id| self.data.set.operations.get(*id as usize));
        operations
            .filter(|op| op.path.fits(service.path_mode()).is_ok())
            .flat_map(|op| service.paths().iter().filter_map(|prefix| Some((prefix.intersect(&op.path)?, &op.methods))))
            .collect()
    }

    fn callers(&self, rule: &'p Rule) -> Vec<Caller<'p>> {
        let own = || contain::named(&rule.principal_conditions);
        match &rule.who {
            Who::Anyone => {
                let id = (rule.kind == RuleKind::Allow).then(|| IdPattern::whole(&self.data.trust_domain));
                vec![Caller { wider: self.wider(id.as_ref()), id, attested_by: &[], tests: own().collect() }]
            }
            Who::Workloads(workloads) => {
                let all = workloads.iter().filter_map(|at| self.data.workloads.get(*at));
                all.flat_map(|workload| {
                    workload.ids.iter().map(|id| {
                        let tests = attributes(workload).chain(own()).collect();
                        let wider = self.wider(Some(id));
                        Caller { id: Some(id.clone()), attested_by: &workload.attested_by, tests, wider }
                    })
                })
                .collect()
            }
        }
    }

    /// Whether an atom is covered; by which rules, is added to `covered`.
    fn covers(
        &self,
        (rule, instance): (&Rule, &Instance),
        caller: &Caller<'_>,
        (path, methods): (&PathPattern, &Methods),
        floor: &dyn Fn() -> i64,
        covered: &mut Covered,
    ) -> bool {
        let mut left = Left::new(methods);
        let mut later = Vec::new();
        for selector in &caller.wider {
            let Some(bucket) = self.buckets.get(&(instance.service, *selector)) else { continue };
            for entry in bucket.containing(path.as_str()) {
                let Some((other, settles)) = self.candidate((rule, instance), caller, *selector, entry) else {
                    continue;
                };
                if settles == Settles::Instead {
                    later.push((other, entry));
                    continue;
                }
                if self.takes(&mut left, entry) {
                    covered.by.insert(other);
                }
                if left.is_empty() {
                    return true;
                }
            }
        }
        // Only what is not settled before needs another that would decide the same.
        for (other, entry) in later {
            let lower = self.data.set.rules.get(other).is_some_and(|other| other.priority < rule.priority);
            if lower && self.data.set.rules.get(other).is_none_or(|other| other.priority <= floor()) {
                continue;
            }
            if self.takes(&mut left, entry) {
                covered.shadowed = false;
                covered.by.insert(other);
            }
            if left.is_empty() {
                return true;
            }
        }
        false
    }

    fn takes(&self, left: &mut Left<'_>, entry: Entry) -> bool {
        self.data.set.operations.get(entry.operation as usize).is_some_and(|op| left.take(&op.methods))
    }

    fn wider(&self, id: Option<&IdPattern>) -> Vec<Option<usize>> {
        let mut selectors = vec![None];
        if let Some(id) = id
            && let Some(ids) = self.ids.get(id.domain.as_str())
        {
            selectors.extend(ids.containing(text_of(id)).into_iter().map(Some));
        }
        selectors.sort_unstable();
        selectors.dedup();
        selectors
    }

    /// The rule of an entry, if it holds for every request of the atom that is of its operation.
    fn candidate(
        &self,
        (rule, instance): (&Rule, &Instance),
        caller: &Caller<'_>,
        selector: Option<usize>,
        entry: Entry,
    ) -> Option<(usize, Settles)> {
        let other_instance = self.data.set.instances.get(entry.instance)?;
        let at = other_instance.rule;
        let other = self.data.set.rules.get(at)?;
        if std::ptr::eq(rule, other) || self.removed.get(at).copied().unwrap_or(true) {
            return None;
        }
        let settles = settles((rule, instance), (other, other_instance))?;
        let given: &[Named<'_>] = &caller.tests;
        let (read, accept): (Reading, Reading) = (rule.kind.into(), other.kind.into());
        let is_caller = match selector {
            // An allow of everyone means this trust domain.
            None => {
                other.kind == RuleKind::Deny || caller.id.as_ref().is_some_and(|id| id.domain == self.data.trust_domain)
            }
            Some(workload) => {
                let workload = self.data.workloads.get(workload)?;
                let attested = workload.attested_by.is_empty()
                    || (!caller.attested_by.is_empty()
                        && caller.attested_by.iter().all(|name| workload.attested_by.contains(name)));
                attested && contain::tests(attributes(workload), given, read, accept)
            }
        };
        let holds = is_caller
            && contain::tests(contain::named(&other.principal_conditions), given, read, accept)
            && contain::request(other, rule)
            && contain::body(other, rule);
        holds.then_some((at, settles))
    }

    /// The highest priority, up to the rule's own, of an allow that may want another credential for its requests:
    /// beneath it nothing takes the rule's place.
    fn floor(&self, rule: &Rule, instance: &Instance) -> i64 {
        let all = self.by_service.get(instance.service).into_iter().flatten();
        let others = all.filter_map(|at| {
            let other = self.data.set.instances.get(*at)?;
            let priority = self.data.set.rules.get(other.rule).filter(|rule| rule.kind == RuleKind::Allow)?.priority;
            (other.gift() != instance.gift() && priority <= rule.priority).then_some((priority, other))
        });
        let mut others: Vec<(i64, &Instance)> = others.collect();
        others.sort_unstable_by_key(|(priority, _)| std::cmp::Reverse(*priority));
        let meets = |other: &Instance| self.meeting.may_meet(instance, other);
        // Of more than so many, the next is taken to meet it: less is named, and time is bounded.
        let mut others = others.iter().enumerate();
        let found = others.find(|(at, (_, other))| *at == COMPARED_MAX || meets(other));
        found.map_or(i64::MIN, |(_, (priority, _))| *priority)
    }
}

fn settles((rule, instance): (&Rule, &Instance), (other, theirs): (&Rule, &Instance)) -> Option<Settles> {
    match (rule.kind, other.kind) {
        (RuleKind::Allow, RuleKind::Deny) => Some(Settles::Before),
        (RuleKind::Allow, RuleKind::Allow) if other.priority > rule.priority => Some(Settles::Before),
        (RuleKind::Allow, RuleKind::Allow) => (theirs.gift() == instance.gift()).then_some(Settles::Instead),
        (RuleKind::Deny, RuleKind::Deny) => Some(Settles::Instead),
        (RuleKind::Deny, RuleKind::Allow) => None,
    }
}

fn attributes(workload: &Workload) -> impl Iterator<Item = Named<'_>> {
    workload.attributes.iter().map(|(name, test)| (name, test))
}

fn text_of(id: &IdPattern) -> &str {
    id.path.as_ref().map_or("", PathPattern::as_str)
}
