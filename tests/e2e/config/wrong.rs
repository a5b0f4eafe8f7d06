//! Wrong configurations, exactly what is said about each, and that what is advised makes it load.
//!
//! The cases stand in `wrong/*.txt`. Each changes `base.toml`, which loads:
//!
//! ```text
//! - a line of the base
//! + what stands there instead; » marks the place of the finding
//! @ the place of the finding, where it is elsewhere: the rest of its line
//! ! KEY: the message of the first finding, an error        (~ for a warning)
//! ? its help
//! = what stands there once the advice is taken: it loads
//! ```

use std::collections::BTreeSet;

use serde_json::Value;

use crate::prepared::{Finding, Prepared};

const BASE: &str = include_str!("base.toml");
const MARK: char = '»';

#[derive(Debug, Default)]
struct Case {
    from: String,
    to: String,
    at: Option<String>,
    severity: &'static str,
    said: Vec<String>,
    help: String,
    fixed: Option<String>,
}

impl Case {
    fn parse(text: &str) -> Self {
        let mut case = Self::default();
        for line in text.lines() {
            let (sign, rest) = line.split_at(1);
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            match sign {
                "-" => case.from.push_str(&format!("{rest}\n")),
                "+" => case.to.push_str(&format!("{rest}\n")),
                "=" => case.fixed.get_or_insert_default().push_str(&format!("{rest}\n")),
                "@" => case.at = Some(rest.to_owned()),
                "!" | "~" => {
                    case.severity = if sign == "!" { "error" } else { "warning" };
                    case.said.push(rest.to_owned());
                }
                "?" => case.help = rest.to_owned(),
                _ => panic!("{line}"),
            }
        }
        assert!(!case.from.is_empty() && !case.said.is_empty(), "{text}");
        case
    }

    fn text(&self, instead: &str) -> String {
        assert_eq!(BASE.matches(&self.from).count(), 1, "{self:?}");
        BASE.replace(&self.from, instead)
    }

    fn expected(&self) -> (String, Finding) {
        let marked = self.text(&self.to);
        let text = marked.replace(MARK, "");
        let offset = match &self.at {
            Some(at) => text.find(at.as_str()).unwrap_or_else(|| panic!("{self:?}")),
            None => marked.find(MARK).unwrap_or_else(|| panic!("{self:?}")),
        };
        let before = &text[..offset];
        let said = self.said.join("\n");
        let (key, message) = said.split_once(": ").unwrap();
        let finding = Finding {
            severity: self.severity.to_owned(),
            file: "claviger.toml".to_owned(),
            line: before.lines().count().max(1) as u64 + u64::from(before.ends_with('\n')),
            column: before.rsplit('\n').next().unwrap().chars().count() as u64 + 1,
            key: key.to_owned(),
            message: message.to_owned(),
            help: self.help.clone(),
        };
        (text, finding)
    }
}

fn check(cases: &str) {
    let prepared = Prepared::new();
    let cases: Vec<Case> = cases.trim_end().split("\n\n").map(Case::parse).collect();
    let advised = cases.iter().filter(|case| case.fixed.is_some()).count();
    assert!(advised * 2 > cases.len(), "{advised} of {}", cases.len());
    for case in &cases {
        let (text, expected) = case.expected();
        let checked = prepared.check(&text);
        assert_eq!(checked.findings.first(), Some(&expected), "{case:#?}\n{:#?}", checked.findings);
        assert_eq!(checked.code, if case.severity == "error" { 2 } else { 0 }, "{case:#?}");
        if let Some(fixed) = &case.fixed {
            prepared.loads(&case.text(fixed));
        }
    }
}

#[test]
fn the_base_loads() {
    Prepared::new().loads(BASE);
}

/// Each key that the schema has is wrong in some case, here or in the table of what teams try.
#[test]
fn every_key_is_wrong_once() {
    let output = claviger_tests::World::new().run(&["schema"]);
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut known = BTreeSet::new();
    for (class, table) in schema["$defs"].as_object().unwrap() {
        // Injections are wrong as a whole: their findings name `inject`.
        if !class.starts_with("service.inject") {
            known.extend(keys_of(class.split('.').next().unwrap(), table));
        }
    }
    for (key, property) in schema["properties"].as_object().unwrap() {
        known.extend(keys_of(key, property));
        // The others are tables that have names, or lists of tables.
        if property["additionalProperties"].get("$ref").is_none() && property["type"] != "array" {
            known.insert(key.clone());
        }
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e");
    let mut texts = vec![std::fs::read_to_string(folder.join("teams/beyond.txt")).unwrap()];
    for entry in std::fs::read_dir(folder.join("config/wrong")).unwrap() {
        texts.push(std::fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    let lines = texts.iter().flat_map(|text| text.lines());
    let said = lines.filter_map(|line| line.strip_prefix("! ").or_else(|| line.strip_prefix("~ "))?.split(": ").next());
    let seen: BTreeSet<String> = said.flat_map(shapes_of).collect();
    let missing: Vec<_> = known.difference(&seen).collect();
    assert!(known.len() > 150, "{known:?}");
    assert!(missing.is_empty(), "no case in tests/e2e/config/wrong is about {missing:#?}");
}

/// The keys of a table of the schema, also those of inline tables.
fn keys_of(table: &str, schema: &Value) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        keys.push(format!("{table}.{key}"));
        let either = property["anyOf"].as_array().into_iter().flatten().chain([property]);
        let inner = either.filter_map(|one| one["properties"].as_object()).flat_map(|keys| keys.keys());
        keys.extend(inner.map(|inner| format!("{table}.{key}.{inner}")));
    }
    keys
}

/// What a finding's key may mean: `service.api.check.call` is `service.check.call`, `test[0].as` is `test.as`.
fn shapes_of(key: &str) -> Vec<String> {
    let parts: Vec<&str> = key.split('.').map(|part| part.split('[').next().unwrap()).collect();
    let named = parts.first().into_iter().chain(parts.iter().skip(2)).copied().collect::<Vec<_>>();
    [parts, named].iter().flat_map(|parts| (1..=parts.len()).map(|end| parts[..end].join("."))).collect()
}

macro_rules! files {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(include_str!(concat!("wrong/", stringify!($name), ".txt")));
        })*
    };
}

files! { root listener attestor store service credential oauth2 issued rule workload test team suppress process }
