//! Where the configuration and the state live.

use std::path::PathBuf;

/// No configuration was found.
#[derive(Debug, thiserror::Error)]
#[error(
    "no configuration found: neither --config nor $CLAVIGER_CONFIG is set, and `{}` does not exist\n  \
     help: `claviger quickstart` shows a working one, config.example.toml has every key", .0.display()
)]
pub(crate) struct Missing(PathBuf);

/// `--config`, then `$CLAVIGER_CONFIG`, then `claviger/claviger.toml` in the XDG configuration folder.
///
/// Deliberately absent: the working folder. A cloned repository must not be able to spend your keys.
pub(crate) fn discover(given: Option<&PathBuf>) -> Result<PathBuf, Missing> {
    if let Some(path) = given {
        return Ok(path.clone());
    }
    if let Some(path) = std::env::var_os("CLAVIGER_CONFIG").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let path = xdg("XDG_CONFIG_HOME", ".config").join("claviger").join("claviger.toml");
    if path.exists() { Ok(path) } else { Err(Missing(path)) }
}

/// `claviger` in the XDG state folder.
pub(crate) fn default_state_dir() -> PathBuf {
    xdg("XDG_STATE_HOME", ".local/state").join("claviger")
}

/// XDG Base Directory: a relative path in the variable is ignored.
fn xdg(variable: &str, below_home: &str) -> PathBuf {
    let set = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    set.unwrap_or_else(|| std::env::home_dir().unwrap_or_else(|| PathBuf::from("/")).join(below_home))
}
