//! `claviger ledger touched`: what one principal reached, with which credentials, and how much.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use claviger_ledger::query::{self, Select, Totals, Touched};
use serde_json::{Value, json};

use crate::cli::Output;
use crate::command::{Done, Failure, plural};
use crate::console;

pub(super) fn run(path: &Path, id: &str, select: &Select, output: Output) -> Done {
    let touched = query::touched(path, select).map_err(|error| Failure::with_causes(&error))?;
    match output {
        Output::Text => console::out(text(id, &touched).trim_end()),
        Output::Json => console::out(&json(id, &touched).to_string()),
    }
    Ok(ExitCode::SUCCESS)
}

fn text(id: &str, touched: &Touched) -> String {
    let totals = &touched.totals;
    if totals.requests() == 0 {
        return format!("{id}: nothing in this window");
    }
    let mut text = format!("{id}: {}\n", counts(totals));
    if touched.open > 0 {
        let _ = writeln!(text, "{} of them without an end: under way, or cut off", touched.open);
    }
    let is_one = matches!(touched.principals.as_slice(), [(only, _)] if only == id);
    let mut table = |title: &str, rows: Vec<(String, &Totals)>| {
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        let _ = writeln!(text, "\n{title}");
        for (name, totals) in rows {
            let _ = writeln!(text, "  {name:width$}  {}", counts(totals));
        }
    };
    if !is_one {
        table("principals", touched.principals.iter().map(|(name, totals)| (shown(name), totals)).collect());
    }
    table("hosts", touched.hosts.iter().map(|(name, totals)| (shown(name), totals)).collect());
    let operation =
        |one: &query::TouchedOperation| format!("{}  {} {}", shown(&one.service), shown(&one.method), shown(&one.path));
    table("operations", touched.operations.iter().map(|(one, totals)| (operation(one), totals)).collect());
    if !touched.credentials.is_empty() {
        let credential = |one: &query::TouchedCredential| {
            format!("{} version {} to {}", shown(&one.name), shown(&one.version), shown(&one.host))
        };
        table("credentials", touched.credentials.iter().map(|(one, totals)| (credential(one), totals)).collect());
    }
    if touched.uncounted > 0 {
        let _ = writeln!(text, "\n{} stand in no row: there are too many different ones", touched.uncounted);
    }
    text
}

/// A text of others on a terminal.
fn shown(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.escape_debug().to_string() }
}

fn counts(totals: &Totals) -> String {
    let requests = plural(usize::try_from(totals.requests()).unwrap_or(usize::MAX), "request");
    let denied = if totals.denied == 0 { String::new() } else { format!(" ({} denied)", totals.denied) };
    format!(
        "{requests}{denied}, {} up, {} down, {} to {}",
        size(totals.request_bytes),
        size(totals.response_bytes),
        totals.first_at,
        totals.last_at
    )
}

/// `512 B`, `1.2 MiB`.
fn size(bytes: u64) -> String {
    let mut unit = 1_u64;
    for name in ["B", "KiB", "MiB", "GiB"] {
        if bytes / unit < 1_024 {
            return match unit {
                1 => format!("{bytes} B"),
                _ => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
            };
        }
        unit *= 1_024;
    }
    format!("{}.{} TiB", bytes / unit, u128::from(bytes % unit) * 10 / u128::from(unit))
}

fn json(id: &str, touched: &Touched) -> Value {
    let principals = touched.principals.iter().map(|(name, totals)| row(json!({ "principal": name }), totals));
    let hosts = touched.hosts.iter().map(|(name, totals)| row(json!({ "host": name }), totals));
    let operations = touched.operations.iter().map(|(one, totals)| {
        row(json!({ "service": one.service, "host": one.host, "method": one.method, "path": one.path }), totals)
    });
    let credentials = touched
        .credentials
        .iter()
        .map(|(one, totals)| row(json!({ "credential": one.name, "version": one.version, "host": one.host }), totals));
    let mut all =
        row(json!({ "principal": id, "open": touched.open, "uncounted": touched.uncounted }), &touched.totals);
    if let Value::Object(all) = &mut all {
        all.insert("principals".to_owned(), principals.collect());
        all.insert("hosts".to_owned(), hosts.collect());
        all.insert("operations".to_owned(), operations.collect());
        all.insert("credentials".to_owned(), credentials.collect());
    }
    all
}

fn row(mut key: Value, totals: &Totals) -> Value {
    if let Value::Object(key) = &mut key {
        for (name, number) in [
            ("requests", totals.requests()),
            ("allowed", totals.allowed),
            ("denied", totals.denied),
            ("request_bytes", totals.request_bytes),
            ("response_bytes", totals.response_bytes),
        ] {
            key.insert(name.to_owned(), number.into());
        }
        for (name, at) in [("first_at", &totals.first_at), ("last_at", &totals.last_at)] {
            key.insert(name.to_owned(), if at.is_empty() { Value::Null } else { at.as_str().into() });
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (1 << 20, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (3 << 40, "3.0 TiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }
}
