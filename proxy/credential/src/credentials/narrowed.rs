//! Credentials as rules narrow them: each narrowing has a source and leases of its own, as if it were another credential.

use std::collections::HashMap;
use std::sync::Arc;

use claviger_policy::Narrowing;
use claviger_policy::document::Diagnostics;

use super::{Credentials, Entry};
use crate::cache::{Cache, Keeper};

/// The keepers of one credential's narrowings.
pub(super) type Narrowed = HashMap<Arc<Narrowing>, Arc<Keeper>>;

impl Credentials {
    /// A rule narrows a credential. Asked of its source while a configuration is compiled: what it cannot do is in `out`,
    /// and no lease is ever had for it. A credential and a narrowing that say what they said keep their leases.
    pub fn narrow(&self, credential: &str, narrowing: &Arc<Narrowing>, out: &mut Diagnostics) {
        let Some(entry) = self.keepers.get(credential) else { return };
        if entry.narrowed.load().contains_key(narrowing) {
            return;
        }
        let mut table = narrowing.table();
        let Some(source) = entry.keeper.source.narrowed(&mut table, out) else { return };
        table.finish(out);
        let own = &entry.keeper;
        let keeper = Arc::new(Keeper {
            name: own.name.clone(),
            source,
            hosts: own.hosts.clone(),
            serve_until_ms: own.serve_until_ms,
            cache: entry.former_cache(narrowing).unwrap_or_default(),
            revocations: own.revocations.clone(),
            clock: own.clock.clone(),
            events: own.events.clone(),
            runtime: own.runtime.clone(),
        });
        let mut all = Narrowed::clone(&entry.narrowed.load());
        all.insert(narrowing.clone(), keeper);
        entry.narrowed.store(Arc::new(all));
    }
}

impl Entry {
    /// The keeper of the credential as a rule narrows it; `None`: the source was never asked for that.
    pub(super) fn keeper_for(&self, narrowing: Option<&Arc<Narrowing>>) -> Option<Arc<Keeper>> {
        match narrowing {
            None => Some(self.keeper.clone()),
            Some(narrowing) => self.narrowed.load().get(narrowing).cloned(),
        }
    }

    /// The credential's own keeper, then those of its narrowings.
    pub(super) fn all_keepers(&self) -> impl Iterator<Item = Arc<Keeper>> {
        let narrowed: Vec<_> = self.narrowed.load().values().cloned().collect();
        std::iter::once(self.keeper.clone()).chain(narrowed)
    }

    fn former_cache(&self, narrowing: &Arc<Narrowing>) -> Option<Arc<Cache>> {
        self.former.get(narrowing).map(|keeper| keeper.cache.clone())
    }
}

/// What the narrowings of a credential were, if it says what it said.
pub(super) fn former(before: Option<&Entry>) -> Arc<Narrowed> {
    before.map_or_else(Arc::default, |entry| entry.narrowed.load_full())
}
