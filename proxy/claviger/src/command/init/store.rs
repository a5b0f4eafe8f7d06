//! Names in the sealed store: what is there already is used, and never written over.

use std::path::Path;

use claviger_contract::Secret;
use claviger_credential::{BoundHost, SealedStore, StoreError};

use super::proposal::{Key, Service};
use crate::command::Failure;
use crate::config;

/// The store that a configuration without `state_dir` uses.
pub(super) fn open() -> SealedStore {
    SealedStore::open(&config::default_state_dir())
}

/// Gives each service the name of its secret: one that has the value already, or one that is free. `bound` are the hosts
/// of each service.
pub(super) fn name(
    store: &SealedStore,
    services: &mut [Service<'_>],
    bound: &[Vec<String>],
    folder: &Path,
) -> Result<(), Failure> {
    let values: Vec<&Secret> = services.iter().filter_map(|service| value_of(&service.key)).collect();
    let mut held = store.holding(&values).map_err(failed)?.into_iter();
    let mut taken: Vec<String> = Vec::new();
    for (service, hosts) in services.iter_mut().zip(bound) {
        let entry = if value_of(&service.key).is_some() { held.next().flatten() } else { None };
        match entry.filter(|entry| covers(&entry.hosts, hosts)) {
            Some(entry) => {
                service.secret = entry.name;
                let places = service.key.places().to_vec();
                service.key = Key::Sealed { places };
            }
            None if matches!(service.key, Key::Missing) => {
                if let Some(entry) = entry_of(store, &service.name)?.filter(|entry| covers(entry, hosts)) {
                    drop(entry);
                    service.key = Key::Sealed { places: Vec::new() };
                } else {
                    service.secret = free(store, &service.name, folder, &taken)?;
                }
            }
            None => service.secret = free(store, &service.name, folder, &taken)?,
        }
        taken.push(service.secret.clone());
    }
    Ok(())
}

fn value_of(key: &Key) -> Option<&Secret> {
    match key {
        Key::Here { value, .. } => Some(value),
        Key::Sealed { .. } | Key::Later { .. } | Key::Missing => None,
    }
}

/// `openai`, or `shop/openai` where another value has that name, or `shop/openai-2`.
fn free(store: &SealedStore, name: &str, folder: &Path, taken: &[String]) -> Result<String, Failure> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let project = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let project: String = project.chars().map(|c| if is_part(c) { c } else { '-' }).take(64).collect();
    let project = if project.is_empty() { "project".to_owned() } else { project };
    let numbered = (2..).map(|number| format!("{project}/{name}-{number}"));
    let all = [name.to_owned(), format!("{project}/{name}")].into_iter().chain(numbered);
    for candidate in all {
        if !taken.contains(&candidate) && entry_of(store, &candidate)?.is_none() {
            return Ok(candidate);
        }
    }
    Ok(name.to_owned())
}

/// The hosts of a secret of that name, if there is one.
pub(super) fn entry_of(store: &SealedStore, name: &str) -> Result<Option<Vec<BoundHost>>, Failure> {
    match store.entry(name) {
        Ok(entry) => Ok(Some(entry.hosts)),
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn covers(sealed: &[BoundHost], wanted: &[String]) -> bool {
    let wanted: Vec<BoundHost> = wanted.iter().filter_map(|host| BoundHost::parse(host).ok()).collect();
    !wanted.is_empty() && wanted.iter().all(|host| sealed.iter().any(|sealed| sealed.covers(host)))
}

pub(super) fn failed(error: StoreError) -> Failure {
    Failure::with_causes(&error)
}
