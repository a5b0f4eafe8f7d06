//! `docs/errors.md` has every code that a client or an operator can be told, and no other.

use std::collections::BTreeSet;
use std::path::Path;

const PAGE: &str = include_str!("../../../docs/errors.md");

/// The text of a function of a source file.
fn function(file: &str, signature: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(signature).unwrap_or_else(|| panic!("{file} has no `{signature}`"));
    rest.split_once("\n    }\n").unwrap().0.to_owned()
}

/// What stands in quotes or backticks and is a code.
fn codes(text: &str, quote: char) -> BTreeSet<String> {
    let is_code = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    text.split(quote).skip(1).step_by(2).filter(is_code).map(str::to_owned).collect()
}

#[test]
fn every_refusal_has_a_section_with_its_status() {
    let rows = function("proxy/wire/src/refusal.rs", "fn row(self)");
    let mut expected = BTreeSet::new();
    for row in rows.split("(S::").skip(1) {
        let (status, rest) = row.split_once(',').unwrap();
        let number = match status {
            "BAD_REQUEST" => "400",
            "UNAUTHORIZED" if rest.contains("\"handle_invalid\"") => "401",
            "TOO_MANY_REQUESTS" => "429",
            // To a forward listener's client it is the proxy that asks.
            "UNAUTHORIZED" => "401 / 407",
            "FORBIDDEN" => "403",
            "PAYLOAD_TOO_LARGE" => "413",
            "MISDIRECTED_REQUEST" => "421",
            "NOT_IMPLEMENTED" => "501",
            "BAD_GATEWAY" => "502",
            "SERVICE_UNAVAILABLE" => "503",
            "GATEWAY_TIMEOUT" => "504",
            other => panic!("{other}"),
        };
        expected.insert(format!("{} {number}", rest.split('"').nth(1).unwrap()));
    }
    assert!(expected.len() >= 20, "{expected:?}");
    let (clients, _) = PAGE.split_once("\n# What the operator is told").unwrap();
    let sections = clients.split("\n## ").skip(1).map(|section| {
        let (code, text) = section.split_once("\n\n**").unwrap();
        let (status, text) = text.split_once(".** ").unwrap();
        assert_eq!(text.trim().split("\n\n").count(), 2, "{code}: what it is, and what to do");
        format!("{code} {status}")
    });
    assert_eq!(sections.collect::<BTreeSet<_>>(), expected);
}

#[test]
fn every_reason_stands_in_the_table() {
    let by_hand = ["no_longer_allowed", "handle_absent", "invalid_request", "unsupported_grant_type"];
    let mut expected = BTreeSet::from(by_hand.map(str::to_owned));
    for (file, signature) in [
        ("policy/src/grant.rs", "impl Reason {"),
        ("proxy/identity/src/error.rs", "pub fn code(&self)"),
        ("proxy/wire/src/phantom.rs", "fn verify("),
        ("proxy/credential/src/error.rs", "impl SourceError {"),
        ("proxy/credential/src/error.rs", "impl CredentialError {"),
        ("proxy/credential/src/injection/error.rs", "pub fn code(&self)"),
    ] {
        let found = codes(&function(file, signature), '"');
        assert!(!found.is_empty(), "{file}: {signature}");
        expected.extend(found);
    }
    // It has a section of its own.
    expected.remove("unknown_service");
    let (_, table) = PAGE.split_once("\n# What the operator is told").unwrap();
    let first_cells = table.lines().filter(|line| line.starts_with("| `")).map(|line| line.split('|').nth(1).unwrap());
    let listed: BTreeSet<String> = first_cells.flat_map(|cell| codes(cell, '`')).collect();
    assert_eq!(listed, expected);
}
