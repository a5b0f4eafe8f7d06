//! `conf.d/*.toml`: which files a configuration is made of.

use std::path::{Path, PathBuf};

use claviger_policy::document::Located;

/// One file, or those of one folder whose names match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pattern {
    folder: PathBuf,
    name: String,
    /// `None`: the name is one file's.
    names: Option<glob::Pattern>,
    /// The longest file that is read, in bytes.
    file_max: u64,
}

/// What stands for something else in a name.
const WILD: [char; 3] = ['*', '?', '['];

/// Files that are hidden match only where the pattern begins with a dot.
const HOW: glob::MatchOptions =
    glob::MatchOptions { case_sensitive: true, require_literal_separator: false, require_literal_leading_dot: true };

impl Pattern {
    /// Parses what is written; a relative one is about the folder of the file that holds it.
    ///
    /// Deliberately absent: wildcards in folders. All files of a pattern lie in one folder, which can be watched.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub(crate) fn parse(written: &Located<String>, file_max: u64) -> Result<Self, (String, &'static str)> {
        let text = &written.value;
        let (folder, name) = text.rsplit_once('/').unwrap_or(("", text));
        if name.is_empty() {
            return Err((format!("`{text}` names no file"), "write `FOLDER/*.toml`"));
        }
        if folder.contains(WILD) || name.contains("**") {
            let message = format!("in `{text}`, `*` stands for more than the names of one folder");
            return Err((message, "list the folders, as `[\"a/*.toml\", \"b/*.toml\"]`"));
        }
        let names = if name.contains(WILD) {
            let wrong = |error: glob::PatternError| {
                (
                    format!("`{text}` is no pattern: {}", error.msg),
                    "`*` is any run of characters, `?` one, `[ab]` one of these",
                )
            };
            Some(glob::Pattern::new(name).map_err(wrong)?)
        } else {
            None
        };
        let whole = claviger_contract::path::resolve(written);
        let folder = whole.parent().map(Path::to_owned).unwrap_or_default();
        Ok(Self { folder, name: name.to_owned(), names, file_max })
    }

    /// The folder that holds the files.
    pub(crate) fn folder(&self) -> &Path {
        if self.folder.as_os_str().is_empty() { Path::new(".") } else { &self.folder }
    }

    /// The longest file that is read, in bytes.
    pub(crate) fn file_max(&self) -> u64 {
        self.file_max
    }

    /// Whether a file of this name would match, in its folder.
    pub(crate) fn is_name(&self, name: &std::ffi::OsStr) -> bool {
        match &self.names {
            Some(names) => names.matches_with(&name.to_string_lossy(), HOW),
            None => name.as_encoded_bytes() == self.name.as_bytes(),
        }
    }

    /// The files that match now, by name. Hidden ones only where the pattern begins with a dot: editors leave some.
    ///
    /// # Errors
    /// A folder that is there and cannot be read: it may hold files that should count.
    pub(crate) fn files(&self) -> std::io::Result<Vec<PathBuf>> {
        let Some(names) = &self.names else {
            let file = self.folder.join(&self.name);
            // A dangling link is there too: that it cannot be read is said when it is.
            return Ok(if file.symlink_metadata().is_ok() { vec![file] } else { Vec::new() });
        };
        let entries = match std::fs::read_dir(self.folder()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            if names.matches_with(&name.to_string_lossy(), HOW) {
                found.push(self.folder.join(name));
            }
        }
        found.sort();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use claviger_policy::document::{Diagnostics, SourceFile, parse};

    use super::*;

    fn located(folder: &Path, text: &str) -> Located<String> {
        let file = SourceFile::new(folder.join("c.toml").display().to_string(), format!("a = '{text}'"));
        let mut out = Diagnostics::default();
        parse(&file, &mut out).unwrap().string("a", &mut out).unwrap()
    }

    #[test]
    fn names_of_one_folder_match() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.toml", "a.toml", ".hidden.toml", "a.toml~", "c.txt", "d/e.toml"] {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        std::os::unix::fs::symlink("nowhere", folder.path().join("z.toml")).unwrap();
        let check = |text: &str, expected: &[&str]| {
            let pattern = Pattern::parse(&located(folder.path(), text), 1).unwrap();
            let expected: Vec<_> = expected.iter().map(|name| folder.path().join(name)).collect();
            assert_eq!(pattern.files().unwrap(), expected, "{text}");
        };
        check("*.toml", &["a.toml", "b.toml", "z.toml"]);
        check("?.toml", &["a.toml", "b.toml", "z.toml"]);
        check("[ab].toml", &["a.toml", "b.toml"]);
        check("a.toml", &["a.toml"]);
        check("z.toml", &["z.toml"]);
        check("d/*.toml", &["d/e.toml"]);
        check("x.toml", &[]);
        check("x/*.toml", &[]);
        check("*.yaml", &[]);
        check(&format!("{}/d/*", folder.path().display()), &["d/e.toml"]);
    }

    #[test]
    fn what_is_no_pattern() {
        for (text, said) in [
            ("", "names no file"),
            ("conf.d/", "names no file"),
            ("*/x.toml", "list the folders"),
            ("a/**", "list the folders"),
            ("a/**.toml", "list the folders"),
            ("[a.toml", "is no pattern"),
        ] {
            let (message, help) = Pattern::parse(&located(Path::new("/x"), text), 1).unwrap_err();
            assert!(message.contains(said) || help.contains(said), "{text}: {message}");
        }
    }
}
