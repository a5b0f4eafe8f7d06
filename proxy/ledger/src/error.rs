//! Why the ledger cannot run.

use std::io;
use std::path::{Path, PathBuf};

/// Why a ledger cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another process writes this ledger.
    #[error("another process writes the ledger `{}`; give each process its own `ledger.path` or `state_dir`", .path.display())]
    Locked {
        /// The ledger's file.
        path: PathBuf,
    },
    /// A file or folder cannot be made, opened, read or written.
    #[error("failed to {what} `{}`", .path.display())]
    Io {
        /// The verb: `open`, `read`, `create`, ….
        what: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The end of the existing file holds no intact record to continue from.
    #[error(
        "the end of the ledger `{}` is damaged; run `claviger ledger verify`, then move the file away to start a new chain",
        .path.display()
    )]
    Damaged {
        /// The ledger's file.
        path: PathBuf,
    },
    /// There is nothing to read.
    #[error("there is no ledger at `{}`", .path.display())]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The writing thread does not start.
    #[error("failed to start the ledger's thread")]
    Thread(#[source] io::Error),
}

impl LedgerError {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}
