//! `claviger config status`: which configuration counts here, and whether it may be used.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use similar::TextDiff;

use super::Unjudged;
use crate::cli::{ConfigArgs, Output};
use crate::command::{Done, Failure, configuration};
use crate::config::trust::{ChangeKind, Pinned, Record, Standing};
use crate::console;

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn status(args: &StatusArgs) -> Done {
    let source = configuration(&args.config)?;
    let Some(unjudged) = Unjudged::of(&source) else {
        let path = source.path().display().to_string();
        match args.output {
            Output::Text => console::out(&format!("`{path}` is used: it was named, or is your own")),
            Output::Json => print(&json!({ "path": path, "project": false, "status": "named", "changes": [] }))?,
        }
        return Ok(ExitCode::SUCCESS);
    };
    let standing = unjudged.project.standing(&unjudged.texts).map_err(|error| Failure::Other(error.to_string()))?;
    match args.output {
        Output::Text => console::out(console::visible(&text(&unjudged, &standing)).trim_end()),
        Output::Json => print(&json(&unjudged, &standing))?,
    }
    Ok(if matches!(standing, Standing::Allowed(_)) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print(value: &Value) -> Result<(), Failure> {
    console::out(&serde_json::to_string_pretty(value).map_err(|error| Failure::doing("print the status")(&error))?);
    Ok(())
}

fn text(unjudged: &Unjudged, standing: &Standing) -> String {
    let file = unjudged.project.canonical().display();
    match standing {
        Standing::Allowed(record) => format!("`{file}` is allowed, since {}", record.at),
        Standing::Undecided => {
            format!("`{file}` is not allowed, and not used: read it, then type `claviger config allow`")
        }
        Standing::Denied(record) => format!("`{file}` is denied, since {}, and not used", record.at),
        Standing::Changed(record, changes) => {
            let mut text = format!("`{file}` has changed since it was allowed ({}), and is not used\n", record.at);
            for change in changes {
                let name = unjudged.project.name_of(&change.path);
                text.push_str(&format!("  {:<8}{name}\n", change.kind.as_str()));
                if change.kind == ChangeKind::Changed {
                    text.push_str(&difference(unjudged, record, &change.path.display().to_string(), &name));
                }
            }
            text.push_str("to allow it as it is now, type `claviger config allow`");
            text
        }
    }
}

/// What a configuration file says other than when it was allowed.
fn difference(unjudged: &Unjudged, record: &Record, path: &str, name: &str) -> String {
    let then = record.files.iter().find(|pin| pin.path == path).and_then(|pin: &Pinned| pin.text.as_deref());
    let now = unjudged
        .texts
        .iter()
        .find(|text| text.path.display().to_string() == path)
        .and_then(|text| text.text.as_deref());
    let (Some(then), Some(now)) = (then, now) else { return String::new() };
    let then_name = format!("{name} (as it was allowed)");
    TextDiff::from_lines(then, now).unified_diff().context_radius(2).header(&then_name, name).to_string()
}

fn json(unjudged: &Unjudged, standing: &Standing) -> Value {
    let (word, record, changes) = match standing {
        Standing::Allowed(record) => ("allowed", Some(record), &[][..]),
        Standing::Undecided => ("undecided", None, &[][..]),
        Standing::Denied(record) => ("denied", Some(record), &[][..]),
        Standing::Changed(record, changes) => ("changed", Some(record), changes.as_slice()),
    };
    let changes: Vec<Value> =
        changes.iter().map(|change| json!({ "path": change.path, "kind": change.kind.as_str() })).collect();
    let files: Vec<Value> =
        unjudged.texts.iter().map(|text| json!({ "path": text.path, "sha256": text.sha256 })).collect();
    json!({
        "path": unjudged.project.canonical(),
        "project": true,
        "status": word,
        "since": record.map(|record| &record.at),
        "changes": changes,
        "files": files,
    })
}
