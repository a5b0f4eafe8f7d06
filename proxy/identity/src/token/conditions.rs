//! What an attestor's table says about claims: `require` and `attributes`.

use std::sync::Arc;

use claviger_policy::Attributes;
use claviger_policy::document::{Diagnostics, Item, Location, Table, Value as Written};
use serde_json::{Map, Value};

use super::claims::ClaimPath;
use super::names::Names;

/// Attribute names that only another attestor may yield.
const RESERVED: &[&str] = &["x509.", "unix.", "exec."];

/// Claims that must have a value, and claims that policy may ask about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    require: Vec<Required>,
    attributes: Vec<(Arc<str>, ClaimPath)>,
}

#[derive(Clone, Debug)]
struct Required {
    /// As the configuration calls the claim, and where.
    name: String,
    location: Location,
    claim: ClaimPath,
    values: Vec<Value>,
}

impl Conditions {
    /// Takes `require` and `attributes`; what a preset yields is there already.
    pub(crate) fn take(table: &mut Table, names: &Names, out: &mut Diagnostics) -> Self {
        let mut conditions = Self { require: Vec::new(), attributes: names.attributes.clone() };
        if let Some(require) = table.table("require", out) {
            for (name, item) in require.into_entries() {
                let key = item.key.clone();
                match names.claim(&name.value) {
                    Ok(claim) => {
                        let (name, location) = (name.value, name.location);
                        // One that is wrong stays pinned, to nothing: whoever looks for pins has no second complaint.
                        let values = required_values(item, names.texts.contains(&claim), out).unwrap_or_default();
                        conditions.require.push(Required { name, location, claim, values });
                    }
                    Err(wrong) => {
                        out.error(&name.location, key, wrong);
                    }
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
                if names.has(&name.value) {
                    let wrong = format!("this kind of attestor makes `{}` already", name.value);
                    out.error(&name.location, key.clone(), wrong).help("leave it out, or choose another name");
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
        let unmet = |required: &&Required| !is_met(required.claim.of(claims), &required.values);
        self.require.iter().find(unmet).map(|required| required.name.as_str())
    }

    /// Where a claim is pinned to a value, if it is.
    pub(crate) fn pins(&self, claim: &str) -> Option<&Location> {
        self.require.iter().find(|required| required.claim.is(claim)).map(|required| &required.location)
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

/// `is_text`: the issuer writes the claim as text, whatever it looks like.
fn required_values(item: Item, is_text: bool, out: &mut Diagnostics) -> Option<Vec<Value>> {
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
        Some(values) if is_text && values.iter().any(|value| !value.is_string()) => {
            out.error(&location, key, "this claim is text in the issuer's tokens: nothing else is ever equal to it")
                .help("write it in quotes, as `\"1234567\"`");
            None
        }
        Some(values) if !values.is_empty() => Some(values),
        _ => {
            out.error(&location, key, "expected a string, an integer, a boolean, or a list of them that is not empty");
            None
        }
    }
}
