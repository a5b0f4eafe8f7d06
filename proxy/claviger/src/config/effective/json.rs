//! The effective configuration for programs.

use claviger_policy::document::Value as Written;
use serde_json::{Map, Value, json};

use super::{Effective, Header, Leaf, Node, Origin};

impl Effective {
    /// `{"configuration": …, "origins": {"service.api.hosts": "conf.d/api.toml:3"}}`; a key that nobody wrote is from
    /// `default`. Names of what teams say begin with the team's, as `payments/reader`.
    pub(crate) fn to_json(&self) -> Value {
        let (mut all, mut origins) = (Map::new(), Map::new());
        for section in &self.sections {
            let mut table = Map::new();
            let count = |all: &Map<String, Value>, of: &str| all.get(of).and_then(Value::as_array).map_or(0, Vec::len);
            let prefix = match &section.header {
                Header::Element(of) => format!("{of}[{}].", count(&all, of)),
                header => header.dotted(),
            };
            for line in &section.lines {
                let origin = match (line.origin, &section.location) {
                    (Origin::Default, _) => "default".to_owned(),
                    (Origin::Preset, _) => line.node.place(self).unwrap_or_else(|| "preset".to_owned()),
                    (Origin::Written, place) => {
                        let place = place.as_ref().map(|place| self.place(place));
                        line.node.place(self).or(place).unwrap_or_default()
                    }
                };
                origins.insert(format!("{prefix}{}", line.key), json!(origin));
                table.insert(line.key.clone(), self.json(&line.node));
            }
            match &section.header {
                Header::Root => all.extend(table),
                Header::Table(name) => drop(all.insert(name.clone(), Value::Object(table))),
                Header::Named(of, name) => {
                    if let Value::Object(tables) = all.entry(of.clone()).or_insert_with(|| json!({})) {
                        tables.insert(name.clone(), Value::Object(table));
                    }
                }
                Header::Element(of) => {
                    if let Value::Array(tables) = all.entry(of.clone()).or_insert_with(|| json!([])) {
                        tables.push(Value::Object(table));
                    }
                }
            }
        }
        json!({ "configuration": all, "origins": origins })
    }

    fn json(&self, node: &Node) -> Value {
        match node {
            Node::List(nodes) => nodes.iter().map(|node| self.json(node)).collect(),
            Node::Table(entries) => {
                Value::Object(entries.iter().map(|(name, node)| (name.clone(), self.json(node))).collect())
            }
            Node::Leaf(leaf) => match &leaf.value {
                Written::String(text) => json!(self.moved(leaf, leaf.shown(text))),
                Written::Integer(number) => json!(number),
                Written::Float(number) => json!(number),
                Written::Boolean(yes) => json!(yes),
                Written::Datetime(text) => json!(text),
                Written::Array(_) | Written::Table(_) => Value::Null,
            },
        }
    }
}

impl Node {
    /// Where the first of its values stands.
    fn place(&self, all: &Effective) -> Option<String> {
        let mut first: Option<Leaf> = None;
        self.leaves("", &mut |_, leaf| {
            first.get_or_insert_with(|| leaf.clone());
        });
        first?.location.as_ref().map(|location| all.place(location))
    }
}
