//! The age identity that sealed files are encrypted to: a text file as `age-keygen` writes it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use zeroize::Zeroizing;

use crate::error::StoreError;
use crate::os;

/// Reads the key; refuses a file that others than its owner may read. What an orchestrator hands to an unprivileged
/// process passes: Kubernetes mounts secrets as root's, readable by the pod's `fsGroup`, and systemd's credentials are
/// root's with an ACL, whose mask shows in the group's bits. Both are 0440, and nobody can write them.
pub(super) fn read(path: &Path) -> Result<Identity, StoreError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(StoreError::KeyMissing(path.to_owned()));
        }
        Err(error) => return Err(StoreError::io("open", path)(error)),
    };
    // Of the file that was opened, not of whatever bears the name by now.
    let found = file.metadata().map_err(StoreError::io("open", path))?;
    if !found.is_file() {
        return Err(StoreError::NotAFile(path.to_owned()));
    }
    let mode = os::mode(&found);
    let is_handed_over = mode == 0o440 && os::is_roots(&found);
    if mode & 0o077 != 0 && !is_handed_over {
        return Err(StoreError::Permissions { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::with_capacity(4096));
    file.by_ref().take(4096).read_to_string(&mut text).map_err(|_| StoreError::KeyInvalid(path.to_owned()))?;
    let mut keys = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (keys.next(), keys.next()) {
        (Some(key), None) => key.parse().map_err(|_| StoreError::KeyInvalid(path.to_owned())),
        _ => Err(StoreError::KeyInvalid(path.to_owned())),
    }
}

/// Makes the key at its first use. A key that got lost while files sealed with it are there is not
/// replaced: they would never be read again. The caller holds the store's lock.
pub(super) fn read_or_create(path: &Path, nothing_sealed: impl FnOnce() -> bool) -> Result<Identity, StoreError> {
    match read(path) {
        Err(StoreError::KeyMissing(_)) if nothing_sealed() => {}
        known => return known,
    }
    if let Some(folder) = path.parent() {
        os::create_private_dir(folder).map_err(StoreError::io("create", folder))?;
    }
    let identity = Identity::generate();
    let written = identity.to_string();
    let mut text = Zeroizing::new(String::with_capacity(256));
    text.push_str("# Opens the secrets that `claviger secret set` sealed. Keep it apart from them, and back it up.\n");
    text.push_str(written.expose_secret());
    text.push('\n');
    os::write_atomically(path, text.as_bytes()).map_err(StoreError::io("write", path))?;
    Ok(identity)
}
