//! A configuration as it holds: all files together, presets filled in, defaults written out, each value with where it is
//! from. Nothing here judges it, and nothing is asked of the environment.

mod json;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use claviger_contract::path;
use claviger_credential::SecretReference;
use claviger_policy::document::{self, Diagnostics, Item, Located, Location, Table, Value};
use claviger_wire::preset;

use super::files::{Files, Role, join};
use super::keys::{Key, Keys, Shape, TableKeys};

/// All tables of a configuration.
#[derive(Debug)]
pub(crate) struct Effective {
    /// The folder of the main file, as it was named.
    folder: PathBuf,
    /// The main file's name in findings.
    main: String,
    sections: Vec<Section>,
}

/// One table.
#[derive(Debug)]
struct Section {
    header: Header,
    /// `None`: nobody wrote it, it holds by default.
    location: Option<Location>,
    lines: Vec<Line>,
}

/// How a table is called.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Header {
    /// No table: the keys before the first.
    Root,
    /// `[limits]`
    Table(String),
    /// `[service.api]`
    Named(String, String),
    /// `[[test]]`
    Element(String),
}

/// One key of a table.
#[derive(Debug)]
struct Line {
    key: String,
    node: Node,
    origin: Origin,
}

/// Where a value is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The file of the table.
    Written,
    /// The table's preset.
    Preset,
    /// Nobody wrote it.
    Default,
}

/// A value whose parts know what they are.
#[derive(Debug)]
enum Node {
    Leaf(Leaf),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

/// A value that has no parts.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    /// Its type, a name of `[types]` in `keys.toml`; `None`: the key is unknown.
    pub(crate) is: Option<&'static str>,
    /// Where it stands; `None`: nowhere.
    pub(crate) location: Option<Location>,
    value: Value,
}

impl Effective {
    /// What these files say together; `None`: one of them is not TOML.
    ///
    /// # Errors
    /// None but in a build whose `keys.toml` is broken.
    pub(crate) fn of(files: &Files) -> Result<Option<Self>, String> {
        let keys = Keys::all()?;
        let (Some(root), Some(main)) = (files.root.clone(), files.iter().next()) else { return Ok(None) };
        // What is wrong with them is for `check` to say.
        let mut unsaid = Diagnostics::default();
        let tree = join(root, files.teams.values().flat_map(|team| &team.files).map(|file| (file, true)), &mut unsaid);
        let folder = main.path.parent().map(Path::to_owned).unwrap_or_default();
        let mut all = Self { folder, main: main.source.name().to_owned(), sections: Vec::new() };
        all.add_root(tree, keys);
        // They have left the tree, since what they name had to be read.
        for file in files.iter().filter(|file| !matches!(file.role, Role::Team(_))) {
            let tree = document::parse(&file.source, &mut unsaid);
            let teams = tree.and_then(|mut tree| tree.table("team", &mut unsaid));
            let teams = teams.map(Table::into_entries).unwrap_or_default();
            all.sections.extend(teams.into_iter().filter_map(|(name, item)| named("team", None, name, item, "")));
        }
        // As the author wrote them: file by file, and from the top; what holds by default comes last.
        let order: Vec<&str> = files.iter().map(|file| file.source.name()).collect();
        all.sections.sort_by_key(|section| match (&section.header, &section.location) {
            (Header::Root, _) => (0, 0),
            (_, Some(place)) => (order.iter().position(|name| *name == place.file()).unwrap_or_default(), place.line()),
            (_, None) => (usize::MAX, 0),
        });
        Ok(Some(all))
    }

    fn add_root(&mut self, tree: Table, keys: &'static Keys) {
        let root = keys.root();
        let domain = text_of(&tree, "trust_domain").unwrap_or_default();
        let mut lines = Vec::new();
        for (name, item) in tree.into_entries() {
            let key = root.and_then(|root| root.get(&name.value));
            match (key.map(Key::shape), item.value) {
                (Some(Shape::Named(of)), Value::Table(tables)) => {
                    let by = key.and_then(|key| key.by.as_deref());
                    for (name, item) in tables.into_entries() {
                        self.sections.extend(named(of, by, name, item, &domain));
                    }
                }
                (Some(Shape::Tables(of)), Value::Array(items)) => {
                    let tables = items.into_iter().filter_map(|item| match item.value {
                        Value::Table(table) => Some(table),
                        _ => None,
                    });
                    self.sections
                        .extend(tables.map(|table| section(Header::Element(of.to_owned()), table, keys.table(of))));
                }
                (Some(Shape::Table(of)), Value::Table(table)) => {
                    self.sections.push(section(Header::Table(name.value), table, keys.table(of)));
                }
                (_, value) => {
                    let node = node(Item { value, ..item }, key, keys);
                    lines.push(Line { key: name.value, node, origin: Origin::Written });
                }
            }
        }
        for (name, key) in root.into_iter().flatten().filter(|(_, key)| key.shown) {
            let is_there = self.sections.iter().any(|section| section.header == Header::Table(name.clone()));
            if let (false, Shape::Table(of)) = (is_there, key.shape()) {
                let lines = defaults(keys.table(of), &[]);
                self.sections.push(Section { header: Header::Table(name.clone()), location: None, lines });
            }
        }
        self.sections.insert(0, Section { header: Header::Root, location: None, lines });
    }

    /// Every value that was written, with the dotted name of its key.
    pub(crate) fn written(&self) -> Vec<(String, Leaf)> {
        let mut all = Vec::new();
        for section in &self.sections {
            for line in section.lines.iter().filter(|line| line.origin != Origin::Default) {
                let name = [section.header.dotted(), line.key.clone()].concat();
                line.node.leaves(&name, &mut |name, leaf| all.push((name.to_owned(), leaf.clone())));
            }
        }
        all
    }
}

impl Header {
    /// What stands before the keys in a dotted name, with its dot.
    fn dotted(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Table(table) | Self::Element(table) => format!("{table}."),
            Self::Named(table, name) => format!("{table}.{name}."),
        }
    }
}

impl Section {
    /// The team whose table it is.
    fn team(&self) -> Option<&Arc<str>> {
        self.location.as_ref().and_then(Location::team)
    }
}

impl Node {
    /// All values in it, with dotted names that begin with `name`.
    fn leaves(&self, name: &str, visit: &mut dyn FnMut(&str, &Leaf)) {
        match self {
            Self::Leaf(leaf) => visit(name, leaf),
            Self::List(nodes) => nodes.iter().for_each(|node| node.leaves(name, visit)),
            Self::Table(entries) => entries.iter().for_each(|(key, node)| node.leaves(&format!("{name}.{key}"), visit)),
        }
    }
}

impl Leaf {
    /// The text, if it is one and may be shown.
    pub(crate) fn text(&self) -> Option<String> {
        match &self.value {
            Value::String(text) => Some(self.shown(text)),
            _ => None,
        }
    }

    /// The file that it names.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let (Value::String(value), Some(location)) = (&self.value, &self.location) else { return None };
        Some(path::resolve(&Located { value: value.clone(), location: location.clone() }))
    }

    /// A text without what may be a secret: one that stands in the place of a reference, or behind a misspelt key.
    fn shown(&self, text: &str) -> String {
        match self.is {
            None => "(not shown: this key is unknown)".to_owned(),
            Some("reference") if SecretReference::parse(text).is_err() => {
                "(not shown: this is no reference to a secret)".to_owned()
            }
            Some("url") if text.split(['/', '?']).nth(2).is_some_and(|host| host.contains('@')) => {
                "(not shown: it holds a user or a password)".to_owned()
            }
            Some(_) => text.to_owned(),
        }
    }
}

/// A text of a table, which stays in it.
fn text_of(table: &Table, key: &str) -> Option<String> {
    let item = table.clone().into_entries().into_iter().find(|(name, _)| name.value == key).map(|(_, item)| item)?;
    match item.value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// One of the tables that are keyed by name; `domain` is the trust domain, which presets of attestors speak of.
fn named(of: &str, by: Option<&str>, name: Located<String>, item: Item, domain: &str) -> Option<Section> {
    let keys = Keys::all().ok()?;
    let Value::Table(mut table) = item.value else { return None };
    let class = match by.and_then(|by| text_of(&table, by)) {
        Some(kind) => format!("{of}.{kind}"),
        None => of.to_owned(),
    };
    if let (true, Some((_, kind))) = (of == "attestor", class.split_once('.')) {
        claviger_identity::complete_attestor(kind, domain, &mut table);
    }
    if of == "service"
        && let Some(preset) = text_of(&table, "preset").and_then(|name| preset::find(&name))
    {
        preset.complete(&mut table, &mut Diagnostics::default());
    }
    let name = name.location.team().map_or_else(|| name.value.clone(), |team| format!("{team}/{}", name.value));
    let mut section = section(Header::Named(of.to_owned(), name), table, keys.table(&class));
    if let Some(by) = by {
        // The word that tells kinds apart is no key of any kind.
        let kinds = section.lines.iter_mut().filter(|line| line.key == by);
        kinds.for_each(|line| line.node.type_as("text"));
    }
    Some(section)
}

fn section(header: Header, table: Table, known: Option<&'static TableKeys>) -> Section {
    let Ok(keys) = Keys::all() else { return Section { header, location: None, lines: Vec::new() } };
    let location = table.location().clone();
    let mut lines: Vec<Line> = Vec::new();
    for (name, item) in table.into_entries() {
        let origin = if name.location.file().starts_with("preset:") { Origin::Preset } else { Origin::Written };
        let node = node(item, known.and_then(|known| known.get(&name.value)), keys);
        lines.push(Line { key: name.value, node, origin });
    }
    let more = defaults(known, &lines);
    lines.extend(more);
    Section { header, location: Some(location), lines }
}

/// The keys that nobody wrote, as they hold.
fn defaults(known: Option<&'static TableKeys>, lines: &[Line]) -> Vec<Line> {
    let text_of = |key: &str| {
        let node = &lines.iter().find(|line| line.key == key)?.node;
        Some(match node {
            Node::Leaf(Leaf { value: Value::String(text), .. }) => text.clone(),
            _ => String::new(),
        })
    };
    let missing = known.into_iter().flatten().filter(|(name, _)| !lines.iter().any(|line| line.key == **name));
    let lines = missing.filter_map(|(name, key)| {
        let Shape::Value(is) = key.shape() else { return None };
        let node = default(key.default_in(text_of)?, is);
        Some(Line { key: name.clone(), node, origin: Origin::Default })
    });
    lines.collect()
}

fn default(value: &toml::Value, is: &'static str) -> Node {
    let value = match value {
        toml::Value::Array(items) => return Node::List(items.iter().map(|item| default(item, is)).collect()),
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Integer(number) => Value::Integer(*number),
        toml::Value::Boolean(yes) => Value::Boolean(*yes),
        // No key has such a default.
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => Value::Boolean(false),
    };
    Node::Leaf(Leaf { is: Some(is), location: None, value })
}

impl Node {
    fn type_as(&mut self, is: &'static str) {
        match self {
            Self::Leaf(leaf) => leaf.is = Some(is),
            Self::List(_) | Self::Table(_) => {}
        }
    }
}

/// A value with the types of its parts.
fn node(item: Item, key: Option<&'static Key>, keys: &'static Keys) -> Node {
    let Some(key) = key else { return typed(item, &|_| None, None, keys) };
    match (key.shape(), &item.value) {
        (Shape::Value(is), _) => typed(item, &|_| None, Some(is), keys),
        (Shape::Map(is), Value::Table(_)) => typed(item, &|_| None, Some(is), keys),
        (Shape::Map(_), _) => typed(item, &|_| None, key.or.as_deref(), keys),
        (Shape::Table(of), _) => typed(item, &|name| keys.table(of)?.get(name), key.or.as_deref(), keys),
        (Shape::OneOf(_), Value::Array(_)) => match item.value {
            Value::Array(items) => Node::List(items.into_iter().map(|item| node(item, Some(key), keys)).collect()),
            _ => Node::List(Vec::new()),
        },
        (Shape::OneOf(of), Value::Table(table)) => {
            let kind = keys.kinds(of).find(|kind| table.has(kind));
            let known = kind.and_then(|kind| keys.table(&format!("{of}.{kind}")));
            typed(item, &|name| known?.get(name), None, keys)
        }
        (Shape::OneOf(_), _) => typed(item, &|_| None, Some("text"), keys),
        (Shape::Named(_) | Shape::Tables(_), _) => typed(item, &|_| None, None, keys),
    }
}

/// `key_of` says what the keys of a table are; where it does not, all parts are of the type `is`.
fn typed(
    item: Item,
    key_of: &dyn Fn(&str) -> Option<&'static Key>,
    is: Option<&'static str>,
    keys: &'static Keys,
) -> Node {
    match item.value {
        Value::Array(items) => Node::List(items.into_iter().map(|item| typed(item, key_of, is, keys)).collect()),
        Value::Table(table) => {
            let entries = table.into_entries().into_iter().map(|(name, item)| {
                let node = match key_of(&name.value) {
                    Some(key) => node(item, Some(key), keys),
                    None => typed(item, &|_| None, is, keys),
                };
                (name.value, node)
            });
            Node::Table(entries.collect())
        }
        value => Node::Leaf(Leaf { is, location: Some(item.location), value }),
    }
}

#[cfg(test)]
mod tests;
