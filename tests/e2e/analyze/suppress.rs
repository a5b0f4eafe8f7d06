//! `[[suppress]]`.

use crate::prepared::Prepared;
use crate::{BASE, edited, found, run};

const DENY: &str = "why = \"audits are immutable\"\n";

fn suppress(code: &str, on: &str, until: &str) -> String {
    format!("[[suppress]]\ncode = \"{code}\"\non = {on}\nreason = \"looked at\"\nuntil = {until}\n")
}

/// Of two denies without a reason, those that a suppression names are not reported.
#[test]
fn a_suppression_is_about_what_it_names() {
    let prepared = Prepared::new();
    let text = edited(&[(DENY, "[deny.more]\nwho = \"*\"\nto = \"api\"\nops = [\"DELETE /v1/logs/**\"]\n")]);
    let (audit, more) = ("CLV0141 deny.audit", "CLV0141 deny.more");
    for (on, expected) in [
        ("\"deny.audit\"", &[more][..]),
        ("[\"deny.audit\", \"deny.more\"]", &[]),
        ("\"deny.*\"", &[]),
        ("\"deny.a*\"", &[more]),
        ("\"*.more\"", &[audit]),
        ("\"*\"", &[]),
        ("\"deny.aud\"", &[audit, more, "CLV0902 suppress"]),
        ("\"allow.audit\"", &[audit, more, "CLV0902 suppress"]),
    ] {
        let text = format!("{text}{}", suppress("CLV0141", on, "\"9990-01-01\""));
        assert_eq!(found(&run(&prepared, &text, &["analyze", "-o", "json"])), expected, "{on}");
    }
}

#[test]
fn what_is_suppressed_is_shown_on_demand_and_does_not_fail() {
    let prepared = Prepared::new();
    let text = format!("{}{}", edited(&[(DENY, "")]), suppress("CLV0141", "\"deny.audit\"", "9990-01-01T00:00:00Z"));
    let ended = run(&prepared, &text, &["analyze", "--fail-on", "notice"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "claviger.toml: 0 errors, 0 warnings, 0 notices, 1 suppressed\n"));
    let ended = run(&prepared, &text, &["analyze", "--suppressed"]);
    assert!(ended.out.contains("CLV0141: `deny.audit`: it does not say why\n"), "{}", ended.out);
    assert!(ended.out.contains("  suppressed until 9990-01-01T00:00:00Z: looked at\n"), "{}", ended.out);
    let json = run(&prepared, &text, &["analyze", "-o", "json"]).json();
    let suppressed = &json["findings"][0]["suppressed"];
    assert_eq!((suppressed["reason"].as_str(), suppressed["line"].is_u64()), (Some("looked at"), true));
    assert_eq!(json["summary"]["suppressed"], 1);
    let sarif = run(&prepared, &text, &["analyze", "-o", "sarif"]).json();
    assert_eq!(sarif["runs"][0]["results"][0]["suppressions"][0]["justification"], "looked at");
}

/// The day itself still counts.
#[test]
fn a_day_counts_to_its_end() {
    let prepared = Prepared::new();
    let today = time::OffsetDateTime::now_utc().date();
    for (day, expected) in [
        (today.next_day().unwrap(), &[][..]),
        (today.previous_day().unwrap().previous_day().unwrap(), &["CLV0141 deny.audit", "CLV0901 suppress"]),
    ] {
        let text = format!("{}{}", edited(&[(DENY, "")]), suppress("CLV0141", "\"deny.audit\"", &format!("\"{day}\"")));
        assert_eq!(found(&run(&prepared, &text, &["analyze", "-o", "json"])), expected, "{day}");
    }
}

#[test]
fn a_wrong_suppression_does_not_load() {
    let prepared = Prepared::new();
    let right = suppress("CLV0141", "\"deny.audit\"", "\"2030-01-01\"");
    for (from, to, key, message) in [
        ("code = \"CLV0141\"\n", "", "code", "this key is required"),
        ("CLV0141", "CLV0140x", "code", "`CLV0140x` is no code of a finding"),
        ("CLV0141", "CLV0902", "code", "`CLV0902` is about suppressions, and cannot be suppressed"),
        ("on = \"deny.audit\"\n", "", "on", "this key is required"),
        ("\"deny.audit\"", "[]", "on", "the list is empty, so that nothing is suppressed"),
        ("deny.audit", "audit", "on", "`audit` is no table"),
        ("reason = \"looked at\"\n", "", "reason", "this key is required"),
        ("looked at", " ", "reason", "the reason is empty"),
        ("until = \"2030-01-01\"\n", "", "until", "this key is required"),
        ("2030-01-01", "2030-13-01", "until", "`2030-13-01` is not a moment"),
        ("until", "til", "til", "unknown key"),
    ] {
        assert!(right.contains(from), "{from}");
        let checked = prepared.check(&format!("{BASE}{}", right.replacen(from, to, 1)));
        let said: Vec<(&str, &str)> =
            checked.findings.iter().map(|one| (one.key.as_str(), one.message.as_str())).collect();
        assert!(said.contains(&(&format!("suppress[0].{key}"), message)), "{from} → {to}: {said:?}");
        assert_eq!(checked.code, 2);
        assert!(
            checked.findings.iter().all(|one| one.severity == "error" && !one.help.is_empty() || key == "on"),
            "{checked:?}"
        );
    }
}
