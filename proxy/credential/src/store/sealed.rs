//! `secret://sealed/NAME`: the embedded store. One age file per secret, safe to commit.
//!
//! Hosts, owner, version and name are sealed together with the value: whoever changes one of them, or
//! puts a file under another name, makes it unreadable. The key is an age identity in a file of its own
//! (mode 0600), outside of the folder that may be committed.

mod envelope;
mod grant;
mod key;
mod own;
mod rotation;
pub(super) mod settings;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use claviger_contract::{Clock, Secret, SystemClock};
use claviger_policy::document::Location;

use self::envelope::{Envelope, Metadata};
pub use self::grant::GrantNote;
pub(crate) use self::grant::{Access, Grant, GrantLock};
pub use self::rotation::Rotate;
pub(crate) use self::rotation::same;
use super::{SecretStore, Stored, check_length};
use crate::binding::BoundHost;
use crate::digest::random_hex;
use crate::error::StoreError;
use crate::os;

/// What is known of a sealed secret without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedEntry {
    /// Its name: `secret://sealed/NAME`.
    pub name: String,
    /// Where the value may go.
    pub hosts: Vec<BoundHost>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Random; changes with the value.
    pub version: Arc<str>,
    /// When this version was sealed, in seconds since the Unix epoch.
    pub created: i64,
    /// A probe showed that upstream takes the value.
    pub proven: bool,
    /// The version before, whose value is kept as well: a rotation is open, since [`created`](Self::created).
    pub previous: Option<FormerVersion>,
    /// It is what a login was granted: a refresh token.
    pub grant: Option<GrantNote>,
}

/// A version whose value is kept while a rotation is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerVersion {
    /// As in [`SealedEntry::version`].
    pub version: Arc<str>,
    /// When it was sealed, in seconds since the Unix epoch, if that is known.
    pub created: Option<i64>,
}

/// A folder of sealed secrets and the key to them.
///
/// Writers exclude each other by a file lock; readers see the old file or the new.
#[derive(Clone, Debug)]
pub struct SealedStore {
    folder: PathBuf,
    key_file: PathBuf,
}

const EXTENSION: &str = "age";

impl SealedStore {
    /// The embedded store of a state directory: `sealed/*.age`, and `keys/sealed.key`. Nothing is made
    /// before the first [`set`](Self::set).
    pub fn open(state_dir: &Path) -> Self {
        Self::open_at(state_dir.join("sealed"), Self::default_key_file(state_dir))
    }

    /// A store with its files elsewhere.
    pub fn open_at(folder: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), key_file: key_file.into() }
    }

    /// The folder and the key file, for a process that may stand elsewhere.
    pub(crate) fn places(&self) -> (PathBuf, PathBuf) {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        (absolute(&self.folder), absolute(&self.key_file))
    }

    /// Whether both are the same folder.
    pub fn is(&self, other: &Self) -> bool {
        let place = |store: &Self| store.folder.canonicalize().unwrap_or_else(|_| store.folder.clone());
        place(self) == place(other)
    }

    pub(crate) fn default_key_file(state_dir: &Path) -> PathBuf {
        state_dir.join("keys").join("sealed.key")
    }

    /// Seals a value with the hosts that it may go to ([`BoundHost::parse`] reads them) and an owner.
    /// A secret of that name is replaced, hosts and all; the former value is not kept.
    pub fn set(
        &self,
        name: &str,
        value: Secret,
        hosts: Vec<String>,
        owner: Option<String>,
    ) -> Result<SealedEntry, StoreError> {
        let hosts: Vec<BoundHost> = hosts.iter().map(|host| BoundHost::parse(host)).collect::<Result<_, _>>()?;
        if hosts.is_empty() {
            return Err(StoreError::NoHosts(name.to_owned()));
        }
        if owner.as_deref().is_some_and(|owner| owner.len() > 256 || owner.chars().any(char::is_control)) {
            let why = "an owner has at most 256 bytes and no control characters";
            return Err(StoreError::Name { name: owner.unwrap_or_default().escape_debug().to_string(), why });
        }
        let path = self.path(name)?;
        check_length(name, value.len())?;
        let _lock = self.lock()?;
        let (version, created) = fresh();
        let metadata = Metadata { name: name.to_owned(), hosts, owner, version, created, proven: false, grant: None };
        self.write(&path, Envelope { metadata, value, previous: None })
    }

    /// What is known of one secret.
    pub fn entry(&self, name: &str) -> Result<SealedEntry, StoreError> {
        self.unseal(name, &self.path(name)?).map(|envelope| envelope.entry())
    }

    /// All secrets, by name. No value leaves the store.
    pub fn list(&self) -> Result<Vec<SealedEntry>, StoreError> {
        let mut names = Vec::new();
        collect_names(&self.folder, "", &mut names)?;
        names.sort();
        names.iter().map(|name| self.unseal(name, &self.path(name)?).map(|envelope| envelope.entry())).collect()
    }

    /// For each value, the secret that has it: in force, or beside it while a rotation is open. No value leaves the
    /// store, and the time taken says nothing of how much two values have in common.
    pub fn holding(&self, values: &[&Secret]) -> Result<Vec<Option<SealedEntry>>, StoreError> {
        let mut found = vec![None; values.len()];
        if values.is_empty() {
            return Ok(found);
        }
        let mut names = Vec::new();
        collect_names(&self.folder, "", &mut names)?;
        names.sort();
        for name in &names {
            let envelope = self.unseal(name, &self.path(name)?)?;
            let has = |value: &Secret| {
                let previous = envelope.previous.as_ref().is_some_and(|previous| same(&previous.value, value));
                same(&envelope.value, value) || previous
            };
            for (value, found) in values.iter().zip(&mut found) {
                if found.is_none() && has(value) {
                    *found = Some(envelope.entry());
                }
            }
        }
        Ok(found)
    }

    /// Deletes a secret. A running proxy stops using it within about a second.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name)?;
        if !self.folder.exists() {
            return Err(StoreError::NotFound(name.to_owned()));
        }
        let _lock = self.lock()?;
        std::fs::remove_file(&path).map_err(|error| missing_or("remove", name, &path, error))?;
        let folder = path.parent().unwrap_or(&self.folder);
        os::sync_dir(folder).map_err(StoreError::io("write", folder))
    }

    fn lock(&self) -> Result<std::fs::File, StoreError> {
        os::create_private_dir(&self.folder).map_err(StoreError::io("create", &self.folder))?;
        let path = self.folder.join(".lock");
        os::lock(&path).map_err(StoreError::io("lock", &path))
    }

    fn write(&self, path: &Path, envelope: Envelope) -> Result<SealedEntry, StoreError> {
        let identity = key::read_or_create(&self.key_file, || self.is_empty())?;
        let sealed = envelope.seal(&identity).map_err(StoreError::io("encrypt", path))?;
        if let Some(folder) = path.parent() {
            os::create_private_dir(folder).map_err(StoreError::io("create", folder))?;
        }
        os::write_atomically(path, &sealed).map_err(StoreError::io("write", path))?;
        Ok(envelope.entry())
    }

    fn unseal(&self, name: &str, path: &Path) -> Result<Envelope, StoreError> {
        let sealed = std::fs::read(path).map_err(|error| missing_or("open", name, path, error))?;
        let identity = key::read(&self.key_file)?;
        let envelope = Envelope::unseal(&sealed, &identity, path)?;
        // A file that was copied to another name carries another secret's hosts.
        if envelope.metadata.name != name {
            return Err(StoreError::Tampered(path.to_owned()));
        }
        Ok(envelope)
    }

    /// Whether nothing is sealed here, neither secrets nor keys of Claviger's own.
    fn is_empty(&self) -> bool {
        let mut names = Vec::new();
        let own = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let own = own.filter(|entry| entry.path().extension().is_some_and(|extension| extension == EXTENSION));
        collect_names(&self.folder, "", &mut names).is_ok() && names.is_empty() && own.count() == 0
    }

    fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
        check_name(name)?;
        Ok(self.folder.join(format!("{name}.{EXTENSION}")))
    }
}

fn stored(name: &str, envelope: Envelope) -> Result<Stored, StoreError> {
    // What a login was granted is nothing to inject.
    if envelope.metadata.grant.is_some() {
        return Err(StoreError::IsGrant(name.to_owned()));
    }
    let Metadata { hosts, version, created, proven, .. } = envelope.metadata;
    let previous = envelope.previous.map(|previous| super::Previous {
        value: previous.value,
        version: previous.version,
        since: created,
        proven,
    });
    Ok(Stored { value: envelope.value, hosts: Some(hosts), version: Some(version), previous, warning: None })
}

fn fresh() -> (Arc<str>, i64) {
    (random_hex().into(), SystemClock.now())
}

fn missing_or(action: &'static str, name: &str, path: &Path, error: std::io::Error) -> StoreError {
    match error.kind() {
        std::io::ErrorKind::NotFound => StoreError::NotFound(name.to_owned()),
        _ => StoreError::io(action, path)(error),
    }
}

/// Up to four segments that are plain file names on every file system.
fn check_name(name: &str) -> Result<(), StoreError> {
    let plain = |segment: &str| {
        (1..=64).contains(&segment.len())
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
            && !segment.starts_with('.')
            // A folder of this name would stand where another secret's file does.
            && !segment.ends_with(".age")
    };
    if name.split('/').count() <= 4 && name.split('/').all(plain) {
        return Ok(());
    }
    let why = "a name has up to four segments of letters, digits, `-`, `_` and `.`, joined by `/`";
    Err(StoreError::Name { name: name.escape_debug().to_string(), why })
}

/// The names of all sealed files below a folder; none if it does not exist.
fn collect_names(folder: &Path, prefix: &str, names: &mut Vec<String>) -> Result<(), StoreError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::io("list", folder)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(StoreError::io("list", folder))?;
        let Some(file) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let path = entry.path();
        let (stem, is_dir) = match file.strip_suffix(".age") {
            Some(stem) => (stem.to_owned(), false),
            None => (file, path.is_dir()),
        };
        let name = if prefix.is_empty() { stem } else { format!("{prefix}/{stem}") };
        // Whatever else lies in the folder (`.lock`, `.git`, a README) is no secret.
        if check_name(&name).is_err() {
            continue;
        }
        if is_dir {
            collect_names(&path, &name, names)?;
        } else if path.extension().is_some_and(|extension| extension == EXTENSION) {
            names.push(name);
        }
    }
    Ok(())
}

#[async_trait::async_trait]
impl SecretStore for SealedStore {
    fn resolve(&self, name: &str, _: &Location) -> Result<String, StoreError> {
        check_name(name).map(|()| name.to_owned())
    }

    fn read_now(&self, name: &str) -> Option<Result<Stored, StoreError>> {
        Some(self.path(name).and_then(|path| self.unseal(name, &path)).and_then(|envelope| stored(name, envelope)))
    }

    fn revision(&self, name: &str) -> u64 {
        self.path(name).map_or(0, |path| os::revision(&path))
    }

    fn advice(&self, name: &str, bind: &str) -> String {
        format!("run `claviger secret set {name} {bind}`")
    }

    fn sealed(&self) -> Option<&SealedStore> {
        Some(self)
    }
}

#[cfg(test)]
mod tests;
