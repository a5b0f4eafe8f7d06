//! What a probe needs of a configuration: its services, and its credentials with a new value in place. Whatever else is
//! wrong with the file does not matter.

use std::sync::Arc;

use claviger_credential::{Candidate, CredentialEnv, Credentials, Login, SealedStore};
use claviger_policy::document::Diagnostics;
use claviger_policy::{CredentialFacts, HostPattern};
use claviger_wire::{Check, Service, Verdict};

use super::services::{self, ServiceParts};
use super::{Draft, Env, Stands, teams};
use crate::issuer;

/// Services and credentials, with a value that is not in force yet.
pub(crate) struct Probing {
    services: Vec<ServiceParts>,
    credentials: Credentials,
    /// What was found wrong on the way.
    pub(crate) found: Diagnostics,
}

/// A service that the value may be sent to, by one of the credentials that read it.
pub(crate) struct Use<'a> {
    parts: &'a ServiceParts,
    credential: Arc<str>,
}

impl Draft {
    /// The sealed store of that name; without one, `out` may say why.
    pub(crate) fn sealed_store(mut self, name: &str, out: &mut Diagnostics) -> Option<SealedStore> {
        SealedStore::named(&mut self.root, &self.state_dir, name, out)
    }

    /// Services and credentials as they would be with this value.
    pub(crate) fn with_candidate(self, candidate: Candidate, env: &Env) -> Probing {
        self.probing(Some(candidate), env)
    }

    /// Services and credentials as they are.
    pub(crate) fn with_logins(self, env: &Env) -> Probing {
        self.probing(None, env)
    }

    fn probing(mut self, candidate: Option<Candidate>, env: &Env) -> Probing {
        let mut found = Diagnostics::default();
        let (services, shorthands) = services::take(&mut self.root, &mut found);
        let teams = match &self.trust_domain {
            Some(domain) => {
                let (root, teams) = teams::take(self.root, &self.teams, &Stands::new(), domain, &services, &mut found);
                self.root = root;
                teams.scopes
            }
            None => Vec::new(),
        };
        let tokens = issuer::tokens(self.issuer.map(|table| table.issuer(&self.state_dir, env)).as_ref());
        let env = CredentialEnv {
            state_dir: self.state_dir,
            outbound: env.outbound.clone(),
            clock: env.clock.clone(),
            events: env.events.clone(),
            tokens,
            renewer: env.renewer.clone(),
            runtime: env.control.clone(),
            teams,
        };
        let credentials = match candidate {
            Some(candidate) => Credentials::take_with(&mut self.root, shorthands, &env, candidate, &mut found),
            None => Credentials::take(&mut self.root, shorthands, &env, None, &mut found),
        };
        Probing { services, credentials, found }
    }
}

impl Probing {
    /// Of one service by itself, with its credential.
    pub(super) fn of(parts: ServiceParts, credentials: Credentials, found: Diagnostics) -> Self {
        Self { services: vec![parts], credentials, found }
    }

    /// The first service, with the credential of that name.
    pub(super) fn first<'a>(&'a self, credential: &str) -> Option<Use<'a>> {
        Some(Use { parts: self.services.first()?, credential: credential.into() })
    }

    /// How to log in for what is called so: a credential; else the credentials that a service of that name may get.
    pub(crate) fn logins(&self, written: &str) -> Vec<Login> {
        if let Some(login) = self.credentials.login(written) {
            return vec![login];
        }
        let Some(parts) = self.services.iter().find(|parts| &**parts.route.name() == written) else {
            return Vec::new();
        };
        let facts = self.credentials.facts();
        let serves = |facts: &CredentialFacts| {
            let served =
                |host: &HostPattern| parts.route.hosts().iter().any(|own| host.covers(own) || own.covers(host));
            facts.hosts.iter().any(served)
        };
        facts
            .iter()
            .filter(|facts| serves(facts))
            .filter_map(|facts| self.credentials.login(&facts.name.value))
            .collect()
    }

    /// The credentials that somebody logs in for.
    pub(crate) fn all_logins(&self) -> Vec<String> {
        let names = self.credentials.facts().into_iter().map(|facts| facts.name.value);
        names.filter(|name| self.credentials.login(name).is_some()).collect()
    }

    /// Whether a service is called so.
    pub(crate) fn has_service(&self, name: &str) -> bool {
        self.services.iter().any(|parts| &**parts.route.name() == name)
    }

    /// Where a secret may be injected: every service whose host is one of its credential's, and whose injection has the
    /// fields that the credential has. One credential for each service.
    pub(crate) fn uses(&self, store: &str, name: &str) -> Vec<Use<'_>> {
        let reading = self.credentials.reading(store, name);
        let facts = self.credentials.facts();
        let may_go = |parts: &ServiceParts, credential: &str| {
            let facts = facts.iter().find(|facts| facts.name.value == credential);
            let mut hosts = facts.iter().flat_map(|facts| &facts.hosts);
            hosts.any(|host| parts.route.hosts().iter().any(|served| host.covers(served) || served.covers(host)))
        };
        let fits = |parts: &ServiceParts, credential: &str| {
            !parts.plan.is_empty()
                && parts.plan.fields().into_iter().all(|field| self.credentials.has_field(credential, field))
                && may_go(parts, credential)
        };
        let one = |parts| {
            let credential = reading.iter().find(|credential| fits(parts, credential))?.clone();
            Some(Use { parts, credential })
        };
        self.services.iter().filter_map(one).collect()
    }

    /// Sends the service's check call with the credential. Call it within a `LocalSet`.
    pub(crate) async fn ask(&self, used: &Use<'_>, check: &Check) -> Verdict {
        let ServiceParts { route, settings, plan } = used.parts;
        match Service::new(route, settings, plan.clone(), None) {
            Ok(service) => claviger_wire::probe(&service, route, check, &self.credentials, &used.credential).await,
            Err(error) => Verdict::Undecided(format!("TLS cannot be set up: {error}")),
        }
    }

    /// Whether the service searches its answers for the value and could not find this one.
    pub(crate) fn is_too_short(&self, used: &Use<'_>) -> bool {
        let plan = &used.parts.plan;
        plan.guards() && plan.fields().into_iter().any(|field| self.credentials.is_too_short(&used.credential, field))
    }
}

impl Use<'_> {
    /// `[service.NAME]`.
    pub(crate) fn service(&self) -> &str {
        self.parts.route.name()
    }

    /// The call that shows whether the service takes a credential.
    pub(crate) fn check(&self) -> Option<&Check> {
        self.parts.settings.check.as_ref()
    }
}
