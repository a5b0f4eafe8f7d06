//! Real secrets, which a client process is not to have.

use std::collections::BTreeSet;

use claviger_wire::ClientSettings;
use claviger_wire::preset::About;

use super::{Endpoint, Environment, Inherited};

/// Claviger's own: the key that opens the sealed store.
const OWN: [&str; 1] = ["CLAVIGER_KEY"];

/// URLs in which a user and a password may stand.
const URLS: [&str; 9] = [
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "npm_config_registry",
    "NPM_CONFIG_REGISTRY",
    "GOPROXY",
];

/// Takes away what presets, used or not, and the session's services know as secrets, and what the configuration itself
/// reads. Clients of a service of the session get its placeholder there. `endpoint.pass` keeps single variables.
pub(super) fn withhold(endpoint: &Endpoint, presets: &[About], inherited: Inherited<'_>, made: &mut Environment) {
    let of = |client: &ClientSettings| [client.secrets.clone(), client.withheld.clone()].concat();
    let known = presets.iter().flat_map(|about| of(&about.client));
    let used = endpoint.services.iter().flat_map(|service| of(&service.client));
    let all: BTreeSet<String> =
        known.chain(used).chain(endpoint.withheld.iter().cloned()).chain(OWN.map(str::to_owned)).collect();
    for name in all.iter().filter(|name| !endpoint.pass.contains(*name)) {
        made.remove(name);
    }
    for service in &endpoint.services {
        for (name, value) in &service.client.variables {
            // What clients merely want to be told: the user's own says it as well.
            if inherited(name).is_none() || all.contains(name) {
                made.set(name, value);
            }
        }
        let Some(placeholder) = &service.client.placeholder else { continue };
        for name in service.client.secrets.iter().filter(|name| !endpoint.pass.contains(*name)) {
            made.set(name, placeholder);
        }
    }
    for name in URLS.into_iter().filter(|name| !endpoint.pass.contains(*name)) {
        let Some(value) = inherited(name).and_then(|value| value.into_string().ok()) else { continue };
        let without = value.split_inclusive([' ', ',', '|']).map(without_user).collect::<String>();
        if without != value {
            made.set(name, without);
        }
    }
}

/// `scheme://user:password@host/` without what stands before the `@`.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{path}"),
        None => url.to_owned(),
    }
}
