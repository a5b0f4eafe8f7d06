//! Files and folders covered by mounts: what is under a mount cannot be reached by its path.
//!
//! Empty is friendlier than forbidden: most programs take an absent or empty file for "not configured", and stop at one
//! that they may not read. What a program writes to a covered place stays in memory and is gone with the session.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind,
    mount_bind_recursive, mount_change, mount_remount, move_mount, open_tree, unmount,
};
use serde::{Deserialize, Serialize};

/// One file or folder that is to look empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Cover {
    /// Where it is, without links.
    pub(crate) path: OsString,
    /// What a file then holds.
    pub(crate) content: String,
}

/// All that is done to the tree of files.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Covers {
    /// An empty folder that is used in between.
    pub(crate) scratch: OsString,
    /// What is hidden; what does not exist is left out.
    pub(crate) hide: Vec<Cover>,
    /// What stays as it is, though a folder above it is hidden.
    pub(crate) keep: Vec<OsString>,
    /// Links, with what they point at, that are made anew where a folder above them is hidden.
    pub(crate) links: Vec<(OsString, OsString)>,
    /// What can be read and no longer written.
    pub(crate) read_only: Vec<OsString>,
}

impl Covers {
    /// Covers everything, in this process's own mount namespace.
    ///
    /// # Errors
    /// With the path that could not be covered.
    pub(crate) fn apply(&self) -> Result<(), (PathBuf, io::Error)> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error: rustix::io::Errno| (path, io::Error::from(error))
        };
        let io_at = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| (path, error)
        };
        // Mounts made outside still arrive, none made here leaves.
        let propagation = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change("/", propagation).map_err(at(Path::new("/")))?;
        let kept = self.hold().map_err(io_at(Path::new("what is kept")))?;
        let scratch = Path::new(&self.scratch);
        mount("tmpfs", scratch, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=0700").map_err(at(scratch))?;
        let covers = rustix::fs::open(scratch, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(at(scratch))?;
        let covers_path = PathBuf::from(format!("/proc/self/fd/{}", covers.as_raw_fd()));
        for path in &self.read_only {
            let path = Path::new(path);
            read_only(path).map_err(io_at(path))?;
        }
        // A folder before what is in it, which then is no longer there.
        let mut hide = self.hide.clone();
        hide.sort();
        for (number, cover) in hide.iter().enumerate() {
            let path = Path::new(&cover.path);
            one(&covers_path.join(number.to_string()), path, &cover.content).map_err(io_at(path))?;
        }
        for (path, tree) in kept {
            put_back(&path, &tree).map_err(io_at(&path))?;
        }
        for (path, target) in &self.links {
            let path = Path::new(path);
            if let (Err(_), Some(parent)) = (fs::symlink_metadata(path), path.parent()) {
                fs::create_dir_all(parent).map_err(io_at(path))?;
                std::os::unix::fs::symlink(target, path).map_err(io_at(path))?;
            }
        }
        // What was bound from it stays; its own path may be hidden by now.
        let _ = unmount(&covers_path, UnmountFlags::DETACH);
        Ok(())
    }

    /// Copies of the mounts at what is kept, before anything above them is hidden.
    fn hold(&self) -> io::Result<Vec<(PathBuf, OwnedFd)>> {
        let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let mut held = Vec::new();
        for path in &self.keep {
            match open_tree(CWD, Path::new(path), clone) {
                Ok(tree) => held.push((PathBuf::from(path), tree)),
                Err(rustix::io::Errno::NOENT) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(held)
    }
}

fn one(cover: &Path, path: &Path, content: &str) -> io::Result<()> {
    let about = match fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        // In a folder that this user may not enter; its program may not either.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        Err(error) => return Err(error),
    };
    let kind = about.file_type();
    if kind.is_dir() {
        fs::create_dir(cover)?;
    } else if kind.is_block_device() {
        return Ok(mount_bind("/dev/null", path)?);
    } else {
        fs::write(cover, content)?;
    }
    // As the original, but never more open, and always so that its owner can use it.
    let mode = if kind.is_dir() { about.permissions().mode() & 0o755 | 0o700 } else { 0o600 };
    fs::set_permissions(cover, Permissions::from_mode(mode))?;
    Ok(mount_bind(cover, path)?)
}

/// Where a folder above it was hidden, what is kept is put back into that. Otherwise it still lies there.
fn put_back(path: &Path, tree: &OwnedFd) -> io::Result<()> {
    if fs::symlink_metadata(path).is_err() {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let original = PathBuf::from(format!("/proc/self/fd/{}", tree.as_raw_fd()));
        if fs::metadata(&original)?.is_dir() {
            fs::create_dir(path)?;
        } else {
            fs::write(path, "")?;
        }
    }
    Ok(move_mount(tree, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// A mount of itself over itself, with the flags that it has and read-only; so too each mount beneath it.
fn read_only(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    // With what is mounted in it: without, that would show what lies beneath those mounts, which the kernel does not allow.
    mount_bind_recursive(path, path)?;
    remount_read_only(path)?;
    for mounted in mounts_beneath(path)? {
        remount_read_only(&mounted)?;
    }
    Ok(())
}

fn remount_read_only(path: &Path) -> io::Result<()> {
    let has = rustix::fs::statvfs(path)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (flag, keeps) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if has.contains(flag) {
            flags |= keeps;
        }
    }
    Ok(mount_remount(path, flags, c"")?)
}

/// The second field of `/proc/self/mounts`, where spaces and their kind are octal escapes (fstab(5)).
fn mounts_beneath(path: &Path) -> io::Result<Vec<PathBuf>> {
    let all = fs::read_to_string("/proc/self/mounts")?;
    let mounted = all.lines().filter_map(|line| line.split(' ').nth(1)).map(|text| PathBuf::from(unescape(text)));
    Ok(mounted.filter(|one| one.starts_with(path) && one != path).collect())
}

fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}
