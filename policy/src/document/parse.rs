//! From text to tree.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::Diagnostics;
use super::duplicate;
use super::item::{Item, Value};
use super::source::{Location, SourceFile};
use super::table::{Entry, Table};

/// Reads a file into its root table. Syntax errors go to `out`; `None` if there are any.
pub fn parse(file: &Arc<SourceFile>, out: &mut Diagnostics) -> Option<Table> {
    match DeTable::parse(&file.text) {
        Ok(root) => {
            let mut table = convert_table(file, String::new(), root.span(), root.into_inner());
            table.inner_mut().location = Location { file: file.clone(), span: 0..0 };
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
            let dotted = if key.is_empty() { name.clone() } else { [&key, ".", &name].concat() };
            Entry { name, name_location, item: convert(file, dotted, value) }
        })
        .collect();
    // In the order of the file: messages and `claviger fmt` follow the author's order.
    entries.sort_by_key(|entry| entry.name_location.span.start);
    Table::of(key, Location { file: file.clone(), span }, entries)
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
