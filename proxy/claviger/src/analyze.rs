//! What is wrong with a configuration that loads. Rules are policy's matter; here stands what only the whole knows:
//! listeners, attestors, stores and transport.

mod credentials;
mod listeners;
mod owner;
mod services;

use std::net::SocketAddr;

use claviger_policy::ServiceRoute;
use claviger_policy::analyze::{AttestorFacts, Clients, Code, Finding, Options, Reported, settle};
use claviger_policy::document::{Diagnostic, Diagnostics, Located, Severity};
use claviger_wire::Bind;
use ipnet::IpNet;

use crate::config::Compiled;

/// What is kept of a configuration for this alone.
#[derive(Debug)]
pub(crate) struct Surface {
    pub(crate) services: Vec<ServiceSurface>,
    /// The read-only listener.
    pub(crate) admin: Option<Located<SocketAddr>>,
}

/// How one service is reached, and how its credential is written.
#[derive(Debug)]
pub(crate) struct ServiceSurface {
    pub(crate) route: ServiceRoute,
    pub(crate) injects: bool,
    pub(crate) in_url: bool,
    pub(crate) guards: bool,
    /// Whether `connect` says where it is dialled.
    pub(crate) dials: bool,
    pub(crate) allow_addresses: Vec<IpNet>,
}

/// All findings, by place; `load`: what was said when the configuration was compiled.
pub(crate) fn analyze(compiled: &Compiled, load: &Diagnostics, now: i64, soon: i64) -> Vec<Reported> {
    let generation = &compiled.generation;
    let named_workloads = compiled.access.workloads().map(str::to_owned).collect();
    let options = Options { now, soon, attestors: attestors(compiled), named_workloads };
    let mut found: Vec<Finding> = load.iter().filter(|one| one.severity == Severity::Warning).map(at_load).collect();
    found.extend(generation.policy.analyze(&options));
    services::find(&compiled.surface.services, &generation.policy, &mut found);
    credentials::find(&generation.credentials, &generation.policy, &mut found);
    listeners::find(&generation.listeners, compiled.surface.admin.as_ref(), &mut found);
    let mut all = settle(found, &compiled.suppressions, now);
    all.sort_by_cached_key(|reported| {
        let place =
            reported.finding.location.as_ref().map(|place| (place.file().to_owned(), place.line(), place.column()));
        (place, reported.finding.code, reported.finding.subject.clone())
    });
    all
}

/// What loading warned of, under its own code or the common one.
fn at_load(diagnostic: &Diagnostic) -> Finding {
    let (kind, name) = diagnostic.key.split_once('.').unwrap_or((&diagnostic.key, ""));
    let name = name.split('.').next().unwrap_or_default();
    let team = diagnostic.location.as_ref().and_then(|place| place.team());
    let subject = match team {
        Some(team) if !name.starts_with(&format!("{team}/")) => format!("{kind}.{team}/{name}"),
        Some(_) | None => [kind, name].join(if name.is_empty() { "" } else { "." }),
    };
    Finding {
        code: diagnostic.code.unwrap_or(Code::AtLoad),
        subject,
        location: diagnostic.location.clone(),
        message: diagnostic.message.clone(),
        help: diagnostic.help.clone(),
        related: Vec::new(),
    }
}

fn attestors(compiled: &Compiled) -> Vec<AttestorFacts> {
    let listeners = &compiled.generation.listeners;
    let clients = |name: &str| -> Vec<Clients> {
        let asking = listeners.iter().filter(|one| one.settings.authenticate.iter().any(|asked| asked.value == name));
        asking
            .map(|listener| match &listener.settings.bind {
                Bind::Unix(_) => Clients::UnixSocket,
                Bind::Tcp(address) if address.ip().is_loopback() => Clients::Loopback,
                Bind::Tcp(_) => Clients::Network,
            })
            .collect()
    };
    let remote = compiled.access.listener.as_ref().map(|listener| &listener.settings.authenticate);
    let administers = |name: &str| remote.is_some_and(|asked| asked.iter().any(|asked| asked.value == name));
    let profiles = compiled.attestors.profiles();
    profiles
        .iter()
        .filter_map(|profile| {
            let relies = |other: &&claviger_identity::Profile| other.verifier.as_ref() == Some(&profile.name);
            Some(AttestorFacts {
                name: profile.name.clone(),
                location: profile.location.clone()?,
                identities: profile
                    .identities
                    .iter()
                    .filter_map(|id| claviger_policy::IdPattern::parse(id).ok())
                    .collect(),
                attributes: profile.attributes.clone(),
                is_relied_on: administers(&profile.name)
                    || profiles.iter().find(relies).is_some_and(|other| !clients(&other.name).is_empty()),
                listeners: clients(&profile.name),
            })
        })
        .collect()
}
