//! Whether a configuration that was found in a project's folder may be used.
//!
//! A cloned repository must not be able to spend your keys. So a file that was found, and not named, is inert until its
//! owner has allowed it; and it is allowed as it is, with every file that it is made of, by their hashes. What is compared
//! is what was parsed: [`Texts`] holds both from one read.

mod record;

use std::path::{Path, PathBuf};

use claviger_policy::document::Diagnostics;

use super::discover::Source;
use super::effective::Effective;
use super::files::Files;
use super::texts::Texts;
pub(crate) use record::{Decision, Pinned, Record, RecordError, is_ours};

/// A file that counts only as far as it was allowed.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    canonical: PathBuf,
}

/// How a project's configuration stands, as it is now.
#[derive(Debug)]
pub(crate) enum Standing {
    /// It may be used.
    Allowed(Record),
    /// Nobody has decided.
    Undecided,
    /// Somebody has decided against it.
    Denied(Record),
    /// It was allowed, and is something else now.
    Changed(Record, Vec<Change>),
}

/// One difference between what was allowed and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The file, links followed.
    pub(crate) path: PathBuf,
    /// What became of it.
    pub(crate) kind: ChangeKind,
}

/// What became of a file since it was allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// Its content is another.
    Changed,
    /// It was not there.
    New,
    /// It is not part of the configuration any more.
    Gone,
}

impl ChangeKind {
    /// For programs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::New => "new",
            Self::Gone => "gone",
        }
    }

    fn since(self) -> &'static str {
        match self {
            Self::Changed => "has changed since it was allowed",
            Self::New => "is new since this configuration was allowed",
            Self::Gone => "is gone since this configuration was allowed",
        }
    }
}

impl Project {
    pub(super) fn new(canonical: PathBuf) -> Self {
        Self { canonical }
    }

    /// The file, links followed.
    pub(crate) fn canonical(&self) -> &Path {
        &self.canonical
    }

    /// A path as it reads in messages: below the project's folder, from there.
    pub(crate) fn name_of(&self, path: &Path) -> String {
        let below = self.canonical.parent().and_then(|folder| path.strip_prefix(folder).ok());
        below.unwrap_or(path).display().to_string()
    }

    /// Where its record lies; whoever watches it learns that the file was allowed.
    pub(crate) fn record_file(&self) -> PathBuf {
        record::file_of(&self.canonical)
    }

    /// How what was read stands.
    pub(crate) fn standing(&self, texts: &Texts) -> Result<Standing, RecordError> {
        let Some(record) = Record::read(&self.canonical)? else { return Ok(Standing::Undecided) };
        if record.decision == Decision::Denied {
            return Ok(Standing::Denied(record));
        }
        let changes = changes(&record.files, texts);
        Ok(if changes.is_empty() { Standing::Allowed(record) } else { Standing::Changed(record, changes) })
    }
}

/// Every file counts, the number of them too: to take a file with a deny away says as much as to write an allow.
fn changes(pinned: &[Pinned], texts: &Texts) -> Vec<Change> {
    let pin_of = |path: &Path| pinned.iter().find(|pin| Path::new(&pin.path) == path);
    let now = texts.iter().filter_map(|text| {
        let kind = match pin_of(&text.path) {
            None => ChangeKind::New,
            Some(pin) if pin.sha256 != text.sha256 => ChangeKind::Changed,
            Some(_) => return None,
        };
        Some(Change { path: text.path.clone(), kind })
    });
    let is_there = |pin: &&Pinned| !texts.iter().any(|text| text.path == Path::new(&pin.path));
    let gone = pinned.iter().filter(is_there).map(|pin| Change { path: (&pin.path).into(), kind: ChangeKind::Gone });
    now.chain(gone).collect()
}

/// Adds the files that the configuration names and that lie in the project's folder (certificates, key sets, bundles):
/// whoever can change them changes what it means. Those that lie elsewhere are not the project's to change; but a link in
/// the project's folder is, wherever it leads.
pub(crate) fn note_named(project: &Project, files: &Files, texts: &mut Texts) -> Result<(), String> {
    let Some(effective) = Effective::of(files)? else { return Ok(()) };
    let folder = project.canonical.parent().unwrap_or(Path::new("/"));
    let is_here = |file: &Path| {
        let named = std::path::absolute(file).is_ok_and(|named| named.starts_with(folder));
        named || file.canonicalize().is_ok_and(|canonical| canonical.starts_with(folder))
    };
    let named =
        effective.written().into_iter().filter(|(_, leaf)| leaf.is == Some("file")).filter_map(|(_, leaf)| leaf.file());
    let here: Vec<PathBuf> = named.filter(|file| is_here(file)).collect();
    for file in &here {
        // One that cannot be read is an error of its own, where it is named.
        let _ = texts.note(file);
    }
    Ok(())
}

/// Whether what was read may be used; if not, the reason is in `out`, with what to type.
pub(super) fn admit(source: &Source, files: Option<&Files>, texts: &mut Texts, out: &mut Diagnostics) -> Option<()> {
    let Some(project) = source.project() else { return Some(()) };
    if let Some(Err(error)) = files.map(|files| note_named(project, files, texts)) {
        out.error_nowhere(error);
        return None;
    }
    let file = project.canonical.display();
    match project.standing(texts) {
        Ok(Standing::Allowed(_)) => return Some(()),
        Ok(Standing::Undecided) => out
            .error_nowhere(format!("`{file}` was found in the folder of a project, and nobody has allowed it"))
            .help("read it, then type `claviger config allow`; another configuration is named with `--config`"),
        Ok(Standing::Denied(_)) => out
            .error_nowhere(format!("`{file}` was found in the folder of a project, and was denied"))
            .help("name another configuration with `--config`, or type `claviger config allow`"),
        Ok(Standing::Changed(_, changes)) => {
            // One is enough to say that it is so; `status` names them all.
            let first = changes.first().map(|change| (project.name_of(&change.path), change.kind.since()));
            let (name, since) = first.unwrap_or_default();
            out.error_nowhere(format!("`{file}` is not used: `{name}` {since}")).help(
                "`claviger config status` shows what changed; to allow it as it is now, type `claviger config allow`",
            )
        }
        Err(error) => out
            .error_nowhere(format!("`{file}` is not used: {error}"))
            .help("put that right, or remove it and type `claviger config allow`"),
    };
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(path: &str, sha256: &str) -> Pinned {
        Pinned { path: path.to_owned(), sha256: sha256.to_owned(), text: None }
    }

    #[test]
    fn every_difference_counts() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let path = |name: &str| folder.join(name).display().to_string();
        let mut texts = Texts::default();
        for name in ["a", "b"] {
            std::fs::write(path(name), name).unwrap();
            texts.read(Path::new(&path(name))).unwrap();
        }
        let hash = super::super::texts::hex;
        let check = |pinned: &[Pinned], expected: &[(&str, ChangeKind)]| {
            let found = changes(pinned, &texts);
            let expected: Vec<Change> =
                expected.iter().map(|(name, kind)| Change { path: path(name).into(), kind: *kind }).collect();
            assert_eq!(found, expected);
        };
        let (a, b) = (pin(&path("a"), &hash(b"a")), pin(&path("b"), &hash(b"b")));
        check(&[a.clone(), b.clone()], &[]);
        check(&[b.clone(), a.clone()], &[]);
        check(std::slice::from_ref(&a), &[("b", ChangeKind::New)]);
        check(&[a.clone(), b.clone(), pin(&path("c"), &hash(b"c"))], &[("c", ChangeKind::Gone)]);
        check(&[a, pin(&path("b"), &hash(b"B"))], &[("b", ChangeKind::Changed)]);
    }

    /// A file that is changed once it was read is judged as it was read, which is what was parsed.
    #[test]
    fn what_was_read_is_what_is_judged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("claviger.toml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let hash = super::super::texts::hex;
        write("version = 1");
        let (mut texts, mut out) = (Texts::default(), Diagnostics::default());
        let files = super::super::files(&path, &mut texts, &mut out).unwrap();
        write("version = 2");
        let (name, good, bad) = (path.display().to_string(), hash(b"version = 1"), hash(b"version = 2"));
        assert_eq!(changes(&[pin(&name, &good)], &texts), []);
        assert_eq!(changes(&[pin(&name, &bad)], &texts).len(), 1);
        assert_eq!(files.iter().next().unwrap().source.text(), "version = 1");
    }
}
