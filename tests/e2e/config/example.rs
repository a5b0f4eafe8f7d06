//! `config.example.toml` loads, and holds every key and every word that the product knows.

use std::collections::{BTreeMap, BTreeSet};

use crate::keys::{insertions, key_of, sections};
use crate::prepared::Prepared;

pub(crate) const EXAMPLE: &str = include_str!("../../../config.example.toml");

/// Inline tables whose keys are the author's own.
const FREE: &[&str] = &[
    "attestor.jwt-svid.attributes",
    "attestor.jwt-svid.bundle",
    "attestor.jwt-svid.require",
    "attestor.jwt.attributes",
    "attestor.jwt.require",
    "attestor.x509-svid.bundle",
    "credential.github-app.permissions",
    "credential.jwt.claims",
    "credential.federation.parameters",
    "credential.oauth2.client_assertion.claims",
    "credential.oauth2.parameters",
    "credential.static.value",
    "credential.vault.fields",
    "credential.vault.parameters",
    "rule.narrow.permissions",
    "service.check.headers",
    "service.client.base_urls",
    "service.client.variables",
    "service.operations",
    "store.env.bindings",
    "store.file.bindings",
    "store.vault.bindings",
    "test.attributes",
    "test.body",
    "workload.match",
];

#[test]
fn the_example_loads() {
    let prepared = Prepared::new();
    prepared.loads(EXAMPLE);
    let output = prepared.run(&["check", "--config", "claviger.toml", "--strict"]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("claviger.toml: ok, 2 listeners, "), "{said}");
}

/// An unknown key is answered with those that are known: what the product asks for, from the product.
#[test]
fn every_key_stands_in_the_example() {
    let prepared = Prepared::new();
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut free = BTreeSet::new();
    for insertion in insertions(EXAMPLE) {
        let checked = prepared.check(&insertion.put_into(EXAMPLE));
        let is_unknown = |key: &str, message: &str| key.rsplit('.').next() == Some("zzzz") && message == "unknown key";
        match checked.findings.iter().find(|one| is_unknown(&one.key, &one.message)) {
            Some(finding) => {
                let keys = finding.help.strip_prefix("known here: ").unwrap_or_else(|| panic!("{finding:?}"));
                known.entry(insertion.class).or_default().extend(keys.split(", ").map(str::to_owned));
            }
            None => {
                free.insert(insertion.class);
            }
        }
    }
    assert_eq!(free, FREE.iter().map(|class| (*class).to_owned()).collect());
    let sections = sections(EXAMPLE);
    let mut missing = Vec::new();
    for (class, keys) in &known {
        let tables: Vec<_> = sections.iter().filter(|section| section.class() == *class).collect();
        // An inline table stands in the lines of the table around it.
        let around = sections.iter().filter(|section| class.starts_with(&format!("{}.", section.class())));
        let lines: Vec<&str> = around.flat_map(|section| section.text.lines()).collect();
        for key in keys {
            let is_inline = |line: &&str| {
                line.split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-')).any(|word| word == key)
            };
            let is_table = sections.iter().any(|section| match class.as_str() {
                "" => section.name.split('.').next() == Some(key),
                class => section.name == format!("{class}.{key}"),
            });
            let is_key = tables.iter().any(|section| section.has_key(key));
            if !is_table && !is_key && (!tables.is_empty() || !lines.iter().any(is_inline)) {
                missing.push(format!("[{class}] {key}"));
            }
        }
    }
    assert!(known.len() >= 25, "{known:?}");
    assert_eq!(missing, [""; 0]);
}

/// How a help begins that lists the right words, and what in it is none of them.
const LISTS: &[&str] =
    &["write one of ", "write some of ", "write `\"bearer\"`, ", "write `file` or ", "write `mon`", "there are: "];
const PROSE: &[&str] = &[
    "write",
    "one",
    "some",
    "of",
    "or",
    "a",
    "table",
    "with",
    "there",
    "are:",
    "as",
    "is",
    "for",
    "other",
    "{",
    "}",
    "=",
    "x-api-key",
];

/// A wrong word is answered with those that are right.
#[test]
fn every_word_stands_in_the_example() {
    let prepared = Prepared::new();
    let sections = sections(EXAMPLE);
    let (mut asked, mut missing) = (BTreeSet::new(), Vec::new());
    for section in &sections {
        for line in section.text.lines() {
            let Some(key) = key_of(line) else { continue };
            let Some(word) = line.split('"').nth(1) else { continue };
            let wrong = line.replacen(&format!("\"{word}\""), "\"zzzz\"", 1);
            let checked = prepared.check(&EXAMPLE.replacen(line, &wrong, 1));
            let is_list = |help: &&str| LISTS.iter().any(|list| help.starts_with(list));
            let Some(help) = checked.findings.iter().map(|one| one.help.as_str()).find(is_list) else { continue };
            let table = section.name.split('.').next().unwrap();
            asked.insert(format!("{table}.{key}"));
            let words = help.split(['`', ' ', ',', ';', '"']).filter(|word| !word.is_empty() && !PROSE.contains(word));
            // In a line of this key, or in its comment, in any table of the sort.
            let alike = sections.iter().filter(|other| other.name.split('.').next() == Some(table));
            let lines = alike.flat_map(|section| section.text.lines());
            let texts: Vec<&str> = lines.filter(|line| key_of(line) == Some(key)).collect();
            for word in words {
                let has = |text: &&str| {
                    text.split(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_')).any(|known| known == word)
                };
                if !texts.iter().any(has) {
                    missing.push(format!("[{}] {key}: {word}", section.name));
                }
            }
        }
    }
    let expected = [
        "attestor.algorithms",
        "attestor.kind",
        "attestor.loopback",
        "credential.actor_token",
        "credential.auth",
        "credential.body",
        "credential.grant",
        "credential.kind",
        "credential.method",
        "credential.per",
        "credential.permissions",
        "credential.profile",
        "credential.subject",
        "credential.subject_token",
        "issuer.algorithm",
        "ledger.sinks",
        "listener.authenticate_at",
        "listener.mode",
        "listener.unmatched",
        "schedule.days",
        "service.inject",
        "service.path_mode",
        "store.kind",
    ];
    assert_eq!(missing, [""; 0]);
    assert_eq!(asked, expected.map(str::to_owned).into());
}
