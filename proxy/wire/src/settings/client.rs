//! `client` of a service: what its clients want to be told, so that an unmodified program finds its way here.

use std::collections::BTreeMap;

use claviger_policy::document::{Diagnostics, Table};

/// The keys of `[service.X.client]`: data for environments (`exec`), proposals (`init`) and pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSettings {
    /// Environment variables in which clients look for the real secret. A child process gets `placeholder` in them, or,
    /// where there is none, nothing.
    pub secrets: Vec<String>,
    /// What stands where clients insist on a secret: it has the shape that their own checks ask for, and opens nothing.
    pub placeholder: Option<String>,
    /// Variables for a base URL, with the path that stands after the service's own address: `OPENAI_BASE_URL = "/v1"`.
    pub base_urls: BTreeMap<String, String>,
    /// Further variables that clients want, as they are.
    pub variables: BTreeMap<String, String>,
    /// Packages by which a project shows that it uses the service: `npm:openai`, `pypi:openai`.
    pub packages: Vec<String>,
    /// How values of the secret begin, by which one that lies about is recognised: `sk-proj-`.
    pub prefixes: Vec<String>,
}

impl ClientSettings {
    /// Takes the key `client` of a service.
    pub fn take(service: &mut Table, out: &mut Diagnostics) -> Self {
        let Some(mut table) = service.table("client", out) else { return Self::default() };
        let settings = Self {
            secrets: texts("secrets", &mut table, out),
            placeholder: table.string("placeholder", out).map(|at| at.value),
            base_urls: pairs("base_urls", &mut table, out),
            variables: pairs("variables", &mut table, out),
            packages: texts("packages", &mut table, out),
            prefixes: texts("prefixes", &mut table, out),
        };
        table.finish(out);
        settings
    }
}

fn texts(key: &'static str, table: &mut Table, out: &mut Diagnostics) -> Vec<String> {
    table.strings(key, out).unwrap_or_default().into_iter().map(|at| at.value).collect()
}

fn pairs(key: &'static str, table: &mut Table, out: &mut Diagnostics) -> BTreeMap<String, String> {
    let entries = table.table(key, out).map(Table::into_entries).unwrap_or_default();
    entries.into_iter().filter_map(|(name, item)| item.into_string(out).map(|text| (name.value, text.value))).collect()
}
