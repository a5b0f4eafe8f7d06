//! The key of the handles that clients get at a login in place of a token: sealed, so that replicas and restarts read
//! what others gave out.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use claviger_credential::{SealedStore, StoreError};
use claviger_wire::HandleKey;

/// The sealed key's name among Claviger's own.
const KEY: &str = "handles";

/// Where the key comes from.
#[derive(Clone, Debug)]
pub(crate) enum Handles {
    /// From memory alone, for as long as the process lives: a session's, or of a command that serves nobody.
    Own(Arc<OnceLock<HandleKey>>),
    /// From the state folder; made there at first use.
    Sealed,
}

impl Default for Handles {
    fn default() -> Self {
        Self::Own(Arc::default())
    }
}

impl Handles {
    /// The key.
    ///
    /// # Errors
    ///
    /// It is sealed and cannot be read, or written where there is none yet.
    pub(crate) fn key(&self, state_dir: &Path) -> Result<HandleKey, String> {
        let generate = || HandleKey::generate().map_err(|error| error.to_string());
        match self {
            Self::Own(made) => {
                if let Some(key) = made.get() {
                    return Ok(key.clone());
                }
                let (key, _) = generate()?;
                Ok(made.get_or_init(|| key).clone())
            }
            Self::Sealed => {
                let store = SealedStore::open(state_dir);
                let said = |error: StoreError| error.to_string();
                if store.own(KEY).map_err(said)?.is_none() {
                    let (_, bytes) = generate()?;
                    // Of two that begin at once one makes it, and both have that one.
                    store
                        .change_own(KEY, |found| Ok::<_, StoreError>(found.is_none().then_some(bytes)))
                        .map_err(said)?;
                }
                let bytes = store.own(KEY).map_err(said)?.ok_or_else(|| "the key was removed".to_owned())?;
                HandleKey::new(&bytes).map_err(|error| error.to_string())
            }
        }
    }
}
