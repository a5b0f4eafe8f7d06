//! `[store.NAME] kind = "sealed"`.

use claviger_contract::path;
use claviger_policy::document::{Diagnostics, Table};

use super::SealedStore;
use crate::digest::Digester;
use crate::store::registry::{StoreEnv, Taken};

/// Takes `path` (default `sealed` in the state directory) and `key_file` (default `keys/sealed.key`).
pub(in crate::store) fn take(table: Option<&mut Table>, env: &StoreEnv<'_>, out: &mut Diagnostics) -> Taken {
    let mut store = SealedStore::open(env.state_dir);
    if let Some(table) = table {
        if let Some(folder) = table.string("path", out) {
            store.folder = path::resolve(&folder);
        }
        if let Some(file) = table.string("key_file", out) {
            store.key_file = path::resolve(&file);
        }
    }
    let digest = Digester::new("store sealed")
        .field("path", store.folder.to_string_lossy().as_bytes())
        .field("key_file", store.key_file.to_string_lossy().as_bytes())
        .finish();
    Taken::new(store, digest)
}
