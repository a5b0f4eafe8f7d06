//! The compiled policy and a principal's binding to it.

mod candidate;
mod hosts;
mod selection;

use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) use candidate::Candidate;
pub(crate) use hosts::{Claim, HostIndex};

use selection::{Selection, Selections};

use crate::asked::{Asked, Wanted};
use crate::compile::TestCase;
use crate::document::Location;
use crate::rule::{Instance, Rule, RuleSet, Selected};
use crate::schedule::Schedule;
use crate::target::{Authority, Scheme, Target, TargetError};
use crate::value::Truth;
use crate::workload::{Attested, IdPattern, Workload};
use crate::{
    Context, CredentialFacts, CredentialUse, Decision, Explanation, Narrowing, PathMode, Principal, ServiceRoute, Team,
    TrustDomain, Unenforced,
};

/// An index into the compiled (rule, service) pairs.
pub(crate) type InstanceId = u32;
/// An index into the compiled operations.
pub(crate) type OperationId = u32;

/// A compiled policy of one generation. Cheap to clone.
#[derive(Clone)]
pub struct Policy {
    data: Arc<Data>,
}

/// A principal's view of one policy: the rules that can concern it. Cheap to clone.
///
/// Made once per proof and generation, so that a decision looks at few rules. It keeps the policy of
/// its generation alive.
#[derive(Clone)]
pub struct Bound(Arc<Binding>);

struct Binding {
    data: Arc<Data>,
    principal: Arc<Principal>,
    attested: Attested,
    /// The team of the principal, if its files are wrong and it has none that were in force.
    frozen: Option<Arc<str>>,
    selection: Arc<Selection>,
}

/// Everything that decisions read.
pub(crate) struct Data {
    pub(crate) generation: u64,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) services: Vec<ServiceRoute>,
    pub(crate) hosts: HostIndex,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) set: RuleSet,
    /// By service: every candidate in order of rank (denies, then by priority, then by the file).
    pub(crate) ranked: Vec<Vec<Candidate>>,
    /// The rules with conditions on the principal.
    conditional: Vec<usize>,
    selections: Selections,
    pub(crate) teams: Vec<Team>,
    /// What the configuration defines and decisions do not read.
    pub(crate) declared: Declared,
    /// The attributes that workloads and rules ask for, each once.
    asked: Arc<[Arc<str>]>,
    /// What an index out of range is called; none is ever made.
    nothing: Arc<str>,
}

/// What only `analyze` and the tests of a configuration look at.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    pub(crate) schedules: Vec<Arc<Schedule>>,
    pub(crate) credentials: Vec<CredentialFacts>,
    pub(crate) tests: Vec<TestCase>,
    /// They move into [`Data`]: binding asks for them.
    pub(crate) teams: Vec<Team>,
}

impl Data {
    pub(crate) fn new(
        generation: u64,
        trust_domain: TrustDomain,
        services: Vec<ServiceRoute>,
        hosts: HostIndex,
        workloads: Vec<Workload>,
        set: RuleSet,
        mut declared: Declared,
    ) -> Self {
        let teams = std::mem::take(&mut declared.teams);
        let ranked = candidate::rank(&set, services.len());
        let asked = asked_attributes(&workloads, &set);
        let conditional = set.rules.iter().enumerate().filter(|(_, rule)| !rule.principal_conditions.is_empty());
        let conditional = conditional.map(|(at, _)| at).collect();
        Self {
            generation,
            trust_domain,
            services,
            hosts,
            workloads,
            set,
            ranked,
            conditional,
            selections: Selections::default(),
            teams,
            declared,
            asked,
            nothing: "".into(),
        }
    }

    /// The claim of the service that has this host, port and path.
    pub(crate) fn claim(&self, authority: &Authority, path: &str) -> Option<Claim> {
        self.hosts.claims(authority).find(|claim| claim.has(path, &self.services))
    }

    pub(crate) fn instance(&self, id: InstanceId) -> Option<&Instance> {
        self.set.instances.get(id as usize)
    }

    pub(crate) fn rule_of(&self, id: InstanceId) -> Option<&Rule> {
        self.set.rules.get(self.instance(id)?.rule)
    }

    pub(crate) fn service_name(&self, id: InstanceId) -> &Arc<str> {
        self.instance(id)
            .and_then(|instance| self.services.get(instance.service))
            .map_or(&self.nothing, ServiceRoute::name)
    }

    pub(crate) fn service_at(&self, at: usize) -> &Arc<str> {
        self.services.get(at).map_or(&self.nothing, ServiceRoute::name)
    }

    pub(crate) fn rule_name(&self, id: InstanceId) -> &Arc<str> {
        self.rule_of(id).map_or(&self.nothing, |rule| &rule.name)
    }

    pub(crate) fn operation_text(&self, id: OperationId) -> &Arc<str> {
        self.set.operations.get(id as usize).map_or(&self.nothing, |operation| &operation.text)
    }

    pub(crate) fn operation_path(&self, id: OperationId) -> &Arc<str> {
        self.set.operations.get(id as usize).map_or(&self.nothing, |operation| operation.path.text())
    }

    /// How far what an instance injects reaches.
    pub(crate) fn narrow(&self, id: InstanceId) -> Option<&Arc<Narrowing>> {
        self.instance(id)?.narrow.as_ref()
    }

    pub(crate) fn credential(&self, id: InstanceId) -> &CredentialUse {
        // An index that is out of range cannot be made; if it were, nothing is injected.
        self.instance(id).map_or(&CredentialUse::None, |instance| &instance.credential)
    }
}

fn asked_attributes(workloads: &[Workload], set: &RuleSet) -> Arc<[Arc<str>]> {
    let of_workloads = workloads.iter().flat_map(|workload| &workload.asked);
    let names: BTreeSet<&Arc<str>> = of_workloads
        .chain(set.rules.iter().flat_map(|rule| &rule.asked))
        .filter_map(|asked| match &asked.wanted {
            Wanted::Attribute { name, .. } => Some(name),
            Wanted::Attestor(_) | Wanted::Address => None,
        })
        .collect();
    names.into_iter().cloned().collect()
}

impl Policy {
    pub(crate) fn new(data: Data) -> Self {
        Self { data: Arc::new(data) }
    }

    pub(crate) fn data(&self) -> &Data {
        &self.data
    }

    /// The number of this policy's generation.
    pub fn generation(&self) -> u64 {
        self.data.generation
    }

    /// All services, in the order in which they were given.
    pub fn services(&self) -> impl Iterator<Item = &ServiceRoute> {
        self.data.services.iter()
    }

    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&ServiceRoute> {
        self.data.services.iter().find(|service| **service.name() == *name)
    }

    /// The names of all `[workload.NAME]`, those of teams among them.
    pub fn workloads(&self) -> impl Iterator<Item = &Arc<str>> {
        self.data.workloads.iter().map(|workload| &workload.name)
    }

    /// Whether a SPIFFE ID, or a pattern of IDs, is one of no workload: `Some` with the pattern that it may have been
    /// meant to be. `None` also for what is no ID at all.
    pub fn concerns_nobody(&self, id: &str) -> Option<Option<String>> {
        let wanted = IdPattern::parse(id).ok()?;
        let known = || self.data.workloads.iter().flat_map(|workload| &workload.ids);
        if known().any(|pattern| pattern.common(&wanted).is_some()) {
            return None;
        }
        let texts: Vec<String> = known().map(ToString::to_string).collect();
        Some(crate::document::nearest(id, texts.iter().map(String::as_str)).map(str::to_owned))
    }

    /// Whether a principal is `[workload.NAME]` for certain: an attribute that is not known is not a match. For what is
    /// no request of a workload; rules select by themselves.
    pub fn is_workload(&self, principal: &Principal, name: &str) -> bool {
        let named = self.data.workloads.iter().find(|workload| *workload.name == *name);
        named.is_some_and(|workload| workload.selects(principal, Attested::Really) == Truth::True)
    }

    /// Whether a principal may be `[workload.NAME]`: nothing that is known of it speaks against that. For what is no
    /// permission.
    pub fn may_be_workload(&self, principal: &Principal, name: &str) -> bool {
        let named = self.data.workloads.iter().find(|workload| *workload.name == *name);
        named.is_some_and(|workload| workload.selects(principal, Attested::Really) != Truth::False)
    }

    /// The workloads that sessions of `claviger exec` may be: name, place and the patterns of their IDs.
    pub fn exec_workloads(&self) -> impl Iterator<Item = (&Arc<str>, &Location, &[IdPattern])> {
        let permitting = self.data.workloads.iter().filter(|workload| workload.exec && !workload.name.ends_with("/*"));
        permitting.map(|workload| (&workload.name, &workload.location, workload.ids.as_slice()))
    }

    /// Whether a session of `claviger exec` may have this ID.
    pub fn permits_exec(&self, id: &crate::SpiffeId) -> bool {
        self.exec_workloads().any(|(_, _, ids)| ids.iter().any(|pattern| pattern.matches(id)))
    }

    /// The attestors and attributes that workloads and rules ask for: one that is not there can never match,
    /// which whoever knows the attestors reports.
    pub fn asked(&self) -> impl Iterator<Item = &Asked> {
        let of_workloads = self.data.workloads.iter().flat_map(|workload| &workload.asked);
        of_workloads.chain(self.data.set.rules.iter().flat_map(|rule| &rule.asked))
    }

    /// The attributes that workloads and rules ask for, sorted: what a record may hold of a caller's.
    pub fn asked_attributes(&self) -> &Arc<[Arc<str>]> {
        &self.data.asked
    }

    /// The team of which an identity is.
    pub fn team_of(&self, id: &crate::SpiffeId) -> Option<&Team> {
        self.data.teams.iter().find(|team| team.has(id))
    }

    /// The teams of the installation.
    pub fn teams(&self) -> &[Team] {
        &self.data.teams
    }

    /// Where a rule stands.
    pub fn place_of_rule(&self, name: &str) -> Option<&Location> {
        self.data.set.rules.iter().find(|rule| *rule.name == *name).map(|rule| &rule.location)
    }

    /// What may be injected where: service, credential, and the rule that says so.
    pub fn uses(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, &Arc<str>)> {
        self.data.set.instances.iter().filter_map(|instance| {
            let CredentialUse::Named(credential) = &instance.credential else { return None };
            let rule = self.data.set.rules.get(instance.rule)?;
            Some((self.data.services.get(instance.service)?.name(), credential, &rule.name))
        })
    }

    /// What rules narrow credentials to: credential, what it is narrowed to, and the rule's key.
    pub fn narrowings(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Narrowing>, &Arc<str>)> {
        self.data.set.instances.iter().filter_map(|instance| {
            let CredentialUse::Named(credential) = &instance.credential else { return None };
            let rule = self.data.set.rules.get(instance.rule)?;
            Some((credential, instance.narrow.as_ref()?, &rule.name))
        })
    }

    /// The service that claims this host, port and path (without query).
    ///
    /// The most specific host pattern that claims the authority decides: a path that its services do
    /// not claim is nobody's, and is not handed to a wider pattern.
    pub fn service_for(&self, authority: &Authority, path: &str) -> Option<&ServiceRoute> {
        self.data.services.get(self.service_at(authority, path)?)
    }

    pub(crate) fn service_at(&self, authority: &Authority, path: &str) -> Option<usize> {
        self.data.claim(authority, path).map(|claim| claim.service)
    }

    /// Whether any service claims this host and port, for CONNECT.
    pub fn knows(&self, authority: &Authority) -> bool {
        self.data.hosts.claims(authority).next().is_some()
    }

    /// Whether a `Host` header, as it was written, could be that of a service: `false` is certain.
    pub fn could_know(&self, written: &str) -> bool {
        self.data.hosts.could_claim(written)
    }

    /// Canonicalises with the `path_mode` of the service that claims host and path; strictly, if none
    /// does.
    ///
    /// # Errors
    /// What the mode refuses ([`PathMode`]).
    pub fn canonicalize(
        &self,
        scheme: Scheme,
        authority: Authority,
        path_and_query: &str,
    ) -> Result<Target, TargetError> {
        let path_end = path_and_query.bytes().position(|byte| byte == b'?').unwrap_or(path_and_query.len());
        let path = path_and_query.get(..path_end).unwrap_or_default();
        let mode = self.service_for(&authority, path).map_or(PathMode::Strict, ServiceRoute::path_mode);
        Target::parse(scheme, authority, path_and_query, mode)
    }

    /// Binds a principal: once per proof and generation, off the hot path. The first that satisfies the same selectors
    /// has every rule looked at.
    pub fn bind(&self, principal: &Arc<Principal>) -> Bound {
        self.bind_as(principal, Attested::Really)
    }

    pub(crate) fn bind_as(&self, principal: &Arc<Principal>, attested: Attested) -> Bound {
        let data = &self.data;
        let selected = Selected::new(principal, &data.workloads, data.trust_domain.as_str(), attested);
        Bound(Arc::new(Binding {
            data: data.clone(),
            principal: principal.clone(),
            attested,
            frozen: data
                .teams
                .iter()
                .find(|team| team.is_frozen() && team.has(&principal.id))
                .map(|t| t.name().clone()),
            selection: data.selections.of(data, &selected),
        }))
    }

    /// Whether this policy made the binding.
    pub(crate) fn made(&self, bound: &Bound) -> bool {
        Arc::ptr_eq(&self.data, &bound.0.data)
    }

    /// Decides one request. Allocates nothing.
    ///
    /// A binding of another generation is refused with [`Reason::StaleBinding`](crate::Reason).
    pub fn decide(&self, bound: &Bound, target: Target, method: http::Method, context: &Context) -> Decision {
        crate::decide::decide(self, bound, target, method, context)
    }

    /// As [`decide`](Self::decide), at a listener whose configuration says that denials are not applied.
    ///
    /// Where a rule would refuse, the request is granted by the allow beneath it; where none allows, it is granted
    /// [as it was sent](crate::Grant::is_as_sent). What would have refused it is in [`Grant::waived`](crate::Grant::waived).
    /// A target that no service claims and a stale binding are refused all the same.
    pub fn decide_unenforced(
        &self,
        listener: &Unenforced,
        bound: &Bound,
        target: Target,
        method: http::Method,
        context: &Context,
    ) -> Decision {
        crate::decide::decide_unenforced(self, listener, bound, target, method, context)
    }

    /// As [`explain`](Self::explain), for a caller of whom nobody says which attestor knows it: any would do.
    pub fn explain_to(
        &self,
        principal: &Arc<Principal>,
        target: &Target,
        method: &http::Method,
        context: &Context,
    ) -> Explanation {
        self.explain(&self.bind_as(principal, Attested::Assumed), target, method, context)
    }

    /// Says why a request is decided as it is. Off the hot path.
    pub fn explain(&self, bound: &Bound, target: &Target, method: &http::Method, context: &Context) -> Explanation {
        crate::explain::explain(self, bound, target, method, context, None)
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (rules, services) = (self.data.set.rules.len(), self.data.services.len());
        write!(f, "Policy {{ generation: {}, rules: {rules}, services: {services} }}", self.generation())
    }
}

impl Bound {
    /// The generation of the policy that bound it.
    pub fn generation(&self) -> u64 {
        self.0.data.generation
    }

    /// Who was bound.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.0.principal
    }

    /// The principal's team, if it is frozen: nothing is allowed then.
    pub fn frozen(&self) -> Option<&Arc<str>> {
        self.0.frozen.as_ref()
    }

    pub(crate) fn data(&self) -> &Data {
        &self.0.data
    }

    pub(crate) fn attested(&self) -> Attested {
        self.0.attested
    }

    /// The enforced candidates of a service, in order of rank.
    pub(crate) fn enforced(&self, service: usize) -> &[Candidate] {
        self.0.selection.enforced(service)
    }

    /// The candidates with `enforce = false`, in order of rank.
    pub(crate) fn observed(&self, service: usize) -> &[Candidate] {
        self.0.selection.observed(service)
    }
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bound {{ generation: {}, principal: {} }}", self.generation(), self.0.principal.id)
    }
}
