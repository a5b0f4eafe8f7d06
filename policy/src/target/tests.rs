#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::too_many_lines, reason = "tables of cases")]

use proptest::prelude::*;

use super::*;

fn authority(text: &str) -> Result<String, TargetError> {
    Authority::parse(text, 443).map(|authority| authority.to_string())
}

#[test]
fn authorities() {
    let label = "a".repeat(63);
    let (long_label, long_name) = (format!("{label}a.test"), format!("{0}.{0}.{0}.{0}", label));
    for (text, expected) in [
        ("API.Example.com", Ok("api.example.com:443")),
        ("api.example.com:8443", Ok("api.example.com:8443")),
        ("a_b-c.1x.test", Ok("a_b-c.1x.test:443")),
        ("localhost", Ok("localhost:443")),
        ("10.0.0.1", Ok("10.0.0.1:443")),
        ("[::1]", Ok("[::1]:443")),
        ("[2001:DB8:0:0::1]:8443", Ok("[2001:db8::1]:8443")),
        ("xn--bcher-kva.example", Ok("xn--bcher-kva.example:443")),
        ("", Err(TargetError::EmptyHost)),
        (":443", Err(TargetError::EmptyHost)),
        ("user@host", Err(TargetError::UserInfo)),
        ("user:pw@host:443", Err(TargetError::UserInfo)),
        ("bücher.example", Err(TargetError::HostNotAscii)),
        ("a b", Err(TargetError::HostCharacter)),
        ("a%2eb", Err(TargetError::HostCharacter)),
        ("a/b", Err(TargetError::HostCharacter)),
        ("a\\b", Err(TargetError::HostCharacter)),
        ("*.a", Err(TargetError::HostCharacter)),
        ("a,b", Err(TargetError::HostCharacter)),
        ("a.", Err(TargetError::HostLength)),
        (".a", Err(TargetError::HostLength)),
        ("a..b", Err(TargetError::HostLength)),
        (long_label.as_str(), Err(TargetError::HostLength)),
        (long_name.as_str(), Err(TargetError::HostLength)),
        ("0177.1", Err(TargetError::AmbiguousIpv4)),
        ("127.1", Err(TargetError::AmbiguousIpv4)),
        ("2130706433", Err(TargetError::AmbiguousIpv4)),
        ("0x7f.1", Err(TargetError::AmbiguousIpv4)),
        ("0x7f000001", Err(TargetError::AmbiguousIpv4)),
        ("0177.0.0.1", Err(TargetError::AmbiguousIpv4)),
        ("127.0.0.01", Err(TargetError::AmbiguousIpv4)),
        ("1.2.3.256", Err(TargetError::AmbiguousIpv4)),
        ("1.2.3.4.5", Err(TargetError::AmbiguousIpv4)),
        ("a.0X7F", Err(TargetError::AmbiguousIpv4)),
        ("::1", Err(TargetError::Ipv6)),
        ("[::1", Err(TargetError::Ipv6)),
        ("[::1%eth0]", Err(TargetError::Ipv6)),
        ("[10.0.0.1]", Err(TargetError::Ipv6)),
        ("[]", Err(TargetError::Ipv6)),
        ("[::1]x", Err(TargetError::Port)),
        ("a:", Err(TargetError::Port)),
        ("a:0", Err(TargetError::Port)),
        ("a:+1", Err(TargetError::Port)),
        ("a:0443", Err(TargetError::Port)),
        ("a:65536", Err(TargetError::Port)),
        ("a:44x", Err(TargetError::Port)),
    ] {
        assert_eq!(authority(text), expected.map(str::to_owned), "{text}");
    }
}

#[test]
fn the_host_header_omits_the_default_port() {
    for (scheme, text, header, uri) in [
        (Scheme::Https, "A.test:443", "a.test", "https://a.test/x?y"),
        (Scheme::Https, "a.test:80", "a.test:80", "https://a.test:80/x?y"),
        (Scheme::Http, "a.test:80", "a.test", "http://a.test/x?y"),
        (Scheme::Https, "[::1]:443", "[::1]", "https://[::1]/x?y"),
        (Scheme::Https, "[::1]:8443", "[::1]:8443", "https://[::1]:8443/x?y"),
    ] {
        let target = Target::parse(scheme, Authority::parse(text, 1).unwrap(), "/x?y", PathMode::Strict).unwrap();
        assert_eq!((target.host_header(), target.uri().to_string().as_str()), (header, uri), "{text}");
        assert_eq!((target.path(), target.query()), ("/x", Some("y")));
    }
}

/// What each mode says: strict, encoded-slash, opaque.
#[test]
fn paths() {
    use TargetError as E;
    let all = |error: TargetError| [Err(error); 3];
    const PASS: [Result<(), TargetError>; 3] = [Ok(()); 3];
    let unless_opaque = |error: TargetError| [Err(error), Err(error), Ok(())];
    let long = format!("/{}", "a".repeat(PATH_AND_QUERY_MAX));
    for (path, expected) in [
        ("/", PASS),
        ("/v1/models?limit=5&after=x%20y", PASS),
        ("/a.b/..c/.d/e../...", PASS),
        ("/a%20b/%C3%BC/~x/@:!$&'()*+,=", PASS),
        ("/%61dmin", PASS),
        ("/100%25", PASS),
        ("/a/", PASS),
        ("/a?", PASS),
        ("/a?//;x/../%2e%2e/%2f%5c\\%00[]|{}'", PASS),
        ("", all(E::NotAbsolute)),
        ("*", all(E::NotAbsolute)),
        ("a/b", all(E::NotAbsolute)),
        ("?x", all(E::NotAbsolute)),
        ("https://a/b", all(E::NotAbsolute)),
        ("/.", all(E::DotSegment)),
        ("/..", all(E::DotSegment)),
        ("/a/../b", all(E::DotSegment)),
        ("/a/./b", all(E::DotSegment)),
        ("/a/..", all(E::DotSegment)),
        ("/%2e%2e/b", all(E::DotSegment)),
        ("/a/%2E./b", all(E::DotSegment)),
        ("/a/.%2e", all(E::DotSegment)),
        ("/a%2f..%2fb", all(E::DotSegment)),
        ("/a%2f%2e", all(E::DotSegment)),
        ("/a%5c..%5cb", all(E::DotSegment)),
        ("/a\\b", all(E::Backslash)),
        ("/a%5cb", unless_opaque(E::Backslash)),
        ("/a%5Cb", unless_opaque(E::Backslash)),
        ("//a", unless_opaque(E::EmptySegment)),
        ("/a//b", unless_opaque(E::EmptySegment)),
        ("/a/;x", unless_opaque(E::Parameter)),
        ("/a;x=1/b", unless_opaque(E::Parameter)),
        // A parameter does not hide a dot segment.
        ("/a/..;/b", [Err(E::Parameter), Err(E::Parameter), Err(E::DotSegment)]),
        ("/a/%2e%2e;x/b", [Err(E::Parameter), Err(E::Parameter), Err(E::DotSegment)]),
        ("/a/..%3bx/b", all(E::DotSegment)),
        ("/a%2fb", [Err(E::EncodedSlash), Ok(()), Ok(())]),
        ("/a%2Fb", [Err(E::EncodedSlash), Ok(()), Ok(())]),
        ("/a%252fb", unless_opaque(E::DoubleEscape)),
        ("/%252e%252e/b", unless_opaque(E::DoubleEscape)),
        ("/a%255cb", unless_opaque(E::DoubleEscape)),
        ("/a%2500", unless_opaque(E::DoubleEscape)),
        ("/a%25252f", unless_opaque(E::DoubleEscape)),
        ("/a%2541", PASS),
        ("/a%00", all(E::Control)),
        ("/a%1f", all(E::Control)),
        ("/a%7F", all(E::Control)),
        ("/a%0d%0aX:y", all(E::Control)),
        ("/a\r\n", all(E::Control)),
        ("/a\0", all(E::Control)),
        ("/a\u{7f}", all(E::Control)),
        ("/a?\n", all(E::Control)),
        ("/a%", all(E::Escape)),
        ("/a%2", all(E::Escape)),
        ("/a%2g", all(E::Escape)),
        ("/a%u002f", all(E::Escape)),
        ("/a?%", all(E::Escape)),
        ("/a?b%zz", all(E::Escape)),
        ("/ü", all(E::NotAscii)),
        ("/a?ü", all(E::NotAscii)),
        ("/a#b", all(E::Fragment)),
        ("/a?b#c", all(E::Fragment)),
        ("/a b", all(E::Character)),
        ("/a?b c", all(E::Character)),
        ("/a<b", all(E::Character)),
        ("/a{b}", all(E::Character)),
        (long.as_str(), all(E::Length)),
    ] {
        for (mode, expected) in [PathMode::Strict, PathMode::EncodedSlash, PathMode::Opaque].into_iter().zip(expected) {
            let target = Target::parse(Scheme::Https, Authority::parse("a.test", 443).unwrap(), path, mode);
            assert_eq!(target.as_ref().map(|_| ()).map_err(|error| *error), expected, "{path:.60} {mode:?}");
            if let Ok(target) = target {
                assert_eq!(target.path_and_query(), path);
                assert_eq!(target.uri().path_and_query().unwrap().as_str(), path);
            }
        }
    }
}

#[test]
fn ledger_paths_show_no_keys() {
    for (path, expected) in [
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1beta2/models/gpt", "/v1beta2/models/gpt"),
        ("/users/12345/keys", "/users/*/keys"),
        ("/hooks/T0AAA/B0BBB/xyzXYZ", "/hooks/*/*/*"),
        ("/bot123:AAF-x/send", "/*/send"),
        ("/a%20b/c", "/*/c"),
        ("/abcdefghijklmnopqrstuvwxyz", "/*"),
        ("/abcdefghijklmnopq", "/*"),
        ("/deadbeef00", "/*"),
        ("/", "/"),
        ("/repos/acme/", "/repos/acme/"),
    ] {
        let authority = Authority::parse("a.test", 443).unwrap();
        let target = Target::parse(Scheme::Https, authority, &format!("{path}?key=secret"), PathMode::Strict).unwrap();
        assert_eq!(target.redacted_path(), expected);
        assert_eq!(format!("{target:?}"), format!("https://a.test{expected}"));
    }
}

#[test]
fn codes_are_distinct() {
    use TargetError as E;
    let all = [
        E::EmptyHost,
        E::UserInfo,
        E::HostCharacter,
        E::HostNotAscii,
        E::HostLength,
        E::AmbiguousIpv4,
        E::Ipv6,
        E::Port,
        E::NotAbsolute,
        E::Length,
        E::NotAscii,
        E::Control,
        E::Character,
        E::Fragment,
        E::Escape,
        E::DoubleEscape,
        E::DotSegment,
        E::Backslash,
        E::EmptySegment,
        E::Parameter,
        E::EncodedSlash,
    ];
    let codes: std::collections::BTreeSet<&str> = all.iter().map(|error| error.code()).collect();
    assert_eq!(codes.len(), all.len());
}

/// Resolves escapes the plain way, to check the canonicaliser from outside.
fn decode(text: &str) -> Vec<u8> {
    let (mut decoded, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        if *first == b'%'
            && let Ok(byte) = u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16)
        {
            decoded.push(byte);
            rest = &tail[2..];
        } else {
            decoded.push(*first);
            rest = tail;
        }
    }
    decoded
}

proptest! {
    /// Any text, and texts of the bytes that matter.
    #[test]
    fn what_passes_is_unambiguous(
        path in prop_oneof!["/?\\PC{0,40}", "/(%2[eEfF5]|%5c|%0a|%25|[./\\\\;?a%#]){0,12}"],
        mode in prop_oneof![Just(PathMode::Strict), Just(PathMode::EncodedSlash), Just(PathMode::Opaque)],
    ) {
        let authority = Authority::parse("a.test", 443).unwrap();
        let Ok(target) = Target::parse(Scheme::Https, authority, &path, mode) else { return Ok(()) };
        prop_assert_eq!(target.path_and_query(), &path);
        prop_assert_eq!(target.uri().path_and_query().unwrap().as_str(), &path);
        let decoded = decode(target.path());
        let mut segments = decoded.split(|byte| matches!(byte, b'/' | b'\\'));
        prop_assert!(!segments.any(|segment| segment == b"." || segment == b".."), "{}", path);
        prop_assert!(!decoded.iter().any(u8::is_ascii_control));
        if mode == PathMode::Strict {
            prop_assert_eq!(decoded.iter().filter(|byte| **byte == b'/').count(), target.path().matches('/').count());
            prop_assert!(!target.path().contains("//") && !decoded.contains(&b'\\') && !target.path().contains(';'));
            // Decoding once more changes no structure.
            let again = String::from_utf8_lossy(&decoded).into_owned();
            prop_assert!(!again.to_lowercase().contains("%2f") && !again.to_lowercase().contains("%2e"));
        }
        let _ = target.redacted_path();
    }

    /// The quick look passes nothing that the whole check would not, and sees the same path.
    #[test]
    fn what_is_plain_passes_the_whole_check(text in "/?[a-c/.?=&%~_;-]{0,12}|/(v1|a\\.b|x)(/[a-z]{1,3}){0,3}(\\?[a-c=&]{0,6})?") {
        if let Some(end) = path::plain(&text) {
            for mode in [PathMode::Strict, PathMode::EncodedSlash, PathMode::Opaque] {
                prop_assert_eq!(path::whole(&text, mode), Ok(end), "{}", text);
            }
        }
    }

    #[test]
    fn authorities_are_canonical_or_refused(text in "\\PC{0,40}|[a-z0-9.:\\[\\]%@-]{0,20}") {
        if let Ok(authority) = Authority::parse(&text, 443) {
            let shown = authority.to_string();
            prop_assert_eq!(Authority::parse(&shown, 1).unwrap().to_string(), shown);
            prop_assert!(authority.host.as_str().bytes().all(|b| !b.is_ascii_uppercase()));
            // The URI parser of http agrees about the host.
            let target = Target::parse(Scheme::Https, authority.clone(), "/", PathMode::Strict).unwrap();
            prop_assert_eq!(target.uri().host().unwrap().trim_matches(['[', ']']), authority.host.as_str());
        }
    }

    #[test]
    fn equal_hashes_for_equal_segments(a in "(%[46][0-9a-fA-F]|[a-z]){0,4}", b in "(%[46][0-9a-fA-F]|[a-z]){0,4}") {
        prop_assert_eq!(decoded_eq(&a, &b), decode(&a) == decode(&b));
        if decoded_eq(&a, &b) {
            prop_assert_eq!(hash_segment(7, &a), hash_segment(7, &b));
        }
    }
}
