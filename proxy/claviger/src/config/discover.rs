//! Where the configuration and the state live.

use std::path::{Path, PathBuf};

use super::trust::Project;

/// What a configuration is called in a project folder.
const FILE: &str = "claviger.toml";

/// What marks the top of a repository; nothing above it is looked at.
const REPOSITORY: [&str; 3] = [".git", ".hg", ".jj"];

/// No configuration was found.
#[derive(Debug, thiserror::Error)]
#[error(
    "no configuration found: neither --config nor $CLAVIGER_CONFIG is set, and `{}` does not exist\n  \
     help: `claviger init` writes one for this project, `claviger quickstart` shows a working one, config.example.toml \
     has every key", .0.display()
)]
pub(crate) struct Missing(PathBuf);

/// A configuration file, and whether it counts without being allowed.
///
/// Stands where a path stands: the file is read by [`super::read`] only, which asks whether it may be.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    path: PathBuf,
    project: Option<Project>,
}

impl Source {
    /// The file as it was named by whoever runs this process: that is word enough.
    pub(crate) fn named(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), project: None }
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What must be allowed first: the file was found in a project's folder.
    pub(crate) fn project(&self) -> Option<&Project> {
        self.project.as_ref()
    }

    /// The files whose change means that the configuration may be another: `files`, and what was decided about it.
    pub(crate) fn watched(&self, mut files: Vec<PathBuf>) -> Vec<PathBuf> {
        files.extend(self.project.as_ref().map(Project::record_file));
        files
    }

    /// For messages.
    pub(crate) fn display(&self) -> std::path::Display<'_> {
        self.path.display()
    }
}

/// `--config`, then `$CLAVIGER_CONFIG`, then the project folder, then `claviger/claviger.toml` in the XDG
/// configuration folder.
///
/// The first that is there counts, whether it may be read or not: a project's file that nobody has allowed is an error,
/// and never passed over for the next. Who works in that folder expects its rules, not those of another file.
pub(crate) fn discover(given: Option<&PathBuf>) -> Result<Source, Missing> {
    if let Some(path) = given {
        return Ok(Source::named(path));
    }
    if let Some(path) = std::env::var_os("CLAVIGER_CONFIG").filter(|path| !path.is_empty()) {
        return Ok(Source::named(path));
    }
    if let Some(source) = in_project() {
        return Ok(source);
    }
    let path = xdg("XDG_CONFIG_HOME", ".config").join("claviger").join(FILE);
    if path.exists() { Ok(Source::named(path)) } else { Err(Missing(path)) }
}

/// The nearest `claviger.toml` from the working folder up to the top of its repository; outside of a repository, in the
/// working folder only: what others put into `/tmp` or `/` is nobody's project.
pub(crate) fn in_project() -> Option<Source> {
    let here = std::env::current_dir().ok()?;
    let is_top = |folder: &&Path| REPOSITORY.iter().any(|mark| folder.join(mark).exists());
    let top = here.ancestors().find(is_top).unwrap_or(&here);
    let folders = here.ancestors().take_while(|folder| folder.starts_with(top));
    // A dangling link is there too: whether it can be read is said when it is.
    let found = folders.map(|folder| folder.join(FILE)).find(|file| file.symlink_metadata().is_ok())?;
    Some(project_file(&found))
}

/// A file that counts only if it was allowed.
pub(crate) fn project_file(found: &Path) -> Source {
    // Links are followed now, and never again: what is allowed, read, and what its paths resolve against is one file.
    let canonical = found.canonicalize().unwrap_or_else(|_| found.to_owned());
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).ok();
    let short = here.and_then(|here| canonical.strip_prefix(here).map(Path::to_owned).ok());
    // In the working folder it is called as users call it.
    let path = short.filter(|short| short.components().count() == 1).unwrap_or_else(|| canonical.clone());
    Source { path, project: Some(Project::new(canonical)) }
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
