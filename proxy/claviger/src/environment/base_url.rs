//! Base URLs of clients. A client that takes a proxy needs none, and one would change what a program logs and signs; so
//! one is set only where a service does not live at the hosts that its clients know by themselves.

use claviger_wire::preset;

use super::{Endpoint, Environment, Inherited};

/// Points clients at services of other hosts, and takes base URLs away that lead past every service of the session.
pub(super) fn point(endpoint: &Endpoint, inherited: Inherited<'_>, made: &mut Environment) {
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
            let usual = preset::all().map(|preset| preset.about());
            let mut usual = usual.filter(|about| about.client.base_urls.contains_key(variable));
            let host = service.hosts.iter().find(|host| !host.contains('*'));
            match host {
                Some(host) if !usual.any(|about| about.hosts.contains(host)) => {
                    made.set(variable, format!("https://{host}{path}"));
                }
                Some(_) | None if own.is_some() => made.remove(variable),
                Some(_) | None => {}
            }
        }
    }
}

/// `host` or `host:port` of a URL, as services write it.
fn host_of(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    let host = url.host_str()?.to_owned();
    Some(url.port().map_or(host.clone(), |port| format!("{host}:{port}")))
}
