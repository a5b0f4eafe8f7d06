//! What is reached without the proxy: the client's own machine, and what the user listed, as long as that leads no
//! service around the proxy.

use std::net::IpAddr;

use super::{ClientService, Inherited};

/// Always, unless a service lives there.
const OWN: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The value of `NO_PROXY`.
pub(super) fn no_proxy(services: &[ClientService], inherited: Inherited<'_>) -> String {
    let hosts: Vec<String> = services.iter().flat_map(|service| &service.hosts).map(|host| bare(host)).collect();
    let users: Vec<String> = ["NO_PROXY", "no_proxy"]
        .iter()
        .filter_map(|name| inherited(name)?.into_string().ok())
        .flat_map(|list| list.split([',', ' ']).map(|entry| entry.trim().to_ascii_lowercase()).collect::<Vec<_>>())
        .collect();
    let mut kept: Vec<&str> = Vec::new();
    for entry in OWN.into_iter().chain(users.iter().map(String::as_str)) {
        if !kept.contains(&entry) && is_plain(entry) && !hosts.iter().any(|host| covers(entry, host)) {
            kept.push(entry);
        }
    }
    kept.join(",")
}

/// Host names, addresses and networks; no `*`, which some clients read as everything.
fn is_plain(entry: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:/[]".contains(&byte);
    entry.trim_matches('.').contains(|c: char| c.is_ascii_alphanumeric()) && entry.bytes().all(plain)
}

/// Whether a client could read the entry so that a request to the host goes around the proxy. Some compare only how
/// names end (`hub.com` and `github.com`), so that is what counts.
fn covers(entry: &str, host: &str) -> bool {
    if let Ok(network) = entry.parse::<ipnet::IpNet>() {
        return host.parse::<IpAddr>().is_ok_and(|address| network.contains(&address));
    }
    let entry = bare(entry);
    let entry = entry.trim_start_matches('.');
    host.ends_with(entry) || host.strip_prefix("*.").is_some_and(|suffix| entry.ends_with(suffix))
}

/// Lower case, without port and brackets.
fn bare(host: &str) -> String {
    let host = host.trim().to_ascii_lowercase();
    let host = host.split_once("://").map_or(host.as_str(), |(_, rest)| rest);
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address.to_owned(),
        None if host.matches(':').count() == 1 => host.split(':').next().unwrap_or_default().to_owned(),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_wire::ClientSettings;

    #[test]
    fn own_entries_stay_unless_they_lead_a_service_around() {
        let cases: [(&[&str], &str, &str); 16] = [
            (&["api.test"], "", "localhost,127.0.0.1,::1"),
            (&["api.test"], "db.corp, .corp", "localhost,127.0.0.1,::1,db.corp,.corp"),
            (&["api.test"], "*", "localhost,127.0.0.1,::1"),
            (&["api.test"], "*.test", "localhost,127.0.0.1,::1"),
            (&["api.test"], "api.test", "localhost,127.0.0.1,::1"),
            (&["api.test"], "API.test:443", "localhost,127.0.0.1,::1"),
            (&["api.test"], ".test", "localhost,127.0.0.1,::1"),
            (&["github.com"], "hub.com", "localhost,127.0.0.1,::1"),
            (&["github.com"], "api.github.com", "localhost,127.0.0.1,::1,api.github.com"),
            (&["*.openai.azure.com"], "mine.openai.azure.com", "localhost,127.0.0.1,::1"),
            (&["*.openai.azure.com"], "azure.com", "localhost,127.0.0.1,::1"),
            (&["api.test"], "10.0.0.0/8", "localhost,127.0.0.1,::1,10.0.0.0/8"),
            (&["10.1.2.3:8443"], "10.0.0.0/8,11.0.0.0/8", "localhost,127.0.0.1,::1,11.0.0.0/8"),
            (&["localhost:11434"], "", "127.0.0.1,::1"),
            (&["[::1]:8080"], "", "localhost,127.0.0.1"),
            (&["api.test"], ".,,;rm", "localhost,127.0.0.1,::1"),
        ];
        for (hosts, users, expected) in cases {
            let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
            let services = [ClientService { name: "x".to_owned(), hosts, client: ClientSettings::default() }];
            let inherited = |name: &str| (name == "NO_PROXY").then(|| users.into());
            assert_eq!(no_proxy(&services, &inherited), expected, "{users}");
        }
    }
}
