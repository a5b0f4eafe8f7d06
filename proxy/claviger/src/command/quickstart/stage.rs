//! The demo's folder: private, temporary, with everything in it that anyone will write.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use claviger_credential::SealedStore;
use tempfile::TempDir;

use crate::command::Failure;
use crate::command::quickstart::key::DemoKey;

/// The files, as they are named in the folder. Commands run there, so that these are what a reader sees.
pub(crate) const CONFIG: &str = "claviger.toml";
pub(crate) const CA: &str = "demo-ca.pem";
pub(crate) const SOCKET: &str = "gateway.sock";
const STATE: &str = "state";
const RECORDS: &str = "records";

/// A Unix socket's path has at most so many bytes, on the strictest system.
const SOCKET_PATH_MAX: usize = 103;

/// The folder.
pub(crate) struct Stage {
    folder: TempDir,
}

impl Stage {
    /// Makes the folder, for this user alone.
    pub(crate) fn make() -> Result<Self, Failure> {
        let mut folder = private_folder(&std::env::temp_dir())?;
        if folder.path().join(SOCKET).as_os_str().len() > SOCKET_PATH_MAX {
            folder = private_folder(Path::new("/tmp"))?;
        }
        let stage = Self { folder };
        for name in [STATE, RECORDS] {
            let made = fs::create_dir(stage.path(name));
            made.map_err(|error| Failure::Other(format!("failed to make `{name}` in the demo's folder: {error}")))?;
        }
        Ok(stage)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Takes what children are given and write.
    pub(crate) fn records(&self) -> PathBuf {
        self.path(RECORDS)
    }

    /// Where the proxy writes its ledger.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.path(STATE).join("ledger").join("ledger.jsonl")
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let written = fs::write(self.path(name), text);
        written.map_err(|error| Failure::Other(format!("failed to write `{name}` into the demo's folder: {error}")))
    }

    /// Seals the key for one host, as `claviger secret set demo --host HOST` does.
    pub(crate) fn seal(&self, key: &DemoKey, host: &str) -> Result<(), Failure> {
        let store = SealedStore::open(&self.path(STATE));
        store
            .set("demo", key.for_sealing(), vec![host.to_owned()], None)
            .map_err(|error| Failure::doing("seal the demo key")(&error))?;
        Ok(())
    }

    /// Leaves the folder where it is, for someone to look at.
    pub(crate) fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    /// Removes the folder.
    pub(crate) fn remove(self) -> Result<(), Failure> {
        let path = self.folder().display().to_string();
        self.folder.close().map_err(|error| Failure::Other(format!("failed to remove `{path}`: {error}")))
    }
}

fn private_folder(parent: &Path) -> Result<TempDir, Failure> {
    tempfile::Builder::new()
        .prefix("claviger-quickstart-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .map_err(|error| Failure::Other(format!("failed to make a folder in `{}`: {error}", parent.display())))
}
