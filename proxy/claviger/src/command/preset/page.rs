//! The part of docs/presets.md that is made of the presets.
#![allow(clippy::indexing_slicing, reason = "what is not in a JSON value is `Null`: it does not panic")]

use claviger_wire::preset;
use serde_json::Value;

use super::Wanted;
use super::describe::{self, texts};
use crate::config::remarks;

/// Where in the page it begins.
#[cfg(test)]
const MARK: &str = "<!-- From here on: `claviger preset list -o markdown`. A test compares. -->\n";

/// A section for each preset.
pub(super) fn page() -> Result<String, String> {
    let mut page = String::from("\n| preset | | hosts |\n|---|---|---|\n");
    let all: Vec<Wanted> = preset::all().map(Wanted::bundled).collect();
    let mut sections = String::new();
    for wanted in &all {
        let preset = wanted.value().map_err(|error| error.to_string())?;
        let hosts = match texts(&preset["hosts"]).as_slice() {
            [] => "your own".to_owned(),
            hosts => hosts.iter().map(|host| format!("`{host}`")).collect::<Vec<_>>().join(", "),
        };
        let title = preset["title"].as_str().unwrap_or_default();
        page.push_str(&format!("| [`{0}`](#{0}) | {title} | {hosts} |\n", wanted.name));
        sections.push_str(&section(wanted, &preset));
    }
    page.push_str(&sections);
    Ok(page)
}

fn section(wanted: &Wanted, preset: &Value) -> String {
    let remarks = remarks(wanted.file.text());
    let remark = |table: &str, key: &str| remarks.get(&(table.to_owned(), key.to_owned()));
    let word = |key: &str| preset[key].as_str().unwrap_or_default();
    let mut text = format!("\n## {}\n\n[{}]({})\n\n", wanted.name, word("title"), word("documentation"));
    let mut item = |head: &str, line: &str, key: &str| {
        text.push_str(&format!("- **{head}**: {line}"));
        if let Some(remark) = remark("", key) {
            text.push_str(&format!(". {remark}"));
        }
        text.push('\n');
    };
    if texts(&preset["hosts"]).is_empty() {
        item("hosts", &format!("your own, as `{}`", texts(&preset["example_hosts"]).join("`, `")), "example_hosts");
    } else if remark("", "hosts").is_some() {
        item("hosts", &format!("`{}`", texts(&preset["hosts"]).join("`, `")), "hosts");
    }
    item("credential", &describe::injections(preset).join("; "), "inject");
    let stripped = texts(&preset["strip"]);
    if !stripped.is_empty() {
        item("stripped", &format!("`{}`", stripped.join("`, `")), "strip");
    }
    if let Some(login) = describe::login(preset) {
        item("login", login, "login");
    }
    match describe::check(preset) {
        Some(call) => item("check", &format!("`{call}`"), "check"),
        None => item("check", "none: no call shows whether a credential works", "check"),
    }
    let client = describe::client(preset);
    if !client.is_empty() {
        item("clients", &client.join("; "), "client");
    }
    text.push_str("\n| operations | |\n|---|---|\n");
    for (name, operations) in preset["operations"].as_object().into_iter().flatten() {
        let remark = remark("operations", name).map(|remark| format!("{remark}<br>")).unwrap_or_default();
        let operations: Vec<String> = texts(operations).iter().map(|one| format!("`{one}`")).collect();
        text.push_str(&format!("| `@{name}` | {remark}{} |\n", operations.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_the_presets_say() {
        const PAGE: &str = include_str!("../../../../../docs/presets.md");
        let (_, generated) = PAGE.split_once(MARK).unwrap();
        assert!(
            generated == page().unwrap(),
            "docs/presets.md: put the output of `claviger preset list -o markdown` behind its mark"
        );
    }
}
