#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::too_many_lines, reason = "tables of cases")]

use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> PathPattern {
    PathPattern::parse(text).unwrap()
}

#[test]
fn patterns_match_segment_by_segment() {
    for (text, yes, no) in [
        ("/", &["/"][..], &["/a", "/a/"][..]),
        ("/**", &["/", "/a", "/a/b/", "/a//b"], &[]),
        ("/a", &["/a", "/%61"], &["/", "/a/", "/ab", "/a/b", "/A"]),
        ("/a/", &["/a/"], &["/a", "/a/b", "/a//"]),
        ("/a/**", &["/a", "/a/", "/a/b", "/a/b/c"], &["/ab", "/", "/b/a"]),
        ("/a/*", &["/a/b", "/a/%2f"], &["/a", "/a/", "/a/b/c", "/a/b/"]),
        ("/*/b/**", &["/a/b", "/x/b/c"], &["//b", "/b", "/a/c"]),
        ("/a%2Fb", &["/a%2fb"], &["/a/b"]),
        ("/%2A", &["/*", "/%2a"], &["/a"]),
        ("/a/b/c/d/e", &["/a/b/c/d/e"], &["/a/b/c/d/x", "/a/b/c/d"]),
    ] {
        let pattern = pattern(text);
        for (paths, expected) in [(yes, true), (no, false)] {
            for path in paths {
                assert_eq!(pattern.matches(path), expected, "{text} {path}");
            }
        }
    }
}

#[test]
fn operations() {
    for (text, expected) in [
        ("GET /a", Ok(())),
        ("GET,HEAD /a/**", Ok(())),
        ("* /a", Ok(())),
        ("*", Ok(())),
        ("PROPFIND /a", Ok(())),
        ("  GET   /a ", Ok(())),
        ("/a", Err("`/a` has no method; write `GET /a`, or `* /a` for every method")),
        ("GET", Err("`GET` is no operation; write `METHODS /path`, as `GET,HEAD /v1/models/**`, or `*`")),
        ("", Err("`` is no operation; write `METHODS /path`, as `GET,HEAD /v1/models/**`, or `*`")),
        ("GET /a /b", Err("`GET /a /b` is no operation; write `METHODS /path`, as `GET,HEAD /v1/models/**`, or `*`")),
        ("get /a", Err("`get` is not a method; did you mean `GET`?")),
        ("GET,Post /a", Err("`Post` is not a method; did you mean `POST`?")),
        ("GET, /a", Err("`` is not a method; write `METHOD /path` or `METHOD,METHOD /path`")),
        ("G* /a", Err("`G*` is not a method; write `METHOD /path` or `METHOD,METHOD /path`")),
        ("CONNECT /a", Err("`CONNECT` is no operation; it is decided by the requests inside the tunnel")),
        ("GET a", Err("the path `a` does not begin with `/`")),
        ("GET /a?b", Err("a path pattern has no query")),
        ("GET /**/a", Err("`**` may only stand at the end of a path")),
        ("GET /a*", Err("`*` stands for a whole segment, in `a*` it does not; a literal one is `%2A`")),
        ("GET /a/../b", Err("the pattern `/a/../b` can never match: the path has a dot segment")),
        ("GET /ü", Err("the pattern `/ü` can never match: path or query have a byte outside ASCII")),
    ] {
        assert_eq!(Operation::parse(text).map(|_| ()), expected.map_err(str::to_owned), "{text}");
    }
}

#[test]
fn common_methods() {
    let methods = |text: &str| Operation::parse(&format!("{text} /")).unwrap().methods;
    for (a, b, expected) in [
        ("GET", "GET,HEAD", Some("GET")),
        ("GET", "HEAD", None),
        ("*", "POST", Some("POST")),
        ("*", "BREW", Some("BREW")),
        ("*", "*", Some("GET")),
        ("BREW", "WHEN", None),
        ("BREW,GET", "BREW,POST", Some("BREW")),
    ] {
        let (a_set, b_set) = (methods(a), methods(b));
        let common = a_set.common(&b_set);
        assert_eq!(common.as_ref().map(Method::as_str), expected, "{a} {b}");
    }
}

#[test]
fn prefixes() {
    for (prefix, yes, no) in [
        ("/", &["/", "/a"][..], &[][..]),
        ("/v1", &["/v1", "/v1/", "/v1/a"], &["/v11", "/v", "/"]),
        ("/v1/", &["/v1"], &["/v"]),
    ] {
        let below = PathPattern::below(prefix).unwrap();
        assert!(yes.iter().all(|path| below.matches(path)), "{prefix}");
        assert!(!no.iter().any(|path| below.matches(path)), "{prefix}");
    }
    assert!(PathPattern::below("/v*").is_err());
}

fn any_pattern() -> impl Strategy<Value = String> {
    "(/(a|b|%61|\\*)){0,5}(/\\*\\*|/)?".prop_map(|text| if text.is_empty() { "/".into() } else { text })
}

fn any_path() -> impl Strategy<Value = String> {
    "(/(a|b|c|%62|)){1,6}"
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "\\PC{0,40}|[A-Z*,/ a%]{0,20}") {
        let _ = Operation::parse(&text);
        let _ = PathPattern::below(&text);
    }

    /// The prefilter refuses nothing that matches.
    #[test]
    fn the_probe_admits_every_match(pattern in any_pattern(), path in any_path()) {
        let pattern = PathPattern::parse(&pattern).unwrap();
        if pattern.matches(&path) {
            let probe = Probe::new(&path);
            prop_assert_eq!(probe.hashes[usize::from(pattern.prefix_len)], pattern.prefix_hash);
            let long_enough = probe.count >= pattern.min_segments;
            prop_assert!(long_enough && (pattern.open || probe.count == pattern.min_segments));
        }
    }

    /// The intersection matches what both match, and a witness is in it.
    #[test]
    fn intersections_are_exact(a in any_pattern(), b in any_pattern(), path in any_path()) {
        let (a, b) = (PathPattern::parse(&a).unwrap(), PathPattern::parse(&b).unwrap());
        let both = a.intersect(&b);
        let expected = a.matches(&path) && b.matches(&path);
        prop_assert_eq!(both.as_ref().is_some_and(|both| both.matches(&path)), expected, "{:?}", both);
        if let Some(both) = both {
            let witness = both.witness();
            prop_assert!(a.matches(&witness) && b.matches(&witness), "{}", witness);
        }
    }
}

proptest! {
    /// What a pattern covers, it matches: a team's identities rest on it.
    #[test]
    fn what_is_covered_is_matched(a in any_pattern(), b in any_pattern(), path in any_path()) {
        let (a, b) = (PathPattern::parse(&a).unwrap(), PathPattern::parse(&b).unwrap());
        prop_assert!(a.covers(&a));
        if a.covers(&b) {
            prop_assert!(!b.matches(&path) || a.matches(&path));
            prop_assert!(a.matches(&b.witness()));
            let both = a.intersect(&b);
            prop_assert_eq!(both.map(|both| both.matches(&path)), Some(b.matches(&path)));
        }
    }
}

#[test]
fn what_covers_what() {
    for (outer, inner, expected) in [
        ("/**", "/a/*/b/**", true),
        ("/payments/**", "/payments", true),
        ("/payments/**", "/payments/*/x", true),
        ("/payments/**", "/paymentsx", false),
        ("/payments/**", "/*", false),
        ("/payments/**", "/**", false),
        ("/payments/*", "/payments", false),
        ("/payments/*", "/payments/*", true),
        ("/payments/*", "/payments/x", true),
        ("/payments/*", "/payments/**", false),
        ("/payments/*", "/payments/x/y", false),
        ("/payments/*/x", "/payments/a/x", true),
        ("/payments/*/x", "/payments/a/*", false),
        ("/payments/a", "/payments/*", false),
        ("/payments/*", "/payments/", false),
    ] {
        assert_eq!(pattern(outer).covers(&pattern(inner)), expected, "{outer} {inner}");
    }
}

#[test]
fn long_paths_saturate() {
    let long = format!("/{}", "a/".repeat(400));
    assert!(pattern("/a/**").matches(&long));
    assert_eq!(Probe::new(&long).count, u8::MAX);
    let exact = pattern(&long);
    assert_eq!(exact.min_segments, u8::MAX);
    assert!(exact.matches(&long));
}
