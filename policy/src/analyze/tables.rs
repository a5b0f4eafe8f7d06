//! Workloads, schedules, credentials and services: who uses them, and how widely.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::condition::Kind;
use crate::pattern::segments;
use crate::policy::Data;
use crate::rule::{Rule, RuleKind, Who};
use crate::workload::IdPattern;
use crate::{CredentialUse, HostPattern, PathMode, Scheme, ServiceRoute};

use super::{Code, Finding, Options};

pub(super) fn find(data: &Data, options: &Options, out: &mut Vec<Finding>) {
    let injecting = injecting(data);
    workloads(data, &injecting, &options.named_workloads, out);
    schedules(data, out);
    credentials(data, out);
    services(data, out);
}

/// The allows that inject, with one of their credentials.
fn injecting(data: &Data) -> BTreeMap<usize, &Arc<str>> {
    let with = data.set.instances.iter().filter_map(|instance| match &instance.credential {
        CredentialUse::Named(name) => Some((instance.rule, name)),
        CredentialUse::None => None,
    });
    with.collect()
}

fn workloads(data: &Data, injecting: &BTreeMap<usize, &Arc<str>>, named_elsewhere: &[String], out: &mut Vec<Finding>) {
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); data.workloads.len()];
    for (at, rule) in data.set.rules.iter().enumerate() {
        let Who::Workloads(workloads) = &rule.who else { continue };
        for workload in workloads {
            if let Some(users) = users.get_mut(*workload) {
                users.push(at);
            }
        }
    }
    for (workload, users) in data.workloads.iter().zip(users) {
        let subject = || format!("workload.{}", workload.name);
        if users.is_empty() && named_elsewhere.iter().any(|name| *name == *workload.name) {
            continue;
        }
        if users.is_empty() {
            let finding = Finding::new(Code::WorkloadUnused, subject(), &workload.location, "no rule names it");
            out.push(finding.help("remove it, or name it in `who`"));
            continue;
        }
        let with = users.iter().find_map(|at| Some((data.set.rules.get(*at)?, *injecting.get(at)?)));
        let Some((rule, credential)) = with else { continue };
        if let Some(id) = workload.ids.iter().find(|id| is_broad(id)) {
            let message =
                format!("`{id}` is nearly everyone, and allow `{}` gives it credential `{credential}`", rule.name);
            let finding = Finding::new(Code::BroadWorkload, subject(), &workload.location, message);
            out.push(finding.help("name the first segment of the path").related(&rule.location, named(rule)));
        }
        if let Some(id) = workload.ids.iter().find(|id| id.domain != data.trust_domain) {
            let message = format!(
                "`{id}` is of another trust domain, and allow `{}` gives it credential `{credential}`",
                rule.name
            );
            let finding = Finding::new(Code::ForeignCredential, subject(), &workload.location, message);
            let help =
                "whoever runs that trust domain decides who this is; suppress this with the reason if that is meant";
            out.push(finding.help(help).related(&rule.location, named(rule)));
        }
    }
}

/// Whether an attested attribute narrows it, does not matter here: that is another's word about the caller's state.
fn is_broad(id: &IdPattern) -> bool {
    id.path.as_ref().is_some_and(|path| matches!(segments(path.as_str()).next(), Some("*" | "**")))
}

fn named(rule: &Rule) -> String {
    format!("{} `{}`", rule.kind.as_str(), rule.name)
}

fn schedules(data: &Data, out: &mut Vec<Finding>) {
    let conditions = data.set.rules.iter().flat_map(|rule| &rule.request_conditions);
    let used: BTreeSet<*const _> = conditions
        .filter_map(|condition| match &condition.kind {
            Kind::Time { schedule, .. } => Some(Arc::as_ptr(schedule)),
            Kind::SourceIp { .. } | Kind::Attribute { .. } | Kind::Body { .. } => None,
        })
        .collect();
    for schedule in data.declared.schedules.iter().filter(|schedule| !used.contains(&Arc::as_ptr(schedule))) {
        let name = &schedule.name;
        let subject = format!("schedule.{}", name.value);
        out.push(Finding::new(Code::ScheduleUnused, subject, &name.location, "no rule uses it").help("remove it"));
    }
}

fn credentials(data: &Data, out: &mut Vec<Finding>) {
    let mut used: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for instance in &data.set.instances {
        if let CredentialUse::Named(name) = &instance.credential {
            used.entry(name).or_default().insert(instance.service);
        }
    }
    for facts in &data.declared.credentials {
        let (name, subject) = (&facts.name, format!("credential.{}", facts.name.value));
        let Some(services) = used.get(name.value.as_str()) else {
            let finding = Finding::new(Code::CredentialUnused, subject, &name.location, "no rule injects it");
            out.push(finding.help("remove it, and revoke it where it was issued, or name it in `use`"));
            continue;
        };
        let services: Vec<&ServiceRoute> = services.iter().filter_map(|at| data.services.get(*at)).collect();
        let claimed =
            |bound: &&HostPattern| services.iter().flat_map(|service| service.hosts()).any(|host| host.covers(bound));
        let beyond: Vec<String> =
            facts.hosts.iter().filter(|bound| !claimed(bound)).map(|bound| format!("`{bound}`")).collect();
        if beyond.is_empty() {
            continue;
        }
        let names: Vec<String> = services.iter().map(|service| format!("`{}`", service.name())).collect();
        let of = if names.len() == 1 { "service" } else { "services" };
        let message = format!("it may go to {}, which is more than {of} {} need", beyond.join(", "), names.join(", "));
        out.push(
            Finding::new(Code::BindingWide, subject, &name.location, message)
                .help("narrow it with `hosts`, or seal it anew for the hosts that it is used at"),
        );
    }
}

fn services(data: &Data, out: &mut Vec<Finding>) {
    let mut uses: Vec<Uses<'_>> = data.services.iter().map(|_| Uses::default()).collect();
    for instance in &data.set.instances {
        let Some(uses) = uses.get_mut(instance.service) else { continue };
        let Some(rule) = data.set.rules.get(instance.rule) else { continue };
        uses.allowed |= rule.kind == RuleKind::Allow;
        if let CredentialUse::Named(name) = &instance.credential {
            uses.credential.get_or_insert(name);
        }
        let mut operations = instance.operations.iter().filter_map(|id| data.set.operations.get(*id as usize));
        if operations.any(|op| op.path.as_str() != "/**") {
            uses.by_path.get_or_insert(rule);
        }
    }
    for (service, uses) in data.services.iter().zip(&uses) {
        let found = |code, message: String| {
            Finding::new(code, format!("service.{}", service.name()), service.location(), message)
        };
        if !uses.allowed {
            let message = "no rule allows anything at it, so that nobody can use it";
            let help = format!("add an `[allow.NAME]` with `to = \"{}\"`, or remove it", service.name());
            out.push(found(Code::ServiceWithoutRule, message.to_owned()).help(help));
        }
        if service.scheme() == Scheme::Http && !service.hosts().iter().all(is_local) {
            out.push(match uses.credential {
                Some(name) => {
                    let message = format!(
                        "`cleartext = true`: credential `{name}` can be read, and used, by whoever is on the way"
                    );
                    found(Code::CleartextCredential, message)
                        .help("let the upstream speak TLS; `ca` takes a root for it alone")
                }
                None => {
                    let message = "`cleartext = true`: requests and answers can be read and changed on the way";
                    found(Code::Cleartext, message.to_owned())
                        .help("let the upstream speak TLS; `ca` takes a root for it alone")
                }
            });
        }
        if let (Some(name), Some(host)) = (uses.credential, service.hosts().iter().find(|host| host.is_wildcard())) {
            let message = format!(
                "credential `{name}` goes to every host of `{host}`, also to one that somebody else sets up or takes over"
            );
            out.push(found(Code::WildcardHost, message).help("list the hosts"));
        }
        if let (mode, Some(rule)) = (service.path_mode(), uses.by_path)
            && mode != PathMode::Strict
        {
            let word = PathMode::WORDS.iter().find(|(_, value)| *value == mode).map_or("", |(word, _)| word);
            let message = format!(
                "`path_mode = \"{word}\"`: {} tells paths apart that the upstream may read as others",
                named(rule)
            );
            let help =
                "use \"strict\" unless names need it; where they do, split the service by hosts rather than by paths";
            out.push(found(Code::LoosePaths, message).help(help).related(&rule.location, named(rule)));
        }
    }
}

/// What the rules make of a service.
#[derive(Clone, Copy, Default)]
struct Uses<'a> {
    allowed: bool,
    credential: Option<&'a Arc<str>>,
    /// A rule that tells paths apart.
    by_path: Option<&'a Rule>,
}

/// Whether it never leaves the machine.
fn is_local(host: &HostPattern) -> bool {
    host.host().as_str() == "localhost" || host.host().is_ip().is_some_and(|ip| ip.is_loopback())
}
