//! What git knows of a file.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::Serialize;

/// The history of a large repository takes a while; nobody waits longer for a warning.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a file's content is where others get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum History {
    /// It is in no repository, or was never committed.
    None,
    /// It is tracked.
    Tracked,
    /// It is not tracked any more, but a commit has it.
    Past,
    /// That could not be found out.
    Unknown,
}

/// Asks git.
pub(super) fn history(file: &Path) -> History {
    let Ok(file) = std::path::absolute(file) else { return History::Unknown };
    let is_inside = file.ancestors().skip(1).any(|folder| folder.join(".git").symlink_metadata().is_ok());
    if !is_inside {
        return History::None;
    }
    let Ok(runtime) = crate::app::control_runtime() else { return History::Unknown };
    runtime.block_on(asked(&file))
}

async fn asked(file: &Path) -> History {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { return History::Unknown };
    match git(folder, &["ls-files", "--error-unmatch"], name).await {
        Some((status, _)) if status.success() => return History::Tracked,
        Some((status, _)) if status.code() == Some(1) => {}
        Some(_) | None => return History::Unknown,
    }
    match git(folder, &["rev-list", "--all", "-n", "1"], name).await {
        Some((status, said)) if status.success() => {
            if said.is_empty() {
                History::None
            } else {
                History::Past
            }
        }
        Some(_) | None => History::Unknown,
    }
}

/// Runs git with nothing of what a repository may have it run.
async fn git(folder: &Path, args: &[&str], file: &std::ffi::OsStr) -> Option<(ExitStatus, Vec<u8>)> {
    let mut command = tokio::process::Command::new("git");
    command.args(["--literal-pathspecs", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]);
    command.arg("-C").arg(folder).args(args).arg("--").arg(file);
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    command.env("GIT_OPTIONAL_LOCKS", "0").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    Some((output.status, output.stdout))
}
