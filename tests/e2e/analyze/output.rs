//! What `analyze` prints, and how it ends.

use crate::prepared::Prepared;
use crate::{BASE, edited, run};

const DENY: &str = "why = \"audits are immutable\"\n";

#[test]
fn the_threshold_decides_over_the_exit_code() {
    let prepared = Prepared::new();
    let notice = edited(&[(DENY, "")]);
    let warning =
        edited(&[("inject = { header = \"x-api-key\" }", "inject = { header = \"x-api-key\" }\nguard = false")]);
    let error = edited(&[("inject = { header = \"x-api-key\" }\n", "")]);
    for (text, codes) in
        [(BASE, [0, 0, 0, 0]), (&notice, [0, 0, 0, 3]), (&warning, [0, 0, 3, 3]), (&error, [0, 3, 3, 3])]
    {
        for (threshold, code) in ["never", "error", "warning", "notice"].into_iter().zip(codes) {
            let ended = run(&prepared, text, &["analyze", "--fail-on", threshold]);
            assert_eq!((ended.code, ended.err.as_str()), (code, ""), "{threshold}\n{}", ended.out);
        }
        assert_eq!(run(&prepared, text, &["analyze"]).code, codes[1]);
    }
    // Only the codes that are asked for count.
    assert_eq!(run(&prepared, &error, &["analyze", "--code", "CLV0405"]).code, 0);
    assert_eq!(run(&prepared, &error, &["analyze", "--code", "clv0306", "--code", "CLV0405"]).code, 3);
}

#[test]
fn a_finding_says_what_where_and_what_to_do() {
    let prepared = Prepared::new();
    let text = edited(&[(DENY, "why = \"x\"\n[deny.posts]\nwho = \"docs\"\nto = \"api\"\nops = \"*\"\nwhy = \"x\"\n")]);
    let ended = run(&prepared, &text, &["analyze", "--fail-on", "warning"]);
    let line = |what: &str| text.lines().position(|line| line == what).unwrap() + 1;
    let (allow, deny) = (line("[allow.docs]"), line("[deny.posts]"));
    let expected = format!(
        "claviger.toml:{allow}:8: warning CLV0103: `allow.docs`: it never decides: whatever it allows is denied by deny `posts`\n\
         \x20 see: deny `posts` at claviger.toml:{deny}:7\n\
         \x20 help: remove it, or narrow what stands before it\n\
         claviger.toml: 0 errors, 1 warning, 0 notices, 0 suppressed\n"
    );
    assert_eq!((ended.code, ended.out), (3, expected));
    let json = run(&prepared, &text, &["analyze", "-o", "json"]).json();
    let finding = &json["findings"][0];
    for (field, value) in [
        ("code", "CLV0103"),
        ("level", "warning"),
        ("title", "a rule never decides, because others always do"),
        ("subject", "allow.docs"),
        ("file", "claviger.toml"),
        ("help", "remove it, or narrow what stands before it"),
    ] {
        assert_eq!(finding[field], value, "{json}");
    }
    assert_eq!((finding["line"].as_u64(), finding["column"].as_u64()), (Some(allow as u64), Some(8)));
    assert_eq!(finding["related"][0]["line"], deny as u64);
    assert_eq!(json["summary"], serde_json::json!({ "errors": 0, "warnings": 1, "notices": 0, "suppressed": 0 }));
    let sarif = run(&prepared, &text, &["analyze", "-o", "sarif"]).json();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!((sarif["version"].as_str(), result["level"].as_str()), (Some("2.1.0"), Some("warning")));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "claviger.toml");
    assert_eq!(place["region"]["startLine"], allow as u64);
    // Every result's rule is described.
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    assert!(
        rules.iter().any(|rule| rule["id"] == result["ruleId"] && rule["help"]["text"].as_str().unwrap().len() > 100)
    );
}

#[test]
fn a_code_is_explained_without_a_configuration() {
    let prepared = Prepared::new();
    let output = prepared.run(&["analyze", "--explain", "clv0103"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("CLV0103: a rule never decides, because others always do (warning)\n\n"), "{text}");
    assert!(!text.contains("CLV0104") && !text.contains('#'), "{text}");
    let output = prepared.run(&["analyze", "--explain", "CLV0113"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), said.starts_with("claviger: `CLV0113` is no code of a finding; did you mean `CLV01")),
        (Some(2), true),
        "{said}"
    );
}

/// Two: it does not load. Then nothing is said about rules.
#[test]
fn what_does_not_load_is_not_analysed() {
    let prepared = Prepared::new();
    let ended = run(&prepared, &edited(&[("to = \"metrics\"", "to = \"metrix\"")]), &["analyze"]);
    assert_eq!((ended.code, ended.out.as_str()), (2, ""));
    assert!(ended.err.contains("did you mean `metrics`?"), "{}", ended.err);
    for args in
        [&["analyze", "--fail-on", "fatal"][..], &["analyze", "--code", "CLV1"], &["analyze", "--soon", "later"]]
    {
        let ended = run(&prepared, BASE, args);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{args:?}");
    }
}
