//! Joins rules to the workloads, services, operations and credentials that they name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::owner::Owner;
use super::take::Draft;
use super::{Instance, Rule, RuleKind, RuleSet, Who};
use crate::analyze::Code;
use crate::condition::{Condition, Names};
use crate::document::{Diagnostics, Located, Table, nearest};
use crate::pattern::Operation;
use crate::policy::OperationId;
use crate::workload::Workload;
use crate::{CredentialFacts, CredentialUse, HostPattern, ServiceRoute, Team};

/// What a rule can name.
pub(crate) struct Scope<'a> {
    pub(crate) names: Names<'a>,
    pub(crate) workloads: &'a BTreeMap<String, usize>,
    pub(crate) services: &'a [ServiceRoute],
    pub(crate) credentials: &'a [CredentialFacts],
    pub(crate) teams: &'a [Team],
    /// Names of services that are written and wrong, which is reported already.
    pub(crate) broken_services: &'a [String],
    /// Names of credentials that may be written and wrong.
    pub(crate) broken_credentials: &'a [String],
}

/// Collects the rules of a configuration.
pub(crate) struct Linker<'a> {
    scope: Scope<'a>,
    set: RuleSet,
    /// By service: its named sets.
    sets: Vec<BTreeMap<&'a str, Vec<OperationId>>>,
    /// For each team of which a rule means everyone: a workload that stands behind all others.
    everyone: Vec<Workload>,
    services_at: HashMap<&'a str, usize>,
    /// By the team that they are of.
    credentials_of: HashMap<Option<&'a str>, Vec<&'a CredentialFacts>>,
}

/// What one entry of `ops` means.
enum Ops<'a> {
    /// The same at every service.
    One(OperationId),
    /// `@name`: each service has its own.
    Set(&'a Located<String>),
}

impl<'a> Linker<'a> {
    pub(crate) fn new(scope: Scope<'a>) -> Self {
        let mut set = RuleSet::default();
        let sets = scope
            .services
            .iter()
            .map(|service| {
                let named = service.operations().iter();
                named
                    .map(|(name, operations)| {
                        (name.as_str(), operations.iter().map(|op| add(&mut set.operations, op.clone())).collect())
                    })
                    .collect()
            })
            .collect();
        let services_at = scope.services.iter().enumerate().map(|(at, service)| (&**service.name(), at)).collect();
        let mut credentials_of: HashMap<_, Vec<_>> = HashMap::new();
        for facts in scope.credentials {
            credentials_of.entry(facts.name.location.team().map(|name| &**name)).or_default().push(facts);
        }
        Self { scope, set, sets, everyone: Vec::new(), services_at, credentials_of }
    }

    /// Takes `[allow.NAME]` or `[deny.NAME]`; errors are in `out`, and what is wrong is not added.
    pub(crate) fn take(&mut self, kind: RuleKind, name: Located<String>, table: Table, out: &mut Diagnostics) {
        let Some(owner) = Owner::of(&name.location, self.scope.teams) else { return };
        if let Some(draft) = Draft::take(kind, name, table, &self.scope.names, out) {
            self.link(draft, owner, out);
        }
    }

    /// The rules, and the workloads that stand behind those of the configuration.
    pub(crate) fn finish(self) -> (RuleSet, Vec<Workload>) {
        (self.set, self.everyone)
    }

    fn link(&mut self, mut draft: Draft, owner: Owner<'a>, out: &mut Diagnostics) {
        owner.bound_priority(&mut draft, out);
        let who = self.who(&draft, owner, out);
        let services = self.services(&draft, owner, out);
        let ops = self.operations(&draft, owner, out);
        let (Some(who), Some(services), Some(ops)) = (who, services, ops) else { return };
        let rule = self.set.rules.len();
        let narrow = draft.narrow.as_ref().map(|narrow| Arc::new(narrow.value.clone()));
        for service in services {
            let operations = self.operations_at(&draft, service, &ops, out);
            let credential = match draft.kind {
                RuleKind::Deny => Some(CredentialUse::None),
                RuleKind::Allow => self.credential(&draft, owner, service, out),
            };
            let Some(credential) = credential else { continue };
            let narrow = narrow.clone();
            if !operations.is_empty() {
                self.set.instances.push(Instance { rule, service, credential, narrow, operations, contested: false });
            }
        }
        self.set.rules.push(into_rule(draft, who));
    }

    fn who(&mut self, draft: &Draft, owner: Owner<'a>, out: &mut Diagnostics) -> Option<Who> {
        let key = (draft, "who");
        if let Some(star) = draft.who.iter().find(|name| name.value == "*") {
            alone(star, &draft.who, key, out)?;
            return Some(match owner {
                Owner::Platform => Who::Anyone,
                Owner::Team(team) => Who::Workloads(vec![self.everyone_of(team)]),
            });
        }
        let find = |name: &str| self.scope.workloads.get(&*owner.own(name)?).copied();
        let all = || self.scope.workloads.keys().filter_map(|name| owner.bare(name));
        owner.look_up(&draft.who, key, "workload", find, all, &[], out).map(Who::Workloads)
    }

    /// What `*` means in a file of a team: as a workload, so that nothing needs to know of teams.
    fn everyone_of(&mut self, team: &Team) -> usize {
        let name = format!("{}/*", team.name());
        let at = self.everyone.iter().position(|workload| *workload.name == *name).unwrap_or_else(|| {
            self.everyone.push(Workload {
                name: name.into(),
                location: team.location().clone(),
                ids: team.identities().to_vec(),
                attributes: Vec::new(),
                attested_by: Vec::new(),
                // Whether a session may be one of the team is for the team's workloads to say.
                exec: true,
                asked: Vec::new(),
            });
            self.everyone.len() - 1
        });
        self.scope.workloads.len() + at
    }

    fn services(&self, draft: &Draft, owner: Owner<'a>, out: &mut Diagnostics) -> Option<Vec<usize>> {
        let key = (draft, "to");
        let services = self.scope.services;
        let may_name = |service: &&ServiceRoute| owner.may_name(service);
        if let Some(star) = draft.to.iter().find(|name| name.value == "*") {
            alone(star, &draft.to, key, out)?;
            return Some(
                (0..services.len()).filter(|at| services.get(*at).is_some_and(|s| owner.may_name(s))).collect(),
            );
        }
        let find = |name: &str| {
            let at = self.services_at.get(name).copied()?;
            services.get(at).is_some_and(|service| owner.may_name(service)).then_some(at)
        };
        let all = || services.iter().filter(may_name).map(|service| service.name().as_ref());
        let mut found = owner.look_up(&draft.to, key, "service", find, all, self.scope.broken_services, out)?;
        found.sort_unstable();
        found.dedup();
        Some(found)
    }

    fn operations<'d>(&mut self, draft: &'d Draft, owner: Owner<'a>, out: &mut Diagnostics) -> Option<Vec<Ops<'d>>> {
        let key = (draft, "ops");
        let mut ops = Vec::new();
        for text in &draft.ops {
            if text.value.starts_with('@') {
                ops.push(Ops::Set(text));
                continue;
            }
            match Operation::parse(&text.value) {
                Ok(operation) => {
                    if let Some((word, right)) = operation.methods.misspelt() {
                        let message = format!("`{word}` is an unusual method");
                        out.warning(&text.location, key_of(key), message).help(format!("did you mean `{right}`?"));
                    }
                    ops.push(Ops::One(add(&mut self.set.operations, operation)));
                }
                Err(message) => {
                    out.error(&text.location, key_of(key), message);
                }
            }
        }
        self.check_sets(draft, owner, out);
        (ops.len() == draft.ops.len()).then_some(ops)
    }

    /// A set must be defined: at every service that is named, at one of all for `to = "*"`.
    fn check_sets(&self, draft: &Draft, owner: Owner<'a>, out: &mut Diagnostics) {
        let everywhere = draft.to.iter().any(|name| name.value == "*");
        for text in draft.ops.iter().filter(|text| text.value.starts_with('@')) {
            let set = text.value.trim_start_matches('@');
            let named = |service: &&ServiceRoute| {
                owner.may_name(service) && (everywhere || draft.to.iter().any(|name| **service.name() == *name.value))
            };
            let services: Vec<&ServiceRoute> = self.scope.services.iter().filter(named).collect();
            let has = |service: &&&ServiceRoute| service.operations().contains_key(set);
            let lacking = services.iter().find(|service| !has(service));
            if lacking.is_none() || (everywhere && services.iter().any(|service| has(&service))) {
                continue;
            }
            let Some(service) = lacking else { continue };
            let message = format!("service `{}` has no operations named `@{set}`", service.name());
            let found = out.error(&text.location, key_of((draft, "ops")), message);
            match nearest(set, service.operations().keys().map(String::as_str)) {
                Some(near) => found.help(format!("did you mean `@{near}`?")),
                None if service.operations().is_empty() => found.help(format!(
                    "define `operations = {{ {set} = [\"METHOD /path\"] }}` in `[service.{}]`",
                    service.name()
                )),
                None => {
                    let known: Vec<String> = service.operations().keys().map(|name| format!("`@{name}`")).collect();
                    found.help(format!("known there: {}", known.join(", ")))
                }
            };
        }
    }

    /// The operations at one service; what can never match there is warned about.
    fn operations_at(&self, draft: &Draft, service: usize, ops: &[Ops<'_>], out: &mut Diagnostics) -> Vec<OperationId> {
        let mut all = Vec::new();
        for (op, text) in ops.iter().zip(&draft.ops) {
            match op {
                Ops::One(id) => {
                    all.push(*id);
                    // Of several services each may have operations of its own.
                    if draft.to.len() == 1 && draft.to.iter().all(|name| name.value != "*") {
                        self.warn_unreachable(draft, service, *id, text, out);
                    }
                }
                Ops::Set(name) => {
                    let set = self.sets.get(service).and_then(|sets| sets.get(name.value.trim_start_matches('@')));
                    all.extend(set.into_iter().flatten());
                }
            }
        }
        all
    }

    fn warn_unreachable(
        &self,
        draft: &Draft,
        service: usize,
        id: OperationId,
        text: &Located<String>,
        out: &mut Diagnostics,
    ) {
        let (Some(route), Some(op)) = (self.scope.services.get(service), self.set.operations.get(id as usize)) else {
            return;
        };
        let why = match op.path.fits(route.path_mode()) {
            Err(error) => error.to_string(),
            Ok(()) if route.paths().iter().all(|prefix| prefix.intersect(&op.path).is_none()) => {
                "the path is under none of its `paths`".into()
            }
            Ok(()) => return,
        };
        let message = format!("`{}` can never match at service `{}`: {why}", text.value, route.name());
        out.warning(&text.location, format!("{}.ops", draft.key), message).code(Code::OperationUnreachable);
    }

    fn credential(
        &self,
        draft: &Draft,
        owner: Owner<'a>,
        service: usize,
        out: &mut Diagnostics,
    ) -> Option<CredentialUse> {
        let route = self.scope.services.get(service)?;
        let key = || key_of((draft, "use"));
        let Some(name) = &draft.credential else { return self.only_credential(draft, owner, route, out) };
        if name.value == "none" {
            if let Some(narrow) = &draft.narrow {
                let message = "with `use = \"none\"` there is nothing to narrow";
                out.error(&narrow.location, key_of((draft, "narrow")), message).help("leave it out");
            }
            return Some(CredentialUse::None);
        }
        let Some(facts) = self.usable(owner).find(|facts| owner.bare_credential(facts) == name.value) else {
            let own = owner.own(&name.value);
            if own.is_some_and(|own| self.scope.broken_credentials.iter().any(|broken| *broken == *own)) {
                return None;
            }
            let found =
                out.error(&name.location, key(), format!("there is no credential `{}", owner.missing(&name.value)));
            match nearest(&name.value, self.usable(owner).map(|facts| owner.bare_credential(facts))) {
                Some(near) => found.help(format!("did you mean `{near}`?")),
                None => found.help(owner.where_to_define("credential", &name.value)),
            };
            return None;
        };
        let missing: Vec<&HostPattern> = uncovered(facts, route).collect();
        if missing.len() == route.hosts().len() {
            let message =
                format!("credential `{}` is bound to none of the hosts of service `{}`", name.value, route.name());
            out.error(&name.location, key(), message).help(bound_hosts(facts));
            return None;
        }
        if let Some(host) = missing.first() {
            let message = format!("credential `{}` is not bound to `{host}` of service `{}`", name.value, route.name());
            out.warning(&name.location, key(), message)
                .code(Code::HostUnbound)
                .help("requests to that host will fail at injection");
        }
        Some(CredentialUse::Named(facts.name.value.as_str().into()))
    }

    /// The credentials that this owner may use: its own, and what it is lent.
    fn usable(&self, owner: Owner<'a>) -> impl Iterator<Item = &'a CredentialFacts> {
        let own = self.credentials_of.get(&owner.name()).into_iter().flatten().copied();
        let platforms = self.credentials_of.get(&None).into_iter().flatten().copied();
        own.chain(platforms.filter(move |_| owner.name().is_some())).filter(move |facts| owner.may_use(facts))
    }

    /// Without `use`: the one credential that is bound to every host of the service.
    fn only_credential(
        &self,
        draft: &Draft,
        owner: Owner<'a>,
        route: &ServiceRoute,
        out: &mut Diagnostics,
    ) -> Option<CredentialUse> {
        let fitting: Vec<&CredentialFacts> =
            self.usable(owner).filter(|facts| uncovered(facts, route).next().is_none()).collect();
        let (location, key) = (&draft.name.location, format!("{}.use", draft.key));
        match fitting.as_slice() {
            [only] => Some(CredentialUse::Named(only.name.value.as_str().into())),
            // One of those that are wrong may be the one.
            [] if !self.scope.broken_credentials.is_empty() => None,
            [] => {
                let message = format!("no credential is bound to the hosts of service `{}`", route.name());
                out.error(location, key, message)
                    .help("bind one to them, name one with `use`, or write `use = \"none\"` to send none");
                None
            }
            several => {
                let names: Vec<String> =
                    several.iter().map(|facts| format!("`{}`", owner.bare_credential(facts))).collect();
                let message = format!("several credentials are bound to the hosts of service `{}`", route.name());
                out.error(location, key, message).help(format!("name one of {} with `use`", names.join(", ")));
                None
            }
        }
    }
}

fn into_rule(draft: Draft, who: Who) -> Rule {
    let (principal_conditions, rest): (Vec<Condition>, Vec<Condition>) =
        draft.conditions.into_iter().partition(Condition::is_static);
    let (body_conditions, request_conditions) = rest.into_iter().partition(Condition::is_body);
    Rule {
        kind: draft.kind,
        name: Arc::from(draft.name.value),
        location: draft.name.location,
        who,
        everywhere: draft.to.iter().any(|name| name.value == "*"),
        priority: draft.priority,
        principal_conditions,
        request_conditions,
        body_conditions,
        from: draft.from,
        until: draft.until,
        enforce: draft.enforce,
        why: draft.why,
        body_limit: draft.body_limit,
        asked: draft.asked,
    }
}

fn uncovered<'s>(facts: &'s CredentialFacts, route: &'s ServiceRoute) -> impl Iterator<Item = &'s HostPattern> {
    route.hosts().iter().filter(|host| !facts.hosts.iter().any(|bound| bound.covers(host)))
}

fn bound_hosts(facts: &CredentialFacts) -> String {
    if facts.hosts.is_empty() {
        return "it is bound to no host".into();
    }
    let hosts: Vec<String> = facts.hosts.iter().map(|host| format!("`{host}`")).collect();
    format!("it is bound to {}", hosts.join(", "))
}

fn add(operations: &mut Vec<Operation>, operation: Operation) -> OperationId {
    operations.push(operation);
    OperationId::try_from(operations.len() - 1).unwrap_or(OperationId::MAX)
}

/// The dotted key of one of a rule's own; made only where something is said of it.
pub(super) fn key_of((draft, name): (&Draft, &'static str)) -> String {
    format!("{}.{name}", draft.key)
}

fn alone(
    star: &Located<String>,
    all: &[Located<String>],
    key: (&Draft, &'static str),
    out: &mut Diagnostics,
) -> Option<()> {
    if all.len() > 1 {
        out.error(&star.location, key_of(key), "`*` means all and stands alone");
        return None;
    }
    Some(())
}
