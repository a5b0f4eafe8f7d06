//! IPv6 addresses that a translator or a relay turns into IPv4 addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The IPv4 addresses that packets to `ip` can end at; `None` if it carries none.
pub(super) fn addresses(ip: Ipv6Addr) -> Option<[Ipv4Addr; 2]> {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match ip.segments() {
        // NAT64, RFC 6052 §2.1: the last 32 bits.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some([v4(high, low); 2]),
        // 6to4, RFC 3056 §2: behind the first 16 bits.
        [0x2002, high, low, ..] => Some([v4(high, low); 2]),
        // Teredo, RFC 4380 §4: the server in the clear, the client with every bit flipped.
        [0x2001, 0, server_high, server_low, _, _, client_high, client_low] => {
            Some([v4(server_high, server_low), v4(!client_high, !client_low)])
        }
        _ => None,
    }
}
