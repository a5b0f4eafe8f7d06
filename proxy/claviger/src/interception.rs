//! The interception root: made once, its key sealed, its certificate written for clients to trust.

use std::path::{Path, PathBuf};

use claviger_contract::SystemClock;
use claviger_credential::SealedStore;
use claviger_wire::InterceptionRoot;

/// The sealed key's name among Claviger's own.
const KEY: &str = "interception-root";

/// Where the certificate is written for clients.
pub(crate) fn certificate_path(state_dir: &Path) -> PathBuf {
    state_dir.join("ca.pem")
}

/// The root of this state folder, made at first use.
pub(crate) fn load_or_create(state_dir: &Path) -> Result<InterceptionRoot, String> {
    let store = SealedStore::open(state_dir);
    let file = certificate_path(state_dir);
    if let Some(key) = store.own(KEY).map_err(|error| error.to_string())? {
        let certificate =
            std::fs::read_to_string(&file).map_err(|error| format!("failed to read `{}`: {error}", file.display()))?;
        return InterceptionRoot::from_pem(&certificate, &key).map_err(|error| error.to_string());
    }
    let root = InterceptionRoot::generate(&SystemClock).map_err(|error| error.to_string())?;
    let (certificate, key) = root.to_pem().map_err(|error| error.to_string())?;
    std::fs::create_dir_all(state_dir)
        .map_err(|error| format!("failed to create `{}`: {error}", state_dir.display()))?;
    // The certificate first: a crash in between leaves one that nothing was signed with.
    std::fs::write(&file, certificate).map_err(|error| format!("failed to write `{}`: {error}", file.display()))?;
    store.set_own(KEY, key).map_err(|error| error.to_string())?;
    Ok(root)
}
