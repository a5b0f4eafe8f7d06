//! `.env` files of the project that a command works in.

use std::path::{Path, PathBuf};

/// Folders that hold what others wrote, or what was built: nobody keeps keys there, and they are large.
const SKIPPED: [&str; 10] =
    [".git", "node_modules", "target", ".venv", "venv", "__pycache__", ".tox", "dist", "build", ".next"];

/// What stands at the top of a project.
const MARKS: [&str; 4] = [".git", ".hg", "claviger.toml", ".jj"];

/// How deep, and through how many entries, a project is looked through: this is done at every start.
const DEEPEST: usize = 5;
const MOST: usize = 20_000;

/// Endings of files that show what is to be filled in.
const SAMPLES: [&str; 8] = ["example", "sample", "template", "dist", "tmpl", "schema", "defaults", "vault"];

/// What was found.
pub(crate) struct Files {
    /// The files.
    pub(crate) found: Vec<PathBuf>,
    /// There was more than was looked through.
    pub(crate) cut_short: bool,
}

/// The highest folder above, below the home folder, that has the mark of a project.
pub(crate) fn root_of(directory: &Path, homes: &[PathBuf]) -> Option<PathBuf> {
    let below_home = directory.ancestors().take_while(|folder| !homes.iter().any(|home| home.starts_with(folder)));
    let marked = below_home.filter(|folder| MARKS.iter().any(|mark| folder.join(mark).exists()));
    marked.last().map(Path::to_owned)
}

/// `.env`, `.env.local` and their kind in the project; not `.env.example` and its kind. Without a project: in the working
/// folder alone.
pub(crate) fn environment_files(directory: &Path, root: Option<&Path>) -> Files {
    let mut files = Files { found: vec![], cut_short: false };
    let mut left = MOST;
    look_through(root.unwrap_or(directory), if root.is_some() { DEEPEST } else { 0 }, &mut left, &mut files);
    files.cut_short &= root.is_some();
    files
}

fn look_through(folder: &Path, deeper: usize, left: &mut usize, files: &mut Files) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut folders = Vec::new();
    for entry in entries.flatten() {
        if *left == 0 {
            files.cut_short = true;
            return;
        }
        *left -= 1;
        let (Ok(kind), name) = (entry.file_type(), entry.file_name()) else { continue };
        let name = name.to_string_lossy();
        if is_environment(&name) {
            files.found.push(entry.path());
        } else if kind.is_dir() && !SKIPPED.contains(&&*name) {
            folders.push(entry.path());
        }
    }
    if deeper == 0 {
        files.cut_short |= !folders.is_empty();
        return;
    }
    for folder in folders {
        look_through(&folder, deeper - 1, left, files);
    }
}

fn is_environment(name: &str) -> bool {
    match name.strip_prefix(".env") {
        Some("") => true,
        Some(rest) if rest.starts_with('.') => !rest.split('.').any(|part| SAMPLES.contains(&part)),
        _ => name == ".envrc" || name == ".dev.vars",
    }
}

#[cfg(test)]
mod tests {
    use super::is_environment;

    #[test]
    fn samples_are_no_environments() {
        for (name, expected) in [
            (".env", true),
            (".env.local", true),
            (".env.production.local", true),
            (".envrc", true),
            (".env.example", false),
            (".env.local.sample", false),
            (".environment", false),
            ("env", false),
            ("x.env", false),
        ] {
            assert_eq!(is_environment(name), expected, "{name}");
        }
    }
}
