//! `claviger test`.

use crate::prepared::Prepared;
use crate::{BASE, edited, run};

const END: &str = "expect = \"allow read\"\n";

/// Another that passes, and one that fails.
const MORE: &str = r#"expect = "allow read"
[[test]]
as = "spiffe://acme.internal/payments/api"
request = "DELETE https://api.test/v1/audit/7"
expect = "deny audit"
[[test]]
as = "spiffe://acme.internal/payments/api"
request = "PUT https://api.test/v1/x"
expect = "allow read"
"#;

#[test]
fn each_test_is_printed_with_its_outcome() {
    let prepared = Prepared::new();
    let ended = run(&prepared, BASE, &["test"]);
    let line = BASE.lines().position(|line| line == "[[test]]").unwrap() + 1;
    let expected = format!(
        "passed  claviger.toml:{line}:1 GET https://api.test/v1/x as spiffe://acme.internal/payments/api: `allow read`\n\
         1 test: 1 passed, 0 failed, 0 skipped\n"
    );
    assert_eq!((ended.code, ended.out, ended.err.as_str()), (0, expected, ""));
}

#[test]
fn a_test_that_fails_says_what_came_and_why() {
    let prepared = Prepared::new();
    let text = edited(&[(END, MORE)]);
    assert_eq!(run(&prepared, &text, &["check"]).code, 2);
    let ended = run(&prepared, &text, &["test"]);
    assert_eq!((ended.code, ended.err.as_str()), (1, ""));
    for part in [
        "\nFAILED  claviger.toml:",
        "  expected `allow read`, got\n  denied: PUT https://api.test/v1/x as spiffe://acme.internal/payments/api\n",
        "    nearest: allow `read` (claviger.toml:",
        "    it fails by operation: `PUT /v1/x` is none of `GET,HEAD /v1/**`\n",
        "\n3 tests: 2 passed, 1 failed, 0 skipped\n",
    ] {
        assert!(ended.out.contains(part), "{part}\n--- in\n{}", ended.out);
    }
    let json = run(&prepared, &text, &["test", "-o", "json"]).json();
    assert_eq!(json["summary"], serde_json::json!({ "passed": 2, "failed": 1, "skipped": 0 }));
    let (passed, failed) = (&json["tests"][1], &json["tests"][2]);
    assert_eq!((passed["outcome"].as_str(), passed["rule"].as_str()), (Some("passed"), Some("deny audit")));
    assert_eq!((failed["outcome"].as_str(), failed["expect"].as_str()), (Some("failed"), Some("allow read")));
    assert!(failed["message"].as_str().unwrap().contains("nearest: allow `read`"));
    // A test that cannot be judged fails too, and the others are judged all the same.
    for (broken, said) in [
        ("expect = \"allow raed\"\n", "did you mean `read`?"),
        (
            "expect = \"deny\"\nsource_ip = \"10.0.0.1\"\n[[test]]\nas = \"spiffe://acme.internal/ci/docs\"\nattributes = { \"ci.ref\" = \"refs/heads/main\" }\nrequest = \"POST https://api.test/v1/docs/x\"\nexpect = \"deny\"\n",
            "the test has no `at`",
        ),
    ] {
        let ended = run(&prepared, &edited(&[(END, broken)]), &["test"]);
        assert!(ended.code == 1 && ended.out.contains(said), "{ended:?}");
    }
}

#[test]
fn coverage_names_the_rules_that_no_test_needs() {
    let prepared = Prepared::new();
    let text = edited(&[(END, &MORE.replace("PUT https", "GET https"))]);
    let ended = run(&prepared, &text, &["test", "--coverage"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for part in [
        ":8 allow read: 2 tests\n",
        ":8 allow docs: no test is decided by it\n",
        ":8 allow metrics: no test is decided by it\n",
        ":7 deny audit: 1 test\n",
        "\ncoverage: 2 of 4 rules, 50%\n3 tests: 3 passed, 0 failed, 0 skipped\n",
    ] {
        assert!(ended.out.contains(part), "{part}\n--- in\n{}", ended.out);
    }
    let json = run(&prepared, &text, &["test", "--coverage", "-o", "json"]).json();
    let coverage = &json["coverage"];
    assert_eq!(
        (coverage["covered"].as_u64(), coverage["total"].as_u64(), coverage["percent"].as_u64()),
        (Some(2), Some(4), Some(50))
    );
    assert_eq!(coverage["rules"][0]["tests"], 2);
    for (least, code) in [("50", 0), ("51", 3), ("0", 0)] {
        assert_eq!(run(&prepared, &text, &["test", "--min-coverage", least]).code, code, "{least}");
    }
    assert_eq!(run(&prepared, &text, &["test", "--min-coverage", "101"]).code, 2);
    // A rule that is only observed decides nothing, and needs no test.
    let observed = text
        .replace("why = \"audits are immutable\"", "why = \"x\"\nenforce = false")
        .replace("expect = \"deny audit\"", "expect = \"deny\"");
    let ended = run(&prepared, &observed, &["test", "--coverage"]);
    assert!(ended.code == 0 && ended.out.contains("coverage: 1 of 3 rules, 33%"), "{ended:?}");
}

#[test]
fn what_does_not_load_is_not_tested() {
    let prepared = Prepared::new();
    let ended = run(&prepared, &edited(&[("to = \"metrics\"", "to = \"metrix\"")]), &["test"]);
    assert_eq!((ended.code, ended.out.as_str()), (2, ""));
    assert_eq!(run(&prepared, BASE, &["test", "--team", "nobody"]).code, 2);
}
