//! What belongs to one hop only (RFC 9110 §7.6.1), and must not travel on.

use http::header::{
    ALT_SVC, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SET_COOKIE, STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use crate::refusal::REFUSED;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Which headers that a proxy is concerned with a head has. Most have next to none: one look at the names that are there
/// is cheaper than one search for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks(u16);

impl Marks {
    pub(crate) const LENGTH: u16 = 1;
    /// Transfer-Encoding.
    pub(crate) const CODING: u16 = 1 << 1;
    pub(crate) const AUTHORIZATION: u16 = 1 << 2;
    pub(crate) const UPGRADE: u16 = 1 << 3;
    /// Any name that begins with `x`.
    pub(crate) const EXTENSION: u16 = 1 << 4;
    pub(crate) const CONNECTION: u16 = 1 << 5;
    pub(crate) const TE: u16 = 1 << 6;
    /// Content-Encoding.
    pub(crate) const CONTENT_CODING: u16 = 1 << 7;
    /// Any other that is removed from requests or answers.
    const HOP: u16 = 1 << 8;
    /// What speaks for an origin.
    const ORIGIN: u16 = 1 << 9;
    /// What only Claviger says.
    const REFUSED: u16 = 1 << 10;

    /// Looks at each name once.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self(headers.keys().fold(0, |marks, name| marks | Self::of_name(name.as_str())))
    }

    fn of_name(name: &str) -> u16 {
        match name {
            "content-length" => Self::LENGTH,
            "transfer-encoding" => Self::CODING,
            "authorization" => Self::AUTHORIZATION,
            "upgrade" => Self::UPGRADE,
            "connection" => Self::CONNECTION,
            "te" => Self::TE,
            "content-encoding" => Self::CONTENT_CODING,
            "keep-alive" | "proxy-connection" | "trailer" | "proxy-authorization" | "proxy-authenticate" | "expect" => {
                Self::HOP
            }
            "claviger-refused" => Self::REFUSED,
            "set-cookie" | "alt-svc" | "strict-transport-security" => Self::ORIGIN,
            _ if name.starts_with('x') => Self::EXTENSION,
            _ => 0,
        }
    }

    /// Whether it has one of these.
    pub(crate) fn has(self, these: u16) -> bool {
        self.0 & these != 0
    }
}

/// All that is removed.
const REMOVED: u16 = Marks::HOP | Marks::CODING | Marks::UPGRADE | Marks::CONNECTION | Marks::TE;

/// Removes what belongs to one hop only, and what is meant for this proxy.
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    if !Marks::of(headers).has(REMOVED) {
        return;
    }
    strip_hop(headers);
    // A transfer coding other than chunked could not be searched for the credential. gRPC wants trailers.
    let trailers = headers.get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    // The client's 100-continue was answered by us; asking again would double it.
    strip_names(headers, &[PROXY_AUTHORIZATION, EXPECT, TE]);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes what belongs to the upstream's hop only.
pub(crate) fn strip_response(headers: &mut HeaderMap, marks: Marks) {
    if marks.has(REMOVED) {
        strip_hop(headers);
        strip_names(headers, &[PROXY_AUTHENTICATE, TE]);
    }
}

/// Removes what upstream says in Claviger's name.
pub(crate) fn strip_own(headers: &mut HeaderMap, marks: Marks) {
    if marks.has(Marks::REFUSED) {
        headers.remove(REFUSED);
    }
}

/// Removes what would speak for all services that share the gateway's origin: a cookie of one would be
/// sent to the others.
pub(crate) fn strip_shared_origin(headers: &mut HeaderMap, marks: Marks) {
    if marks.has(Marks::ORIGIN) {
        strip_names(headers, &[SET_COOKIE, ALT_SVC, STRICT_TRANSPORT_SECURITY]);
    }
}

fn strip_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        // What nearly every one says names no other header.
        .filter(|value| !matches!(value.as_bytes(), b"keep-alive" | b"close"))
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        // These are never hop-by-hop; naming them would strip what keeps the request whole.
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    for name in named {
        headers.remove(name);
    }
    strip_names(headers, &[CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING, UPGRADE, TRAILER]);
}

fn strip_names(headers: &mut HeaderMap, names: &[HeaderName]) {
    while let Some(name) = headers.keys().find_map(|name| names.iter().find(|one| *one == name)) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name that is removed has its mark: without it nothing would be looked at.
    #[test]
    fn what_is_removed_is_marked() {
        for name in [
            CONNECTION,
            KEEP_ALIVE,
            PROXY_CONNECTION,
            TRANSFER_ENCODING,
            UPGRADE,
            TRAILER,
            PROXY_AUTHORIZATION,
            EXPECT,
            TE,
            PROXY_AUTHENTICATE,
        ] {
            assert!(Marks(Marks::of_name(name.as_str())).has(REMOVED), "{name}");
            let mut headers = HeaderMap::new();
            headers.insert(name.clone(), HeaderValue::from_static("a"));
            headers.insert(HOST, HeaderValue::from_static("api.test"));
            let marks = Marks::of(&headers);
            let mut answer = headers.clone();
            strip_request(&mut headers);
            strip_response(&mut answer, marks);
            // Each of them goes from one of the two at least.
            assert!(!headers.contains_key(&name) || !answer.contains_key(&name), "{name}");
            assert!(headers.contains_key(HOST) && answer.contains_key(HOST), "{name}");
        }
        for name in [SET_COOKIE, ALT_SVC, STRICT_TRANSPORT_SECURITY] {
            assert!(Marks(Marks::of_name(name.as_str())).has(Marks::ORIGIN), "{name}");
        }
        assert!(Marks(Marks::of_name(REFUSED.as_str())).has(Marks::REFUSED));
        for name in crate::head::OVERRIDES {
            assert!(Marks(Marks::of_name(name)).has(Marks::EXTENSION), "{name}");
        }
    }
}
