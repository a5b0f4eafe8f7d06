//! The files of a project: bounded, no links followed, nothing that a build or a package manager put there.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// No more entries are looked at.
const ENTRIES_MAX: usize = 20_000;

/// Folders in folders.
const DEPTH_MAX: usize = 12;

/// Folders of others' things.
const SKIPPED: [&str; 34] = [
    ".git",
    ".hg",
    ".jj",
    ".svn",
    "node_modules",
    "bower_components",
    "target",
    ".venv",
    "venv",
    "virtualenv",
    "__pycache__",
    "site-packages",
    ".tox",
    ".nox",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".eggs",
    "dist",
    "build",
    "out",
    "coverage",
    ".next",
    ".nuxt",
    ".output",
    ".svelte-kit",
    ".turbo",
    ".cache",
    ".terraform",
    ".gradle",
    "vendor",
    "Pods",
    ".direnv",
    ".yarn",
];

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Relative to the root; those higher up first, then by name.
    pub(super) files: Vec<PathBuf>,
    /// There is more than was looked at.
    pub(super) is_cut: bool,
}

/// The regular files below a folder.
pub(super) fn files(root: &Path) -> Tree {
    let (mut tree, mut entries) = (Tree::default(), 0);
    let mut folders = VecDeque::from([(PathBuf::new(), 0)]);
    while let Some((folder, depth)) = folders.pop_front() {
        // What may not be read is not ours to report.
        let Ok(read) = std::fs::read_dir(root.join(&folder)) else { continue };
        let left = ENTRIES_MAX - entries;
        let mut found: Vec<std::fs::DirEntry> = read.flatten().take(left + 1).collect();
        tree.is_cut |= found.len() > left;
        found.truncate(left);
        entries += found.len();
        found.sort_by_key(std::fs::DirEntry::file_name);
        let is_others = |name: &str| found.iter().any(|entry| entry.file_name() == name);
        // Of any name: a Python environment, or what says of itself that it is a cache.
        if depth > 0 && (is_others("pyvenv.cfg") || is_others("CACHEDIR.TAG")) {
            continue;
        }
        for entry in found {
            let path = folder.join(entry.file_name());
            // Of the entry itself: a link is neither.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_file() {
                tree.files.push(path);
            } else if kind.is_dir() && !SKIPPED.iter().any(|name| entry.file_name() == *name) {
                if depth == DEPTH_MAX {
                    tree.is_cut = true;
                } else {
                    folders.push_back((path, depth + 1));
                }
            }
        }
    }
    tree
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(tree: &Tree) -> Vec<&str> {
        tree.files.iter().map(|path| path.to_str().unwrap()).collect()
    }

    #[test]
    fn only_what_is_the_projects() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let paths = [
            ".env",
            "a/.env",
            "a/node_modules/x/.env",
            ".git/config",
            "env/pyvenv.cfg",
            "env/.env",
            "c/CACHEDIR.TAG",
            "c/x",
            ".github/w.yml",
            "CACHEDIR.TAG",
            "targets/x",
        ];
        for path in paths {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), "").unwrap();
        }
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join(".env"), "").unwrap();
        symlink(outside.path(), root.join("link")).unwrap();
        symlink(outside.path().join(".env"), root.join(".env.link")).unwrap();
        symlink(root, root.join("a/loop")).unwrap();
        let tree = files(root);
        assert_eq!(names(&tree), [".env", "CACHEDIR.TAG", ".github/w.yml", "a/.env", "targets/x"]);
        assert!(!tree.is_cut);
    }

    #[test]
    fn a_huge_tree_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let mut deep = folder.path().to_owned();
        for _ in 0..DEPTH_MAX + 3 {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join(".env"), "").unwrap();
        let tree = files(folder.path());
        assert!(tree.is_cut && tree.files.is_empty());
        for name in 0..ENTRIES_MAX {
            fs::File::create(folder.path().join(name.to_string())).unwrap();
        }
        let tree = files(folder.path());
        assert!(
            tree.is_cut && tree.files.len() < ENTRIES_MAX && tree.files.len() > ENTRIES_MAX - 10,
            "{}",
            tree.files.len()
        );
    }
}
