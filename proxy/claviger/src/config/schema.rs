//! The JSON Schema of a configuration (draft 2020-12), for editors.
//!
//! Types of values are written out where they stand and not referred to, since editors show no description that stands
//! beside a `$ref`.

use serde_json::{Map, Value, json};

use super::comments::{Comments, comments};
use super::files;
use super::keys::{Key, Keys, Shape, TableKeys};

/// What a file is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FileKind {
    /// The configuration itself, claviger.toml
    #[default]
    Main,
    /// A file that it includes
    Included,
    /// A file of a team
    Team,
}

/// The schema of such a file.
///
/// # Errors
/// None but in a build whose own data are broken, which tests refuse.
pub(crate) fn schema(kind: FileKind) -> Result<Value, String> {
    let keys = Keys::all()?;
    let builder = Builder { keys, comments: comments(keys) };
    let root = keys.root().ok_or("there is no root")?;
    let mut schema = builder.table("root", root);
    let Some(object) = schema.as_object_mut() else { return Err("the root is no object".to_owned()) };
    if let Some(may_stand) = match kind {
        FileKind::Main => None,
        FileKind::Included => Some(files::INCLUDED),
        FileKind::Team => Some(files::OF_TEAMS),
    } {
        object.remove("required");
        if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
            let lists = files::LISTS.iter().chain(&["version"]);
            properties.retain(|name, _| may_stand.iter().chain(lists.clone()).any(|known| known == name));
        }
    }
    object.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    object.insert("title".to_owned(), json!("Claviger configuration"));
    object.insert("$defs".to_owned(), Value::Object(builder.definitions()));
    Ok(schema)
}

struct Builder<'k> {
    keys: &'k Keys,
    comments: Comments,
}

impl Builder<'_> {
    /// The tables that are referred to.
    fn definitions(&self) -> Map<String, Value> {
        let mut all = Map::new();
        for key in self.keys.tables().flat_map(|(_, keys)| keys.values()) {
            match key.shape() {
                Shape::Named(of) if key.by.is_some() => {
                    let kinds: Vec<&str> = self.keys.kinds(of).collect();
                    let refs: Vec<Value> = kinds.iter().map(|kind| reference(&format!("{of}.{kind}"))).collect();
                    all.insert(of.to_owned(), json!({ "oneOf": refs }));
                    for kind in kinds {
                        all.extend(self.definition(&format!("{of}.{kind}"), key.by.as_deref().map(|by| (by, kind))));
                    }
                }
                Shape::Named(of) | Shape::Tables(of) => all.extend(self.definition(of, None)),
                Shape::OneOf(of) => {
                    for kind in self.keys.kinds(of) {
                        all.extend(self.definition(&format!("{of}.{kind}"), None));
                    }
                }
                // They are written out where they stand.
                Shape::Value(_) | Shape::Map(_) | Shape::Table(_) => {}
            }
        }
        all
    }

    fn definition(&self, class: &str, kind: Option<(&str, &str)>) -> Option<(String, Value)> {
        let mut table = self.table(class, self.keys.table(class)?);
        if let (Some((by, kind)), Some(object)) = (kind, table.as_object_mut()) {
            let mut schema = Map::from_iter([("const".to_owned(), json!(kind))]);
            describe(&mut schema, self.comments.get(&(class.to_owned(), by.to_owned())), &[]);
            if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
                properties.insert(by.to_owned(), Value::Object(schema));
            }
            match object.get_mut("required").and_then(Value::as_array_mut) {
                Some(required) => required.push(json!(by)),
                None => drop(object.insert("required".to_owned(), json!([by]))),
            }
        }
        Some((class.to_owned(), table))
    }

    /// What the example says of a key.
    fn comment(&self, class: &str, name: &str) -> Option<&String> {
        let comment = |class: &str| self.comments.get(&(class.to_owned(), name.to_owned()));
        self.keys.same_in(class, name).find_map(comment)
    }

    fn table(&self, class: &str, keys: &TableKeys) -> Value {
        let mut properties = Map::new();
        for (name, key) in keys {
            let mut schema = self.value(key);
            describe(&mut schema, key.text.as_ref().or_else(|| self.comment(class, name)), &key.words);
            if let Some(default) = key.default.as_ref().filter(|_| !key.is_conditional()) {
                schema.insert("default".to_owned(), json!(default));
            }
            properties.insert(name.clone(), Value::Object(schema));
        }
        let required: Vec<&String> = keys.iter().filter(|(_, key)| key.required).map(|(name, _)| name).collect();
        let mut table = Map::from_iter([
            ("type".to_owned(), json!("object")),
            ("properties".to_owned(), Value::Object(properties)),
            ("additionalProperties".to_owned(), json!(false)),
        ]);
        if !required.is_empty() {
            table.insert("required".to_owned(), json!(required));
        }
        let either = |(name, key): (&String, &Key)| {
            let other = key.required_without.as_ref()?;
            Some(json!({ "anyOf": [{ "required": [name] }, { "required": [other] }] }))
        };
        let either: Vec<Value> = keys.iter().filter_map(either).collect();
        if !either.is_empty() {
            table.insert("allOf".to_owned(), json!(either));
        }
        Value::Object(table)
    }

    fn value(&self, key: &Key) -> Map<String, Value> {
        match key.shape() {
            Shape::Value(of) => listed(self.scalar(of, key), key),
            Shape::Map(of) => {
                let values = listed(self.scalar(of, key), key);
                self.or(key, object(json!({ "type": "object", "additionalProperties": values })))
            }
            Shape::Table(of) => {
                let table = self.keys.table(of).map(|keys| object(self.table(of, keys)));
                self.or(key, table.unwrap_or_default())
            }
            Shape::Named(of) => object(json!({
                "type": "object",
                "propertyNames": self.keys.types.get("name"),
                "additionalProperties": reference(of),
            })),
            Shape::Tables(of) => object(json!({ "type": "array", "items": reference(of) })),
            Shape::OneOf(of) => {
                let kinds: Vec<Value> = self.keys.kinds(of).map(|kind| reference(&format!("{of}.{kind}"))).collect();
                let word = key.word.iter().map(|word| json!({ "const": word }));
                let one: Vec<Value> = word.chain([json!({ "oneOf": kinds })]).collect();
                let list = json!({ "type": "array", "minItems": 1, "items": { "anyOf": one } });
                object(json!({ "anyOf": one.iter().chain([&list]).collect::<Vec<_>>() }))
            }
        }
    }

    /// The table, or the value that may stand instead.
    fn or(&self, key: &Key, table: Map<String, Value>) -> Map<String, Value> {
        match &key.or {
            Some(or) => object(json!({ "anyOf": [self.scalar(or, key), table] })),
            None => table,
        }
    }

    fn scalar(&self, of: &str, key: &Key) -> Map<String, Value> {
        if !key.words.is_empty() {
            return object(json!({ "enum": key.words }));
        }
        let mut schema = object(json!(self.keys.types.get(of)));
        for (name, limit) in [("minimum", key.min), ("maximum", key.max)] {
            if let Some(limit) = limit {
                schema.insert(name.to_owned(), json!(limit));
            }
        }
        schema
    }
}

/// One value, or a list of such values.
fn listed(one: Map<String, Value>, key: &Key) -> Map<String, Value> {
    if key.only_list {
        return object(json!({ "type": "array", "items": one }));
    }
    if key.list { object(json!({ "anyOf": [one, { "type": "array", "items": one }] })) } else { one }
}

fn reference(table: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{table}") })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

/// A comment begins in lower case, a description is a sentence. A word that is a value (`true: …`) stays as it is.
fn describe(schema: &mut Map<String, Value>, text: Option<&String>, words: &[toml::Value]) {
    let Some(text) = text else { return };
    let first = text.split([' ', ',', ':', ';', '.']).next().unwrap_or_default();
    let is_value = matches!(first, "true" | "false") || words.iter().any(|word| word.as_str() == Some(first));
    let mut letters = text.chars();
    let text = match letters.next().filter(|_| !is_value && first.bytes().all(|b| b.is_ascii_lowercase())) {
        Some(first) => format!("{}{}", first.to_uppercase(), letters.as_str()),
        None => text.clone(),
    };
    schema.insert("description".to_owned(), json!(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One place for each: a comment of the example, or a `text`.
    #[test]
    fn every_key_is_described_once() {
        let keys = Keys::all().unwrap();
        let builder = Builder { keys, comments: comments(keys) };
        let (mut none, mut twice) = (Vec::new(), Vec::new());
        for (class, table) in keys.tables() {
            for (name, key) in table {
                match (&key.text, builder.comment(class, name)) {
                    (None, None) => none.push(format!("[{class}] {name}")),
                    (Some(_), Some(_)) => twice.push(format!("[{class}] {name}")),
                    (Some(_), None) | (None, Some(_)) => {}
                }
            }
        }
        assert_eq!((none, twice), (Vec::new(), Vec::new()));
    }
}
