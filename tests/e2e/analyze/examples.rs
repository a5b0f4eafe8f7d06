//! The configurations that documents show: what is found of them is really there.

use std::collections::BTreeSet;

use crate::prepared::Prepared;
use crate::{found, run};

/// What a file that shows every key has of necessity: tables that nothing uses, secrets that only the file binds, and
/// a rule for a network beside a listener on loopback.
const SHOWN: [&str; 6] = ["CLV0133", "CLV0204", "CLV0205", "CLV0301", "CLV0304", "CLV0406"];

#[test]
fn the_example_has_what_it_shows_and_does_not_use() {
    let prepared = Prepared::new();
    let text = include_str!("../../../config.example.toml");
    let ended = run(&prepared, text, &["analyze", "-o", "json", "--fail-on", "warning"]);
    let found = found(&ended);
    let codes: BTreeSet<&str> = found.iter().map(|finding| finding.split(' ').next().unwrap()).collect();
    assert_eq!((ended.code, codes), (0, SHOWN.into()), "{found:#?}");
    // One of each sort by name: it is there, and nothing uses it.
    for finding in [
        "CLV0133 allow.payments-billing",
        "CLV0204 workload.partner",
        "CLV0205 attestor.remote-ci",
        "CLV0301 credential.crm",
        "CLV0304 credential.billing",
        "CLV0406 service.portal",
    ] {
        assert!(found.contains(&finding.to_owned()), "{finding}\n{found:#?}");
    }
    // What it suppresses is really found.
    assert_eq!(ended.json()["summary"]["suppressed"], 1);
}
