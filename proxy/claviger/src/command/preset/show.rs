//! `claviger preset show`.
#![allow(clippy::indexing_slicing, reason = "what is not in a JSON value is `Null`: it does not panic")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use claviger_policy::document::Diagnostics;
use serde_json::{Value, json};

use super::describe::{self, texts};
use super::{Wanted, print};
use crate::command::{Done, Failure, report};
use crate::config::{self, remarks};
use crate::console;

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The preset
    #[arg(required_unless_present = "file")]
    name: Option<String>,
    /// One of your own, in a file
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    file: Option<PathBuf>,
    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    output: ShowOutput,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ShowOutput {
    /// For people
    #[default]
    Text,
    /// As the service would be written, to be changed or included
    Toml,
    /// For programs
    Json,
}

pub(super) fn run(args: &ShowArgs) -> Done {
    let wanted = Wanted::one(args.name.as_ref(), args.file.as_ref())?;
    let mut found = Diagnostics::default();
    config::preset::try_out(&wanted.file, &wanted.name, &[], &mut found);
    report(&found)?;
    let preset = wanted.value()?;
    match args.output {
        ShowOutput::Text => console::out_raw(&as_text(&wanted, &preset)),
        ShowOutput::Toml => console::out_raw(&as_service(&wanted, &preset)),
        ShowOutput::Json => print(&with_name(&wanted, preset)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn with_name(wanted: &Wanted, mut preset: Value) -> Result<Value, Failure> {
    let object = preset.as_object_mut().ok_or_else(|| Failure::Other("a preset is a table".to_owned()))?;
    object.insert("name".to_owned(), json!(wanted.name));
    Ok(preset)
}

fn as_text(wanted: &Wanted, preset: &Value) -> String {
    let word = |key: &str| preset[key].as_str().unwrap_or_default();
    let mut text = format!("{}: {}\n{}\n\n", wanted.name, word("title"), word("documentation"));
    let mut lines = |head: &str, of: &[String]| {
        for (at, line) in of.iter().enumerate() {
            text.push_str(&format!("{:12}{line}\n", if at == 0 { head } else { "" }));
        }
        if of.is_empty() && head.starts_with('@') {
            text.push_str(&format!("\n{head}\n"));
        }
    };
    let owned = |of: Vec<&str>| of.into_iter().map(str::to_owned).collect::<Vec<_>>();
    match owned(texts(&preset["hosts"])) {
        hosts if hosts.is_empty() => {
            lines("hosts", &[format!("your own, as {}", texts(&preset["example_hosts"]).join(", "))])
        }
        hosts => lines("hosts", &hosts),
    }
    let plain = |of: Vec<String>| of.into_iter().map(|line| line.replace('`', "")).collect::<Vec<_>>();
    lines("credential", &plain(describe::injections(preset)));
    lines("stripped", &owned(texts(&preset["strip"])));
    lines("login", &describe::login(preset).map(str::to_owned).into_iter().collect::<Vec<_>>());
    lines("check", &[describe::check(preset).unwrap_or("none: no call shows whether a credential works").to_owned()]);
    lines("clients", &plain(describe::client(preset)));
    let (remarks, sets) = (remarks(wanted.file.text()), preset["operations"].as_object());
    for (name, operations) in sets.into_iter().flatten() {
        lines(&format!("@{name}"), &[]);
        if let Some(remark) = remarks.get(&("operations".to_owned(), name.clone())) {
            wrapped(remark, 108).iter().for_each(|line| lines("", &[format!("# {line}")]));
        }
        lines("", &owned(texts(operations)));
    }
    let first = sets.and_then(|sets| sets.keys().find(|name| *name == "read").or_else(|| sets.keys().next()));
    let own = match texts(&preset["hosts"]).is_empty() {
        true => texts(&preset["example_hosts"]).first().map(|host| format!("hosts  = [\"{host}\"]\n")),
        false => None,
    };
    let own = own.unwrap_or_default();
    text.push_str(&format!("\n[service.{0}]\npreset = \"{0}\"\n{own}secret = \"secret://sealed/{0}\"\n", wanted.name));
    if let Some(set) = first {
        let login = sets.filter(|sets| sets.contains_key("login")).map_or("", |_| "\"@login\", ");
        text.push_str(&format!("\n[allow.{0}]\nwho = \"…\"\nto  = \"{0}\"\nops = [{login}\"@{set}\"]\n", wanted.name));
    }
    text
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The same as a service: what is for people falls away, and tables stand below the service's. Comments stay.
fn as_service(wanted: &Wanted, preset: &Value) -> String {
    let mut text = format!("[service.{}]\n", wanted.name);
    if texts(&preset["hosts"]).is_empty() {
        text.push_str(&format!("hosts = {}\n", preset["example_hosts"]));
    }
    for line in wanted.file.text().lines() {
        let key = line.split('=').next().unwrap_or_default().trim();
        match line.strip_prefix('[') {
            _ if ["title", "documentation", "example_hosts"].contains(&key) => {}
            Some(table) if line.trim_end().ends_with(']') => {
                text.push_str(&format!("[service.{}.{table}\n", wanted.name));
            }
            Some(_) | None => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_is_shown_is_the_preset() {
        for preset in claviger_wire::preset::all() {
            let wanted = Wanted::bundled(preset);
            let mut own = wanted.value().unwrap();
            let shown: Value = toml::from_str(&as_service(&wanted, &own)).unwrap();
            let mut shown = shown["service"][preset.name()].clone();
            let object = own.as_object_mut().unwrap();
            let example = object.remove("example_hosts");
            assert!(["title", "documentation"].iter().all(|key| object.remove(*key).is_some()));
            if let Some(example) = example {
                assert_eq!(shown.as_object_mut().unwrap().remove("hosts"), Some(example));
            }
            assert_eq!(shown, own, "{}", preset.name());
        }
    }

    #[test]
    fn everything_is_said() {
        for preset in claviger_wire::preset::all() {
            let wanted = Wanted::bundled(preset);
            let text = as_text(&wanted, &wanted.value().unwrap());
            let about = preset.about();
            let sets = about.operations.iter().flat_map(|(name, of)| of.iter().cloned().chain([format!("\n@{name}")]));
            for part in sets.chain(about.hosts).chain(about.client.secrets).chain([about.documentation]) {
                assert!(text.contains(&part), "{part} is not in\n{text}");
            }
        }
    }
}
