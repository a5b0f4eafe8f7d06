//! Tables whose keys are taken one by one.

use std::collections::BTreeMap;
use std::fmt;

use super::diagnostic::{Diagnostic, Diagnostics, nearest};
use super::item::{Item, Value};
use super::source::{Located, Location};
use super::units::{parse_duration, parse_size};

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) name_location: Location,
    pub(super) item: Item,
}

/// A table whose keys are taken one by one; [`Table::finish`] reports the rest as unknown.
///
/// Boxed: most values of a tree are no tables, and each has room for the largest.
#[derive(Clone, Debug)]
pub struct Table(Box<Inner>);

#[derive(Clone, Debug)]
pub(super) struct Inner {
    pub(super) key: String,
    pub(super) location: Location,
    pub(super) entries: Vec<Entry>,
    /// What was asked for; few, and asked for once.
    pub(super) asked: Vec<&'static str>,
    /// Whether entries were taken from between others, which no longer stand in the order of the file.
    disordered: bool,
    /// The names of the tables that [`Table::named_tables`] has taken.
    pub(super) named: BTreeMap<&'static str, Vec<String>>,
}

impl Table {
    pub(super) fn of(key: String, location: Location, entries: Vec<Entry>) -> Self {
        let (asked, named) = (Vec::new(), BTreeMap::new());
        Self(Box::new(Inner { key, location, entries, asked, disordered: false, named }))
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(super) fn inner_mut(&mut self) -> &mut Inner {
        &mut self.0
    }

    pub(super) fn into_inner(self) -> Inner {
        *self.0
    }

    pub(super) fn value_of(&self, name: &str) -> Option<&Value> {
        self.0.entries.iter().find(|entry| entry.name == name).map(|entry| &entry.item.value)
    }

    pub(super) fn value_of_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.0.entries.iter_mut().find(|entry| entry.name == name).map(|entry| &mut entry.item.value)
    }

    /// The dotted key of this table; empty for the root.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// Where the table starts.
    pub fn location(&self) -> &Location {
        &self.0.location
    }

    /// The dotted key of an entry of this table.
    pub fn key_of(&self, name: &str) -> String {
        if self.0.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.0.key) }
    }

    /// Where the value of a key stands, if it is written (it is not taken).
    pub fn place_of(&self, name: &str) -> Option<&Location> {
        self.0.entries.iter().find(|entry| entry.name == name).map(|entry| &entry.item.location)
    }

    /// Whether the key is written (it is not taken).
    pub fn has(&self, name: &str) -> bool {
        self.0.entries.iter().any(|entry| entry.name == name)
    }

    /// Fills in the keys that are not written from another table: a preset's. They stand in its order.
    pub fn complete(&mut self, mut defaults: Self) {
        defaults.restore_order();
        for entry in defaults.0.entries {
            if !self.has(&entry.name) {
                self.0.entries.push(entry);
            }
        }
    }

    /// Takes a value of any type.
    pub fn take(&mut self, name: &'static str) -> Option<Item> {
        self.0.asked.push(name);
        let at = self.0.entries.iter().position(|entry| entry.name == name)?;
        self.0.disordered = true;
        Some(self.0.entries.swap_remove(at).item)
    }

    /// Takes a string.
    pub fn string(&mut self, name: &'static str, out: &mut Diagnostics) -> Option<Located<String>> {
        self.take(name)?.into_string(out)
    }

    /// Takes a string that must be there.
    pub fn required_string(&mut self, name: &'static str, out: &mut Diagnostics) -> Option<Located<String>> {
        if !self.has(name) {
            self.missing(name, out);
        }
        self.string(name, out)
    }

    /// Takes a string and parses it; what the parser says becomes the message.
    pub fn parsed<T, E: fmt::Display>(
        &mut self,
        name: &'static str,
        out: &mut Diagnostics,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Located<T>> {
        let text = self.string(name, out)?;
        match parse(&text.value) {
            Ok(value) => Some(Located { value, location: text.location }),
            Err(error) => {
                out.error(&text.location, self.key_of(name), error.to_string());
                None
            }
        }
    }

    /// Takes one of a closed set of words.
    pub fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        words: &[(&'static str, T)],
        out: &mut Diagnostics,
    ) -> Option<Located<T>> {
        let text = self.string(name, out)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(Located { value: *value, location: text.location });
        }
        let all: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        let diagnostic =
            out.error(&text.location, self.key_of(name), format!("`{}` is not a value of this key", text.value));
        match nearest(&text.value, words.iter().map(|(word, _)| *word)) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`? it is one of {}", all.join(", "))),
            None => diagnostic.help(format!("write one of {}", all.join(", "))),
        };
        None
    }

    /// Takes an integer within a range.
    pub fn integer(
        &mut self,
        name: &'static str,
        range: std::ops::RangeInclusive<i64>,
        out: &mut Diagnostics,
    ) -> Option<Located<i64>> {
        let item = self.take(name)?;
        match item.value {
            Value::Integer(value) if range.contains(&value) => Some(Located { value, location: item.location }),
            Value::Integer(value) => {
                let message = format!("`{value}` is not from {} to {}", range.start(), range.end());
                out.error(&item.location, item.key, message);
                None
            }
            other => {
                out.error(&item.location, item.key, format!("expected an integer, found {}", other.kind()));
                None
            }
        }
    }

    /// Takes a boolean.
    pub fn boolean(&mut self, name: &'static str, out: &mut Diagnostics) -> Option<Located<bool>> {
        let item = self.take(name)?;
        match item.value {
            Value::Boolean(value) => Some(Located { value, location: item.location }),
            other => {
                out.error(&item.location, item.key, format!("expected `true` or `false`, found {}", other.kind()));
                None
            }
        }
    }

    /// Takes a duration such as `"500ms"`, `"30s"`, `"5m"`, `"1h"`, `"7d"`.
    pub fn duration(&mut self, name: &'static str, out: &mut Diagnostics) -> Option<Located<std::time::Duration>> {
        self.parsed(name, out, parse_duration)
    }

    /// Takes a size in bytes such as `"64KiB"`, `"1MiB"`, or a plain integer of bytes.
    pub fn size(&mut self, name: &'static str, out: &mut Diagnostics) -> Option<Located<u64>> {
        if let Some(Entry { item: Item { value: Value::Integer(_), .. }, .. }) =
            self.0.entries.iter().find(|entry| entry.name == name)
        {
            return Some(self.integer(name, 0..=i64::MAX, out)?.map(i64::unsigned_abs));
        }
        self.parsed(name, out, parse_size)
    }

    /// Takes a string or a list of strings.
    pub fn strings(&mut self, name: &'static str, out: &mut Diagnostics) -> Option<Vec<Located<String>>> {
        self.take(name)?.into_strings(out)
    }

    /// Takes a table.
    pub fn table(&mut self, name: &'static str, out: &mut Diagnostics) -> Option<Table> {
        self.take(name)?.into_table(out)
    }

    /// Takes a table of tables keyed by name: `[service.openai]`, `[service.billing]`, … in file order.
    ///
    /// What stands as `x` in a file of a team is named `TEAM/x`, which nothing else can be.
    pub fn named_tables(&mut self, name: &'static str, out: &mut Diagnostics) -> Vec<(Located<String>, Table)> {
        let Some(table) = self.table(name, out) else { return Vec::new() };
        let names = table.0.entries.iter().map(|entry| qualified(&entry.name, &entry.name_location)).collect();
        self.0.named.insert(name, names);
        table
            .into_entries()
            .into_iter()
            .filter_map(|(name, item)| {
                if !is_name(&name.value) {
                    out.error(&name.location, item.key.clone(), format!("`{}` is not a name", name.value))
                        .help("a name has letters, digits, `-` and `_`, and at most 64 of them");
                    return None;
                }
                let value = qualified(&name.value, &name.location);
                Some((Located { value, location: name.location }, item.into_table(out)?))
            })
            .collect()
    }

    /// The names of all tables that [`Table::named_tables`] has taken, also of those that are wrong: what refers to
    /// one of them is no mistake of its own.
    pub fn names_of(&self, key: &str) -> &[String] {
        self.0.named.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// Takes a list of tables: `[[test]]`.
    pub fn table_list(&mut self, name: &'static str, out: &mut Diagnostics) -> Vec<Table> {
        let Some(item) = self.take(name) else { return Vec::new() };
        match item.value {
            Value::Array(items) => items.into_iter().filter_map(|item| item.into_table(out)).collect(),
            other => {
                out.error(&item.location, item.key, format!("expected a list of tables, found {}", other.kind()));
                Vec::new()
            }
        }
    }

    /// All entries that are left, for tables whose keys are free (claims, attributes).
    pub fn into_entries(mut self) -> Vec<(Located<String>, Item)> {
        self.restore_order();
        self.0
            .entries
            .into_iter()
            .map(|entry| (Located { value: entry.name, location: entry.name_location }, entry.item))
            .collect()
    }

    fn restore_order(&mut self) {
        if self.0.disordered {
            self.0.entries.sort_by_key(|entry| entry.name_location.span.start);
        }
    }

    /// Says that a key which must be there is not.
    pub fn missing<'d>(&self, name: &'static str, out: &'d mut Diagnostics) -> &'d mut Diagnostic {
        out.error(&self.0.location, self.key_of(name), "this key is required")
    }

    /// Every key that nobody took is unknown; near misses are named.
    pub fn finish(mut self, out: &mut Diagnostics) {
        if self.0.entries.is_empty() {
            return;
        }
        self.restore_order();
        self.0.asked.sort_unstable();
        self.0.asked.dedup();
        for entry in &self.0.entries {
            let diagnostic = out.error(&entry.name_location, self.key_of(&entry.name), "unknown key");
            let right = || self.0.asked.iter().copied();
            match nearest(&entry.name, right()) {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None if self.0.asked.is_empty() => diagnostic,
                None => diagnostic.help(format!("known here: {}", right().collect::<Vec<_>>().join(", "))),
            };
        }
    }
}

/// The name as all others know it.
fn qualified(name: &str, place: &Location) -> String {
    place.team().map_or_else(|| name.to_owned(), |team| format!("{team}/{name}"))
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}
