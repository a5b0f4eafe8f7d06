//! `claviger ledger query`: requests by who, where and how they were decided.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;
use claviger_ledger::query::{self, Exchange, Record, Select};
use serde_json::{Value, json};

use crate::command::{Done, Failure};
use crate::console;

/// How requests are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One line each, for people
    #[default]
    Text,
    /// One JSON object each: both records
    Json,
    /// A table for a spreadsheet (RFC 4180)
    Csv,
}

const COLUMNS: [&str; 17] = [
    "at",
    "id",
    "decision",
    "code",
    "principal",
    "listener",
    "service",
    "rule",
    "method",
    "host",
    "path",
    "credential",
    "version",
    "status",
    "duration_us",
    "request_bytes",
    "response_bytes",
];

/// Prints what is wanted as it is found; with `limit`, only the newest.
pub(super) fn run(path: &Path, select: &Select, limit: Option<usize>, format: Format) -> Done {
    if format == Format::Csv {
        console::out_raw(&format!("{}\r\n", COLUMNS.join(",")));
    }
    let mut newest: VecDeque<String> = VecDeque::new();
    let mut each = |exchange: Exchange<'_>| {
        let line = line(exchange, format);
        match limit {
            None => print(&line, format),
            Some(0) => return ControlFlow::Break(()),
            Some(limit) => {
                if newest.len() == limit {
                    newest.pop_front();
                }
                newest.push_back(line);
            }
        }
        ControlFlow::Continue(())
    };
    query::select(path, select, &mut each).map_err(|error| Failure::with_causes(&error))?;
    for line in newest {
        print(&line, format);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(line: &str, format: Format) {
    match format {
        Format::Text | Format::Json => console::out(line),
        Format::Csv => console::out_raw(line),
    }
}

fn line(exchange: Exchange<'_>, format: Format) -> String {
    match format {
        Format::Text => format!("{exchange} id={}", exchange.decided.text("id").unwrap_or("?")),
        Format::Json => {
            let value = |record: &Record| serde_json::from_str::<Value>(record.as_json()).unwrap_or_default();
            json!({ "decided": value(exchange.decided), "finished": exchange.finished.map(value) }).to_string()
        }
        Format::Csv => row(exchange),
    }
}

fn row(exchange: Exchange<'_>) -> String {
    let Exchange { decided, finished } = exchange;
    let (name, version) = decided.credential().unwrap_or(("", None));
    let mut row = String::new();
    for column in COLUMNS {
        let number = |name| finished.and_then(|record| record.number(name)).map(|number| number.to_string());
        let text = match column {
            "at" => Some(decided.at().to_owned()),
            "credential" => Some(name.to_owned()),
            "version" => version.map(str::to_owned),
            "status" | "duration_us" | "request_bytes" | "response_bytes" => number(column),
            _ => decided.text(column).map(str::to_owned),
        };
        let comma = if row.is_empty() { "" } else { "," };
        // Writing into a text cannot fail.
        let _ = write!(row, "{comma}{}", field(&text.unwrap_or_default()));
    }
    row.push_str("\r\n");
    row
}

/// Quoted where it must be; a text that a spreadsheet would take for a formula is made one that it does not.
fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn fields() {
        for (text, written) in [
            ("", ""),
            ("GET", "GET"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("=1+1", "'=1+1"),
            ("-x,y", "\"'-x,y\""),
            ("spiffe://a/b", "spiffe://a/b"),
        ] {
            assert_eq!(field(text), written, "{text}");
        }
    }
}
