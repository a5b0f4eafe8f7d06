//! What an attestor's table says about claims: `require` and `attributes`.

use std::sync::Arc;

use claviger_policy::Attributes;
use claviger_policy::document::{Diagnostics, Item, Table, Value as Written};
use serde_json::{Map, Value};

use super::claims::ClaimPath;

/// Attribute names that only another attestor may yield.
const RESERVED: &[&str] = &["x509.", "unix.", "exec."];

/// Claims that must have a value, and claims that policy may ask about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    require: Vec<(String, ClaimPath, Vec<Value>)>,
    attributes: Vec<(Arc<str>, ClaimPath)>,
}

impl Conditions {
    /// Takes `require` and `attributes`.
    pub(crate) fn take(table: &mut Table, out: &mut Diagnostics) -> Self {
        let mut conditions = Self::default();
        if let Some(require) = table.table("require", out) {
            for (name, item) in require.into_entries() {
                let key = item.key.clone();
                match (ClaimPath::parse(&name.value), required_values(item, out)) {
                    (Ok(path), Some(values)) => conditions.require.push((name.value, path, values)),
                    (Err(wrong), _) => {
                        out.error(&name.location, key, wrong);
                    }
                    (Ok(_), None) => {}
                }
            }
        }
        if let Some(attributes) = table.table("attributes", out) {
            for (name, item) in attributes.into_entries() {
                let key = item.key.clone();
                if RESERVED.iter().any(|prefix| name.value.starts_with(prefix)) || name.value.is_empty() {
                    let wrong = format!("`{}` is an attribute that a token cannot yield", name.value);
                    out.error(&name.location, key.clone(), wrong)
                        .help(format!("choose a name that does not start with {}", RESERVED.join(", ")));
                }
                let Some(claim) = item.into_string(out) else { continue };
                match ClaimPath::parse(&claim.value) {
                    Ok(path) => conditions.attributes.push((name.value.into(), path)),
                    Err(wrong) => {
                        out.error(&claim.location, key, wrong);
                    }
                }
            }
        }
        conditions
    }

    /// The first claim that has not the value it must have, by its name in the configuration.
    pub(crate) fn unmet(&self, claims: &Map<String, Value>) -> Option<&str> {
        self.require.iter().find(|(_, path, values)| !is_met(path.of(claims), values)).map(|(name, _, _)| name.as_str())
    }

    /// Whether a claim is pinned to a value.
    pub(crate) fn pins(&self, claim: &str) -> bool {
        self.require.iter().any(|(name, _, _)| name == claim)
    }

    /// The attributes that the claims yield.
    pub(crate) fn attributes(&self, claims: &Map<String, Value>) -> Attributes {
        self.attributes.iter().filter_map(|(name, path)| Some((name.clone(), path.attribute_of(claims)?))).collect()
    }

    /// The names of the attributes.
    pub(crate) fn attribute_names(&self) -> Vec<Arc<str>> {
        self.attributes.iter().map(|(name, _)| name.clone()).collect()
    }
}

/// A claim that is a list meets the condition by any of its items. Types count: `"1"` is not `1`.
fn is_met(claim: Option<&Value>, values: &[Value]) -> bool {
    match claim {
        None => false,
        Some(Value::Array(items)) => items.iter().any(|item| values.contains(item)),
        Some(claim) => values.contains(claim),
    }
}

fn required_values(item: Item, out: &mut Diagnostics) -> Option<Vec<Value>> {
    let (location, key) = (item.location.clone(), item.key.clone());
    let items = match item.value {
        Written::Array(items) => items,
        other => vec![Item { value: other, location: item.location, key: item.key }],
    };
    let values: Option<Vec<Value>> = items
        .into_iter()
        .map(|item| match item.value {
            Written::String(text) => Some(Value::String(text)),
            Written::Integer(number) => Some(Value::Number(number.into())),
            Written::Boolean(flag) => Some(Value::Bool(flag)),
            Written::Float(_) | Written::Datetime(_) | Written::Array(_) | Written::Table(_) => None,
        })
        .collect();
    match values {
        Some(values) if !values.is_empty() => Some(values),
        _ => {
            out.error(&location, key, "expected a string, an integer, a boolean, or a list of them that is not empty");
            None
        }
    }
}
