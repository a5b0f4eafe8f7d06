//! `[store.NAME] kind = "sealed"`.

use std::path::Path;

use claviger_contract::path;
use claviger_policy::document::{Diagnostics, Table};

use super::SealedStore;
use crate::digest::Digester;
use crate::store::registry::{StoreEnv, Taken};

impl SealedStore {
    /// The sealed store of that name in a configuration, whatever else is wrong with the file. `sealed` is there without a
    /// table of its own. `None` if there is none of that name, or its table is wrong, which `out` then says.
    pub fn named(root: &mut Table, state_dir: &Path, name: &str, out: &mut Diagnostics) -> Option<Self> {
        let tables = root.named_tables("store", out);
        let Some((_, mut table)) = tables.into_iter().find(|(written, _)| written.value == name) else {
            return (name == "sealed").then(|| Self::open(state_dir));
        };
        let is_sealed = table.string("kind", out).is_some_and(|kind| kind.value == "sealed");
        is_sealed.then(|| Self::open(state_dir).taking(&mut table, out))
    }

    fn taking(mut self, table: &mut Table, out: &mut Diagnostics) -> Self {
        if let Some(folder) = table.string("path", out) {
            self.folder = path::resolve(&folder);
        }
        if let Some(file) = table.string("key_file", out) {
            self.key_file = path::resolve(&file);
        }
        self
    }
}

/// Takes `path` (default `sealed` in the state directory) and `key_file` (default `keys/sealed.key`).
pub(in crate::store) fn take(table: Option<&mut Table>, env: &StoreEnv<'_>, out: &mut Diagnostics) -> Taken {
    let mut store = SealedStore::open(&env.env.state_dir);
    if let Some(table) = table {
        store = store.taking(table, out);
    }
    let digest = Digester::new("store sealed")
        .field("path", store.folder.to_string_lossy().as_bytes())
        .field("key_file", store.key_file.to_string_lossy().as_bytes())
        .finish();
    Taken::new(store, digest)
}
