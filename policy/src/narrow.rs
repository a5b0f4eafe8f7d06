//! `narrow`: how far a credential reaches under one rule. Opaque here: what its keys mean, only the source knows that
//! mints the credential, and it is asked about them while the configuration is compiled.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::document::{Item, Table, Value};

/// What a rule says under `narrow`. Two are equal if they say the same, whatever the order of their keys.
#[derive(Clone)]
pub struct Narrowing {
    table: Table,
    text: Box<str>,
}

impl Narrowing {
    pub(crate) fn new(table: Table) -> Self {
        let mut text = String::new();
        write_table(&table, &mut text);
        Self { table, text: text.into() }
    }

    /// The keys, to be taken by the source.
    pub fn table(&self) -> Table {
        self.table.clone()
    }

    /// What it says, in one form: keys in order, JSON. Holds no secret, since a rule holds none.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Narrowing {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Narrowing {}

impl Hash for Narrowing {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for Narrowing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Narrowing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn write_table(table: &Table, text: &mut String) {
    let mut entries = table.clone().into_entries();
    entries.sort_by(|a, b| a.0.value.cmp(&b.0.value));
    text.push('{');
    for (at, (name, item)) in entries.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        write_text(&name.value, text);
        text.push(':');
        write_item(item, text);
    }
    text.push('}');
}

fn write_item(item: &Item, text: &mut String) {
    match &item.value {
        Value::String(value) | Value::Datetime(value) => write_text(value, text),
        Value::Integer(value) => text.push_str(&value.to_string()),
        Value::Float(value) => text.push_str(&value.to_string()),
        Value::Boolean(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Table(table) => write_table(table, text),
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write_item(item, text);
            }
            text.push(']');
        }
    }
}

fn write_text(value: &str, text: &mut String) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            control if control.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(control))),
            plain => text.push(plain),
        }
    }
    text.push('"');
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::document::{Diagnostics, SourceFile, parse};

    fn narrowing(text: &str) -> Narrowing {
        let mut out = Diagnostics::default();
        Narrowing::new(parse(&SourceFile::new("c.toml", text), &mut out).unwrap())
    }

    #[test]
    fn what_says_the_same_is_the_same() {
        let written =
            narrowing("repositories = [\"b\", \"a\"]\npermissions = { issues = \"read\", contents = \"write\" }\n");
        let expected = r#"{"permissions":{"contents":"write","issues":"read"},"repositories":["b","a"]}"#;
        assert_eq!(written.as_str(), expected);
        let table = narrowing("[permissions]\ncontents = \"write\"\nissues = \"read\"\n");
        let inline = narrowing("permissions.issues = \"read\"\npermissions.contents = \"write\"\n");
        assert_eq!(table, inline);
        assert_ne!(written, table);
    }

    #[test]
    fn what_says_another_thing_is_another() {
        for (one, other) in [
            ("a = \"b\"", "a = [\"b\"]"),
            ("a = \"1\"", "a = 1"),
            ("a = [\"b\", \"c\"]", "a = [\"b\\\",\\\"c\"]"),
            ("a = [\"b\", \"c\"]", "a = [\"c\", \"b\"]"),
            ("a = { b = 1 }", "a = \"{\\\"b\\\":1}\""),
            ("", "a = {}"),
        ] {
            assert_ne!(narrowing(one), narrowing(other), "{one} {other}");
        }
    }
}
