//! Allows of equal priority and different credentials: may one request match both?
//!
//! A request that is constructed and found ambiguous is an error; what cannot be settled is a warning.
//! Either way both rules are marked as contested, so that a decision looks for the tie.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;

use super::solve::{self, Solution};
use crate::analyze::Code;
use crate::condition::{Condition, Kind};
use crate::document::Diagnostics;
use crate::policy::OperationId;
use crate::rule::{Gift, Instance, Rule, RuleKind, RuleSet, Who};
use crate::value::ValueTest;
use crate::workload::{IdPattern, Workload};
use crate::{
    Attributes, Authority, BodyFacts, Context, Decision, Fact, Host, Policy, Principal, Reason, ServiceRoute, Target,
    TrustDomain,
};

/// How many pairs are reported one by one.
const REPORTED_MAX: usize = 20;

/// What a team has left to compare.
enum Budget {
    Left,
    JustSpent,
    Spent,
}

/// How much comparing a team may ask for: about a second of it.
const TEAM_BUDGET: usize = 50_000_000;

/// A pair that may tie.
pub(super) struct Suspect {
    earlier: usize,
    later: usize,
    solution: Solution<Box<Witness>>,
}

/// A request that both rules should match.
#[derive(Debug, PartialEq)]
pub(super) struct Witness {
    principal: Principal,
    ip: Option<IpAddr>,
    now: i64,
    method: Method,
    path: String,
    facts: Vec<(Arc<str>, Fact)>,
}

pub(crate) struct Analysis<'a> {
    set: &'a RuleSet,
    services: &'a [ServiceRoute],
    /// The workloads, then `*`.
    selectors: Vec<Workload>,
}

/// All pairs that may tie.
#[derive(Default)]
pub(super) struct Suspects {
    pairs: Vec<Suspect>,
    /// Teams that ask for more comparisons than they may, by a rule where that was found.
    weary: Vec<usize>,
}

pub(super) fn find(set: &RuleSet, workloads: &[Workload], services: &[ServiceRoute], domain: &TrustDomain) -> Suspects {
    let analysis = Analysis::new(set, workloads, services, domain);
    let mut groups: BTreeMap<(usize, i64), Vec<usize>> = BTreeMap::new();
    for (at, instance) in set.instances.iter().enumerate() {
        if let Some(rule) = set.rules.get(instance.rule)
            && rule.kind == RuleKind::Allow
            && rule.enforce
        {
            groups.entry((instance.service, rule.priority)).or_default().push(at);
        }
    }
    let mut suspects = Suspects::default();
    let mut budgets = BTreeMap::new();
    for group in groups.values() {
        analysis.group(group, &mut budgets, &mut suspects);
    }
    suspects
}

impl Suspects {
    /// Marks the instances of every pair, so that decisions look for ties.
    pub(super) fn mark(&self, set: &mut RuleSet) {
        for at in self.pairs.iter().flat_map(|suspect| [suspect.earlier, suspect.later]) {
            if let Some(instance) = set.instances.get_mut(at) {
                instance.contested = true;
            }
        }
    }

    pub(super) fn report(&self, policy: &Policy, out: &mut Diagnostics) {
        let set = &policy.data().set;
        let rule = |at: usize| set.rules.get(set.instances.get(at)?.rule);
        let team = |at: usize| rule(at).and_then(|rule| rule.location.team());
        let mut reported: BTreeMap<Option<&Arc<str>>, usize> = BTreeMap::new();
        for suspect in &self.pairs {
            let witness = match &suspect.solution {
                Solution::Impossible | Solution::Unlikely => continue,
                Solution::Unproven => None,
                Solution::Found(witness) => Some(witness),
            };
            let count = reported.entry(team(suspect.earlier).or(team(suspect.later))).or_default();
            *count += 1;
            if *count <= REPORTED_MAX {
                report_one(policy, suspect, witness.and_then(|witness| witness.check(policy, suspect)), out);
            }
        }
        for (team, count) in reported.into_iter().filter(|(_, count)| *count > REPORTED_MAX) {
            let more = count - REPORTED_MAX;
            out.error_nowhere(format!("{more} more pairs of allows may want different credentials"))
                .blame(team.cloned());
        }
        for rule in self.weary.iter().filter_map(|at| rule(*at)) {
            let team = rule.location.team().map_or("", |team| team);
            let message = format!("the allows of team `{team}` are too many, or too long, to be compared for ties");
            out.error(&rule.location, key_of(rule), message)
                .help("give allows with different credentials different priorities, or fewer operations and values");
        }
    }
}

/// As it is written in its file.
fn key_of(rule: &Rule) -> String {
    format!("allow.{}", rule.name.rsplit('/').next().unwrap_or(&rule.name))
}

fn report_one(policy: &Policy, suspect: &Suspect, request: Option<String>, out: &mut Diagnostics) {
    let data = policy.data();
    let set = &data.set;
    let at = |at: usize| {
        let instance = set.instances.get(at)?;
        Some((set.rules.get(instance.rule)?, instance))
    };
    let (Some(mut earlier), Some(mut later)) = (at(suspect.earlier), at(suspect.later)) else { return };
    // Of the platform and a team it is the team that has to give way.
    if earlier.0.location.team().is_some() && later.0.location.team().is_none() {
        std::mem::swap(&mut earlier, &mut later);
    }
    let ((a, first), (b, second)) = (earlier, later);
    let key = key_of(b);
    let service = data.services.get(second.service).map_or("", |service| service.name());
    let pair = format!(
        "allow `{}` ({}) with {} and this rule with {} have the same priority at service `{service}`",
        a.name,
        a.location,
        first.gift(),
        second.gift(),
    );
    let help = "give one of them a higher `priority`, or narrow one of them";
    let is_settled = |team: &crate::Team| team.is_settled() && b.location.team() == Some(team.name());
    match request {
        Some(request) if data.teams.iter().any(is_settled) => {
            let message = format!("{pair}, and both match {request}, which is denied as ambiguous");
            out.warning(&b.location, key, message).code(Code::Ambiguous).help(help)
        }
        Some(request) => out.error(&b.location, key, format!("{pair}, and both match {request}")).help(help),
        None => {
            let message = format!("{pair}; a request that both match would be denied as ambiguous");
            out.warning(&b.location, key, message).code(Code::Ambiguous).help(help)
        }
    };
}

impl Witness {
    /// The request in words, if the policy really finds it ambiguous.
    fn check(&self, policy: &Policy, suspect: &Suspect) -> Option<String> {
        let data = policy.data();
        let service = data.services.get(data.set.instances.get(suspect.later)?.service)?;
        let authority = some_authority(service)?;
        let target = Target::parse(service.scheme(), authority, &self.path, service.path_mode()).ok()?;
        let context = Context { source_ip: self.ip, now: self.now };
        let bound = policy.bind(&Arc::new(self.principal.clone()));
        let request = format!("`{} {}` as {}", self.method, target.uri(), self.principal.id);
        let denial = match policy.decide(&bound, target, self.method.clone(), &context) {
            Decision::Grant(_) => return None,
            Decision::Denied(denial) => denial,
            Decision::Pending(pending) => {
                let mut facts = BodyFacts::default();
                self.facts.iter().for_each(|(name, fact)| facts.set(name, fact.clone()));
                pending.resolve(policy, &facts, Bytes::new()).err()?
            }
        };
        (denial.reason == Reason::Ambiguous).then_some(request)
    }
}

/// A host that the service claims.
fn some_authority(service: &ServiceRoute) -> Option<Authority> {
    let pattern = service.hosts().first()?;
    pattern.authority().or_else(|| {
        let host = Host::parse(&format!("x.{}", pattern.host())).ok()?;
        Some(Authority { host, port: pattern.port() })
    })
}

impl<'a> Analysis<'a> {
    pub(crate) fn new(
        set: &'a RuleSet,
        workloads: &[Workload],
        services: &'a [ServiceRoute],
        domain: &TrustDomain,
    ) -> Self {
        let anyone = set.rules.first().map(|rule| Workload {
            name: "*".into(),
            location: rule.location.clone(),
            ids: vec![IdPattern::whole(domain)],
            attributes: Vec::new(),
            attested_by: Vec::new(),
            exec: true,
            asked: Vec::new(),
        });
        Self { set, services, selectors: workloads.iter().cloned().chain(anyone).collect() }
    }

    /// Whether two allows at one service may match the same request; `false` is proven.
    pub(crate) fn may_meet(&self, a: &Instance, b: &Instance) -> bool {
        self.pair(a, b).is_some_and(|solution| solution != Solution::Impossible)
    }

    /// All pairs of one service and priority.
    fn group(&self, group: &[usize], budgets: &mut BTreeMap<Arc<str>, usize>, suspects: &mut Suspects) {
        let mut by_credential: HashMap<Gift<'_>, usize> = HashMap::new();
        let instance = |at: &usize| self.set.instances.get(*at);
        group.iter().filter_map(instance).for_each(|i| *by_credential.entry(i.gift()).or_default() += 1);
        if by_credential.len() < 2 {
            return;
        }
        let team_of = |instance: &Instance| self.set.rules.get(instance.rule).and_then(|rule| rule.location.team());
        for (place, earlier) in group.iter().enumerate() {
            for later in group.iter().skip(place + 1) {
                let (Some(a), Some(b)) = (instance(earlier), instance(later)) else { continue };
                if a.gift() == b.gift() {
                    continue;
                }
                let teams = (team_of(a), team_of(b));
                if let (Some(one), Some(other)) = teams
                    && one != other
                {
                    // Teams have no identity in common.
                    continue;
                }
                if let Some(team) = teams.0.or(teams.1) {
                    match self.spend(team, a, b, budgets) {
                        Budget::Left => {}
                        Budget::JustSpent => {
                            suspects.weary.push(if teams.0.is_some() { *earlier } else { *later });
                            continue;
                        }
                        Budget::Spent => continue,
                    }
                }
                let solution = self.pair(a, b).unwrap_or(Solution::Impossible);
                if solution != Solution::Impossible {
                    suspects.pairs.push(Suspect { earlier: *earlier, later: *later, solution });
                }
            }
        }
    }

    /// Takes what a comparison costs from what a team has, so that no team can hold up a reload.
    fn spend(&self, team: &Arc<str>, a: &Instance, b: &Instance, budgets: &mut BTreeMap<Arc<str>, usize>) -> Budget {
        if !budgets.contains_key(team) {
            budgets.insert(team.clone(), TEAM_BUDGET);
        }
        let Some(left) = budgets.get_mut(team).filter(|left| **left > 0) else { return Budget::Spent };
        let size = |instance: &Instance| {
            self.set.rules.get(instance.rule).map_or(0, |rule| {
                let selectors = self.selectors(rule).into_iter().map(Workload::size).sum::<usize>();
                selectors + rule.conditions_size()
            })
        };
        let cost = a.operations.len() * b.operations.len() + size(a).saturating_mul(size(b)).min(1_000_000) + 1;
        *left = left.saturating_sub(cost);
        if *left > 0 { Budget::Left } else { Budget::JustSpent }
    }

    fn pair(&self, a: &Instance, b: &Instance) -> Option<Solution<Box<Witness>>> {
        let service = self.services.get(a.service)?;
        let (method, path) = self.operation(a, b, service)?;
        let (a, b) = (self.set.rules.get(a.rule)?, self.set.rules.get(b.rule)?);
        let ip = address(a, b)?;
        let mut worst = Solution::Found(());
        let mut settle = |failure: Option<Solution<()>>| {
            if let Some(failure) = failure
                && failure.rank() < worst.rank()
            {
                worst = failure;
            }
        };
        let principal = self.principal(a, b);
        settle(principal.failure());
        let now = moment(a, b);
        settle(now.failure());
        let facts = assignments(&tests_of(a, b, true));
        settle(facts.failure());
        Some(match (worst.failure(), principal, now, facts) {
            (None, Solution::Found(principal), Solution::Found(now), Solution::Found(facts)) => {
                let facts = facts.into_iter().map(|(name, value)| (name, Fact::Known(value))).collect();
                Solution::Found(Box::new(Witness { principal, ip, now, method, path, facts }))
            }
            (failure, ..) => failure.unwrap_or(Solution::Unproven),
        })
    }

    /// A method and a path that both have at the service. Exact.
    fn operation(&self, a: &Instance, b: &Instance, service: &ServiceRoute) -> Option<(Method, String)> {
        let op = |id: &OperationId| self.set.operations.get(*id as usize);
        a.operations.iter().filter_map(op).find_map(|a| {
            b.operations.iter().filter_map(op).find_map(|b| {
                let method = a.methods.common(&b.methods)?;
                let both = a.path.intersect(&b.path)?;
                let claimed = service.paths().iter().find_map(|prefix| prefix.intersect(&both))?;
                Some((method, claimed.witness()))
            })
        })
    }

    /// A caller whom both rules concern; of several pairs of selectors the likeliest.
    fn principal(&self, a: &Rule, b: &Rule) -> Solution<Principal> {
        let conditions = tests_of(a, b, false);
        let mut best = Solution::Impossible;
        for left in self.selectors(a) {
            for right in self.selectors(b) {
                let solution = common_principal(left, right, &conditions);
                if solution.rank() > best.rank() {
                    best = solution;
                }
                if matches!(best, Solution::Found(_)) {
                    return best;
                }
            }
        }
        best
    }

    fn selectors(&self, rule: &Rule) -> Vec<&Workload> {
        match &rule.who {
            Who::Anyone => self.selectors.last().into_iter().collect(),
            Who::Workloads(workloads) => workloads.iter().filter_map(|at| self.selectors.get(*at)).collect(),
        }
    }
}

type Test<'t> = (&'t Arc<str>, &'t ValueTest);

fn common_principal(a: &Workload, b: &Workload, conditions: &[Test<'_>]) -> Solution<Principal> {
    let Some(id) = a.ids.iter().find_map(|left| b.ids.iter().find_map(|right| left.common(right))) else {
        return Solution::Impossible;
    };
    let attested_by = match (a.attested_by.first(), b.attested_by.first()) {
        (Some(_), Some(_)) => match a.attested_by.iter().find(|name| b.attested_by.contains(name)) {
            Some(name) => name.as_str(),
            None => return Solution::Impossible,
        },
        (Some(name), None) | (None, Some(name)) => name.as_str(),
        (None, None) => "any",
    };
    let matched = a.attributes.iter().chain(&b.attributes).map(|(name, test)| (name, test));
    let tests: Vec<Test<'_>> = matched.chain(conditions.iter().copied()).collect();
    match assignments(&tests) {
        Solution::Found(values) => {
            let attributes: Attributes = values.into_iter().collect();
            Solution::Found(Principal { id, attributes, attested_by: attested_by.into() })
        }
        other => other.failure().unwrap_or(Solution::Unproven),
    }
}

/// The tests that both rules make of attributes, or of the body.
fn tests_of<'t>(a: &'t Rule, b: &'t Rule, body: bool) -> Vec<Test<'t>> {
    let of = |rule: &'t Rule| if body { &rule.body_conditions } else { &rule.principal_conditions };
    let all = of(a).iter().chain(of(b));
    all.filter_map(|condition| match &condition.kind {
        Kind::Attribute { name, test } | Kind::Body { name, test } => Some((name, test)),
        Kind::SourceIp { .. } | Kind::Time { .. } => None,
    })
    .collect()
}

/// A value for each name.
fn assignments(tests: &[Test<'_>]) -> Solution<Vec<(Arc<str>, crate::AttributeValue)>> {
    let mut by_name: BTreeMap<&Arc<str>, Vec<&ValueTest>> = BTreeMap::new();
    for (name, test) in tests {
        by_name.entry(name).or_default().push(test);
    }
    let mut values = Vec::new();
    let mut worst: Option<Solution<_>> = None;
    for (name, tests) in by_name {
        match solve::value(&tests) {
            Solution::Found(value) => values.push((name.clone(), value)),
            other => {
                if worst.as_ref().is_none_or(|worst: &Solution<_>| other.rank() < worst.rank()) {
                    worst = other.failure();
                }
            }
        }
    }
    worst.unwrap_or(Solution::Found(values))
}

/// An address that both accept; the outer `None`: there is none.
fn address(a: &Rule, b: &Rule) -> Option<Option<IpAddr>> {
    let conditions = a.request_conditions.iter().chain(&b.request_conditions);
    let tests: Vec<_> = conditions
        .filter_map(|condition| match &condition.kind {
            Kind::SourceIp { nets, negated } => Some((nets.as_ref(), *negated)),
            Kind::Time { .. } | Kind::Attribute { .. } | Kind::Body { .. } => None,
        })
        .collect();
    if tests.is_empty() { Some(None) } else { solve::address(&tests).map(Some) }
}

/// Weeks in which schedules are compared if nothing bounds them: one in winter, one in summer.
const WEEKS: [i64; 2] = [1_767_571_200, 1_783_296_000];
const TWO_WEEKS: i64 = 14 * 86_400;

/// A moment at which both rules hold.
fn moment(a: &Rule, b: &Rule) -> Solution<i64> {
    let from = a.from.max(b.from);
    let until = a.until.into_iter().chain(b.until).min();
    if let (Some(from), Some(until)) = (from, until)
        && from >= until
    {
        return Solution::Impossible;
    }
    let conditions = a.request_conditions.iter().chain(&b.request_conditions);
    let schedules: Vec<&Condition> = conditions.filter(|condition| condition.is_time()).collect();
    let starts = match (from, until) {
        (Some(from), _) => vec![from],
        (None, Some(until)) => vec![until - TWO_WEEKS],
        (None, None) => WEEKS.to_vec(),
    };
    for start in starts {
        let end = until.unwrap_or(i64::MAX).min(start.saturating_add(TWO_WEEKS));
        let mut now = start;
        while now < end {
            let context = Context { source_ip: None, now };
            let states = schedules.iter().map(|condition| condition.holds_for_request(&context));
            let all = states.fold(crate::condition::Timed::ALWAYS, crate::condition::Timed::and);
            if all.truth == crate::value::Truth::True {
                return Solution::Found(now);
            }
            // Each step goes to a later edge of a window.
            now = all.until.max(now + 1);
        }
    }
    let mut zones = schedules.iter().filter_map(|condition| match &condition.kind {
        Kind::Time { schedule, .. } => Some(schedule.zone_name.as_str()),
        Kind::SourceIp { .. } | Kind::Attribute { .. } | Kind::Body { .. } => None,
    });
    let first = zones.next();
    // Of one zone two windows lie the same in every week, but for the nights when its clock is set.
    if zones.all(|zone| Some(zone) == first) { Solution::Unlikely } else { Solution::Unproven }
}
