//! A configuration text as a tree that knows where everything stands.
//!
//! Each part of Claviger takes *its* keys from one tree; what nobody took is the unknown-key error.
//! (serde's `flatten` would swallow unknown keys and lose their places.) All errors of a file are
//! collected in [`Diagnostics`], so that a user sees them together.
//!
//! Pure: the text is given, nothing is read here.

mod duplicate;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One configuration file: the name a user knows it by, its folder, and its text.
pub struct SourceFile {
    name: String,
    text: String,
    line_starts: Vec<usize>,
}

impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text stays out: an operator may have put a secret there by mistake.
        f.debug_struct("SourceFile").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SourceFile {
    /// `name` is what diagnostics cite, usually the path as the user gave it.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        let text = text.into();
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Arc::new(Self { name: name.into(), text, line_starts })
    }

    /// The name that diagnostics cite.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |text| text.chars().count());
        (line.max(1), column + 1)
    }
}

/// A place in a configuration file. Cheap to clone.
#[derive(Clone)]
pub struct Location {
    file: Arc<SourceFile>,
    span: Range<usize>,
}

impl Location {
    /// The file's name as the user knows it.
    pub fn file(&self) -> &str {
        self.file.name()
    }

    /// Line, from 1.
    pub fn line(&self) -> usize {
        self.file.line_and_column(self.span.start).0
    }

    /// Column in characters, from 1.
    pub fn column(&self) -> usize {
        self.file.line_and_column(self.span.start).1
    }
}

impl fmt::Display for Location {
    /// `file:line:column`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.file.line_and_column(self.span.start);
        write!(f, "{}:{line}:{column}", self.file.name)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A value and the place where it was written.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub location: Location,
}

impl<T> Located<T> {
    /// The same place with another value, for parsing in steps.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: f(self.value), location: self.location }
    }
}

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration loads; an operator should look.
    Warning,
    /// The configuration does not load.
    Error,
}

/// One finding about a configuration: where, which key, what is wrong, what to write instead.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Where; `None` only for what concerns no file, such as a missing one.
    pub location: Option<Location>,
    /// The dotted key, as `service.openai.hosts`; empty where no key is meant.
    pub key: String,
    /// What is wrong: lower case, no final period, user input in backticks.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(f, "{location}: ")?;
        }
        f.write_str(match self.severity {
            Severity::Warning => "warning: ",
            Severity::Error => "error: ",
        })?;
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// Collects what is found while a configuration is read.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
}

impl Diagnostics {
    /// An error at a place.
    pub fn error(
        &mut self,
        location: &Location,
        key: impl Into<String>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.push(Severity::Error, Some(location.clone()), key.into(), message.into())
    }

    /// A warning at a place.
    pub fn warning(
        &mut self,
        location: &Location,
        key: impl Into<String>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.push(Severity::Warning, Some(location.clone()), key.into(), message.into())
    }

    /// An error that no place in a file caused.
    pub fn error_nowhere(&mut self, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, None, String::new(), message.into())
    }

    /// All findings, in the order in which they were made.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.found.iter()
    }

    /// Whether the configuration must not load.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Adds all of `other`.
    pub fn append(&mut self, mut other: Diagnostics) {
        self.found.append(&mut other.found);
    }

    /// Orders by file and place, so that output is stable.
    pub fn sort(&mut self) {
        self.found.sort_by_key(|diagnostic| {
            diagnostic.location.as_ref().map(|location| (location.file().to_owned(), location.span.start))
        });
    }

    fn push(
        &mut self,
        severity: Severity,
        location: Option<Location>,
        key: String,
        message: String,
    ) -> &mut Diagnostic {
        let at = self.found.len();
        self.found.push(Diagnostic { severity, location, key, message, help: None });
        // The element was pushed on the line above.
        #[allow(clippy::indexing_slicing, reason = "the index was made by the push above")]
        &mut self.found[at]
    }
}

impl Diagnostic {
    /// Says what to write instead.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }
}

/// "did you mean" over the names that would have been right; `None` if nothing is near.
pub fn nearest<'a>(wrong: &str, right: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    right
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.chars().count().max(wrong.chars().count()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// A value of the tree, with its place and its dotted key.
#[derive(Clone, Debug)]
pub struct Item {
    /// The value.
    pub value: Value,
    /// Where the value stands.
    pub location: Location,
    /// The dotted key, for messages.
    pub key: String,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string.
    String(String),
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A TOML date-time, as written.
    Datetime(String),
    /// A list.
    Array(Vec<Item>),
    /// A table.
    Table(Table),
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Boolean(_) => "a boolean",
            Self::Datetime(_) => "a date-time",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl Item {
    /// The string, or an error that names what was found.
    pub fn into_string(self, out: &mut Diagnostics) -> Option<Located<String>> {
        match self.value {
            Value::String(value) => Some(Located { value, location: self.location }),
            other => {
                out.error(&self.location, self.key, format!("expected a string, found {}", other.kind()));
                None
            }
        }
    }

    /// The table, or an error that names what was found.
    pub fn into_table(self, out: &mut Diagnostics) -> Option<Table> {
        match self.value {
            Value::Table(value) => Some(value),
            other => {
                out.error(&self.location, self.key, format!("expected a table, found {}", other.kind()));
                None
            }
        }
    }

    /// A string, or a list of strings: both are a list.
    pub fn into_strings(self, out: &mut Diagnostics) -> Option<Vec<Located<String>>> {
        match self.value {
            Value::String(value) => Some(vec![Located { value, location: self.location }]),
            Value::Array(items) => items.into_iter().map(|item| item.into_string(out)).collect(),
            other => {
                let message = format!("expected a string or a list of strings, found {}", other.kind());
                out.error(&self.location, self.key, message);
                None
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    name_location: Location,
    item: Item,
}

/// A table whose keys are taken one by one; [`Table::finish`] reports the rest as unknown.
#[derive(Clone, Debug)]
pub struct Table {
    key: String,
    location: Location,
    entries: Vec<Entry>,
    asked: BTreeSet<&'static str>,
    /// The names of the tables that [`Table::named_tables`] has taken.
    named: BTreeMap<&'static str, Vec<String>>,
}

/// Reads a file into its root table. Syntax errors go to `out`; `None` if there are any.
pub fn parse(file: &Arc<SourceFile>, out: &mut Diagnostics) -> Option<Table> {
    match DeTable::parse(&file.text) {
        Ok(root) => {
            let mut table = convert_table(file, String::new(), root.span(), root.into_inner());
            table.location = Location { file: file.clone(), span: 0..0 };
            Some(table)
        }
        Err(error) => {
            let location = Location { file: file.clone(), span: error.span().unwrap_or(0..0) };
            let message = error.message().trim_end_matches('\n').replace('\n', ", ");
            match duplicate::find(&file.text, &location.span).filter(|_| message == "duplicate key") {
                Some((key, first)) => {
                    let first = Location { file: file.clone(), span: first..first };
                    out.error(&location, key, format!("this is defined already, at {first}"))
                        .help("leave out one of them, or give it another name");
                }
                None => {
                    out.error(&location, "", message);
                }
            }
            None
        }
    }
}

fn convert_table(file: &Arc<SourceFile>, key: String, span: Range<usize>, table: DeTable<'_>) -> Table {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(name, value)| {
            let name_location = Location { file: file.clone(), span: name.span() };
            let name = name.into_inner().into_owned();
            let dotted = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            Entry { name, name_location, item: convert(file, dotted, value) }
        })
        .collect();
    // In the order of the file: messages and `claviger fmt` follow the author's order.
    entries.sort_by_key(|entry| entry.name_location.span.start);
    Table {
        key,
        location: Location { file: file.clone(), span },
        entries,
        asked: BTreeSet::new(),
        named: BTreeMap::new(),
    }
}

fn convert(file: &Arc<SourceFile>, key: String, value: Spanned<DeValue<'_>>) -> Item {
    let span = value.span();
    let location = Location { file: file.clone(), span: span.clone() };
    let value = match value.into_inner() {
        DeValue::String(value) => Value::String(value.into_owned()),
        DeValue::Integer(value) => match i64::from_str_radix(value.as_str(), value.radix()) {
            Ok(value) => Value::Integer(value),
            // Out of range: kept as the text, so that a reader's "expected an integer" names it.
            Err(_) => Value::String(value.as_str().to_owned()),
        },
        DeValue::Float(value) => Value::Float(value.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Datetime(value) => Value::Datetime(value.to_string()),
        DeValue::Array(items) => Value::Array(
            items.into_iter().enumerate().map(|(index, item)| convert(file, format!("{key}[{index}]"), item)).collect(),
        ),
        DeValue::Table(table) => Value::Table(convert_table(file, key.clone(), span, table)),
    };
    Item { value, location, key }
}

impl Table {
    /// The dotted key of this table; empty for the root.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Where the table starts.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The dotted key of an entry of this table.
    pub fn key_of(&self, name: &str) -> String {
        if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) }
    }

    /// Where the value of a key stands, if it is written (it is not taken).
    pub fn place_of(&self, name: &str) -> Option<&Location> {
        self.entries.iter().find(|entry| entry.name == name).map(|entry| &entry.item.location)
    }

    /// Whether the key is written (it is not taken).
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name)
    }

    /// Fills in the keys that are not written from another table: a preset's.
    pub fn complete(&mut self, defaults: Self) {
        for entry in defaults.entries {
            if !self.has(&entry.name) {
                self.entries.push(entry);
            }
        }
    }

    /// Takes a value of any type.
    pub fn take(&mut self, name: &'static str) -> Option<Item> {
        self.asked.insert(name);
        let at = self.entries.iter().position(|entry| entry.name == name)?;
        Some(self.entries.remove(at).item)
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
            self.entries.iter().find(|entry| entry.name == name)
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
    pub fn named_tables(&mut self, name: &'static str, out: &mut Diagnostics) -> Vec<(Located<String>, Table)> {
        let Some(table) = self.table(name, out) else { return Vec::new() };
        let names = table.entries.iter().map(|entry| entry.name.clone()).collect();
        self.named.insert(name, names);
        table
            .into_entries()
            .into_iter()
            .filter_map(|(name, item)| {
                if !is_name(&name.value) {
                    out.error(&name.location, item.key.clone(), format!("`{}` is not a name", name.value))
                        .help("a name has letters, digits, `-` and `_`, and at most 64 of them");
                    return None;
                }
                Some((name, item.into_table(out)?))
            })
            .collect()
    }

    /// The names of all tables that [`Table::named_tables`] has taken, also of those that are wrong: what refers to
    /// one of them is no mistake of its own.
    pub fn names_of(&self, key: &str) -> &[String] {
        self.named.get(key).map(Vec::as_slice).unwrap_or_default()
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
    pub fn into_entries(self) -> Vec<(Located<String>, Item)> {
        self.entries
            .into_iter()
            .map(|entry| (Located { value: entry.name, location: entry.name_location }, entry.item))
            .collect()
    }

    /// Says that a key which must be there is not.
    pub fn missing<'d>(&self, name: &'static str, out: &'d mut Diagnostics) -> &'d mut Diagnostic {
        out.error(&self.location, self.key_of(name), "this key is required")
    }

    /// Every key that nobody took is unknown; near misses are named.
    pub fn finish(self, out: &mut Diagnostics) {
        for entry in &self.entries {
            let diagnostic = out.error(&entry.name_location, self.key_of(&entry.name), "unknown key");
            let right = || self.asked.iter().copied();
            match nearest(&entry.name, right()) {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None if self.asked.is_empty() => diagnostic,
                None => diagnostic.help(format!("known here: {}", right().collect::<Vec<_>>().join(", "))),
            };
        }
    }
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Parses `500ms`, `30s`, `5m`, `1h`, `7d`.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let wrong =
        || format!("`{text}` is not a duration; write a number and a unit, as `500ms`, `30s`, `5m`, `1h`, `7d`");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(ms).map(std::time::Duration::from_millis).ok_or_else(wrong)
}

/// Parses `512`, `64KiB`, `1MiB`, `2GiB` into bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size; write bytes, or a number and a unit, as `64KiB`, `1MiB`, `2GiB`");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Table>, Diagnostics) {
        let mut out = Diagnostics::default();
        let table = parse(&SourceFile::new("claviger.toml", text), &mut out);
        (table, out)
    }

    #[test]
    fn syntax_errors_have_a_place() {
        let (table, out) = read("version = 1\nname = \n");
        assert!(table.is_none());
        assert!(out.iter().next().unwrap().to_string().starts_with("claviger.toml:2:8: error: "), "{out:?}");
    }

    #[test]
    fn a_duplicate_key_is_an_error_at_the_second() {
        let (_, out) = read("[a]\nx = 1\n[a]\ny = 2\n");
        assert!(out.iter().next().unwrap().to_string().starts_with("claviger.toml:3:"), "{out:?}");
    }

    #[test]
    fn what_nobody_took_is_unknown_and_near_misses_are_named() {
        let (table, mut out) = read("[service.x]\nhots = [\"a\"]\n");
        let mut root = table.unwrap();
        let (_, mut service) = root.named_tables("service", &mut out).pop().unwrap();
        assert!(service.strings("hosts", &mut out).is_none());
        service.finish(&mut out);
        root.finish(&mut out);
        let found: Vec<String> = out.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["claviger.toml:2:1: error: `service.x.hots`: unknown key\n  help: did you mean `hosts`?"]);
    }

    #[test]
    fn wrong_types_say_what_was_found() {
        let (table, mut out) = read("a = 1\nb = \"x\"\nc = \"10 parsecs\"\n");
        let mut root = table.unwrap();
        assert!(root.string("a", &mut out).is_none());
        assert!(root.boolean("b", &mut out).is_none());
        assert!(root.duration("c", &mut out).is_none());
        assert_eq!(out.iter().count(), 3);
        assert!(out.iter().next().unwrap().message.contains("expected a string, found an integer"));
    }

    #[test]
    fn duplicates_cite_both_places() {
        for (text, expected) in [
            (
                "[a.b]\nx = 1\n[c]\n[a.b]\n",
                "claviger.toml:4:4: error: `a.b`: this is defined already, at claviger.toml:1:4",
            ),
            (
                "x = 1\n[a]\nx = 1\ny = 2\n x = 3\n",
                "claviger.toml:5:2: error: `a.x`: this is defined already, at claviger.toml:3:1",
            ),
            ("x = 1\nx = 3\n", "claviger.toml:2:1: error: `x`: this is defined already, at claviger.toml:1:1"),
            // Written in other forms, or in one line: only where the second stands.
            ("a = { x = 1, x = 2 }\n", "claviger.toml:1:14: error: duplicate key"),
            ("[a]\nb = 1\n[a.b]\n", "claviger.toml:3:4: error: duplicate key"),
        ] {
            let (table, out) = read(text);
            assert!(table.is_none(), "{text}");
            let found: Vec<String> = out.iter().map(|one| one.to_string().lines().next().unwrap().to_owned()).collect();
            assert_eq!(found, [expected], "{text}");
        }
    }

    #[test]
    fn columns_count_characters() {
        let (table, mut out) = read("\"ключ\" = { x = 1 }\n");
        table.unwrap().finish(&mut out);
        assert_eq!(out.iter().next().unwrap().location.as_ref().unwrap().column(), 1);
    }
}
