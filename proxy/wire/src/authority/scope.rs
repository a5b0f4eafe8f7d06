//! The hosts of one intermediate, and the name constraints that say so.

use std::collections::BTreeSet;
use std::net::IpAddr;

use claviger_policy::{Host, HostPattern};
use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};

/// Subtrees and addresses per intermediate: about a kilobyte of certificate.
const GROUP_MAX: usize = 32;

/// Permits no host: `invalid` is never delegated (RFC 6761 §6.4). An absent constraint would permit all.
const NO_NAME: &str = "claviger.invalid";

/// Names with everything below them, and addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scope {
    names: Vec<Host>,
    addresses: Vec<IpAddr>,
}

impl Scope {
    /// Groups all hosts. A constraint on a name always permits what is below it (RFC 5280 §4.2.1.10),
    /// so `*.x` and `x` are the same subtree, and what lies below another is left out. The authority
    /// itself keeps to the exact patterns.
    pub(super) fn groups(hosts: &[HostPattern]) -> Vec<Self> {
        let all: BTreeSet<&Host> = hosts.iter().map(HostPattern::host).collect();
        let names: BTreeSet<&str> =
            all.iter().filter(|host| host.is_ip().is_none()).map(|host| host.as_str()).collect();
        let mut needed = all.iter().filter(|host| !parents(host).any(|parent| names.contains(parent)));
        let mut groups = Vec::new();
        loop {
            let mut group = Self::default();
            for host in needed.by_ref().take(GROUP_MAX) {
                match host.is_ip() {
                    Some(ip) => group.addresses.push(ip),
                    None => group.names.push((*host).clone()),
                }
            }
            if group == Self::default() {
                return groups;
            }
            groups.push(group);
        }
    }

    /// Whether the constraints permit the host.
    pub(super) fn contains(&self, host: &Host) -> bool {
        match host.is_ip() {
            Some(ip) => self.addresses.contains(&ip),
            None => self.names.iter().any(|name| name == host || parents(host).any(|parent| parent == name.as_str())),
        }
    }

    /// Every kind of name that a server is verified by is constrained: a kind that is not mentioned would be free.
    pub(super) fn constraints(&self) -> NameConstraints {
        let names = self.names.iter().map(|name| GeneralSubtree::DnsName(name.as_str().to_owned()));
        let addresses = self.addresses.iter().map(|ip| network(*ip, if ip.is_ipv4() { 32 } else { 128 }));
        let mut permitted_subtrees: Vec<_> = names.chain(addresses).collect();
        if self.names.is_empty() {
            permitted_subtrees.push(GeneralSubtree::DnsName(NO_NAME.to_owned()));
        }
        let families = [IpAddr::from([0; 4]), IpAddr::from([0; 16])];
        let absent =
            families.into_iter().filter(|family| !self.addresses.iter().any(|ip| ip.is_ipv4() == family.is_ipv4()));
        NameConstraints { permitted_subtrees, excluded_subtrees: absent.map(|family| network(family, 0)).collect() }
    }
}

fn network(ip: IpAddr, prefix: u8) -> GeneralSubtree {
    GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(ip, prefix))
}

/// The names above a name: `b.c` and `c` of `a.b.c`. An address has none.
fn parents(host: &Host) -> impl Iterator<Item = &str> {
    let name = if host.is_ip().is_none() { host.as_str() } else { "" };
    name.match_indices('.').filter_map(|(dot, _)| name.get(dot + 1..))
}
