//! Findings, suppressions and tests of teams.

use crate::prepared::Prepared;
use crate::{BASE, found, run};

const PLATFORM: &str = r#"
[team.web]
files = "teams/web.toml"
owner = "web@acme.test"
identities = ["spiffe://acme.internal/web/**"]
services = ["api"]
credentials = ["key"]

[deny.plain]
who = "*"
to = "api"
ops = ["PATCH /v1/**"]
"#;

const TEAM: &str = r#"
[workload.front]
spiffe = "spiffe://acme.internal/web/front"

[allow.pages]
who = "front"
to = "api"
ops = ["GET /v1/pages/**"]
use = "key"

[allow.page]
who = "front"
to = "api"
ops = ["GET /v1/pages/*"]
use = "key"

[deny.plain]
who = "front"
to = "api"
ops = ["DELETE /v1/pages/**"]

[[test]]
as = "spiffe://acme.internal/web/front"
request = "GET https://api.test/v1/pages/7/x"
expect = "allow pages"

[[suppress]]
code = "CLV0141"
on = "deny.*"
reason = "nobody asks"
until = "9990-01-01"
"#;

fn platform() -> String {
    // Tables stand before the list of tests.
    let (tables, tests) = BASE.split_once("[[test]]").unwrap();
    format!("{tables}{PLATFORM}[[test]]{tests}")
}

#[test]
fn a_team_suppresses_what_is_its_own_only() {
    let prepared = Prepared::new();
    let world = &prepared.0;
    let shown = |team: &str| {
        world.write("teams/web.toml", team);
        found(&run(&prepared, &platform(), &["analyze", "-o", "json"]))
    };
    // The platform's deny of the same bare name stays.
    assert_eq!(shown(TEAM), ["CLV0104 allow.web/page", "CLV0141 deny.plain"]);
    for (on, expected) in [
        ("deny.plain", &["CLV0104 allow.web/page", "CLV0141 deny.plain"][..]),
        ("deny.web/plain", &["CLV0104 allow.web/page", "CLV0141 deny.plain"]),
        ("*", &["CLV0104 allow.web/page", "CLV0141 deny.plain"]),
        (
            "deny.other/*",
            &["CLV0104 allow.web/page", "CLV0141 deny.plain", "CLV0141 deny.web/plain", "CLV0902 suppress"],
        ),
    ] {
        assert_eq!(shown(&TEAM.replace("deny.*", on)), expected, "{on}");
    }
    // The platform may suppress anything.
    world.write("teams/web.toml", TEAM);
    let more = "[[suppress]]\ncode = \"CLV0104\"\non = \"allow.web/*\"\nreason = \"x\"\nuntil = \"9990-01-01\"\n";
    let ended = run(&prepared, &format!("{}{more}", platform()), &["analyze", "-o", "json"]);
    assert_eq!(found(&ended), ["CLV0141 deny.plain"]);
}

#[test]
fn a_team_runs_its_own_tests() {
    let prepared = Prepared::new();
    let world = &prepared.0;
    world.write("teams/web.toml", TEAM);
    let ended = run(&prepared, &platform(), &["test", "--coverage"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("2 tests: 2 passed"), "{}", ended.out);
    let ended = run(&prepared, &platform(), &["test", "--coverage", "--team", "web", "-o", "json"]);
    let json = ended.json();
    let (tests, coverage) = (&json["tests"], &json["coverage"]);
    assert_eq!((tests.as_array().unwrap().len(), tests[0]["team"].as_str()), (1, Some("web")));
    assert_eq!(
        (tests[0]["rule"].as_str(), tests[0]["expect"].as_str()),
        (Some("allow web/pages"), Some("allow web/pages"))
    );
    assert_eq!((coverage["covered"].as_u64(), coverage["total"].as_u64()), (Some(1), Some(3)));
    assert_eq!(run(&prepared, &platform(), &["test", "--team", "web", "--min-coverage", "34"]).code, 3);
    // One that fails is a failure here, though at load it freezes its team only.
    world.write("teams/web.toml", TEAM.replace("expect = \"allow pages\"", "expect = \"deny\""));
    let ended = run(&prepared, &platform(), &["test"]);
    assert!(ended.code == 1 && ended.out.contains("2 tests: 1 passed, 1 failed"), "{ended:?}");
}

/// What is wrong with a file of a team is told, and is no clean bill.
#[test]
fn a_team_whose_file_is_wrong_is_no_clean_bill() {
    let prepared = Prepared::new();
    prepared.0.write("teams/web.toml", TEAM.replace("GET /v1/pages/**", "GET v1/pages/**"));
    for command in ["analyze", "test"] {
        let ended = run(&prepared, &platform(), &[command]);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{command}");
        assert!(ended.err.contains("the path `v1/pages/**` does not begin with `/`"), "{}", ended.err);
    }
}
