//! What is asked of the operating system: permissions, locks, durable writes. Unix.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Makes a directory and its missing parents, for the owner only. One that exists stays as it is.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    if path == Path::new("") {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens (or creates) a file and waits until no one else holds its lock; it ends with the value.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.lock()?;
    Ok(file)
}

/// As [`lock`], but does not wait: `None` if somebody else holds it. The lock is that of the open file, so that a child
/// that inherits it holds it on.
pub(crate) fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Writes a file (mode 0600) so that a reader or a crash sees the old content or the new, never a part.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // Writers hold a lock, so that one temporary name is enough; what a crash left is overwritten.
    let temporary = folder.join(format!(".{}.tmp", name.to_string_lossy()));
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary).and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)
        });
    if written.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    sync_dir(folder)
}

/// Opens a file for reading; never waits, not even for the writer of a pipe.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    Ok(rustix::fs::open(path, FLAGS, Mode::empty())?.into())
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// As [`open`], of a name below a folder: no link on the way leads out of it.
///
/// # Errors
/// `EXDEV` if one does, and if one is absolute.
#[cfg(target_os = "linux")]
pub(crate) fn open_beneath(root: &Path, name: &str) -> io::Result<File> {
    use rustix::fs::{ResolveFlags, openat2};
    let folder = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(&folder, name, FLAGS, Mode::empty(), beneath) {
        Ok(file) => Ok(file.into()),
        Err(rustix::io::Errno::XDEV) => Err(outside()),
        Err(error) => Err(error.into()),
    }
}

/// As [`open`], of a name below a folder: no link on the way leads out of it.
#[cfg(not(target_os = "linux"))]
pub(crate) fn open_beneath(root: &Path, name: &str) -> io::Result<File> {
    let (root, file) = (root.canonicalize()?, root.join(name).canonicalize()?);
    // What stood there is opened, whatever a link of the same name says by now.
    if file.starts_with(root) { open(&file) } else { Err(outside()) }
}

fn outside() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "a link leads out of the store's `root`")
}

/// Makes renames and removals in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    // A name without a folder stands in the working one.
    File::open(if path == Path::new("") { Path::new(".") } else { path })?.sync_all()
}

/// The permission bits.
pub(crate) fn mode(metadata: &Metadata) -> u32 {
    metadata.mode() & 0o7777
}

/// Whether the superuser owns it.
pub(crate) fn is_roots(metadata: &Metadata) -> bool {
    metadata.uid() == 0
}

/// A number that changes when a file is written or replaced, without reading it; 0 if there is none.
pub(crate) fn revision(path: &Path) -> u64 {
    let Ok(found) = std::fs::metadata(path) else { return 0 };
    let mut hasher = DefaultHasher::new();
    (found.dev(), found.ino(), found.size()).hash(&mut hasher);
    (found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()).hash(&mut hasher);
    hasher.finish()
}
