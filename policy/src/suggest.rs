//! The narrowest rule that would allow what was refused. Off the hot path.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use http::Method;

use self::text::{quoted, slug};
use crate::explain::{Cited, Explanation, Recorded};
use crate::rule::{RuleKind, Selected};
use crate::value::Truth;
use crate::workload::{Attested, Workload};
use crate::{
    AttributeValue, CredentialFacts, CredentialUse, HostPattern, Policy, Principal, Reason, ServiceRoute, TargetError,
    Team, Wanted,
};

/// What is known beside the policy.
#[derive(Clone, Debug, Default)]
pub struct SuggestFor<'a> {
    /// Stands as `why` of the rule.
    pub why: &'a str,
    /// Whether there are several attestors, so that the one must be named.
    pub several_attestors: bool,
    /// The team in whose file the rule is to stand.
    pub team: Option<&'a str>,
    /// Below every allow that the service has, so that none of them is tied with.
    pub lowest: bool,
}

/// Tables to paste; `Display` is TOML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// The workload to define, if none covers exactly the caller.
    pub workload: Option<NewWorkload>,
    /// The name of the allow.
    pub name: String,
    /// Its `who`.
    pub who: String,
    /// Its `to`.
    pub to: String,
    /// Its `ops`.
    pub ops: Vec<String>,
    /// Its `use`.
    pub credential: String,
    /// Its `priority`, if it needs one.
    pub priority: Option<i64>,
    /// Its `why`.
    pub why: String,
    /// What whoever pastes it should know.
    pub notes: Vec<String>,
}

/// A `[workload.NAME]` of exactly one caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWorkload {
    /// Its name.
    pub name: String,
    /// Its `spiffe`.
    pub spiffe: String,
    /// Its `match`.
    pub attributes: Vec<(String, AttributeValue)>,
    /// Its `attested_by`.
    pub attested_by: Option<String>,
    /// Its `exec`.
    pub exec: bool,
}

/// Why nothing is suggested.
#[derive(Clone, Debug)]
pub enum Unsuggested {
    /// The configuration, as it is now, allows it.
    Allowed(Option<Cited>),
    /// Denies are in the way; no allow helps.
    Denied(Vec<Cited>),
    /// Allows tie.
    Ambiguous(Option<Cited>),
    /// The files of the caller's team are wrong, and none has been in force; no rule helps.
    TeamFrozen,
    /// The caller's team may not name the service.
    NotLent(Arc<str>),
    /// No service claims the target; what to look at.
    UnknownService(Option<String>),
    /// The service takes no such path.
    Target(TargetError),
    /// No rule can name the method.
    Method(Method),
}

impl Policy {
    /// The narrowest allow for requests of one caller to one service, which none allows.
    ///
    /// # Errors
    /// Why there is none.
    pub fn suggest(&self, requests: &[Recorded], given: &SuggestFor<'_>) -> Result<Suggestion, Unsuggested> {
        let mut notes = BTreeSet::new();
        for request in requests {
            let explanation = self.explain_recorded(request).map_err(Unsuggested::Target)?;
            check(explanation, &mut notes)?;
        }
        let (Some(first), Some(route)) = (requests.first(), requests.first().and_then(|one| self.route(one))) else {
            return Err(Unsuggested::UnknownService(None));
        };
        let team = given.team.and_then(|name| self.teams().iter().find(|team| **team.name() == *name));
        if team.is_some_and(|team| !team.may_use(route.name())) {
            return Err(Unsuggested::NotLent(route.name().clone()));
        }
        if route.hosts().len() > 1 || route.hosts().iter().any(HostPattern::is_wildcard) {
            let hosts: Vec<String> = route.hosts().iter().take(4).map(|host| format!("`{host}`")).collect();
            notes.insert(format!("the rule covers every host of service `{}`: {}", route.name(), hosts.join(", ")));
        }
        let ops = operations(requests)?;
        let service = route.name().to_string();
        let mut notes: Vec<String> = notes.into_iter().collect();
        let (credential, lowest) = self.credential_for(first, route, team, &mut notes);
        let credential = local(&credential, given.team).to_owned();
        let (who, workload) = match self.exactly(&first.principal, given.team) {
            Some(workload) => (local(&workload.name, given.team).to_owned(), None),
            None => {
                let workload = self.new_workload(&first.principal, given, &mut notes);
                (workload.name.clone(), Some(workload))
            }
        };
        let taken = |name: &str| {
            let full = given.team.map_or_else(|| name.to_owned(), |team| format!("{team}/{name}"));
            self.data().set.rules.iter().any(|rule| *rule.name == *full)
        };
        let name = free(&slug(&[&who, local(&service, given.team)].join("-")), taken);
        let priority = given.lowest.then(|| lowest.saturating_sub(1).max(-1_000_000));
        Ok(Suggestion { workload, name, who, to: service, ops, credential, priority, why: given.why.to_owned(), notes })
    }

    fn route(&self, request: &Recorded) -> Option<&ServiceRoute> {
        self.service_for(&request.authority, &request.path)
    }

    /// The workload that is this caller and nobody else; of several the one that asks for most.
    fn exactly(&self, principal: &Principal, team: Option<&str>) -> Option<&Workload> {
        let is_exact = |workload: &&Workload| match workload.ids.as_slice() {
            [only] => {
                only.domain.as_str() == principal.id.trust_domain()
                    && only.path.as_ref().map_or("", |path| path.as_str()) == principal.id.path()
            }
            _ => false,
        };
        // A team's rules name the team's workloads.
        let is_theirs = |workload: &&Workload| team.is_none() || local(&workload.name, team) != &*workload.name;
        let selects = |workload: &&Workload| workload.selects(principal, Attested::Really) == Truth::True;
        let all = self.data().workloads.iter().filter(is_exact).filter(is_theirs).filter(selects);
        all.max_by_key(|workload| workload.attributes.len() + usize::from(!workload.attested_by.is_empty()))
    }

    fn new_workload(&self, principal: &Principal, given: &SuggestFor<'_>, notes: &mut Vec<String>) -> NewWorkload {
        let asked: BTreeSet<&str> = self
            .data()
            .workloads
            .iter()
            .flat_map(|workload| &workload.asked)
            .filter_map(|asked| match &asked.wanted {
                Wanted::Attribute { name, .. } => Some(&**name),
                Wanted::Attestor(_) | Wanted::Address => None,
            })
            .collect();
        let mut attributes = Vec::new();
        for (name, value) in principal.attributes.iter().filter(|(name, _)| asked.contains(name)) {
            match value {
                AttributeValue::String(text) if text.contains('*') => {
                    notes.push(format!("`{name}` of the caller holds a `*`, which a `match` cannot ask for as it is"));
                }
                AttributeValue::Strings(_) => {
                    notes.push(format!("`{name}` of the caller is a list, and is not asked for: narrow the workload if one of its values tells"));
                }
                AttributeValue::String(_) | AttributeValue::Integer(_) | AttributeValue::Boolean(_) => {
                    attributes.push((name.to_owned(), value.clone()));
                }
            }
        }
        let exec = principal.is_of_exec_session();
        let attested_by = (given.several_attestors && !exec).then(|| principal.attested_by.to_string());
        let taken = |name: &str| {
            let full = given.team.map_or_else(|| name.to_owned(), |team| format!("{team}/{name}"));
            self.data().workloads.iter().any(|workload| *workload.name == *full)
        };
        let last = principal.id.path().rsplit('/').next().filter(|last| !last.is_empty());
        let whole = slug(principal.id.path());
        let short = slug(last.unwrap_or(principal.id.trust_domain()));
        let name = if taken(&short) && !whole.is_empty() { free(&whole, taken) } else { free(&short, taken) };
        NewWorkload { name, spiffe: principal.id.to_string(), attributes, attested_by, exec }
    }

    /// What to inject: of the credentials that may go there, the one that the caller's or the service's other rules
    /// inject. And the lowest priority of the service's allows.
    fn credential_for(
        &self,
        request: &Recorded,
        route: &ServiceRoute,
        team: Option<&Team>,
        notes: &mut Vec<String>,
    ) -> (String, i64) {
        let data = self.data();
        let host = HostPattern::exact(&request.authority);
        let fits = |facts: &&CredentialFacts| {
            let name = facts.name.value.as_str();
            let may = team.is_none_or(|team| {
                local(name, Some(team.name())) != name || team.credentials().any(|lent| lent == name)
            });
            may && facts.hosts.iter().any(|bound| bound.covers(&host))
        };
        let fitting: Vec<&str> =
            data.declared.credentials.iter().filter(fits).map(|facts| facts.name.value.as_str()).collect();
        let selected = Selected::new(&request.principal, &data.workloads, data.trust_domain.as_str(), Attested::Really);
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        let mut lowest = 0;
        for instance in &data.set.instances {
            let Some(rule) = data.set.rules.get(instance.rule).filter(|rule| rule.kind == RuleKind::Allow) else {
                continue;
            };
            if data.service_at(instance.service) != route.name() {
                continue;
            }
            lowest = lowest.min(rule.priority);
            if let CredentialUse::Named(name) = &instance.credential {
                // The caller's own rules outweigh any number of others.
                *votes.entry(name).or_default() += if rule.matches(rule.selects(&selected)) { 1_000_000 } else { 1 };
            }
        }
        let best = fitting.iter().max_by_key(|name| {
            (votes.get(**name).copied().unwrap_or_default(), ***name == **route.name(), std::cmp::Reverse(**name))
        });
        let Some(best) = best else {
            let authority = &request.authority;
            notes.push(format!("no credential may go to `{authority}`: with `use = \"none\"` nothing is injected"));
            return ("none".to_owned(), lowest);
        };
        let others: Vec<String> = fitting.iter().filter(|name| *name != best).map(|name| format!("`{name}`")).collect();
        if !others.is_empty() {
            notes.push(format!("`use`: {} may go there too", others.join(", ")));
        }
        ((*best).to_owned(), lowest)
    }
}

/// Only what no rule allows, and no deny covers, can be helped by an allow.
fn check(explanation: Explanation, notes: &mut BTreeSet<String>) -> Result<(), Unsuggested> {
    if explanation.allowed {
        return Err(Unsuggested::Allowed(explanation.rule));
    }
    match explanation.reason {
        Some(Reason::DeniedByRule) => Err(Unsuggested::Denied(explanation.denies)),
        Some(Reason::Ambiguous) => Err(Unsuggested::Ambiguous(explanation.rule)),
        Some(Reason::TeamFrozen) => Err(Unsuggested::TeamFrozen),
        Some(Reason::UnknownService) => Err(Unsuggested::UnknownService(explanation.hint)),
        Some(Reason::NoRule | Reason::BodyFactUnavailable | Reason::StaleBinding) | None => {
            if !explanation.needs.is_empty() {
                let facts = explanation.needs.join(", ");
                notes.insert(format!("a rule allows this by {facts} of the body: this one does not ask for it"));
            }
            for deny in &explanation.denies {
                notes.insert(format!("{deny} refuses some of these paths, and always wins"));
            }
            if let Some(near) =
                explanation.nearest.filter(|near| matches!(near.dimension, "time" | "condition" | "body"))
            {
                let (rule, dimension, failed) = (near.rule, near.dimension, near.failed);
                notes.insert(format!("{rule} fails by {dimension} ({failed}): this rule has no such condition"));
            }
            Ok(())
        }
    }
}

/// `METHODS /path` for each path.
fn operations(requests: &[Recorded]) -> Result<Vec<String>, Unsuggested> {
    let mut methods: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for request in requests {
        let method = request.method.as_str();
        if method.bytes().any(|byte| byte.is_ascii_lowercase() || byte == b'*') {
            return Err(Unsuggested::Method(request.method.clone()));
        }
        methods.entry(&request.path).or_default().insert(method);
    }
    let operation = |(path, methods): (&str, BTreeSet<&str>)| {
        format!("{} {path}", methods.into_iter().collect::<Vec<_>>().join(","))
    };
    Ok(methods.into_iter().map(operation).collect())
}

/// The name, or the first of `name-2`, `name-3`, … that is free.
fn free(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let name = if name.is_empty() { "caller" } else { name };
    if !taken(name) {
        return name.to_owned();
    }
    (2_u32..).map(|number| format!("{name}-{number}")).find(|name| !taken(name)).unwrap_or_default()
}

/// A name as the team's own file writes it.
fn local<'n>(name: &'n str, team: Option<&str>) -> &'n str {
    team.and_then(|team| name.strip_prefix(team)?.strip_prefix('/')).unwrap_or(name)
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(workload) = &self.workload {
            writeln!(f, "[workload.{}]", workload.name)?;
            writeln!(f, "spiffe = {}", quoted(&workload.spiffe))?;
            if !workload.attributes.is_empty() {
                let pairs: Vec<String> = workload
                    .attributes
                    .iter()
                    .map(|(name, value)| format!("{} = {}", quoted(name), text::value(value)))
                    .collect();
                writeln!(f, "match = {{ {} }}", pairs.join(", "))?;
            }
            if let Some(attestor) = &workload.attested_by {
                writeln!(f, "attested_by = {}", quoted(attestor))?;
            }
            if workload.exec {
                writeln!(f, "exec = true")?;
            }
            writeln!(f)?;
        }
        let ops: Vec<String> = self.ops.iter().map(|operation| quoted(operation)).collect();
        writeln!(f, "[allow.{}]", self.name)?;
        writeln!(f, "who = {}", quoted(&self.who))?;
        writeln!(f, "to = {}", quoted(&self.to))?;
        match ops.as_slice() {
            [only] => writeln!(f, "ops = [{only}]")?,
            several => writeln!(f, "ops = [\n    {},\n]", several.join(",\n    "))?,
        }
        writeln!(f, "use = {}", quoted(&self.credential))?;
        if let Some(priority) = self.priority {
            writeln!(f, "priority = {priority}")?;
        }
        writeln!(f, "why = {}", quoted(&self.why))
    }
}
