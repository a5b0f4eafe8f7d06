//! `claviger ledger observed`: what `enforce = false` left undone, and how to go on.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use claviger_ledger::query::{self, ObservedReport, ObservedRow, Select};
use claviger_policy::{Near, Policy};
use serde_json::{Value, json};

use crate::cli::Output;
use crate::command::{Done, Failure, plural, recall};
use crate::console;

/// `policy` names the nearest rules; without one (a ledger from elsewhere) none is named.
pub(super) fn run(path: &Path, select: &Select, policy: Option<&Policy>, output: Output) -> Done {
    let report = query::observed(path, select).map_err(|error| Failure::with_causes(&error))?;
    let near: Vec<Option<Near>> = report.rows.iter().map(|row| nearest(row, policy)).collect();
    match output {
        Output::Text => console::out(text(&report, &near).trim_end()),
        Output::Json => console::out(&json(&report, &near).to_string()),
    }
    Ok(ExitCode::SUCCESS)
}

/// The allow that came nearest, where none allows.
fn nearest(row: &ObservedRow, policy: Option<&Policy>) -> Option<Near> {
    if row.would != "no_rule" {
        return None;
    }
    let recorded = recall::recorded(&row.sample).ok()?;
    policy?.explain_recorded(&recorded).ok()?.nearest
}

fn count(number: u64, what: &str) -> String {
    plural(usize::try_from(number).unwrap_or(usize::MAX), what)
}

fn text(report: &ObservedReport, near: &[Option<Near>]) -> String {
    let refused: u64 = report.rows.iter().filter(|row| row.would != "allow").map(|row| row.count).sum();
    let allowed: u64 = report.rows.iter().filter(|row| row.would == "allow").map(|row| row.count).sum();
    let mut text = format!("of {} {refused} would have been refused", count(report.requests, "request"));
    if allowed > 0 {
        let _ = write!(text, ", and {allowed} decided by a rule that is only observed");
    }
    text.push('\n');
    for (row, near) in report.rows.iter().zip(near) {
        let field = |name| row.sample.text(name).unwrap_or("-").escape_debug().to_string();
        let _ = writeln!(text, "\n{} {}", field("principal"), row.would.escape_debug());
        let _ = writeln!(text, "  {} {}{} ({})", field("method"), field("host"), field("path"), field("service"));
        let rule = match row.observed == row.would {
            true => "no rule allows it".to_owned(),
            false => format!("by rule `{}`", row.observed.escape_debug()),
        };
        let _ = writeln!(text, "  {} at listener `{}`, {rule}", count(row.count, "time"), field("listener"));
        let _ = writeln!(text, "  first {}, last {}", row.first_at, row.last_at);
        if let Some(near) = near {
            let _ = writeln!(text, "  nearest: {}\n  it fails by {}: {}", near.rule, near.dimension, near.failed);
        }
        if let Some(next) = next(row) {
            let _ = writeln!(text, "  {next}");
        }
    }
    if report.uncounted > 0 {
        let _ = writeln!(text, "\n{} stand in no row: there are too many different ones", report.uncounted);
    }
    text
}

/// What to type next.
fn next(row: &ObservedRow) -> Option<String> {
    let id = row.sample.id()?;
    Some(match row.would.as_str() {
        "no_rule" | "body_fact_unavailable" => format!("claviger suggest {id}"),
        _ => format!("claviger explain {id}"),
    })
}

fn json(report: &ObservedReport, near: &[Option<Near>]) -> Value {
    let rows: Vec<Value> = report
        .rows
        .iter()
        .zip(near)
        .map(|(row, near)| {
            let field = |name| row.sample.text(name);
            json!({
                "principal": field("principal"),
                "listener": field("listener"),
                "service": field("service"),
                "host": field("host"),
                "method": field("method"),
                "path": field("path"),
                "observed": row.observed,
                "would": row.would,
                "count": row.count,
                "first_at": row.first_at,
                "last_at": row.last_at,
                "sample": field("id"),
                "nearest": near.as_ref().map(|near| json!({
                    "rule": &*near.rule.name, "file": near.rule.file, "line": near.rule.line,
                    "dimension": near.dimension, "failed": near.failed,
                })),
                "next": next(row),
            })
        })
        .collect();
    json!({ "requests": report.requests, "uncounted": report.uncounted, "rows": rows })
}
