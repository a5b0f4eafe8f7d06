//! `bundle = { "trust.domain" = "file" }`: what vouches for which trust domain.

use std::path::PathBuf;

use claviger_contract::path;
use claviger_policy::TrustDomain;
use claviger_policy::document::{Diagnostics, Location, Table, Value};

/// Takes `bundle`; `open` reads each file. `None` if there was an error.
pub(crate) fn take_bundles<T>(
    table: &mut Table,
    out: &mut Diagnostics,
    open: impl Fn(PathBuf, &Location, &str, &mut Diagnostics) -> Option<T>,
) -> Option<Vec<(TrustDomain, T)>> {
    const HELP: &str = "write a file for each trust domain, as `{ \"acme.internal\" = \"bundle.pem\" }`";
    let Some(item) = table.take("bundle") else {
        table.missing("bundle", out);
        return None;
    };
    if let Value::String(written) = &item.value {
        let what = if written == "workload-api" {
            "the Workload API is not supported as a source of bundles yet"
        } else {
            "a bundle belongs to a trust domain"
        };
        out.error(&item.location, item.key, what).help(HELP);
        return None;
    }
    let entries = item.into_table(out)?;
    let (location, key) = (entries.location().clone(), entries.key().to_owned());
    let mut bundles: Vec<(TrustDomain, T)> = Vec::new();
    let mut has_errors = false;
    for (name, item) in entries.into_entries() {
        let key = item.key.clone();
        let file = item.into_string(out);
        let domain = TrustDomain::parse(&name.value)
            .map_err(|error| out.error(&name.location, key.clone(), error.to_string()).help(HELP).clone());
        let opened = match (domain, file) {
            (Ok(domain), Some(_)) if bundles.iter().any(|(known, _)| *known == domain) => {
                out.error(&name.location, key, format!("the trust domain `{domain}` is there twice"));
                None
            }
            (Ok(domain), Some(file)) => {
                open(path::resolve(&file), &file.location, &key, out).map(|bundle| (domain, bundle))
            }
            _ => None,
        };
        has_errors |= opened.is_none();
        bundles.extend(opened);
    }
    if bundles.is_empty() && !has_errors {
        out.error(&location, key, "there is no trust domain").help(HELP);
        return None;
    }
    (!has_errors).then_some(bundles)
}

/// Turns a file that cannot be used into an error at its place.
pub(crate) fn report<T>(opened: Result<T, String>, location: &Location, key: &str, out: &mut Diagnostics) -> Option<T> {
    opened.map_err(|error| out.error(location, key, error).clone()).ok()
}
