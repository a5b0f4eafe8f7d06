//! How services are reached, and what is written into their requests.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use claviger_policy::Policy;
use claviger_policy::analyze::{Code, Finding};
use ipnet::IpNet;

use super::{ServiceSurface, owner};

/// Where cloud machines ask for their own credentials.
const METADATA: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

pub(super) fn find(services: &[ServiceSurface], policy: &Policy, out: &mut Vec<Finding>) {
    // One credential and one rule for each service, for the message.
    let uses: BTreeMap<&Arc<str>, (&Arc<str>, &Arc<str>)> =
        policy.uses().map(|(service, credential, rule)| (service, (credential, rule))).collect();
    for service in services {
        let name = service.route.name();
        let finding =
            |code, message: String| Finding::new(code, format!("service.{name}"), service.route.location(), message);
        if let Some(used) = uses.get(name) {
            injection(service, *used, &finding, out);
        }
        for host in service.route.hosts().iter().filter(|host| host.is_wildcard() && owner::is_public_suffix(host)) {
            let message = format!("`{host}`: anyone can have a host there, `{}` is a public suffix", host.host());
            out.push(
                finding(Code::PublicSuffix, message).help("name the hosts, or a wildcard below a name of one owner"),
            );
        }
        addresses(service, &finding, out);
    }
}

fn injection(
    service: &ServiceSurface,
    (credential, rule): (&Arc<str>, &Arc<str>),
    finding: &dyn Fn(Code, String) -> Finding,
    out: &mut Vec<Finding>,
) {
    if !service.injects {
        let message =
            format!("allow `{rule}` wants credential `{credential}`, and the service says nowhere how it is injected");
        out.push(finding(Code::NothingInjected, message).help("add `inject`, or write `use = \"none\"` in the rule"));
        return;
    }
    if !service.guards {
        let message =
            format!("`guard = false`: what the upstream reflects of credential `{credential}` reaches the client");
        out.push(
            finding(Code::GuardOff, message)
                .help("remove `guard = false`, or suppress this with the reason why nothing is reflected"),
        );
    }
    if service.in_url {
        let message = format!("credential `{credential}` stands in the URL, which servers write into their logs");
        out.push(finding(Code::CredentialInUrl, message).help("use a header, if the service takes one"));
    }
}

fn addresses(service: &ServiceSurface, finding: &dyn Fn(Code, String) -> Finding, out: &mut Vec<Finding>) {
    let contains = |ip: &IpAddr| service.allow_addresses.iter().find(|net| net.contains(ip));
    let metadata =
        METADATA.iter().find_map(|ip| Some((contains(ip)?, format!("{ip}, which gives machines their credentials"))));
    let is_local = |host: &claviger_policy::HostPattern| {
        host.host().as_str() == "localhost" || host.host().is_ip().is_some_and(|ip| ip.is_loopback())
    };
    let loopback = (!service.dials && !service.route.hosts().iter().all(is_local)).then(|| {
        let found = contains(&IpAddr::from([127, 0, 0, 1])).or_else(|| contains(&std::net::Ipv6Addr::LOCALHOST.into()));
        found.map(|net: &IpNet| (net, "this machine itself".to_owned()))
    });
    if let Some((net, what)) = metadata.or(loopback.flatten()) {
        let message = format!("`allow_addresses` has `{net}`: who answers for the name can lead requests to {what}");
        out.push(
            finding(Code::AddressesWide, message)
                .help("list the networks of the service only, or say where it is with `connect`"),
        );
    }
}
