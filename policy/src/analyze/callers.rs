//! Who can be attested at all, and what is known of them: workloads that nothing attests, and conditions that are
//! unknown for everyone whom they concern. An allow with an unknown condition never matches; a deny always fires.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::condition::Kind;
use crate::document::Location;
use crate::policy::Data;
use crate::principal::Principal;
use crate::rule::{Rule, RuleKind, Who};
use crate::workload::{IdPattern, Workload};

use super::rules::subject;
use super::{Code, Finding};

/// What is known of one attestor.
#[derive(Clone, Debug)]
pub struct AttestorFacts {
    /// Its name.
    pub name: Arc<str>,
    /// Where it stands.
    pub location: Location,
    /// The SPIFFE IDs that it can yield, at least.
    pub identities: Vec<IdPattern>,
    /// The names of the attributes that it can yield.
    pub attributes: Vec<Arc<str>>,
    /// Whether something else relies on it: another attestor that a listener asks, or the administration.
    pub is_relied_on: bool,
    /// The listeners that ask it.
    pub listeners: Vec<Clients>,
}

/// Where the clients of a listener come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// A Unix socket: they have no address.
    UnixSocket,
    /// A loopback address: theirs is one of this machine.
    Loopback,
    /// Any other address.
    Network,
}

pub(super) fn find(data: &Data, attestors: &[AttestorFacts], out: &mut Vec<Finding>) {
    for attestor in attestors.iter().filter(|attestor| attestor.listeners.is_empty() && !attestor.is_relied_on) {
        let subject = format!("attestor.{}", attestor.name);
        let finding = Finding::new(Code::AttestorUnused, subject, &attestor.location, "no listener asks it");
        out.push(finding.help("name it in `authenticate` of a listener, or remove it"));
    }
    // Without a listener nobody is served, which is said at load.
    if attestors.iter().all(|attestor| attestor.listeners.is_empty()) {
        return;
    }
    let attestors: Vec<AttestorFacts> = attestors.iter().cloned().chain(session(data)).collect();
    let view = View { data, attestors: &attestors };
    let vouching: Vec<Vec<&AttestorFacts>> = data.workloads.iter().map(|workload| view.vouching(workload)).collect();
    let named: BTreeSet<usize> =
        data.set.rules.iter().filter_map(|rule| rule.who.workloads()).flatten().copied().collect();
    // Of one that no rule names, this matters to nobody.
    for (at, (workload, vouching)) in data.workloads.iter().zip(&vouching).enumerate() {
        if named.contains(&at) {
            view.workload(workload, vouching, out);
        }
    }
    for rule in &data.set.rules {
        view.rule(rule, &vouching, out);
    }
}

/// A session of `claviger exec` has no table: it vouches for the workloads that permit it, and says `exec.…` of them as
/// whoever starts it likes.
fn session(data: &Data) -> Option<AttestorFacts> {
    let permitting = || data.workloads.iter().filter(|workload| workload.exec);
    let location = permitting().next()?.location.clone();
    let of_rules = data.set.rules.iter().flat_map(|rule| super::contain::named(&rule.principal_conditions));
    let of_workloads = data.workloads.iter().flat_map(|workload| &workload.attributes).map(|(name, _)| name);
    let asked = of_rules.map(|(name, _)| name).chain(of_workloads);
    Some(AttestorFacts {
        name: Principal::EXEC_SESSION.into(),
        location,
        identities: permitting().flat_map(|workload| workload.ids.clone()).collect(),
        attributes: asked.filter(|name| name.starts_with("exec.")).cloned().collect(),
        is_relied_on: true,
        listeners: vec![Clients::Loopback],
    })
}

struct View<'a> {
    data: &'a Data,
    attestors: &'a [AttestorFacts],
}

impl<'a> View<'a> {
    /// The attestors that a listener asks and that may yield the workload.
    fn vouching(&self, workload: &Workload) -> Vec<&'a AttestorFacts> {
        let asked = self.attestors.iter().filter(|attestor| !attestor.listeners.is_empty());
        let permits = |attestor: &AttestorFacts| workload.exec || *attestor.name != *Principal::EXEC_SESSION;
        asked
            .filter(|attestor| permits(attestor) && is_named(workload, attestor) && yields(attestor, &workload.ids))
            .collect()
    }

    fn workload(&self, workload: &Workload, vouching: &[&AttestorFacts], out: &mut Vec<Finding>) {
        let finding = |code, message: String| {
            Finding::new(code, format!("workload.{}", workload.name), &workload.location, message)
        };
        let silent: Vec<&AttestorFacts> = self
            .attestors
            .iter()
            .filter(|attestor| {
                attestor.listeners.is_empty() && is_named(workload, attestor) && yields(attestor, &workload.ids)
            })
            .collect();
        if vouching.is_empty() {
            let help = match silent.first() {
                Some(attestor) => {
                    format!("attestor `{0}` would: name it in `authenticate` of a listener", attestor.name)
                }
                None => "mend `spiffe`, or the `identity` of an attestor; `attested_by` narrows it further".to_owned(),
            };
            let ids: Vec<String> = workload.ids.iter().map(|id| format!("`{id}`")).collect();
            let message = format!("no attestor that a listener asks yields {}", ids.join(", "));
            out.push(finding(Code::NotAttested, message).help(help));
            return;
        }
        for attestor in
            silent.iter().filter(|attestor| workload.attested_by.iter().any(|name| **name == *attestor.name))
        {
            let message = format!("it may be attested by `{}`, which no listener asks", attestor.name);
            let finding = finding(Code::AttestorNotAsked, message)
                .related(&attestor.location, format!("attestor `{}`", attestor.name));
            out.push(finding.help("name it in `authenticate` of a listener, or leave it out here"));
        }
        for (name, _) in &workload.attributes {
            if !vouching.iter().any(|attestor| attestor.attributes.contains(name)) {
                let message = format!(
                    "`{name}` is never known of it, for {}: its allows never match, its denies always fire",
                    unyielded(vouching)
                );
                out.push(
                    finding(Code::MatchNeverKnown, message)
                        .help("let the attestor yield it with `attributes`, or leave it out of `match`"),
                );
            }
        }
    }

    /// The attestors of the callers whom a rule may concern, with the attributes that it asks of them.
    fn concerned(
        &self,
        rule: &'a Rule,
        vouching: &[Vec<&'a AttestorFacts>],
    ) -> Vec<(&'a AttestorFacts, BTreeSet<&'a Arc<str>>)> {
        let own: BTreeSet<&Arc<str>> =
            super::contain::named(&rule.principal_conditions).map(|(name, _)| name).collect();
        match &rule.who {
            Who::Anyone => {
                let home = IdPattern::whole(&self.data.trust_domain);
                let asked = self.attestors.iter().filter(|attestor| !attestor.listeners.is_empty());
                let concerned = asked
                    .filter(|attestor| rule.kind == RuleKind::Deny || yields(attestor, std::slice::from_ref(&home)));
                concerned.map(|attestor| (attestor, own.clone())).collect()
            }
            Who::Workloads(workloads) => {
                let all = workloads.iter().filter_map(|at| Some((self.data.workloads.get(*at)?, vouching.get(*at)?)));
                all.flat_map(|(workload, vouching)| {
                    // What is never known of the workload is said there.
                    let known = |name: &&Arc<str>| vouching.iter().any(|attestor| attestor.attributes.contains(*name));
                    let matched = workload.attributes.iter().map(|(name, _)| name).filter(known);
                    let asked: BTreeSet<&Arc<str>> = own.iter().copied().chain(matched).collect();
                    vouching.iter().map(move |attestor| (*attestor, asked.clone()))
                })
                .collect()
            }
        }
    }

    fn rule(&self, rule: &'a Rule, vouching: &[Vec<&'a AttestorFacts>], out: &mut Vec<Finding>) {
        let concerned = self.concerned(rule, vouching);
        if concerned.is_empty() {
            return;
        }
        let finding = |code, message: String| Finding::new(code, subject(rule), &rule.location, message);
        let own = super::contain::named(&rule.principal_conditions).map(|(name, _)| name).collect::<BTreeSet<_>>();
        let mut lost = BTreeSet::new();
        for name in own {
            if !concerned.iter().any(|(attestor, _)| attestor.attributes.contains(name)) {
                lost.insert(name);
                let attestors: Vec<&AttestorFacts> = concerned.iter().map(|(attestor, _)| *attestor).collect();
                let message = format!("{}: `{name}` is never known, for {}", outcome(rule), unyielded(&attestors));
                out.push(
                    finding(Code::NeverKnown, message)
                        .help("let the attestor yield it with `attributes`, or drop the condition"),
                );
            }
        }
        if rule.kind == RuleKind::Deny {
            let lacks = |(attestor, asked): &&(&AttestorFacts, BTreeSet<&Arc<str>>)| {
                asked.iter().any(|name| !lost.contains(name) && !attestor.attributes.contains(name))
            };
            let lacking: Vec<&AttestorFacts> = concerned.iter().filter(lacks).map(|(attestor, _)| *attestor).collect();
            let missing = concerned.iter().filter(lacks).find_map(|(attestor, asked)| {
                asked.iter().find(|name| !lost.contains(**name) && !attestor.attributes.contains(**name))
            });
            if let Some(name) = missing {
                let attestors = names(&lacking).join(" or ");
                let what = if is_alone(rule) {
                    format!("it fires for every caller that it concerns and {attestors} attests")
                } else {
                    format!("`{name}` never keeps it from firing for callers that {attestors} attests")
                };
                let message =
                    format!("{what}: `{name}` is unknown of them, and a deny holds unless it is known not to");
                out.push(finding(Code::DenyOnUnknown, message).help(
                    "if only callers with that attribute are meant, name a workload with `attested_by` in `who`",
                ));
            }
        }
        self.addresses(rule, &concerned, out);
    }

    fn addresses(&self, rule: &Rule, concerned: &[(&AttestorFacts, BTreeSet<&Arc<str>>)], out: &mut Vec<Finding>) {
        let Some(condition) = rule.request_conditions.iter().find(|one| matches!(one.kind, Kind::SourceIp { .. }))
        else {
            return;
        };
        let finding = |code, message: String| Finding::new(code, subject(rule), &rule.location, message);
        let clients: Vec<Clients> =
            concerned.iter().flat_map(|(attestor, _)| attestor.listeners.iter().copied()).collect();
        if clients.iter().all(|clients| *clients == Clients::UnixSocket) {
            let message =
                format!("{}: its callers come over Unix sockets and have no address (`{condition}`)", outcome(rule));
            out.push(
                finding(Code::NeverKnown, message).help("drop the condition, or let a TCP listener ask their attestor"),
            );
            return;
        }
        if rule.kind == RuleKind::Deny && clients.contains(&Clients::UnixSocket) {
            let what = if is_alone(rule) {
                "it fires for every caller"
            } else {
                "that never keeps it from firing for callers"
            };
            let message = format!(
                "`{condition}` is not known to be false of callers over a Unix socket, who have no address: {what} that it concerns there"
            );
            out.push(
                finding(Code::AddressUnknown, message)
                    .help("say so in `why` if that is meant, or name in `who` whom the address matters of"),
            );
        }
        if clients.iter().all(|clients| *clients != Clients::Network) && !holds_on_loopback(rule) {
            let verb = if rule.kind == RuleKind::Deny { "fires" } else { "matches" };
            let message = format!(
                "it hardly ever {verb}: its callers come over loopback listeners, whose clients have an address of this machine (`{condition}`)"
            );
            out.push(
                finding(Code::AddressLoopback, message)
                    .help("bind the listener to the network that the clients come from, or drop the condition"),
            );
        }
    }
}

/// What an unknown condition makes of a rule.
fn outcome(rule: &Rule) -> &'static str {
    match rule.kind {
        RuleKind::Allow => "it never matches",
        RuleKind::Deny if is_alone(rule) => "it fires for everyone whom it concerns",
        RuleKind::Deny => "one of its conditions never keeps it from firing",
    }
}

/// Whether a rule has one condition only.
fn is_alone(rule: &Rule) -> bool {
    rule.principal_conditions.len() + rule.request_conditions.len() + rule.body_conditions.len() < 2
}

fn is_named(workload: &Workload, attestor: &AttestorFacts) -> bool {
    workload.attested_by.is_empty() || workload.attested_by.iter().any(|name| **name == *attestor.name)
}

fn yields(attestor: &AttestorFacts, ids: &[IdPattern]) -> bool {
    attestor.identities.iter().any(|theirs| ids.iter().any(|id| theirs.common(id).is_some()))
}

/// "attestor `a` does not yield it"
fn unyielded(attestors: &[&AttestorFacts]) -> String {
    match names(attestors).as_slice() {
        [one] => format!("attestor {one} does not yield it"),
        several => format!("none of the attestors {} yields it", several.join(", ")),
    }
}

fn names(attestors: &[&AttestorFacts]) -> Vec<String> {
    let names: BTreeSet<&str> = attestors.iter().map(|attestor| &*attestor.name).collect();
    names.into_iter().map(|name| format!("`{name}`")).collect()
}

fn holds_on_loopback(rule: &Rule) -> bool {
    let all = super::contain::nets_of(rule);
    let holds = |ip: &IpAddr| all.iter().all(|(nets, negated)| nets.iter().any(|net| net.contains(ip)) != *negated);
    // The first and the last address of 127.0.0.0/8 and of each set that begins within it, and `::1`.
    let edges = all.iter().flat_map(|(nets, _)| nets.iter()).map(ipnet::IpNet::network).filter(IpAddr::is_loopback);
    [IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 255, 255, 254]), std::net::Ipv6Addr::LOCALHOST.into()]
        .into_iter()
        .chain(edges)
        .any(|ip| holds(&ip))
}
