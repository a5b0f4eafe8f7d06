//! What belongs to one hop only (RFC 9110 §7.6.1), and must not travel on.

use http::header::{
    ALT_SVC, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SET_COOKIE, STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use crate::refusal::REFUSED;

/// Which headers that a proxy is concerned with a head has. Most have next to none: one look at the names that are there
/// is cheaper than one search for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks(u32);

impl Marks {
    pub(crate) const LENGTH: u32 = 1;
    /// Transfer-Encoding.
    pub(crate) const CODING: u32 = 1 << 1;
    pub(crate) const AUTHORIZATION: u32 = 1 << 2;
    pub(crate) const UPGRADE: u32 = 1 << 3;
    /// Any name that begins with `x`.
    pub(crate) const EXTENSION: u32 = 1 << 4;
    pub(crate) const CONTENT_CODING: u32 = 1 << 5;
    const CONNECTION: u32 = 1 << 6;
    const TE: u32 = 1 << 7;
    const KEEP_ALIVE: u32 = 1 << 8;
    const PROXY_CONNECTION: u32 = 1 << 9;
    const TRAILER: u32 = 1 << 10;
    const PROXY_AUTHORIZATION: u32 = 1 << 11;
    const PROXY_AUTHENTICATE: u32 = 1 << 12;
    const EXPECT: u32 = 1 << 13;
    const COOKIE: u32 = 1 << 14;
    const SERVICES: u32 = 1 << 15;
    const SECURITY: u32 = 1 << 16;
    /// What only Claviger says.
    const REFUSED: u32 = 1 << 17;

    /// Looks at each name once.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self(headers.keys().fold(0, |marks, name| marks | Self::of_name(name.as_str())))
    }

    fn of_name(name: &str) -> u32 {
        match name {
            "content-length" => Self::LENGTH,
            "transfer-encoding" => Self::CODING,
            "authorization" => Self::AUTHORIZATION,
            "upgrade" => Self::UPGRADE,
            "connection" => Self::CONNECTION,
            "te" => Self::TE,
            "content-encoding" => Self::CONTENT_CODING,
            "keep-alive" => Self::KEEP_ALIVE,
            "proxy-connection" => Self::PROXY_CONNECTION,
            "trailer" => Self::TRAILER,
            "proxy-authorization" => Self::PROXY_AUTHORIZATION,
            "proxy-authenticate" => Self::PROXY_AUTHENTICATE,
            "expect" => Self::EXPECT,
            "set-cookie" => Self::COOKIE,
            "alt-svc" => Self::SERVICES,
            "strict-transport-security" => Self::SECURITY,
            "claviger-refused" => Self::REFUSED,
            _ if name.starts_with('x') => Self::EXTENSION,
            _ => 0,
        }
    }

    /// Whether it has one of these.
    pub(crate) fn has(self, these: u32) -> bool {
        self.0 & these != 0
    }
}

/// Removed from requests and answers.
static HOP: [(u32, HeaderName); 7] = [
    (Marks::CONNECTION, CONNECTION),
    (Marks::KEEP_ALIVE, HeaderName::from_static("keep-alive")),
    (Marks::PROXY_CONNECTION, HeaderName::from_static("proxy-connection")),
    (Marks::CODING, TRANSFER_ENCODING),
    (Marks::UPGRADE, UPGRADE),
    (Marks::TRAILER, TRAILER),
    (Marks::TE, TE),
];

/// Removed from requests. The client's 100-continue was answered by us; asking again would double it.
static OF_REQUESTS: [(u32, HeaderName); 2] =
    [(Marks::PROXY_AUTHORIZATION, PROXY_AUTHORIZATION), (Marks::EXPECT, EXPECT)];

/// Removed from answers: what authenticates to another proxy.
static OF_ANSWERS: [(u32, HeaderName); 1] = [(Marks::PROXY_AUTHENTICATE, PROXY_AUTHENTICATE)];

/// What Claviger says of itself. Whoever speaks to another Claviger passes it on.
static OWN: [(u32, HeaderName); 1] = [(Marks::REFUSED, REFUSED)];

/// What speaks for an origin.
static OF_ORIGINS: [(u32, HeaderName); 3] =
    [(Marks::COOKIE, SET_COOKIE), (Marks::SERVICES, ALT_SVC), (Marks::SECURITY, STRICT_TRANSPORT_SECURITY)];

/// Removes what belongs to one hop only, and what is meant for this proxy. `marks` are those of these headers.
pub(crate) fn strip_request(headers: &mut HeaderMap, marks: Marks) {
    // A transfer coding other than chunked could not be searched for the credential. gRPC wants trailers.
    let trailers =
        marks.has(Marks::TE) && headers.get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    strip_named(headers, marks);
    strip(headers, marks, &HOP);
    strip(headers, marks, &OF_REQUESTS);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes what belongs to the upstream's hop only.
pub(crate) fn strip_response(headers: &mut HeaderMap, marks: Marks) {
    strip_named(headers, marks);
    strip(headers, marks, &HOP);
    strip(headers, marks, &OF_ANSWERS);
}

/// Removes what upstream says in Claviger's name.
pub(crate) fn strip_own(headers: &mut HeaderMap, marks: Marks) {
    strip(headers, marks, &OWN);
}

/// Removes what would speak for all services that share the gateway's origin: a cookie of one would be
/// sent to the others.
pub(crate) fn strip_shared_origin(headers: &mut HeaderMap, marks: Marks) {
    strip(headers, marks, &OF_ORIGINS);
}

fn strip(headers: &mut HeaderMap, marks: Marks, names: &[(u32, HeaderName)]) {
    for (_, name) in names.iter().filter(|(mark, _)| marks.has(*mark)) {
        headers.remove(name);
    }
}

/// Removes what `Connection` names.
fn strip_named(headers: &mut HeaderMap, marks: Marks) {
    if !marks.has(Marks::CONNECTION) {
        return;
    }
    // What nearly every one says names no other header.
    let names_none = |value: &HeaderValue| matches!(value.as_bytes(), b"keep-alive" | b"close");
    if headers.get_all(CONNECTION).iter().all(names_none) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        // These are never hop-by-hop; naming them would strip what keeps the request whole.
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    for name in named {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name that is removed has its own mark: without it nothing would be looked at.
    #[test]
    fn what_is_removed_is_marked() {
        let all = || HOP.iter().chain(&OF_REQUESTS).chain(&OF_ANSWERS).chain(&OWN).chain(&OF_ORIGINS);
        let mut seen = 0;
        for (mark, name) in all() {
            assert_eq!(Marks::of_name(name.as_str()), *mark, "{name}");
            assert_eq!(seen & mark, 0, "{name} shares its mark");
            seen |= mark;
        }
        for name in crate::head::OVERRIDES {
            assert!(Marks(Marks::of_name(name)).has(Marks::EXTENSION), "{name}");
        }
    }

    #[test]
    fn each_goes_from_where_it_does_not_belong() {
        let with_all = || {
            let names = HOP.iter().chain(&OF_REQUESTS).chain(&OF_ANSWERS).chain(&OWN).chain(&OF_ORIGINS);
            let mut headers: HeaderMap =
                names.map(|(_, name)| (name.clone(), HeaderValue::from_static("close"))).collect();
            headers.insert(HOST, HeaderValue::from_static("api.test"));
            headers.insert("x-named", HeaderValue::from_static("a"));
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            headers
        };
        let left = |headers: &HeaderMap, names: &[(u32, HeaderName)]| {
            names.iter().filter(|(_, name)| headers.contains_key(name)).count()
        };
        let mut request = with_all();
        strip_request(&mut request, Marks::of(&with_all()));
        assert_eq!((left(&request, &HOP), left(&request, &OF_REQUESTS)), (0, 0));
        assert_eq!((left(&request, &OF_ANSWERS), left(&request, &OF_ORIGINS)), (1, 3));
        let mut answer = with_all();
        let marks = Marks::of(&answer);
        strip_response(&mut answer, marks);
        assert_eq!((left(&answer, &HOP), left(&answer, &OF_ANSWERS)), (0, 0));
        // To pass on what another Claviger says is for its caller to decide.
        assert_eq!((left(&answer, &OWN), left(&answer, &OF_ORIGINS)), (1, 3));
        strip_own(&mut answer, marks);
        assert_eq!((left(&answer, &OWN), left(&answer, &OF_ORIGINS)), (0, 3));
        strip_shared_origin(&mut answer, marks);
        assert_eq!(left(&answer, &OF_ORIGINS), 0);
        for headers in [&request, &answer] {
            assert!(headers.contains_key("x-named") && headers.contains_key(HOST));
        }
        // What `Connection` names goes too, but for what keeps the message whole.
        let mut naming = with_all();
        naming.append(CONNECTION, HeaderValue::from_static("X-Named, host, content-length"));
        let marks = Marks::of(&naming);
        strip_request(&mut naming, marks);
        assert!(!naming.contains_key("x-named") && naming.contains_key(HOST) && naming.contains_key(CONTENT_LENGTH));
    }

    #[test]
    fn only_trailers_are_asked_of_upstream() {
        for (said, goes) in [("trailers", true), ("Trailers", true), ("gzip, trailers", false), ("gzip", false)] {
            let mut headers = HeaderMap::from_iter([(TE, HeaderValue::from_static(said))]);
            let marks = Marks::of(&headers);
            strip_request(&mut headers, marks);
            assert_eq!(headers.get(TE).is_some_and(|te| te == "trailers"), goes, "{said}");
            assert_eq!(headers.len(), usize::from(goes), "{said}");
        }
    }
}
