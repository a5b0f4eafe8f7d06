//! Base URLs of clients. A client that takes a proxy needs none, and one would change what a program logs and signs; so
//! one is set only where a service does not live at the hosts that its clients know by themselves.

use claviger_wire::preset::About;

use super::{Endpoint, Environment, Inherited};

/// Points clients at services of other hosts, and takes base URLs away that lead past every service of the session.
pub(super) fn point(endpoint: &Endpoint, presets: &[About], inherited: Inherited<'_>, made: &mut Environment) {
    for service in &endpoint.services {
        for (variable, path) in &service.client.base_urls {
            if endpoint.pass.contains(variable) {
                continue;
            }
            let own = inherited(variable).and_then(|url| host_of(url.to_str()?));
            let is_here = |host: &str| service.hosts.iter().any(|known| known == host);
            if own.as_deref().is_some_and(is_here) {
                continue;
            }
            let mut usual = presets.iter().filter(|about| about.client.base_urls.contains_key(variable));
            let host = service.hosts.iter().find(|host| !host.contains('*'));
            match host {
                Some(host) if !usual.any(|about| about.hosts.contains(host)) => {
                    let base = match &endpoint.gateway {
                        // Most likely without TLS, and clients take no proxy to where they themselves are.
                        Some(gateway) if is_loopback(host) => format!("{gateway}/{}", service.name),
                        Some(_) | None => format!("https://{host}"),
                    };
                    made.set(variable, format!("{base}{path}"));
                }
                Some(_) | None if own.is_some() => made.remove(variable),
                Some(_) | None => {}
            }
        }
    }
}

/// Whether a service lives on this machine.
fn is_loopback(host: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|own| host == *own || host.starts_with(&format!("{own}:")))
}

/// `host` or `host:port` of a URL, as services write it.
fn host_of(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    let host = url.host_str()?.to_owned();
    Some(url.port().map_or(host.clone(), |port| format!("{host}:{port}")))
}
