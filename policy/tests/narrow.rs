//! `narrow`: what a rule says of how far its credential reaches, carried by the grant.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/load.rs"]
mod load;

use claviger_policy::{Decision, Policy};
use load::{context, findings, load, principal, target};

const BASE: &str = r#"
[service.github]
hosts = ["api.github.test"]
[credential.app]
hosts = ["api.github.test"]
[workload.ci]
spiffe = "spiffe://acme.internal/ci"
"#;

fn allow(name: &str, ops: &str, more: &str) -> String {
    format!("[allow.{name}]\nwho = \"ci\"\nto = \"github\"\nops = [\"{ops}\"]\n{more}\n")
}

fn narrowed(policy: &Policy, request: &str) -> Option<String> {
    let bound = policy.bind(&principal("spiffe://acme.internal/ci", &[]));
    let (method, url) = request.split_once(' ').unwrap();
    let context = context(None, "2026-01-01T12:00:00Z");
    match policy.decide(&bound, target(policy, url), method.parse().unwrap(), &context) {
        Decision::Grant(grant) => grant.obligations().narrow.as_ref().map(ToString::to_string),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_grant_carries_what_its_rule_says() {
    let docs = "use = \"app\"\nnarrow = { repositories = [\"docs\"], permissions = { contents = \"read\" } }";
    let text =
        [BASE, &allow("docs", "GET /repos/acme/docs/**", docs), &allow("rest", "GET /user", "use = \"app\"")].concat();
    let policy = load(&text);
    let expected = r#"{"permissions":{"contents":"read"},"repositories":["docs"]}"#;
    let contents = "GET https://api.github.test/repos/acme/docs/contents";
    assert_eq!(narrowed(&policy, contents).as_deref(), Some(expected));
    assert_eq!(narrowed(&policy, "GET https://api.github.test/user"), None);
    let said: Vec<String> =
        policy.narrowings().map(|(credential, narrow, rule)| format!("{credential} {narrow} {rule}")).collect();
    assert_eq!(said, [format!("app {expected} docs")]);
    // Explained as it is decided.
    let bound = policy.bind(&principal("spiffe://acme.internal/ci", &[]));
    let context = context(None, "2026-01-01T12:00:00Z");
    let explained = policy.explain(
        &bound,
        &target(&policy, "https://api.github.test/repos/acme/docs/contents"),
        &http::Method::GET,
        &context,
    );
    assert!(explained.to_string().contains(&format!("credential: app, narrowed to {expected}")), "{explained}");
}

#[test]
fn two_allows_that_narrow_differently_tie() {
    let one = "use = \"app\"\nnarrow = { permissions = { contents = \"read\" } }";
    for (other, ties) in [
        ("use = \"app\"\nnarrow = { permissions = { contents = \"write\" } }", true),
        ("use = \"app\"", true),
        ("use = \"app\"\nnarrow = { permissions = { contents = \"read\" } }", false),
        ("use = \"app\"\npriority = 1", false),
    ] {
        let found = findings(&[BASE, &allow("one", "GET /a/**", one), &allow("other", "GET /a/b", other)].concat());
        let is_tie = |text: &String| text.contains("have the same priority at service `github`");
        assert_eq!(found.iter().any(is_tie), ties, "{other}: {found:?}");
        if ties {
            let narrowed = found[0].contains("`app` narrowed to `{\"permissions\":{\"contents\":\"read\"}}`");
            assert!(narrowed, "{found:?}");
        }
    }
}

#[test]
fn what_narrows_nothing_is_an_error() {
    for (rule, expected) in [
        (
            allow("x", "GET /a", "use = \"none\"\nnarrow = { a = 1 }"),
            "with `use = \"none\"` there is nothing to narrow",
        ),
        (allow("x", "GET /a", "use = \"app\"\nnarrow = {}"), "the table narrows nothing"),
        (allow("x", "GET /a", "use = \"app\"\nnarrow = \"docs\""), "expected a table, found a string"),
        (allow("x", "GET /a", "narrow = { a = 1 }").replace("[allow.", "[deny."), "a deny injects nothing"),
    ] {
        let found = findings(&[BASE, &rule].concat());
        assert!(found.iter().any(|text| text.contains(expected)), "{rule}: {found:?}");
    }
}
