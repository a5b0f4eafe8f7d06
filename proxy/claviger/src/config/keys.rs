//! What kind of value each key of a configuration takes; the data stand in `keys.toml`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;
use toml::Value;

/// The keys of all tables.
#[derive(Debug)]
pub(crate) struct Keys {
    /// JSON Schemas of the types of values, by name.
    pub(crate) types: BTreeMap<String, Value>,
    tables: BTreeMap<String, TableKeys>,
    /// Kinds of tables that have keys in common, and which.
    alike: Vec<(Vec<String>, Vec<String>)>,
}

/// The keys of one kind of table.
pub(crate) type TableKeys = BTreeMap<String, Key>;

/// What is known of one key. Of `is`, `map`, `named`, `tables` and `one_of` there is exactly one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Key {
    is: Option<String>,
    map: Option<String>,
    named: Option<String>,
    tables: Option<String>,
    one_of: Option<String>,
    /// A single value that may stand instead of a table.
    pub(crate) or: Option<String>,
    /// Bare words that may stand instead of a table.
    #[serde(default)]
    pub(crate) word: Vec<String>,
    /// The key that tells the kinds of `named` tables apart.
    pub(crate) by: Option<String>,
    /// A list of values too.
    pub(crate) list: bool,
    /// … and of nothing else.
    pub(crate) only_list: bool,
    /// Whether a configuration without it does not load.
    pub(crate) required: bool,
    /// … unless this other key is there.
    pub(crate) required_without: Option<String>,
    /// What holds where it is not written.
    pub(crate) default: Option<Value>,
    when: BTreeMap<String, String>,
    unless: Option<String>,
    /// The only values that it takes.
    pub(crate) words: Vec<Value>,
    /// The least number.
    pub(crate) min: Option<i64>,
    /// The largest number.
    pub(crate) max: Option<i64>,
    /// Whether `config show` has the table even where nobody wrote it.
    pub(crate) shown: bool,
    /// What it means, where no comment of the example can say it.
    pub(crate) text: Option<String>,
}

/// What stands behind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape<'k> {
    /// A value of a type.
    Value(&'k str),
    /// A table with keys of the author's own, and values of a type.
    Map(&'k str),
    /// One table.
    Table(&'k str),
    /// Tables keyed by name.
    Named(&'k str),
    /// A list of tables.
    Tables(&'k str),
    /// A table of one of several kinds, told by which key it has.
    OneOf(&'k str),
}

impl Key {
    /// What stands behind it.
    pub(crate) fn shape(&self) -> Shape<'_> {
        let shapes = [
            self.is.as_deref().map(|is| is.strip_prefix("table:").map_or(Shape::Value(is), Shape::Table)),
            self.map.as_deref().map(Shape::Map),
            self.named.as_deref().map(Shape::Named),
            self.tables.as_deref().map(Shape::Tables),
            self.one_of.as_deref().map(Shape::OneOf),
        ];
        shapes.into_iter().flatten().next().unwrap_or(Shape::Value("any"))
    }

    /// The default, if it holds in a table where `text_of` says how other keys are written.
    pub(crate) fn default_in(&self, text_of: impl Fn(&str) -> Option<String>) -> Option<&Value> {
        let is_so = |(key, start): (&String, &String)| text_of(key).is_some_and(|text| text.starts_with(start));
        let holds = self.when.iter().all(is_so) && self.unless.as_ref().is_none_or(|key| text_of(key).is_none());
        self.default.as_ref().filter(|_| holds)
    }

    /// Whether the default depends on other keys.
    pub(crate) fn is_conditional(&self) -> bool {
        !self.when.is_empty() || self.unless.is_some()
    }
}

impl Keys {
    /// The keys that this Claviger knows.
    ///
    /// # Errors
    /// None but in a build whose `keys.toml` is broken, which a test refuses.
    pub(crate) fn all() -> Result<&'static Self, String> {
        static KEYS: OnceLock<Result<Keys, String>> = OnceLock::new();
        KEYS.get_or_init(|| Self::parse(include_str!("keys.toml"))).as_ref().map_err(Clone::clone)
    }

    fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            types: BTreeMap<String, Value>,
            tables: BTreeMap<String, TableKeys>,
            shared: Vec<Shared>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Shared {
            of: Vec<String>,
            keys: TableKeys,
        }
        let File { types, mut tables, shared } = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut alike = Vec::new();
        for Shared { of, keys } in shared {
            for table in &of {
                let own = tables.entry(table.clone()).or_default();
                for (name, key) in &keys {
                    own.entry(name.clone()).or_insert_with(|| key.clone());
                }
            }
            alike.push((of, keys.into_keys().collect()));
        }
        // A new preset is a file and nothing else.
        if let Some(preset) = tables.get_mut("service").and_then(|service| service.get_mut("preset")) {
            preset.words = claviger_wire::preset::names().map(Value::from).collect();
        }
        Ok(Self { types, tables, alike })
    }

    /// The keys of the root.
    pub(crate) fn root(&self) -> Option<&TableKeys> {
        self.table("root")
    }

    /// The keys of one kind of table, as `listener`, `attestor.jwt`, `listener.tls`.
    pub(crate) fn table(&self, class: &str) -> Option<&TableKeys> {
        self.tables.get(class)
    }

    /// All kinds of tables with their keys.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (&str, &TableKeys)> {
        self.tables.iter().map(|(class, keys)| (class.as_str(), keys))
    }

    /// The kinds of tables in which a key of `class` means the same, that which says it best first.
    pub(crate) fn same_in<'k>(&'k self, class: &'k str, key: &'k str) -> impl Iterator<Item = &'k str> {
        let is_meant = move |(of, keys): &&(Vec<String>, Vec<String>)| {
            of.iter().any(|of| of == class) && keys.iter().any(|known| known == key)
        };
        let others = self.alike.iter().filter(is_meant).flat_map(|(of, _)| of.iter().map(String::as_str));
        others.chain([class])
    }

    /// The kinds of a table that has several, as `jwt` of `attestor`.
    pub(crate) fn kinds<'k>(&'k self, of: &'k str) -> impl Iterator<Item = &'k str> {
        let kind_of =
            move |class: &'k String| class.strip_prefix(of)?.strip_prefix('.').filter(|kind| !kind.contains('.'));
        self.tables.keys().filter_map(kind_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_are_whole() {
        let keys = Keys::all().unwrap();
        for (class, table) in keys.tables() {
            for (name, key) in table {
                let place = format!("[{class}] {name}");
                let shapes = [&key.is, &key.map, &key.named, &key.tables, &key.one_of];
                assert_eq!(shapes.iter().filter(|shape| shape.is_some()).count(), 1, "{place}");
                match key.shape() {
                    Shape::Value(is) | Shape::Map(is) => assert!(keys.types.contains_key(is), "{place}: {is}"),
                    Shape::Table(of) | Shape::Tables(of) => assert!(keys.table(of).is_some(), "{place}: {of}"),
                    Shape::Named(of) if key.by.is_none() => assert!(keys.table(of).is_some(), "{place}: {of}"),
                    Shape::Named(of) | Shape::OneOf(of) => assert!(keys.kinds(of).count() > 1, "{place}: {of}"),
                }
                let others = key.when.keys().chain(&key.unless).chain(&key.required_without);
                others.for_each(|other| assert!(table.contains_key(other), "{place}: {other}"));
                assert!(!key.is_conditional() || key.default.is_some(), "{place}");
            }
        }
    }
}
