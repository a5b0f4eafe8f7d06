//! `[service.NAME]`: each part of Claviger takes its keys from the one table.

use claviger_credential::{InjectionPlan, ServiceSecret};
use claviger_policy::document::{self, Diagnostics, Located, Table};
use claviger_policy::{Scheme, ServiceRoute};
use claviger_wire::{ServiceSettings, preset};

use crate::analyze::ServiceSurface;
use crate::environment::ClientService;

/// One service between its parts: policy's route, wire's settings, credential's plan.
pub(super) struct ServiceParts {
    pub(super) route: ServiceRoute,
    pub(super) settings: ServiceSettings,
    pub(super) plan: InjectionPlan,
}

impl ServiceParts {
    /// As its clients see it.
    pub(super) fn client(&self) -> ClientService {
        ClientService {
            name: self.route.name().to_string(),
            hosts: self.route.hosts().iter().map(ToString::to_string).collect(),
            client: self.settings.client.clone(),
        }
    }

    /// What `analyze` looks at.
    pub(super) fn surface(&self) -> ServiceSurface {
        ServiceSurface {
            route: self.route.clone(),
            injects: !self.plan.is_empty(),
            in_url: self.plan.in_url(),
            guards: self.plan.guards(),
            dials: self.settings.connect.is_some(),
            allow_addresses: self.settings.allow_addresses.clone(),
        }
    }
}

/// Takes all of them; a service that is wrong is reported and left out.
pub(super) fn take(root: &mut Table, out: &mut Diagnostics) -> (Vec<ServiceParts>, Vec<ServiceSecret>) {
    let mut services = Vec::new();
    let mut shorthands = Vec::new();
    for (name, mut table) in root.named_tables("service", out) {
        if let Some(wanted) = table.string("preset", out) {
            match preset::find(&wanted.value) {
                Some(preset) => {
                    if !preset.complete(&mut table, out) {
                        continue;
                    }
                }
                // What the preset would have said is not known: nothing more can be said about the service.
                None => {
                    let key = table.key_of("preset");
                    let near = document::nearest(&wanted.value, preset::names());
                    let help = match near {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "`claviger preset list` shows them all".to_owned(),
                    };
                    out.error(&wanted.location, key, format!("`{}` is no preset", wanted.value)).help(help);
                    continue;
                }
            }
        }
        let Some((parts, secret)) = one(name, table, out) else { continue };
        services.push(parts);
        shorthands.extend(secret);
    }
    (services, shorthands)
}

/// One service, its preset filled in, and its secret where it is written in short.
pub(super) fn one(
    name: Located<String>,
    mut table: Table,
    out: &mut Diagnostics,
) -> Option<(ServiceParts, Option<ServiceSecret>)> {
    let secret = table.string("secret", out);
    let injects = table.has("inject");
    let route = ServiceRoute::take(name.clone(), &mut table, out);
    let scheme = route.as_ref().map_or(Scheme::Https, ServiceRoute::scheme);
    let hosts = route.as_ref().map_or(&[][..], ServiceRoute::hosts);
    // Without `inject` nothing is written into requests, which is right for open services only.
    let plan = InjectionPlan::take(&mut table, hosts, scheme, out).unwrap_or_default();
    if let Some(reference) = &secret
        && !injects
    {
        out.error(
            &reference.location,
            table.key_of("secret"),
            "the service has a secret but does not say how it is injected",
        )
        .help("add `inject = \"bearer\"`, or `inject = { header = \"x-api-key\" }`, or a `preset`");
    }
    let login = table.place_of("login").cloned();
    let settings = ServiceSettings::take(scheme, hosts, &mut table, out);
    if let Some(place) = login.filter(|_| plan.is_empty() && settings.login.is_some()) {
        out.error(&place, table.key_of("login"), "clients log in, but nothing is injected in place of what they get")
            .help("add `inject = \"bearer\"`, or `inject = { header = \"x-vault-token\" }`");
    }
    table.finish(out);
    let route = route?;
    let secret = secret.map(|reference| {
        let hosts = route.hosts().to_vec();
        ServiceSecret { service: name, reference, hosts, scheme: route.scheme() }
    });
    Some((ServiceParts { route, settings, plan }, secret))
}
