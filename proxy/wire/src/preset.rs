//! Service presets: data, no code. Each file under `presets/` holds the keys of a `[service.X]` table;
//! what the configuration writes itself goes before.

use claviger_policy::document::{self, Diagnostics, SourceFile, Table};

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

impl Preset {
    /// Fills the keys in that the service does not write itself.
    pub fn complete(&self, service: &mut Table, out: &mut Diagnostics) {
        let file = SourceFile::new(format!("preset:{}", self.name), self.text);
        if let Some(table) = document::parse(&file, out) {
            service.complete(table);
        }
    }
}

/// The preset of that name.
pub fn find(name: &str) -> Option<Preset> {
    PRESETS.iter().find(|(known, _)| *known == name).map(|(name, text)| Preset { name, text })
}

/// All names.
pub fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}
