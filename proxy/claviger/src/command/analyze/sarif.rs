//! Findings as SARIF 2.1.0 (OASIS), which code scanning reads.

use std::path::Path;

use claviger_policy::analyze::{Code, Level, Reported};
use claviger_policy::document::Location;
use serde_json::{Value, json};

use crate::command::Failure;

pub(super) fn sarif(all: &[Reported]) -> Result<String, Failure> {
    let rules: Vec<Value> = Code::ALL.iter().map(|code| rule(*code)).collect();
    let results: Vec<Value> = all.iter().map(result).collect();
    let driver = json!({ "name": "claviger", "version": env!("CARGO_PKG_VERSION"), "rules": rules });
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{ "tool": { "driver": driver }, "columnKind": "unicodeCodePoints", "results": results }],
    });
    serde_json::to_string_pretty(&document).map_err(|error| Failure::doing("print the findings")(&error))
}

/// §3.58.6: SARIF has no `notice`.
fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Notice => "note",
    }
}

fn rule(code: Code) -> Value {
    json!({
        "id": code.id(),
        "shortDescription": { "text": code.title() },
        "help": { "text": super::explain(code) },
        "defaultConfiguration": { "level": level(code.level()) },
    })
}

fn result(Reported { finding, suppressed }: &Reported) -> Value {
    let text = match &finding.help {
        Some(help) => format!("{}: {}. Help: {help}", finding.subject, finding.message),
        None => format!("{}: {}", finding.subject, finding.message),
    };
    let mut result = json!({
        "ruleId": finding.code.id(),
        "level": level(finding.level()),
        "message": { "text": text },
        "locations": finding.location.iter().map(location).collect::<Vec<_>>(),
        // Lines move; what a finding is about does not.
        "partialFingerprints": { "subject/v1": format!("{}:{}", finding.code.id(), finding.subject) },
    });
    let Some(object) = result.as_object_mut() else { return result };
    if !finding.related.is_empty() {
        let related = finding.related.iter().map(|related| {
            let mut place = location(&related.location);
            if let Some(object) = place.as_object_mut() {
                object.insert("message".to_owned(), json!({ "text": related.what }));
            }
            place
        });
        object.insert("relatedLocations".to_owned(), related.collect());
    }
    if let Some(by) = suppressed {
        let suppression = json!({ "kind": "external", "status": "accepted", "justification": by.reason() });
        object.insert("suppressions".to_owned(), json!([suppression]));
    }
    result
}

fn location(place: &Location) -> Value {
    json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(place.file()) },
            "region": { "startLine": place.line(), "startColumn": place.column() },
        },
    })
}

/// Relative to the working folder where that is possible, so that a checkout elsewhere has the same.
fn uri(file: &str) -> String {
    let inside =
        std::env::current_dir().ok().and_then(|folder| Path::new(file).strip_prefix(folder).ok()).map(Path::to_owned);
    let shown = inside.as_deref().unwrap_or(Path::new(file)).display().to_string();
    let prefix = if shown.starts_with('/') { "file://" } else { "" };
    let encoded: String = shown.bytes().map(encode).collect();
    format!("{prefix}{encoded}")
}

/// RFC 3986 §3.3, with the separators of a path.
fn encode(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-' | b'~') {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}
