//! Two allows of one priority and different credentials: proven ties are errors, what cannot be
//! settled is a warning, and what cannot meet is silent.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::too_many_lines, reason = "tables of cases")]

#[path = "support/load.rs"]
mod load;

use load::findings;

const BASE: &str = r#"[service.s]
hosts = ["s.test"]
paths = ["/v1", "/v2"]
[service.t]
hosts = ["*.t.test"]
[credential.a]
hosts = ["s.test", "*.t.test"]
[credential.b]
hosts = ["s.test", "*.t.test"]
[workload.w]
spiffe = "spiffe://acme.internal/w/*"
[workload.v]
spiffe = "spiffe://acme.internal/*/v"
[workload.far]
spiffe = "spiffe://acme.internal/far"
[workload.main]
spiffe = "spiffe://acme.internal/w/*"
match = { ref = ["main"] }
[workload.release]
spiffe = "spiffe://acme.internal/w/*"
match = { ref = ["release-*"] }
[workload.mesh]
spiffe = "spiffe://acme.internal/w/*"
attested_by = "mesh"
[workload.unix]
spiffe = "spiffe://acme.internal/w/*"
attested_by = ["unix", "jwt"]
[schedule.day]
from = "07:00"
to = "19:00"
zone = "Europe/Berlin"
[schedule.night]
from = "19:00"
to = "07:00"
zone = "Europe/Berlin"
[schedule.tokyo]
from = "03:00"
to = "13:00"
zone = "Asia/Tokyo"
[schedule.late]
from = "18:00"
to = "20:00"
zone = "UTC"
"#;

fn pair(a: &str, b: &str) -> Vec<String> {
    let rule = |name: &str, keys: &str| {
        let mut text = format!("[allow.{name}]\nuse = \"{name}\"\n");
        for (key, default) in [("who", "\"w\""), ("to", "\"s\""), ("ops", "[\"GET /v1/**\"]")] {
            if !keys.lines().any(|line| line.starts_with(&format!("{key} "))) {
                text.push_str(&format!("{key} = {default}\n"));
            }
        }
        format!("{text}{keys}\n")
    };
    findings(&format!("{BASE}{}{}", rule("a", a), rule("b", b)))
}

#[test]
fn ties() {
    const TIE: &str = "error";
    const OPEN: &str = "warning";
    const APART: &str = "";
    for (a, b, expected) in [
        ("", "", TIE),
        ("", "priority = 1", APART),
        ("", "enforce = false", APART),
        ("", "to = \"t\"", APART),
        ("to = \"*\"", "to = \"t\"", TIE),
        // Operations.
        ("", "ops = [\"POST /v1/**\"]", APART),
        ("", "ops = [\"GET /v2/x\"]", APART),
        ("ops = [\"GET /v1/*/b\"]", "ops = [\"GET /v1/a/*\"]", TIE),
        ("ops = [\"GET /v1/*/b\"]", "ops = [\"GET /v1/a/*/c\"]", APART),
        ("ops = [\"GET /*/x\"]", "ops = [\"GET /v3/**\", \"GET /v2/**\"]", TIE),
        // Only under a path that the service does not have.
        ("ops = [\"GET /v3/x\"]", "ops = \"*\"", "warning: `allow.a.ops`"),
        ("ops = \"*\"", "ops = [\"BREW /v1\"]", TIE),
        // Callers.
        ("", "who = \"*\"", TIE),
        ("", "who = \"v\"", TIE),
        ("", "who = \"far\"", APART),
        ("", "who = [\"far\", \"v\"]", TIE),
        ("who = \"mesh\"", "who = \"unix\"", APART),
        ("who = \"mesh\"", "who = \"w\"", TIE),
        ("who = \"main\"", "who = \"release\"", APART),
        ("who = \"main\"", "who = \"w\"", TIE),
        ("who = \"main\"", "when = [\"ref != 'main'\"]", OPEN),
        ("when = [\"n < 5\"]", "when = [\"n >= 5\"]", APART),
        ("when = [\"n <= 5\"]", "when = [\"n >= 5\"]", TIE),
        ("when = [\"f == true\"]", "when = [\"f != true\"]", APART),
        ("when = [\"ref in ['a*']\"]", "when = [\"ref in ['*b']\"]", TIE),
        ("when = [\"ref in ['a*']\"]", "when = [\"ref in ['b*']\"]", APART),
        ("when = [\"ref not in ['a*', '*b']\"]", "when = [\"ref != 'another'\", \"ref in ['*']\"]", TIE),
        ("when = [\"body.model == 'x'\"]", "", TIE),
        ("when = [\"body.model == 'x'\"]", "when = [\"body.model == 'y'\"]", APART),
        // Addresses.
        ("when = [\"source.ip in 10.0.0.0/8\"]", "when = [\"source.ip in 10.9.0.0/16\"]", TIE),
        ("when = [\"source.ip in 10.0.0.0/8\"]", "when = [\"source.ip in 11.0.0.0/8, ::/0\"]", APART),
        ("when = [\"source.ip in 10.0.0.0/8\"]", "when = [\"source.ip not in 10.0.0.0/9\"]", TIE),
        ("when = [\"source.ip in 10.0.0.0/8\"]", "when = [\"source.ip not in 10.0.0.0/9, 10.128.0.0/9\"]", APART),
        // Time.
        ("until = 2026-01-01T00:00:00Z", "from = 2026-01-01T00:00:00Z", APART),
        ("until = 2026-01-01T00:00:01Z", "from = 2026-01-01T00:00:00Z", TIE),
        ("when = [\"time in day\"]", "when = [\"time in night\"]", APART),
        ("when = [\"time in day\"]", "when = [\"time not in day\"]", APART),
        ("when = [\"time in day\"]", "when = [\"time in late\"]", OPEN),
        ("when = [\"time in tokyo\"]", "when = [\"time in late\"]", TIE),
        ("when = [\"time in tokyo\"]", "when = [\"time in night\", \"time not in late\", \"time in day\"]", OPEN),
    ] {
        let found = pair(a, b);
        let severity = found.iter().map(|text| text.split_once(": ").unwrap().1).next().unwrap_or_default();
        assert!(
            if expected.is_empty() { found.is_empty() } else { severity.starts_with(expected) },
            "{a:?} {b:?}: {found:#?}"
        );
    }
}

#[test]
fn a_tie_cites_both_places_and_a_request() {
    assert_eq!(
        pair("", "who = \"v\"\nto = \"*\""),
        [
            "c.toml:50:8: error: `allow.b`: allow `a` (c.toml:44:8) with `a` and this rule with `b` have the same priority at service `s`, and both match `GET https://s.test/v1/x` as spiffe://acme.internal/w/v\n  help: give one of them a higher `priority`, or narrow one of them"
        ]
    );
    assert_eq!(
        pair("who = \"main\"", "when = [\"ref != 'main'\"]"),
        [
            "c.toml:49:8: warning: `allow.b`: allow `a` (c.toml:44:8) with `a` and this rule with `b` have the same priority at service `s`; a request that both match would be denied as ambiguous\n  help: give one of them a higher `priority`, or narrow one of them"
        ]
    );
}

#[test]
fn a_tie_that_a_deny_covers_is_a_warning() {
    let text = format!(
        "{BASE}[allow.a]\nwho = \"w\"\nto = \"s\"\nops = \"*\"\nuse = \"a\"\n[allow.b]\nwho = \"w\"\nto = \"s\"\nops = \"*\"\nuse = \"b\"\n[deny.d]\nwho = \"*\"\nto = \"*\"\nops = \"*\"\n"
    );
    let found = findings(&text);
    assert!(found.len() == 1 && found[0].contains("warning: `allow.b`"), "{found:?}");
}

#[test]
fn buckets_are_bounded() {
    for (count, expected) in [
        (999, None),
        (1_000, Some("c.toml:10:11: warning: 1000 rules are for `w` at service `s`; 4000 are refused")),
        (3_999, Some("c.toml:10:11: warning: 3999 rules are for `w` at service `s`; 4000 are refused")),
        (4_000, Some("c.toml:10:11: error: 4000 rules are for `w` at service `s`; fewer than 4000 are accepted")),
    ] {
        let rules: String = (0..count)
            .map(|at| format!("[allow.r{at}]\nwho = \"w\"\nto = \"s\"\nops = [\"GET /v1/{at}\"]\nuse = \"a\"\n"))
            .collect();
        let found = findings(&format!("{BASE}{rules}"));
        let first = found.first().and_then(|text| text.lines().next());
        assert_eq!(first, expected);
    }
}
