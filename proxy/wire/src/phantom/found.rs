//! Where in a head handles stand, wherever their owner or a thief has put them.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::handle::PREFIX;
use crate::canary::basic;

/// Every handle, or what looks like one, that stands in a text.
pub(super) fn found_in(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    memchr::memmem::find_iter(text, PREFIX).map(move |at| {
        let rest = text.get(at..).unwrap_or_default();
        let length = rest.iter().take_while(is_part).count();
        rest.get(..length).unwrap_or_default()
    })
}

/// What stands in one header.
pub(super) struct InHeader {
    pub(super) name: HeaderName,
    pub(super) texts: Vec<Vec<u8>>,
    /// Within user and password of `Basic`, and not as it is.
    pub(super) is_encoded: bool,
}

/// All that stand in headers.
pub(super) fn in_headers(headers: &HeaderMap) -> Vec<InHeader> {
    let of = |text: &[u8]| found_in(text).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let one = |(name, value): (&HeaderName, &HeaderValue)| {
        let (plain, pair) = (of(value.as_bytes()), basic(name, value).map(|pair| of(&pair)).unwrap_or_default());
        let is_encoded = plain.is_empty();
        let texts = [plain, pair].concat();
        (!texts.is_empty()).then(|| InHeader { name: name.clone(), texts, is_encoded })
    };
    headers.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn handles_are_found_in_any_text() {
        let found = |text: &str| {
            found_in(text.as_bytes()).map(|one| String::from_utf8_lossy(one).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found("Bearer clvh_Ab-_9, clvh_x.y"), ["clvh_Ab-_9", "clvh_x"]);
        assert_eq!(found("clvh_"), ["clvh_"]);
        assert!(found("Bearer eyJ.clv").is_empty());
    }

    #[test]
    fn and_in_any_header() {
        let check = |name: &'static str, value: &str, expected: &[&str]| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            let found = in_headers(&headers).into_iter().flat_map(|found| found.texts);
            let found: Vec<String> = found.map(|one| String::from_utf8(one).unwrap()).collect();
            assert_eq!(found, expected, "{name}: {value}");
        };
        check("authorization", "Bearer clvh_a", &["clvh_a"]);
        check("cookie", "a=b; t=clvh_a; u=clvh_b", &["clvh_a", "clvh_b"]);
        check("authorization", &format!("Basic {}", STANDARD.encode("user:clvh_a")), &["clvh_a"]);
        check("authorization", &format!("basic {}", STANDARD.encode("clvh_a:")), &["clvh_a"]);
        check("authorization", &format!("Basic {}", STANDARD.encode("user:password")), &[]);
        check("x-other", &format!("Basic {}", STANDARD.encode("user:clvh_a")), &[]);
    }
}
