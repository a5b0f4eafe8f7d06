//! Service presets: data, no code. Each file in `presets/` holds the keys of a `[service.X]` table, and what is for people:
//! `title`, `documentation`, and `example_hosts` where everybody has hosts of their own. What the configuration writes itself
//! goes before.

use claviger_policy::document::{self, Diagnostics, SourceFile, Table};

use crate::settings::ClientSettings;

include!(concat!(env!("OUT_DIR"), "/presets.rs"));

/// A bundled preset.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    name: &'static str,
    text: &'static str,
}

/// What a preset says to people and to clients, besides what a service is made of.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// One line: "OpenAI API".
    pub title: String,
    /// Where its provider documents how to authenticate.
    pub documentation: String,
    /// Its hosts, as written; empty where everybody has hosts of their own.
    pub hosts: Vec<String>,
    /// What hosts of one's own look like, where `hosts` is empty.
    pub example_hosts: Vec<String>,
    /// Its named sets of operations, as `@chat`: name and patterns, in its own order.
    pub operations: Vec<(String, Vec<String>)>,
    /// What its clients want to be told.
    pub client: ClientSettings,
}

impl About {
    /// Takes what is for people from a preset's table. A preset without a title or a link is an error: nobody could
    /// tell what it is, or whether it is right.
    pub fn take(table: &mut Table, out: &mut Diagnostics) -> Self {
        let mut text = |key| table.required_string(key, out).map(|at| at.value).unwrap_or_default();
        let (title, documentation) = (text("title"), text("documentation"));
        let example_hosts = texts("example_hosts", table, out);
        Self { title, documentation, example_hosts, ..Self::default() }
    }
}

impl Preset {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its text, with its comments.
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// As a file, for messages.
    pub fn file(&self) -> std::sync::Arc<SourceFile> {
        SourceFile::new(format!("preset:{}", self.name), self.text)
    }

    /// What it says to people and to clients.
    pub fn about(&self) -> About {
        let mut out = Diagnostics::default();
        let Some(mut table) = document::parse(&self.file(), &mut out) else { return About::default() };
        let about = About::take(&mut table, &mut out);
        let hosts = texts("hosts", &mut table, &mut out);
        let operations = table.table("operations", &mut out).map(Table::into_entries).unwrap_or_default();
        let operations = operations.into_iter().map(|(name, item)| {
            let patterns = item.into_strings(&mut out).unwrap_or_default().into_iter().map(|at| at.value).collect();
            (name.value, patterns)
        });
        let operations = operations.collect();
        About { hosts, operations, client: ClientSettings::take(&mut table, &mut out), ..about }
    }

    /// Fills the keys in that the service does not write itself, and says whether it is whole: where everybody has hosts
    /// of their own and the service names none, `out` says so.
    pub fn complete(&self, service: &mut Table, out: &mut Diagnostics) -> bool {
        let Some(mut table) = document::parse(&self.file(), out) else { return false };
        let about = About::take(&mut table, out);
        if !service.has("hosts") && !table.has("hosts") {
            let message = format!("the preset `{}` names no hosts: everybody has their own", self.name);
            let example: Vec<String> = about.example_hosts.iter().map(|host| format!("\"{host}\"")).collect();
            let help = format!("write yours, as `hosts = [{}]`", example.join(", "));
            out.error(service.location(), service.key_of("hosts"), message).help(help);
            return false;
        }
        service.complete(table);
        true
    }
}

fn texts(key: &'static str, table: &mut Table, out: &mut Diagnostics) -> Vec<String> {
    table.strings(key, out).unwrap_or_default().into_iter().map(|at| at.value).collect()
}

/// The preset of that name.
pub fn find(name: &str) -> Option<Preset> {
    PRESETS.iter().find(|(known, _)| *known == name).map(|(name, text)| Preset { name, text })
}

/// All presets, by name.
pub fn all() -> impl Iterator<Item = Preset> {
    PRESETS.iter().map(|(name, text)| Preset { name, text })
}

/// All names.
pub fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}
