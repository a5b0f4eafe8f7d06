//! Writes new parts of a manifest, in block style or, inside of `{…}` and `[…]`, as JSON.

use std::fmt::Write;

/// A value to write. Keys keep their order.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    /// Numbers and booleans, which are written without quotes.
    Bare(String),
    Map(Vec<(&'static str, Value)>),
    List(Vec<Value>),
}

/// A text.
pub(super) fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

/// A number.
pub(super) fn number(value: u32) -> Value {
    Value::Bare(value.to_string())
}

/// `true` or `false`.
pub(super) fn boolean(value: bool) -> Value {
    Value::Bare(value.to_string())
}

/// A list of texts.
pub(super) fn texts(values: &[&str]) -> Value {
    Value::List(values.iter().map(|value| text(*value)).collect())
}

/// The lines of a `- item`, each with its end.
pub(super) fn item(value: &Value, indent: usize, newline: &str) -> String {
    let mut out = format!("{:indent$}- ", "");
    block(value, indent + 2, false, newline, &mut out);
    out
}

/// The lines of a `key: value`, each with its end.
pub(super) fn entry(key: &str, value: &Value, indent: usize, newline: &str) -> String {
    let mut out = format!("{:indent$}{}:", "", scalar(key));
    match value {
        Value::Text(_) | Value::Bare(_) => {
            out.push(' ');
            block(value, indent, false, newline, &mut out);
        }
        Value::List(items) if items.iter().all(|one| matches!(one, Value::Text(_) | Value::Bare(_))) => {
            let _ = write!(out, " {}{newline}", flow(value));
        }
        Value::Map(_) | Value::List(_) => {
            out.push_str(newline);
            block(value, indent + 2, true, newline, &mut out);
        }
    }
    out
}

/// `first_indented`: whether the first line needs its indentation, or stands behind `- ` already.
fn block(value: &Value, indent: usize, first_indented: bool, newline: &str, out: &mut String) {
    match value {
        Value::Text(text) => {
            out.push_str(&scalar(text));
            out.push_str(newline);
        }
        Value::Bare(text) => {
            out.push_str(text);
            out.push_str(newline);
        }
        Value::Map(entries) => {
            for (index, (key, value)) in entries.iter().enumerate() {
                let line = entry(key, value, indent, newline);
                out.push_str(if index == 0 && !first_indented { line.trim_start() } else { &line });
            }
        }
        Value::List(items) => {
            for (index, value) in items.iter().enumerate() {
                let line = item(value, indent, newline);
                out.push_str(if index == 0 && !first_indented { line.trim_start() } else { &line });
            }
        }
    }
}

/// As JSON, which is YAML too.
pub(super) fn flow(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Bare(text) => text.clone(),
        Value::Map(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(key, value)| format!("{}: {}", quoted(key), flow(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
    }
}

/// Plain where no reader of YAML 1.1 or 1.2 could take it for anything but this text.
fn scalar(text: &str) -> String {
    let first = text.chars().next();
    let plain_first = first.is_some_and(|first| first.is_ascii_alphabetic() || first == '/');
    let plain_rest = text.chars().all(|one| one.is_ascii_alphanumeric() || "/._-".contains(one));
    let is_word = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"].contains(&&*text.to_ascii_lowercase());
    if plain_first && plain_rest && !is_word { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}
