//! Whether a configuration that was found in a project's folder may be used.

use std::path::{Path, PathBuf};

use claviger_policy::document::Diagnostics;

use super::discover::Source;
use super::texts::Texts;

/// A file that counts only as far as it was allowed.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    canonical: PathBuf,
}

impl Project {
    pub(super) fn new(canonical: PathBuf) -> Self {
        Self { canonical }
    }

    /// The file, links followed.
    pub(crate) fn canonical(&self) -> &Path {
        &self.canonical
    }
}

/// Whether what was read may be used; if not, the reason is in `out`.
pub(super) fn admit(source: &Source, _texts: &Texts, out: &mut Diagnostics) -> Option<()> {
    let Some(project) = source.project() else { return Some(()) };
    out.error_nowhere(format!("`{}` was found in a project's folder and has not been allowed", project.canonical.display()))
        .help("read it, then type `claviger config allow`; to use another configuration, name it with `--config`");
    None
}
