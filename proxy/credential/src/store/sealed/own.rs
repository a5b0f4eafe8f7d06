//! Claviger's own keys: sealed like any secret, but under names that no reference can name and no
//! list shows, and bound to no host, so that nothing can ever inject one.

use std::path::PathBuf;

use claviger_contract::Secret;

use super::envelope::{Envelope, Metadata};
use super::{EXTENSION, SealedStore, check_name, fresh};
use crate::error::StoreError;
use crate::os;

impl SealedStore {
    /// One of Claviger's own keys; `None` if it was never made.
    pub fn own(&self, name: &str) -> Result<Option<Secret>, StoreError> {
        let path = self.own_path(name)?;
        match self.unseal(&own_name(name), &path) {
            Ok(envelope) => Ok(Some(envelope.value)),
            Err(StoreError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Seals one of Claviger's own keys.
    pub fn set_own(&self, name: &str, value: Secret) -> Result<(), StoreError> {
        self.change_own(name, |_| Ok(Some(value)))
    }

    /// Reads one of Claviger's own keys, changes and seals it while no other process does. `None` from the change leaves
    /// everything as it is.
    pub fn change_own<E: From<StoreError>>(
        &self,
        name: &str,
        change: impl FnOnce(Option<Secret>) -> Result<Option<Secret>, E>,
    ) -> Result<(), E> {
        let path = self.own_path(name)?;
        let _lock = self.lock()?;
        let Some(value) = change(self.own(name)?)? else { return Ok(()) };
        let (version, created) = fresh();
        let metadata = Metadata {
            name: own_name(name),
            hosts: Vec::new(),
            owner: None,
            version,
            created,
            proven: false,
            grant: None,
        };
        self.write(&path, Envelope { metadata, value, previous: None })?;
        Ok(())
    }

    /// Changes when one of Claviger's own keys is sealed anew, by whichever process.
    pub fn own_revision(&self, name: &str) -> u64 {
        self.own_path(name).map_or(0, |path| os::revision(&path))
    }

    fn own_path(&self, name: &str) -> Result<PathBuf, StoreError> {
        check_name(name)?;
        Ok(self.folder.join(format!("{}.{EXTENSION}", own_name(name))))
    }
}

/// A leading dot is what `check_name` refuses for secrets.
fn own_name(name: &str) -> String {
    format!(".{name}")
}
