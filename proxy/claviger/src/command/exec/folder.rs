//! The folder of a session: certificates and files for clients. It goes when the session ends, however that comes about.
//!
//! All folders of a user lie in one, beside each a file that the session's process holds locked. Who takes such a lock
//! knows that nobody is left: so a session removes what earlier ones left behind that were killed with their janitor.

use std::fs::{DirBuilder, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A folder that nobody but its user enters (0700); removed when this is dropped.
pub(crate) struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Makes the folder of a session that begins.
    pub(crate) fn create() -> io::Result<Self> {
        let base = base()?;
        for _ in 0..100 {
            let path = base.join(random_name()?);
            match Self::at(&path) {
                Ok(Some(folder)) => return Ok(folder),
                // Somebody swept it away at this very moment.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => drop(make(&base)?),
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other(format!("`{}` changes all the time", base.display())))
    }

    fn at(path: &Path) -> io::Result<Option<Self>> {
        let lock_path = path.with_extension("lock");
        let lock = File::options().write(true).create_new(true).mode(0o600).open(&lock_path)?;
        if lock.try_lock().is_err() || lock.metadata()?.nlink() == 0 {
            return Ok(None);
        }
        DirBuilder::new().mode(0o700).create(path)?;
        Ok(Some(Self { path: path.to_owned(), lock }))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The last component: what a detached session is called.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.path);
        let _ = self.lock.unlock();
    }
}

/// Removes a session's folder, its lock, and the common folder if it was the last.
pub(crate) fn remove(path: &Path) {
    // What cannot be removed now is left for the next session's sweep.
    let _ = std::fs::remove_dir_all(path);
    let _ = std::fs::remove_file(path.with_extension("lock"));
    if let Some(base) = path.parent() {
        let _ = std::fs::remove_dir(base);
    }
}

/// Removes what sessions left behind of which no process is left.
pub(crate) fn sweep(base: &Path) {
    let Ok(entries) = std::fs::read_dir(base) else { return };
    let locks = entries.flatten().map(|entry| entry.path()).filter(|path| path.extension() == Some("lock".as_ref()));
    for lock_path in locks {
        let Ok(lock) = File::options().write(true).open(&lock_path) else { continue };
        match lock.try_lock() {
            Ok(()) => remove(&lock_path.with_extension("")),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

/// The folders of this user's sessions that still run.
pub(crate) fn running(base: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(base) else { return Vec::new() };
    let mut all: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    all.sort();
    all
}

/// The common folder of this user, made if it is not there: in the runtime folder of the login session, or in that for
/// temporary files.
pub(crate) fn base() -> io::Result<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(path) = runtime.filter(|path| is_private(path)).map(|path| path.join("claviger-exec"))
        && make(&path).is_ok()
    {
        return Ok(path);
    }
    let path = std::env::temp_dir().join(format!("claviger-exec-{}", rustix::process::geteuid().as_raw()));
    make(&path)?;
    Ok(path)
}

fn make(path: &Path) -> io::Result<()> {
    for _ in 0..100 {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        match std::fs::symlink_metadata(path) {
            Ok(found) if is_private_folder(&found) => return Ok(()),
            // The session that was the last one has removed it at this very moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(_) | Err(_) => break,
        }
    }
    let message = format!("`{}` is not a folder that belongs to this user alone", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

/// Whether it is a folder, and no link to one, of this user and nobody else's business.
fn is_private(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| is_private_folder(&found))
}

fn is_private_folder(found: &Metadata) -> bool {
    found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0
}

/// Eight characters; names only need to differ, the folder around them is private.
fn random_name() -> io::Result<String> {
    let mut random = [0_u8; 5];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("there is no randomness"))?;
    let digit = |value: u64| char::from_digit(u32::try_from(value & 31).unwrap_or_default(), 32).unwrap_or('0');
    let bits = random.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    Ok((0..8).map(|at| digit(bits >> (at * 5))).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn sessions_begin_while_others_end() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base");
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..500).for_each(|_| make(&base).unwrap()));
                scope.spawn(|| (0..500).for_each(|_| drop(std::fs::remove_dir(&base))));
            }
        });
    }

    #[test]
    fn what_no_process_holds_is_swept() {
        let base = tempfile::tempdir().unwrap();
        let (alive, dead) = (base.path().join("alive"), base.path().join("dead"));
        let held = Folder::at(&alive).unwrap().unwrap();
        let left = Folder::at(&dead).unwrap().unwrap();
        std::fs::write(dead.join("bundle.pem"), "x").unwrap();
        // As a process ends that is killed: its locks go, nothing else does.
        left.lock.unlock().unwrap();
        std::mem::forget(left);
        // A folder is entered by its user alone.
        assert_eq!(std::fs::metadata(held.path()).unwrap().mode() & 0o777, 0o700);
        sweep(base.path());
        assert_eq!(running(base.path()), std::slice::from_ref(&alive));
        assert!(!dead.with_extension("lock").exists());
        drop(held);
        assert!(!alive.exists() && !alive.with_extension("lock").exists());
        // With the last session the common folder goes too.
        assert!(!base.path().exists());
    }
}
