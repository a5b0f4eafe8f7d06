use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn guard(allow: &[&str]) -> AddressGuard {
    AddressGuard::new(allow.iter().map(|text| text.parse().unwrap()).collect())
}

#[track_caller]
fn check(allow: &[&str], address: &str, expected: Option<AddressClass>) {
    let answer = guard(allow).permits(ip(address)).err();
    assert_eq!(answer.map(|refused| refused.class), expected, "{address} with {allow:?}");
    assert!(answer.is_none_or(|refused| refused.ip == ip(address)));
}

use AddressClass as C;

/// An address beside a range, and what it is itself.
type Beside = Option<(&'static str, Option<C>)>;

/// Both edges of each range, and the addresses just outside with what they are.
#[test]
fn special_ranges_of_ipv4() {
    #[rustfmt::skip]
    let table: [(Beside, &str, &str, C, Beside); 19] = [
        (None, "0.0.0.0", "0.255.255.255", C::Unspecified, Some(("1.0.0.0", None))),
        (Some(("9.255.255.255", None)), "10.0.0.0", "10.255.255.255", C::Private, Some(("11.0.0.0", None))),
        (Some(("100.63.255.255", None)), "100.64.0.0", "100.127.255.255", C::CarrierNat, Some(("100.128.0.0", None))),
        (Some(("100.100.100.199", Some(C::CarrierNat))), "100.100.100.200", "100.100.100.200", C::Metadata, Some(("100.100.100.201", Some(C::CarrierNat)))),
        (Some(("126.255.255.255", None)), "127.0.0.0", "127.255.255.255", C::Loopback, Some(("128.0.0.0", None))),
        (Some(("168.63.129.15", None)), "168.63.129.16", "168.63.129.16", C::Metadata, Some(("168.63.129.17", None))),
        (Some(("169.253.255.255", None)), "169.254.0.0", "169.254.255.255", C::LinkLocal, Some(("169.255.0.0", None))),
        (Some(("169.254.169.253", Some(C::LinkLocal))), "169.254.169.254", "169.254.169.254", C::Metadata, Some(("169.254.169.255", Some(C::LinkLocal)))),
        (Some(("172.15.255.255", None)), "172.16.0.0", "172.31.255.255", C::Private, Some(("172.32.0.0", None))),
        (Some(("191.255.255.255", None)), "192.0.0.0", "192.0.0.255", C::Reserved, Some(("192.0.1.0", None))),
        (Some(("192.0.1.255", None)), "192.0.2.0", "192.0.2.255", C::Documentation, Some(("192.0.3.0", None))),
        (Some(("192.88.98.255", None)), "192.88.99.0", "192.88.99.255", C::Reserved, Some(("192.88.100.0", None))),
        (Some(("192.167.255.255", None)), "192.168.0.0", "192.168.255.255", C::Private, Some(("192.169.0.0", None))),
        (Some(("198.17.255.255", None)), "198.18.0.0", "198.19.255.255", C::Benchmarking, Some(("198.20.0.0", None))),
        (Some(("198.51.99.255", None)), "198.51.100.0", "198.51.100.255", C::Documentation, Some(("198.51.101.0", None))),
        (Some(("203.0.112.255", None)), "203.0.113.0", "203.0.113.255", C::Documentation, Some(("203.0.114.0", None))),
        (Some(("223.255.255.255", None)), "224.0.0.0", "239.255.255.255", C::Multicast, Some(("240.0.0.0", Some(C::Reserved)))),
        (Some(("239.255.255.255", Some(C::Multicast))), "240.0.0.0", "255.255.255.254", C::Reserved, None),
        (Some(("255.255.255.254", Some(C::Reserved))), "255.255.255.255", "255.255.255.255", C::Broadcast, None),
    ];
    for (before, first, last, class, after) in table {
        check(&[], first, Some(class));
        check(&[], last, Some(class));
        for (outside, expected) in before.into_iter().chain(after) {
            check(&[], outside, expected);
        }
    }
    for metadata in ["169.254.170.2", "169.254.170.23", "169.254.42.42", "192.0.0.192"] {
        check(&[], metadata, Some(C::Metadata));
    }
    // In the registry, but globally reachable: AS112 and AMT.
    for public in ["192.31.196.1", "192.52.193.1", "192.175.48.1", "8.8.8.8", "1.1.1.1"] {
        check(&[], public, None);
    }
}

#[test]
fn special_ranges_of_ipv6() {
    let last = |text: &str| text.replace("…", "ffff:ffff:ffff:ffff");
    #[rustfmt::skip]
    let table = [
        ("::", "::".to_owned(), C::Unspecified),
        ("::1", "::1".to_owned(), C::Loopback),
        ("64:ff9b:1::", last("64:ff9b:1:ffff:…"), C::Translation),
        ("64:ff9b:2::", "64:ff9b:2::".to_owned(), C::Reserved),
        ("100::", last("100:0:0:0:…"), C::Discard),
        ("100:0:0:1::", last("1ff:ffff:ffff:ffff:…"), C::Reserved),
        ("200::", last("1fff:ffff:ffff:ffff:…"), C::Reserved),
        ("2001:1::", last("2001:1:ffff:ffff:…"), C::Reserved),
        ("2001:2::", last("2001:2:0:ffff:…"), C::Benchmarking),
        ("2001:2:1::", last("2001:1ff:ffff:ffff:…"), C::Reserved),
        ("2001:10::", last("2001:1f:ffff:ffff:…"), C::Reserved),
        ("2001:20::", last("2001:2f:ffff:ffff:…"), C::Reserved),
        ("2001:db8::", last("2001:db8:ffff:ffff:…"), C::Documentation),
        ("3fff::", last("3fff:fff:ffff:ffff:…"), C::Documentation),
        ("4000::", last("5eff:ffff:ffff:ffff:…"), C::Reserved),
        ("5f00::", last("5f00:ffff:ffff:ffff:…"), C::Reserved),
        ("5f01::", last("fbff:ffff:ffff:ffff:…"), C::Reserved),
        ("fc00::", last("fdff:ffff:ffff:ffff:…"), C::Private),
        ("fd00:ec2::254", "fd00:ec2::254".to_owned(), C::Metadata),
        ("fd00:ec2::253", "fd00:ec2::255".to_owned(), C::Private),
        ("fe00::", last("fe7f:ffff:ffff:ffff:…"), C::Reserved),
        ("fe80::", last("febf:ffff:ffff:ffff:…"), C::LinkLocal),
        ("fec0::", last("feff:ffff:ffff:ffff:…"), C::Private),
        ("ff00::", last("ffff:ffff:ffff:ffff:…"), C::Multicast),
    ];
    for (first, last, class) in table {
        check(&[], first, Some(class));
        check(&[], &last, Some(class));
    }
    for metadata in ["fd00:ec2::23", "fd20:ce::254", "fd00:42::42"] {
        check(&[], metadata, Some(C::Metadata));
    }
    // Just outside of a special range, the ends of the allocated space, AS112, and well-known servers.
    #[rustfmt::skip]
    let public = [
        "2000::", "2001:200::", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::", "2003::",
        "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2620:4f:8000::1", "2606:4700:4700::1111",
    ];
    for address in public {
        check(&[], address, None);
    }
}

/// The same IPv4 address in every writing that something on the way turns back into it.
#[test]
fn embedded_ipv4_is_judged_as_ipv4() {
    let cases = [
        ([127, 0, 0, 1], Some(C::Loopback)),
        ([10, 1, 2, 3], Some(C::Private)),
        ([169, 254, 169, 254], Some(C::Metadata)),
        ([100, 64, 0, 1], Some(C::CarrierNat)),
        ([0, 0, 0, 2], Some(C::Unspecified)),
        ([255, 255, 255, 255], Some(C::Broadcast)),
        ([8, 8, 8, 8], None),
    ];
    for ([a, b, c, d], class) in cases {
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let (flipped_high, flipped_low) = (!high, !low);
        check(&[], &format!("::ffff:{a}.{b}.{c}.{d}"), class);
        check(&[], &format!("::{high:x}:{low:x}"), class);
        check(&[], &format!("64:ff9b::{high:x}:{low:x}"), class);
        check(&[], &format!("2002:{high:x}:{low:x}::1"), class);
        check(&[], &format!("2001:0:{high:x}:{low:x}::f7f7:f7f7"), class);
        check(&[], &format!("2001:0:808:808::{flipped_high:x}:{flipped_low:x}"), class);
    }
    // Beside the translation prefix: not a translation, and not allocated.
    check(&[], "64:ff9b:0:0:0:1:808:808", Some(C::Reserved));
    check(&[], "::1:808:808", Some(C::Reserved));
}

#[test]
fn listed_networks_pass() {
    check(&["10.0.0.0/8"], "10.255.255.255", None);
    check(&["10.0.0.0/8"], "11.0.0.1", None);
    check(&["10.0.0.0/9"], "10.128.0.0", Some(C::Private));
    check(&["127.0.0.1/32"], "127.0.0.1", None);
    check(&["127.0.0.1/32"], "127.0.0.2", Some(C::Loopback));
    check(&["::1/128"], "::1", None);
    check(&["::1/128"], "127.0.0.1", Some(C::Loopback));
    check(&["fd00::/8"], "fd12::1", None);
    // A mapped address is compared by its IPv4 form, and a mapped network means IPv4.
    check(&["10.0.0.0/8"], "::ffff:10.0.0.1", None);
    check(&["::ffff:10.0.0.0/104"], "10.0.0.1", None);
    check(&["::ffff:10.0.0.0/104"], "::ffff:11.0.0.1", None);
    check(&["::ffff:0:0/96"], "192.168.0.1", None);
    check(&["::/0"], "::ffff:10.0.0.1", Some(C::Private));
    check(&["::/0"], "fe80::1", None);
    // A translated address passes if either form is listed.
    check(&["10.0.0.0/8"], "64:ff9b::a00:1", None);
    check(&["64:ff9b::/96"], "64:ff9b::a00:1", None);
    check(&["64:ff9b:1::/48"], "64:ff9b:1::a00:1", None);
    // Both addresses of Teredo must pass.
    check(&["10.0.0.0/8"], "2001:0:a00:1::80ff:fffe", Some(C::Loopback));
    check(&["10.0.0.0/8", "127.0.0.0/8"], "2001:0:a00:1::80ff:fffe", None);
}

#[test]
fn metadata_needs_an_exact_listing() {
    for wide in ["169.254.0.0/16", "169.254.169.254/31", "0.0.0.0/0"] {
        check(&[wide], "169.254.169.254", Some(C::Metadata));
        check(&[wide], "::ffff:169.254.169.254", Some(C::Metadata));
        check(&[wide], "64:ff9b::a9fe:a9fe", Some(C::Metadata));
    }
    check(&["169.254.0.0/16"], "169.254.1.1", None);
    check(&["168.63.0.0/16"], "168.63.129.16", Some(C::Metadata));
    check(&["169.254.169.254/32"], "169.254.169.254", None);
    check(&["169.254.169.254/32"], "::ffff:169.254.169.254", None);
    check(&["169.254.169.254/32"], "169.254.170.2", Some(C::Metadata));
    check(&["fd00::/8"], "fd00:ec2::254", Some(C::Metadata));
    check(&["fd00:ec2::254/128"], "fd00:ec2::254", None);
    check(&["64:ff9b::/96"], "64:ff9b::a9fe:a9fe", Some(C::Metadata));
    check(&["64:ff9b::a9fe:a9fe/128"], "64:ff9b::a9fe:a9fe", None);
    check(&["::ffff:169.254.169.254/128"], "169.254.169.254", None);
}

#[test]
fn the_message_names_the_class_and_the_way_out() {
    let refused = AddressGuard::default().permits(ip("10.0.0.1")).unwrap_err();
    assert_eq!(refused.to_string(), "`10.0.0.1` is a private address, and `allow_addresses` does not list it");
    assert_eq!(refused.class.code(), "private");
}

proptest::proptest! {
    /// Whatever the address: its mapped form gets the same answer, under any single listed network.
    #[test]
    fn mapped_and_plain_agree(bits: u32, net: u32, prefix in 0_u8..=32) {
        let listed = IpNet::V4(Ipv4Net::new(Ipv4Addr::from_bits(net), prefix).unwrap());
        let plain = Ipv4Addr::from_bits(bits);
        for guard in [AddressGuard::default(), AddressGuard::new(vec![listed])] {
            let expected = guard.permits(IpAddr::V4(plain)).err().map(|refused| refused.class);
            let mapped = guard.permits(IpAddr::V6(plain.to_ipv6_mapped())).err().map(|refused| refused.class);
            proptest::prop_assert_eq!(mapped, expected);
        }
    }

    /// The standard library's own idea of these ranges, as a second opinion.
    #[test]
    fn no_special_address_of_the_standard_library_passes(bits: u32) {
        let address = Ipv4Addr::from_bits(bits);
        let special = address.is_private() || address.is_loopback() || address.is_link_local()
            || address.is_multicast() || address.is_broadcast() || address.is_documentation() || address.is_unspecified();
        proptest::prop_assert!(!special || AddressGuard::default().permits(IpAddr::V4(address)).is_err());
    }
}
