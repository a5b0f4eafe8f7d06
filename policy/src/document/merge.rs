//! Several files as one tree.

use std::collections::HashMap;
use std::sync::Arc;

use super::diagnostic::Diagnostics;
use super::item::Value;
use super::source::Location;
use super::table::{Entry, Table};

/// Where each name of a table stands: the table, whose it is, and the name.
type Places = HashMap<(&'static str, Option<Arc<str>>, String), Location>;

/// Puts the tables of several files into the root table of the first.
///
/// A name is defined once among the files of one owner (the platform, or one team), whichever files they are.
#[derive(Debug)]
pub struct Merge {
    root: Table,
    named: Vec<&'static str>,
    /// Those of the first file are gathered when there is a second.
    places: Option<Places>,
}

impl Merge {
    /// Starts with the first file. `named` are the root keys that are tables keyed by name.
    pub fn new(root: Table, named: &[&'static str]) -> Self {
        Self { root, named: named.to_vec(), places: None }
    }

    fn places_of_first(&self) -> Places {
        let mut places = Places::new();
        for key in &self.named {
            let Some(Value::Table(table)) = self.root.value_of(key) else { continue };
            places.extend(
                table
                    .inner()
                    .entries
                    .iter()
                    .map(|entry| ((*key, None, entry.name.clone()), entry.name_location.clone())),
            );
        }
        places
    }

    /// Moves the tables of another file here: those that are keyed by name (`[service.X]`), and lists of tables
    /// (`[[test]]`). What is left in `other` is for the caller to judge.
    pub fn add(&mut self, other: &mut Table, named: &[&'static str], lists: &[&'static str], out: &mut Diagnostics) {
        for key in named {
            let Some(table) = other.table(key, out) else { continue };
            self.add_named(key, table, out);
        }
        for key in lists {
            let Some(item) = other.take(key) else { continue };
            let Value::Array(more) = item.value else {
                out.error(&item.location, item.key, "expected a list of tables").help(format!("write `[[{key}]]`"));
                continue;
            };
            match self.root.value_of_mut(key) {
                Some(Value::Array(all)) => all.extend(more),
                // The first file's own mistake, which is found where the key is taken.
                Some(_) => {}
                None => self.root.inner_mut().entries.push(Entry {
                    name: (*key).to_owned(),
                    name_location: item.location.clone(),
                    item: super::Item { value: Value::Array(more), location: item.location, key: (*key).to_owned() },
                }),
            }
        }
    }

    fn add_named(&mut self, key: &'static str, table: Table, out: &mut Diagnostics) {
        let table = table.into_inner();
        let mut fresh = Vec::with_capacity(table.entries.len());
        let mut places = self.places.take().unwrap_or_else(|| self.places_of_first());
        for entry in table.entries {
            let owner = entry.name_location.team().cloned();
            match places.entry((key, owner, entry.name.clone())) {
                std::collections::hash_map::Entry::Occupied(first) => {
                    let message = format!("this is defined already, at {}", first.get());
                    out.error(&entry.name_location, entry.item.key, message)
                        .help("leave out one of them, or give it another name");
                }
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(entry.name_location.clone());
                    fresh.push(entry);
                }
            }
        }
        self.places = Some(places);
        match self.root.value_of_mut(key) {
            Some(Value::Table(all)) => all.inner_mut().entries.extend(fresh),
            Some(_) => {}
            None => {
                let location = table.location;
                let all = Table::of(key.to_owned(), location.clone(), fresh);
                self.root.inner_mut().entries.push(Entry {
                    name: key.to_owned(),
                    name_location: location.clone(),
                    item: super::Item { value: Value::Table(all), location, key: key.to_owned() },
                });
            }
        }
    }

    /// The one tree.
    pub fn finish(self) -> Table {
        self.root
    }
}
