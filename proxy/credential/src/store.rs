//! Where values are read. A new store is one file here and one line in [`KINDS`].

mod bindings;
mod candidate;
mod env;
pub(crate) mod field;
mod file;
mod registry;
pub(crate) mod sealed;
mod vault;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use claviger_contract::Secret;
use claviger_policy::document::Location;

pub use candidate::Candidate;
pub(crate) use file::read_file;
pub(crate) use registry::{StoreEnv, Stores};

use crate::SourceError;
use crate::binding::BoundHost;
use crate::error::StoreError;
use crate::reference::SecretReference;

/// The longest value that a store yields, in bytes.
pub(crate) const VALUE_MAX: usize = 64 * 1024;

/// A value as its store holds it.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) value: Secret,
    /// Where it may go, if the store knows: sealed with it, or declared for its name.
    pub(crate) hosts: Option<Vec<BoundHost>>,
    /// The store's own version, if it has any.
    pub(crate) version: Option<Arc<str>>,
    /// The value that this one replaces, while a rotation is open.
    pub(crate) previous: Option<Previous>,
    /// For the operator, at load.
    pub(crate) warning: Option<String>,
}

impl Stored {
    /// For several fields of one value.
    fn copied(&self) -> Self {
        #[allow(clippy::disallowed_methods, reason = "a copy that is wiped as the value itself is")]
        let copy = |secret: &Secret| Secret::new(secret.expose().to_vec());
        let previous = self.previous.as_ref().map(|previous| Previous {
            value: copy(&previous.value),
            version: previous.version.clone(),
            since: previous.since,
            proven: previous.proven,
        });
        Self {
            value: copy(&self.value),
            hosts: self.hosts.clone(),
            version: self.version.clone(),
            previous,
            warning: self.warning.clone(),
        }
    }
}

/// A value that is being replaced.
#[derive(Debug)]
pub(crate) struct Previous {
    pub(crate) value: Secret,
    pub(crate) version: Arc<str>,
    /// When the rotation began, in seconds since the Unix epoch.
    pub(crate) since: i64,
    /// Whether upstream was seen to take the value that replaces it.
    pub(crate) proven: bool,
}

/// A place that holds values by name.
#[async_trait]
pub(crate) trait SecretStore: Send + Sync + fmt::Debug {
    /// The name as this store knows it, once per configuration: a file's path made absolute, or an error.
    fn resolve(&self, name: &str, written: &Location) -> Result<String, StoreError>;

    /// Reads without a network, while a configuration loads; `None` for a store that has to be asked
    /// over one: its secrets are first read by a mint.
    fn read_now(&self, name: &str) -> Option<Result<Stored, StoreError>>;

    /// Reads on the control runtime. A local read takes well under a millisecond and is made in place.
    async fn read(&self, name: &str) -> Result<Stored, StoreError> {
        self.read_now(name).unwrap_or_else(|| Err(StoreError::NotFound(name.to_owned())))
    }

    /// Changes when the value may have changed; asked every second, so it is cheap. Constant where only
    /// a read can tell.
    fn revision(&self, name: &str) -> u64;

    /// Where the value of a name may go, if that is known without reading it.
    fn hosts(&self, name: &str) -> Option<Vec<BoundHost>> {
        let _ = name;
        None
    }

    /// What to do about a secret that is not there; `bind` is the option of `claviger secret set` that
    /// names its hosts.
    fn advice(&self, name: &str, bind: &str) -> String;

    /// The store itself, if it is one that Claviger writes: only such a one can keep what an issuer replaces.
    fn sealed(&self) -> Option<&sealed::SealedStore> {
        None
    }
}

/// A reference whose store is known.
#[derive(Clone, Debug)]
pub(crate) struct SecretHandle {
    pub(crate) reference: SecretReference,
    store: Arc<dyn SecretStore>,
    name: String,
}

impl SecretHandle {
    /// `None` where only a mint can read it.
    pub(crate) fn read_now(&self) -> Option<Result<Stored, SourceError>> {
        Some(self.store.read_now(&self.name)?.and_then(|stored| self.select(stored)).map_err(|e| self.error(e)))
    }

    pub(crate) async fn read(&self) -> Result<Stored, SourceError> {
        self.store.read(&self.name).await.and_then(|stored| self.select(stored)).map_err(|e| self.error(e))
    }

    /// As [`read`](Self::read), of several: what stands in one place is read once, so that its fields are of one version.
    pub(crate) async fn read_all(handles: &[&Self]) -> Result<Vec<Stored>, SourceError> {
        let mut read: Vec<Option<Stored>> = handles.iter().map(|_| None).collect();
        for (at, first) in handles.iter().enumerate() {
            if read.get(at).is_some_and(Option::is_some) {
                continue;
            }
            let whole = first.store.read(&first.name).await.map_err(|e| first.error(e))?;
            for (handle, slot) in handles.iter().zip(&mut read).skip(at) {
                if Arc::ptr_eq(&handle.store, &first.store) && handle.name == first.name {
                    *slot = Some(handle.select(whole.copied()).map_err(|e| handle.error(e))?);
                }
            }
        }
        Ok(read.into_iter().flatten().collect())
    }

    /// Where the value may go, if that is known without reading it.
    pub(crate) fn hosts(&self) -> Option<Vec<BoundHost>> {
        self.store.hosts(&self.name)
    }

    pub(crate) fn revision(&self) -> u64 {
        self.store.revision(&self.name)
    }

    /// What to do about a secret that is not there; `bind` names its hosts, as `--for openai`.
    pub(crate) fn advice(&self, bind: &str) -> String {
        self.store.advice(&self.name, bind)
    }

    /// The sealed store, and the secret's name in it; `None` for a store that Claviger does not write.
    pub(crate) fn sealed(&self) -> Option<(&sealed::SealedStore, &str)> {
        self.store.sealed().map(|store| (store, self.name.as_str()))
    }

    fn select(&self, stored: Stored) -> Result<Stored, StoreError> {
        match self.reference.field() {
            Some(field) => {
                let value = field::select(&stored.value, &self.name, field)?;
                // A former value without the member is none.
                let previous = stored.previous.and_then(|previous| {
                    let value = field::select(&previous.value, &self.name, field).ok()?;
                    Some(Previous { value, ..previous })
                });
                Ok(Stored { value, previous, ..stored })
            }
            None => Ok(stored),
        }
    }

    fn error(&self, cause: StoreError) -> SourceError {
        SourceError::Store { reference: self.reference.to_string(), cause }
    }
}

/// What every store asks of a value.
fn check_length(name: &str, length: usize) -> Result<(), StoreError> {
    match length {
        0 => Err(StoreError::Empty(name.to_owned())),
        1..=VALUE_MAX => Ok(()),
        _ => Err(StoreError::TooLarge { name: name.to_owned(), max: VALUE_MAX }),
    }
}
