//! `claviger analyze` and `claviger test` over the real binary.

mod examples;
mod findings;
mod output;
#[path = "../config/prepared.rs"]
#[allow(dead_code, reason = "each target uses its part")]
mod prepared;
mod suppress;
mod teams;
mod tests_command;

use std::process::Output;

use prepared::Prepared;
use serde_json::Value;

/// A configuration of which nothing is found.
pub(crate) const BASE: &str = include_str!("base.toml");

/// How a command ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Writes `text` as the configuration and runs a command on it.
pub(crate) fn run(prepared: &Prepared, text: &str, args: &[&str]) -> Ended {
    prepared.0.configure(text);
    let mut all = args.to_vec();
    all.extend(["--config", "claviger.toml"]);
    let Output { status, stdout, stderr } = prepared.run(&all);
    let [out, err] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(!err.contains("panicked"), "{err}\n--- for\n{text}");
    assert!(!out.contains(&prepared.0.canary) && !err.contains(&prepared.0.canary), "a secret is shown for\n{text}");
    Ended { code: status.code().unwrap(), out, err }
}

/// `CODE SUBJECT` of every finding that is not suppressed, sorted.
pub(crate) fn found(ended: &Ended) -> Vec<String> {
    let json = ended.json();
    let open = json["findings"].as_array().unwrap().iter().filter(|finding| finding["suppressed"].is_null());
    let mut all: Vec<String> = open
        .map(|finding| format!("{} {}", finding["code"].as_str().unwrap(), finding["subject"].as_str().unwrap()))
        .collect();
    all.sort();
    all
}

/// The base with each `from` replaced, once.
pub(crate) fn edited(edits: &[(&str, &str)]) -> String {
    let mut text = BASE.to_owned();
    for (from, to) in edits {
        assert_eq!(text.matches(from).count(), 1, "{from}\n--- in\n{text}");
        text = text.replacen(from, to, 1);
    }
    text
}
