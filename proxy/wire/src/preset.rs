//! Service presets: data, no code. Each file under `presets/` holds the keys of a `[service.X]` table;
//! what the configuration writes itself goes before.

use claviger_policy::document::{self, Diagnostics, SourceFile, Table};

use crate::settings::ClientSettings;

/// Name and text. A new preset is one file and one line here.
const PRESETS: [(&str, &str); 3] = [
    ("anthropic", include_str!("../presets/anthropic.toml")),
    ("github", include_str!("../presets/github.toml")),
    ("openai", include_str!("../presets/openai.toml")),
];

/// A bundled preset.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    name: &'static str,
    text: &'static str,
}

/// What a preset says to people and to clients, besides what a service is made of.
#[derive(Clone, Debug)]
pub struct About {
    /// One line: "OpenAI API".
    pub title: String,
    /// Where its provider documents how to authenticate.
    pub documentation: String,
    /// Its hosts, as written.
    pub hosts: Vec<String>,
    /// Its named sets of operations, as `@chat`: name and patterns, in its own order.
    pub operations: Vec<(String, Vec<String>)>,
    /// What its clients want to be told.
    pub client: ClientSettings,
}

impl Preset {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it says to people and to clients.
    pub fn about(&self) -> About {
        let (file, mut out) = (SourceFile::new(format!("preset:{}", self.name), self.text), Diagnostics::default());
        let Some(mut table) = document::parse(&file, &mut out) else {
            return About {
                title: String::new(),
                documentation: String::new(),
                hosts: Vec::new(),
                operations: Vec::new(),
                client: ClientSettings::default(),
            };
        };
        let mut text = |key| table.string(key, &mut out).map(|at| at.value).unwrap_or_default();
        let (title, documentation) = (text("title"), text("documentation"));
        let hosts = table.strings("hosts", &mut out).unwrap_or_default().into_iter().map(|at| at.value).collect();
        let operations = table.table("operations", &mut out).map(Table::into_entries).unwrap_or_default();
        let operations = operations.into_iter().map(|(name, item)| {
            let patterns = item.into_strings(&mut out).unwrap_or_default().into_iter().map(|at| at.value).collect();
            (name.value, patterns)
        });
        let operations = operations.collect();
        About { title, documentation, hosts, operations, client: ClientSettings::take(&mut table, &mut out) }
    }

    /// Fills the keys in that the service does not write itself.
    pub fn complete(&self, service: &mut Table, out: &mut Diagnostics) {
        let file = SourceFile::new(format!("preset:{}", self.name), self.text);
        if let Some(mut table) = document::parse(&file, out) {
            // For people, not of the service.
            drop((table.take("title"), table.take("documentation")));
            service.complete(table);
        }
    }
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
