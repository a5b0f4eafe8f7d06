//! Which addresses may be dialled: public ones, and what a service or a control call lists.
//!
//! The guard judges the address that is dialled, never a name. Special ranges come from the IANA
//! registries of special-purpose addresses (RFC 6890 and its updates); IPv6 outside of the allocated
//! 2000::/3 is refused as a whole, so that a range that IANA hands out tomorrow is not open today.

mod embedded;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Decides about addresses. The default passes public addresses only. Cheap to clone when nothing is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AddressGuard {
    allow: Vec<IpNet>,
}

/// The guard refused an address. The text is for the operator, never for a client: it tells what a
/// name resolves to inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{ip}` is {}", .class.describe())]
pub struct AddressRefused {
    /// The address as it would have been dialled.
    pub ip: IpAddr,
    /// Why.
    pub class: AddressClass,
}

/// What a refused address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// 127.0.0.0/8, `::1`.
    Loopback,
    /// 169.254.0.0/16, fe80::/10.
    LinkLocal,
    /// Where clouds hand credentials to their machines. Only an exact `/32` or `/128` lists it.
    Metadata,
    /// RFC 1918, fc00::/7, fec0::/10.
    Private,
    /// 100.64.0.0/10 (RFC 6598).
    CarrierNat,
    /// 0.0.0.0/8, `::`.
    Unspecified,
    /// 198.18.0.0/15, 2001:2::/48.
    Benchmarking,
    /// 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32, 3fff::/20.
    Documentation,
    /// 224.0.0.0/4, ff00::/8.
    Multicast,
    /// 255.255.255.255.
    Broadcast,
    /// 100::/64 (RFC 6666).
    Discard,
    /// 64:ff9b:1::/48 (RFC 8215): what it translates to is known only where it is used.
    Translation,
    /// Reserved, assigned to protocols, or not allocated.
    Reserved,
}

impl AddressClass {
    /// A stable word for the ledger and for metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::LinkLocal => "link_local",
            Self::Metadata => "metadata",
            Self::Private => "private",
            Self::CarrierNat => "carrier_nat",
            Self::Unspecified => "unspecified",
            Self::Benchmarking => "benchmarking",
            Self::Documentation => "documentation",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Discard => "discard",
            Self::Translation => "translation",
            Self::Reserved => "reserved",
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Loopback => "a loopback address, and `allow_addresses` does not list it",
            Self::LinkLocal => "a link-local address, and `allow_addresses` does not list it",
            Self::Metadata => "a cloud metadata address, and `allow_addresses` does not list exactly it",
            Self::Private => "a private address, and `allow_addresses` does not list it",
            Self::CarrierNat => "a carrier-grade NAT address, and `allow_addresses` does not list it",
            Self::Unspecified => "an unspecified address, and `allow_addresses` does not list it",
            Self::Benchmarking => "a benchmarking address, and `allow_addresses` does not list it",
            Self::Documentation => "a documentation address, and `allow_addresses` does not list it",
            Self::Multicast => "a multicast address, and `allow_addresses` does not list it",
            Self::Broadcast => "the broadcast address, and `allow_addresses` does not list it",
            Self::Discard => "a discard address, and `allow_addresses` does not list it",
            Self::Translation => "a local translation address, and `allow_addresses` does not list it",
            Self::Reserved => "a reserved address, and `allow_addresses` does not list it",
        }
    }
}

impl AddressGuard {
    /// Passes public addresses and what `allow` lists. A network of mapped addresses
    /// (`::ffff:10.0.0.0/104`) means its IPv4 form.
    pub fn new(allow: Vec<IpNet>) -> Self {
        Self { allow: allow.into_iter().map(unmap).collect() }
    }

    /// Whether the address may be dialled.
    pub fn permits(&self, ip: IpAddr) -> Result<(), AddressRefused> {
        self.judge(ip).map_err(|class| AddressRefused { ip, class })
    }

    fn judge(&self, ip: IpAddr) -> Result<(), AddressClass> {
        let ip = canonical(ip);
        let class = match ip {
            IpAddr::V4(ip) => class_of_v4(ip),
            IpAddr::V6(ip) => self.class_of_v6(ip),
        };
        match class {
            Some(class) if !self.lists(ip, class) => Err(class),
            _ => Ok(()),
        }
    }

    /// An address that carries IPv4 addresses is what the worst of them is.
    fn class_of_v6(&self, ip: Ipv6Addr) -> Option<AddressClass> {
        match embedded::addresses(ip) {
            Some(carried) => carried.into_iter().find_map(|ip| self.judge(IpAddr::V4(ip)).err()),
            None => class_of_v6(ip),
        }
    }

    fn lists(&self, ip: IpAddr, class: AddressClass) -> bool {
        let exact = matches!(class, AddressClass::Metadata);
        self.allow.iter().any(|net| net.contains(&ip) && (!exact || net.prefix_len() == net.max_prefix_len()))
    }
}

/// Mapped (`::ffff:a.b.c.d`) and the deprecated compatible addresses (`::a.b.c.d`) are another writing
/// of an IPv4 address. `::` and `::1` are not of them.
fn canonical(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    match v6.octets() {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 | 1] => ip,
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        _ => ip,
    }
}

fn unmap(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(v4), Some(prefix)) => Ipv4Net::new(v4, prefix).map_or(net, IpNet::V4),
        _ => net,
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// The first that contains an address names it.
const SPECIAL_V4: [(Ipv4Net, AddressClass); 22] = [
    (v4(169, 254, 169, 254, 32), AddressClass::Metadata), // AWS, Google, Azure, Oracle and most others
    (v4(169, 254, 170, 2, 32), AddressClass::Metadata),   // AWS ECS task credentials
    (v4(169, 254, 170, 23, 32), AddressClass::Metadata),  // AWS EKS Pod Identity
    (v4(169, 254, 42, 42, 32), AddressClass::Metadata),   // Scaleway
    (v4(100, 100, 100, 200, 32), AddressClass::Metadata), // Alibaba
    (v4(168, 63, 129, 16, 32), AddressClass::Metadata),   // Azure's wire server, inside public space
    (v4(192, 0, 0, 192, 32), AddressClass::Metadata),     // Oracle, older
    (v4(0, 0, 0, 0, 8), AddressClass::Unspecified),
    (v4(10, 0, 0, 0, 8), AddressClass::Private),
    (v4(100, 64, 0, 0, 10), AddressClass::CarrierNat),
    (v4(127, 0, 0, 0, 8), AddressClass::Loopback),
    (v4(169, 254, 0, 0, 16), AddressClass::LinkLocal),
    (v4(172, 16, 0, 0, 12), AddressClass::Private),
    (v4(192, 0, 0, 0, 24), AddressClass::Reserved),
    (v4(192, 0, 2, 0, 24), AddressClass::Documentation),
    (v4(192, 88, 99, 0, 24), AddressClass::Reserved), // 6to4 relays, withdrawn by RFC 7526
    (v4(192, 168, 0, 0, 16), AddressClass::Private),
    (v4(198, 18, 0, 0, 15), AddressClass::Benchmarking),
    (v4(198, 51, 100, 0, 24), AddressClass::Documentation),
    (v4(203, 0, 113, 0, 24), AddressClass::Documentation),
    (v4(224, 0, 0, 0, 4), AddressClass::Multicast),
    (v4(240, 0, 0, 0, 4), AddressClass::Reserved),
];

const SPECIAL_V6: [(Ipv6Net, AddressClass); 17] = [
    (metadata_v6(0xfd00, 0x0ec2, 0x0254), AddressClass::Metadata), // AWS
    (metadata_v6(0xfd00, 0x0ec2, 0x0023), AddressClass::Metadata), // AWS EKS Pod Identity
    (metadata_v6(0xfd20, 0x00ce, 0x0254), AddressClass::Metadata), // Google
    (metadata_v6(0xfd00, 0x0042, 0x0042), AddressClass::Metadata), // Scaleway
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), AddressClass::Unspecified),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), AddressClass::Loopback),
    (v6(0x64, 0xff9b, 1, 48), AddressClass::Translation),
    (v6(0x100, 0, 0, 64), AddressClass::Discard),
    (v6(0x2001, 2, 0, 48), AddressClass::Benchmarking),
    (v6(0x2001, 0xdb8, 0, 32), AddressClass::Documentation),
    (v6(0x2001, 0, 0, 23), AddressClass::Reserved), // protocol assignments (RFC 2928), none of them a server's
    (v6(0x3fff, 0, 0, 20), AddressClass::Documentation),
    (v6(0x5f00, 0, 0, 16), AddressClass::Reserved), // SRv6 segment identifiers (RFC 9602)
    (v6(0xfc00, 0, 0, 7), AddressClass::Private),
    (v6(0xfe80, 0, 0, 10), AddressClass::LinkLocal),
    (v6(0xfec0, 0, 0, 10), AddressClass::Private), // site-local, deprecated by RFC 3879
    (v6(0xff00, 0, 0, 8), AddressClass::Multicast),
];

/// All that IANA has allocated for global unicast.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

const fn metadata_v6(a: u16, b: u16, last: u16) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, last), 128)
}

fn class_of_v4(ip: Ipv4Addr) -> Option<AddressClass> {
    if ip == Ipv4Addr::BROADCAST {
        return Some(AddressClass::Broadcast);
    }
    SPECIAL_V4.iter().find(|(net, _)| net.contains(&ip)).map(|(_, class)| *class)
}

fn class_of_v6(ip: Ipv6Addr) -> Option<AddressClass> {
    let special = SPECIAL_V6.iter().find(|(net, _)| net.contains(&ip)).map(|(_, class)| *class);
    special.or_else(|| (!GLOBAL_V6.contains(&ip)).then_some(AddressClass::Reserved))
}

#[cfg(test)]
mod tests;
