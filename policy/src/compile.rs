//! From the document tree to a [`Policy`].

mod bucket;
mod delegation;
pub(crate) mod overlap;
pub(crate) mod solve;
mod test_case;

pub use test_case::{TestCase, TestOutcome, TestResult};

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::asked::Wanted;
use crate::condition::Names;
use crate::document::{Diagnostics, Located, Location, Table};
use crate::policy::{Data, Declared, HostIndex};
use crate::rule::{Linker, RuleKind, RuleSet, Scope, Who};
use crate::schedule::Schedule;
use crate::workload::Workload;
use crate::{HostPattern, Policy, ServiceRoute, Team, TrustDomain};

/// What other parts know of a credential: its name and the hosts that it may go to.
#[derive(Clone, Debug)]
pub struct CredentialFacts {
    /// `[credential.NAME]`, and where it stands.
    pub name: Located<String>,
    /// Where the credential may be sent.
    pub hosts: Vec<HostPattern>,
}

/// What is given to [`compile`] besides its own tables.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The trust domain of this installation.
    pub trust_domain: TrustDomain,
    /// All services.
    pub services: Vec<ServiceRoute>,
    /// All credentials; what stands in a team's file is the team's.
    pub credentials: Vec<CredentialFacts>,
    /// The teams whose tables are right.
    pub teams: Vec<Team>,
    /// The number of the generation that is made.
    pub generation: u64,
}

/// Takes `workload`, `schedule`, `allow`, `deny` and `test` from the root and compiles them.
///
/// `None` if anything in them is an error; all findings are in `out`. The caller finishes `root`.
pub fn compile(root: &mut Table, inputs: Inputs, out: &mut Diagnostics) -> Option<Policy> {
    compile_with(root, inputs, |_, _| {}, out)
}

/// As [`compile`]; `check` looks at the policy before its tests run, so that a mistake which fails a test is reported
/// at its own place, and not as the failing test.
pub fn compile_with(
    root: &mut Table,
    inputs: Inputs,
    check: impl FnOnce(&Policy, &mut Diagnostics),
    out: &mut Diagnostics,
) -> Option<Policy> {
    let mut found = Diagnostics::default();
    let policy = compile_into(root, inputs, check, (out.has_errors(), true), &mut found);
    let policy = policy.filter(|_| !found.has_errors());
    out.append(found);
    policy
}

/// As [`compile_with`], but a test that fails is no error: for whoever runs them itself ([`Policy::run_tests`]).
pub fn compile_untested(
    root: &mut Table,
    inputs: Inputs,
    check: impl FnOnce(&Policy, &mut Diagnostics),
    out: &mut Diagnostics,
) -> Option<Policy> {
    let mut found = Diagnostics::default();
    let policy = compile_into(root, inputs, check, (out.has_errors(), false), &mut found);
    let policy = policy.filter(|_| !found.has_errors());
    out.append(found);
    policy
}

/// `incomplete`: what was read before has errors, so that services and credentials may be missing from `inputs`;
/// `tested`: whether tests run.
fn compile_into(
    root: &mut Table,
    inputs: Inputs,
    check: impl FnOnce(&Policy, &mut Diagnostics),
    (incomplete, tested): (bool, bool),
    out: &mut Diagnostics,
) -> Option<Policy> {
    let Inputs { trust_domain, services, credentials, teams, generation } = inputs;
    let hosts = HostIndex::new(&services, out);
    let schedules: BTreeMap<String, Arc<Schedule>> = root
        .named_tables("schedule", out)
        .into_iter()
        .filter_map(|(name, table)| Schedule::take(name, table, out))
        .map(|schedule| (schedule.name.value.clone(), Arc::new(schedule)))
        .collect();
    let written_schedules = root.names_of("schedule").to_vec();
    let tables = root.named_tables("workload", out);
    // A name that failed stays known, so that one mistake is not reported at every rule that uses it.
    let names: BTreeMap<String, usize> =
        tables.iter().enumerate().map(|(at, (name, _))| (name.value.clone(), at)).collect();
    let mut workloads: Vec<Workload> = tables
        .into_iter()
        .filter_map(|(name, table)| Workload::take(name, table, &trust_domain, &teams, out))
        .collect();
    let is_broken = |key: &str, known: &dyn Fn(&str) -> bool| -> Vec<String> {
        let names = if incomplete { root.names_of(key) } else { &[] };
        names.iter().filter(|name| !known(name)).cloned().collect()
    };
    let broken_services = is_broken("service", &|name| services.iter().any(|service| **service.name() == *name));
    let is_known = |name: &str| credentials.iter().any(|facts| facts.name.value == name);
    // A service can have a credential of its own, by its name.
    let broken_credentials = [is_broken("credential", &is_known), is_broken("service", &is_known)].concat();
    let scope = Scope {
        names: Names { schedules: &schedules, written: &written_schedules },
        broken_services: &broken_services,
        broken_credentials: &broken_credentials,
        workloads: &names,
        services: &services,
        credentials: &credentials,
        teams: &teams,
    };
    delegation::check_lent(&teams, &credentials, &broken_credentials, out);
    let (mut set, everyone) = take_rules(root, scope, out);
    workloads.extend(everyone);
    narrow_asked(&mut set, &workloads);
    let cases = test_case::take(root, &teams, out);
    bucket::check(&set, &workloads, &services, out);
    delegation::check_size(&set, &workloads, out);
    // Indices of workloads hold only if every one of them was read.
    if out.has_errors() {
        return None;
    }
    let suspects = overlap::find(&set, &workloads, &services, &trust_domain);
    suspects.mark(&mut set);
    let tests = cases.unwrap_or_default();
    let declared = Declared { schedules: schedules.into_values().collect(), credentials, tests, teams };
    let policy = Policy::new(Data::new(generation, trust_domain, services, hosts, workloads, set, declared));
    suspects.report(&policy, out);
    check(&policy, out);
    // Rules that name what is wrong elsewhere are missing: no test could say anything.
    if tested && !out.has_errors() && !incomplete {
        test_case::report(&policy, out);
    }
    Some(policy)
}

/// What a rule asks of its callers, only the attestors can say that its workloads name.
fn narrow_asked(set: &mut RuleSet, workloads: &[Workload]) {
    for rule in &mut set.rules {
        let Who::Workloads(named) = &rule.who else { continue };
        let attested_by: Vec<&[String]> =
            named.iter().filter_map(|at| workloads.get(*at)).map(|workload| workload.attested_by.as_slice()).collect();
        if attested_by.iter().any(|names| names.is_empty()) {
            continue;
        }
        let mut names = attested_by.concat();
        names.sort_unstable();
        names.dedup();
        for asked in &mut rule.asked {
            if let Wanted::Attribute { of, .. } = &mut asked.wanted {
                of.clone_from(&names);
            }
        }
    }
}

/// The rules, and a workload for each team of which a rule means everyone.
fn take_rules(root: &mut Table, scope: Scope<'_>, out: &mut Diagnostics) -> (RuleSet, Vec<Workload>) {
    let mut linker = Linker::new(scope);
    let mut first: HashMap<String, (RuleKind, Location)> = HashMap::new();
    for kind in [RuleKind::Allow, RuleKind::Deny] {
        for (name, table) in root.named_tables(kind.as_str(), out) {
            if let Some((other, location)) = first.get(&name.value) {
                let message = format!("`{}` is the name of an {} already ({location})", name.value, other.as_str());
                out.error(&name.location, table.key(), message)
                    .help("a rule's name stands once, so that a record of it is clear");
            }
            first.insert(name.value.clone(), (kind, name.location.clone()));
            linker.take(kind, name, table, out);
        }
    }
    linker.finish()
}
