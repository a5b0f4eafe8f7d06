//! Placeholders of a workload's own: where their key is kept, and who is given which.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use claviger_credential::{SealedStore, StoreError};
use claviger_wire::{CanaryKey, in_shape_of};

use crate::ahead::Ahead;
use crate::environment::ClientService;

/// The sealed key's name among Claviger's own.
const KEY: &str = "canaries";

/// What a service's clients are shown whose preset names no placeholder.
const PLAIN: &str = "claviger-placeholder-0000000000000000000000000";

/// The key of placeholders, which may still be on its way.
#[derive(Clone, Default)]
pub(crate) struct Keyed(Option<Arc<Ahead<Arc<CanaryKey>>>>);

impl Keyed {
    /// Begins to read the key, or to make it; `tell` is told why there is none.
    pub(crate) fn begin(state_dir: &Path, tell: impl FnOnce(&str) + Clone + Send + 'static) -> Self {
        let state_dir = state_dir.to_owned();
        let read = move || load_or_create(&state_dir).map_err(|error| tell(&error)).ok().map(Arc::new);
        Self(Some(Arc::new(Ahead::begin("canaries", read))))
    }

    /// The key, if there is one.
    pub(crate) fn get(&self) -> Option<&Arc<CanaryKey>> {
        self.0.as_ref().and_then(|key| key.get())
    }
}

/// The key of this state folder; `None` if none was made yet. Nothing is written.
pub(crate) fn load(state_dir: &Path) -> Result<Option<CanaryKey>, String> {
    let key = SealedStore::open(state_dir).own(KEY).map_err(|error| error.to_string())?;
    Ok(key.as_ref().map(CanaryKey::new))
}

/// The key of this state folder, made at first use.
pub(crate) fn load_or_create(state_dir: &Path) -> Result<CanaryKey, String> {
    if let Some(key) = load(state_dir)? {
        return Ok(key);
    }
    let fresh = CanaryKey::generate()?;
    // Of two that begin at once one makes it, and both have that one.
    let made =
        SealedStore::open(state_dir).change_own(KEY, |found| Ok::<_, StoreError>(found.is_none().then_some(fresh)));
    made.map_err(|error| error.to_string())?;
    load(state_dir)?.ok_or_else(|| "the key was removed".to_owned())
}

/// The services with the placeholders of this workload.
///
/// A variable that several of them read holds one text: that is for any of them.
pub(crate) fn give_out(key: &CanaryKey, workload: &str, services: &mut [ClientService]) {
    let mut readers: BTreeMap<String, usize> = BTreeMap::new();
    for name in services.iter().flat_map(|service| &service.client.secrets) {
        *readers.entry(name.clone()).or_default() += 1;
    }
    for service in services {
        let is_shared = service.client.secrets.iter().any(|name| readers.get(name).is_some_and(|count| *count > 1));
        let meant = (!is_shared).then_some(service.name.as_str());
        if let Some(placeholder) = &mut service.client.placeholder {
            *placeholder = in_shape_of(placeholder, &key.canary(workload, meant));
        }
    }
}

/// The placeholder of a workload for a service, given the one that everybody knows.
pub(crate) fn placeholder(key: &CanaryKey, workload: &str, service: &str, plain: Option<&str>) -> String {
    in_shape_of(plain.unwrap_or(PLAIN), &key.canary(workload, Some(service)))
}
