//! Paths in configuration resolve against the file that holds them.

use std::path::{Path, PathBuf};

use claviger_policy::document::Located;

/// The path that a configuration value means.
pub fn resolve(written: &Located<String>) -> PathBuf {
    match Path::new(written.location.file()).parent() {
        Some(folder) => folder.join(&written.value),
        None => PathBuf::from(&written.value),
    }
}
