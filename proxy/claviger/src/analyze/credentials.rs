//! Where secrets may go, and to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use claviger_credential::Credentials;
use claviger_policy::Policy;
use claviger_policy::analyze::{Code, Finding};

use super::owner::owner;

pub(super) fn find(credentials: &Credentials, policy: &Policy, out: &mut Vec<Finding>) {
    let facts = credentials.facts();
    let place = |name: &str| facts.iter().find(|facts| facts.name.value == name).map(|facts| &facts.name.location);
    for (name, references) in credentials.unbound() {
        let Some(place) = place(&name) else { continue };
        let references: Vec<String> = references.iter().map(|reference| format!("`{reference}`")).collect();
        let message = format!(
            "nothing but the configuration says where {} may go: whoever may change it may send the value elsewhere",
            references.join(", ")
        );
        let help = "declare `bindings` for its store in a file that fewer people may change, or seal the value with `claviger secret set`";
        out.push(Finding::new(Code::BindingInConfiguration, format!("credential.{name}"), place, message).help(help));
    }
    let mut services: BTreeMap<&Arc<str>, BTreeSet<&Arc<str>>> = BTreeMap::new();
    for (service, credential, _) in policy.uses() {
        services.entry(credential).or_default().insert(service);
    }
    for (credential, services) in services {
        let Some(place) = place(credential) else { continue };
        let routes = services.iter().filter_map(|service| policy.service(service));
        let owners: BTreeSet<String> = routes.flat_map(|route| route.hosts()).filter_map(owner).collect();
        if owners.len() < 2 {
            continue;
        }
        let owners: Vec<String> = owners.into_iter().map(|owner| format!("`{owner}`")).collect();
        let message = format!("it is sent to hosts of several owners: {}", owners.join(", "));
        let help = "each owner can use it at the others; issue one for each, and bind it there";
        out.push(Finding::new(Code::SeveralOwners, format!("credential.{credential}"), place, message).help(help));
    }
}
