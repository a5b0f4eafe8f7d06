//! A configuration that is there already: looked at, never touched.

use std::path::{Path, PathBuf};

use super::proposal::Service;
use crate::command::Failure;
use crate::config;

/// No configuration is larger, in bytes.
const SIZE_MAX: u64 = 16 << 20;

/// One.
#[derive(Debug)]
pub(super) struct Existing {
    path: PathBuf,
    tree: toml::Table,
}

impl Existing {
    /// The file that would be written, or the one of the project around this folder.
    pub(super) fn find(named: Option<&Path>) -> Result<Option<Self>, Failure> {
        let path = match named {
            Some(path) => Some(path.to_owned()).filter(|path| path.symlink_metadata().is_ok()),
            None => config::in_project().map(|source| source.path().to_owned()),
        };
        let Some(path) = path else { return Ok(None) };
        let text = crate::os::read_regular(&path, SIZE_MAX)
            .map_err(|error| Failure::Other(format!("failed to read `{}`: {error}", path.display())))?;
        // One that cannot be parsed has its own errors, which `check` tells; it stays all the same.
        let tree = String::from_utf8_lossy(&text).parse().unwrap_or_default();
        Ok(Some(Self { path, tree }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has such a service: of that name, or of that preset.
    pub(super) fn has(&self, service: &Service<'_>) -> bool {
        let tables = self.tree.get("service").and_then(toml::Value::as_table);
        tables.is_some_and(|tables| {
            let preset =
                |table: &toml::Value| table.get("preset").and_then(toml::Value::as_str) == Some(service.preset.name);
            tables.contains_key(&service.name) || tables.values().any(preset)
        })
    }

    /// A workload that a command may be.
    pub(super) fn workload(&self) -> Option<&str> {
        let tables = self.tree.get("workload").and_then(toml::Value::as_table)?;
        let is_exec = |table: &toml::Value| table.get("exec").and_then(toml::Value::as_bool) == Some(true);
        tables.iter().find(|(_, table)| is_exec(table)).map(|(name, _)| name.as_str())
    }
}
