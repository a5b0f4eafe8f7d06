//! The bundled presets as they are written: what a proof compares with, and what it changes.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// A file of `proxy/wire/presets`.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    table: Table,
}

/// A changed list of injections, with what was changed.
#[derive(Clone, Debug)]
pub(crate) struct Mutant {
    pub(crate) change: String,
    pub(crate) inject: Value,
    pub(crate) kind: Kind,
}

/// What is to be seen of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The double refuses the credential.
    Wrong,
    /// The same, unless the configuration is refused before: two injections would fill one place, or none.
    Elsewhere,
    /// A client misses what it had from the service itself; that needs no refusal.
    NotKept,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy/wire/presets")
}

/// The names of all bundled presets.
pub(crate) fn names() -> Vec<String> {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = files.map(|file| file.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

impl Written {
    pub(crate) fn read(name: &str) -> Self {
        let file = folder().join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Self { table: text.parse().unwrap() }
    }

    /// What it strips: names of headers, `query:NAME`.
    pub(crate) fn strip(&self) -> Vec<String> {
        texts(self.table.get("strip"))
    }

    /// Whether it has a call that shows whether a credential works.
    pub(crate) fn checks(&self) -> bool {
        self.table.contains_key("check")
    }

    /// The names of its sets of operations.
    pub(crate) fn sets(&self) -> Vec<String> {
        self.table
            .get("operations")
            .and_then(Value::as_table)
            .map(|sets| sets.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// What stands where its clients insist on a secret.
    pub(crate) fn placeholder(&self) -> Option<&str> {
        self.client("placeholder")?.as_str()
    }

    /// What its clients are told by their environment.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let secrets = texts(self.client("secrets"));
        let placeholder = self.placeholder();
        let mut all: Vec<(String, String)> =
            secrets.into_iter().filter_map(|name| Some((name, placeholder?.to_owned()))).collect();
        if let Some(variables) = self.client("variables").and_then(Value::as_table) {
            all.extend(variables.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())));
        }
        all
    }

    fn client(&self, key: &str) -> Option<&Value> {
        self.table.get("client")?.get(key)
    }

    /// Its injections, and the value in one more header.
    pub(crate) fn once_more(&self, fields: &[&str]) -> Value {
        let mut copy = Table::from_iter([("header".to_owned(), Value::from("x-once-more"))]);
        if let [field, _, ..] = fields {
            copy.insert("from".to_owned(), Value::from(*field));
        }
        Value::Array(self.inject().into_iter().chain([Value::Table(copy)]).collect())
    }

    fn inject(&self) -> Vec<Value> {
        match self.table.get("inject") {
            Some(Value::Array(entries)) => entries.clone(),
            Some(entry) => vec![entry.clone()],
            None => Vec::new(),
        }
    }

    /// Its injections, each changed in each way that matters, one at a time.
    pub(crate) fn mutants(&self, fields: &[&str]) -> Vec<Mutant> {
        let inject = self.inject();
        // What is kept at one host has to be filled at another, or the configuration is refused.
        let keeps = inject.iter().any(|entry| as_table(entry).contains_key("keep"));
        let mut all = Vec::new();
        for (at, entry) in inject.iter().enumerate() {
            let mut add = |change: String, kind: Kind, changed: Option<Table>| {
                let mut inject = inject.clone();
                match changed {
                    Some(changed) => inject[at] = Value::Table(changed),
                    None => drop(inject.remove(at)),
                }
                all.push(Mutant { change: format!("{entry}: {change}"), inject: Value::Array(inject), kind });
            };
            let entry = as_table(entry);
            if entry.contains_key("keep") {
                add("not kept".to_owned(), Kind::NotKept, None);
                continue;
            }
            for (change, changed) in changes(&entry, fields) {
                add(change, if keeps { Kind::Elsewhere } else { Kind::Wrong }, Some(changed));
            }
            let here = texts(entry.get("hosts"));
            let others = texts(self.table.get("hosts")).into_iter().filter(|host| !here.contains(host));
            let others: Vec<Value> = others.map(Value::from).collect();
            if !here.is_empty() && !others.is_empty() {
                let mut changed = entry.clone();
                changed.insert("hosts".to_owned(), Value::Array(others));
                add("at the other hosts".to_owned(), Kind::Elsewhere, Some(changed));
            }
        }
        all
    }
}

/// `"bearer"` is short for `{ bearer = true }`.
fn as_table(entry: &Value) -> Table {
    match entry {
        Value::Table(table) => table.clone(),
        kind => Table::from_iter([(kind.as_str().unwrap().to_owned(), Value::Boolean(true))]),
    }
}

fn changes(entry: &Table, fields: &[&str]) -> Vec<(String, Table)> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    let with = |without: &[&str], pairs: &[(&str, &str)]| {
        let mut changed = entry.clone();
        changed.retain(|key, _| !without.contains(&key));
        changed.extend(pairs.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))));
        changed
    };
    let mut all = Vec::new();
    if entry.contains_key("bearer") {
        all.push(("another scheme".to_owned(), with(&["bearer"], &[("header", "authorization"), ("prefix", "Key ")])));
        all.push(("another header".to_owned(), with(&["bearer"], &[("header", "x-other-key")])));
    }
    if let Some(name) = text("header") {
        all.push(("another header".to_owned(), with(&[], &[("header", &format!("x-other-{name}"))])));
        let prefix = if text("prefix").is_some_and(|prefix| prefix.starts_with("Bearer")) { "Key " } else { "Bearer " };
        all.push(("another prefix".to_owned(), with(&[], &[("prefix", prefix)])));
    }
    if let Some(user) = entry.get("basic") {
        let other = format!("other{}", user.as_str().unwrap_or_default());
        all.push(("another user".to_owned(), with(&[], &[("basic", &other)])));
        let bearer = with(&["basic", "as"], &[("header", "authorization"), ("prefix", "Bearer ")]);
        all.push(("a bearer token instead of basic".to_owned(), bearer));
    }
    if let Some(name) = text("query") {
        all.push(("another parameter".to_owned(), with(&[], &[("query", &format!("other_{name}"))])));
    }
    if text("path").is_some() {
        let header = with(&["path", "placeholder"], &[("header", "authorization"), ("prefix", "Bearer ")]);
        all.push(("a header instead of the path".to_owned(), header));
    } else if text("placeholder").is_some() {
        let header = with(&["placeholder", "in", "body_limit"], &[("header", "x-other-key")]);
        all.push(("a header instead of the placeholder".to_owned(), header));
    }
    if let (Some(from), true) = (text("from"), fields.len() > 1) {
        let other = fields.iter().find(|field| **field != from).unwrap();
        all.push(("another field".to_owned(), with(&[], &[("from", other)])));
    }
    assert!(!all.is_empty(), "no change is known for {entry:?}");
    all
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let texts = |entries: &Vec<Value>| entries.iter().map(|text| text.as_str().unwrap().to_owned()).collect();
    value.and_then(Value::as_array).map(texts).unwrap_or_default()
}
