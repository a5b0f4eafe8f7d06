//! Values with their places.

use super::diagnostic::Diagnostics;
use super::source::{Located, Location};
use super::table::Table;

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
    pub(super) fn kind(&self) -> &'static str {
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
