//! A root folder with nothing in it but the static binary and what a pod would mount: as in the container image.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::tools::static_binary;

/// The image's user.
const UID: u32 = 65532;

pub(crate) struct Pod(TempDir);

impl Pod {
    pub(crate) fn new() -> Self {
        let pod = Self(TempDir::new().unwrap());
        std::fs::set_permissions(pod.0.path(), PermissionsExt::from_mode(0o755)).unwrap();
        // Of another file system, perhaps: linked where it can be, for it is large.
        let binary = pod.0.path().join("claviger");
        if std::fs::hard_link(static_binary(), &binary).is_err() {
            std::fs::copy(static_binary(), &binary).unwrap();
        }
        pod.folder("/var/lib/claviger");
        pod
    }

    /// The file's place outside.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside.trim_start_matches('/'))
    }

    /// A folder that the process may write.
    pub(crate) fn folder(&self, inside: &str) {
        let path = self.path(inside);
        std::fs::create_dir_all(&path).unwrap();
        if is_root() {
            chown(&path, Some(UID), Some(UID)).unwrap();
        }
    }

    /// A file that the process may read.
    pub(crate) fn file(&self, inside: &str, text: impl AsRef<[u8]>) {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    }

    /// The binary inside, as the image's user where this process may say so, with an empty environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = in_root(self.0.path());
        command.arg("/claviger").args(args).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }
}

/// `chroot`, of root to the image's user, of anybody else in a user namespace.
fn in_root(folder: &Path) -> Command {
    if is_root() {
        let mut command = Command::new("chroot");
        command.arg(format!("--userspec={UID}:{UID}")).arg(folder);
        command
    } else {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "chroot"]).arg(folder);
        command
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
