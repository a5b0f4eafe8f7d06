//! What was decided about a project's configuration, and about which content: one file for each, in the XDG state folder.
//!
//! Deliberately not in `state_dir`: that is a word of the configuration about which is decided.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::discover::default_state_dir;
use super::super::texts::{Text, Texts, hex};

/// What this version writes, and all that it reads.
const FORMAT: u32 = 1;

/// What somebody decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Decision {
    /// It may be used as it was.
    Allowed,
    /// It may not.
    Denied,
}

/// One decision.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    format: u32,
    /// The file, links followed.
    pub(crate) path: String,
    pub(crate) decision: Decision,
    /// When, in RFC 3339.
    pub(crate) at: String,
    /// What it was made of.
    pub(crate) files: Vec<Pinned>,
}

/// One file as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pinned {
    /// Links followed.
    pub(crate) path: String,
    /// In hex.
    pub(crate) sha256: String,
    /// What it said, for `claviger config status` to show what changed; `None`: it is no configuration.
    pub(crate) text: Option<String>,
}

/// Why a record cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// The system did not let us.
    #[error("failed to {what} `{}`: {error}", .path.display())]
    Io { what: &'static str, path: PathBuf, error: std::io::Error },
    /// Somebody else could have written it.
    #[error("the record of what was allowed, `{}`, may be written by others than you", .0.display())]
    NotOurs(PathBuf),
    /// It is no record.
    #[error("`{}` is not a record of what was allowed: {error}", .path.display())]
    Broken { path: PathBuf, error: serde_json::Error },
    /// A newer version wrote it, or it is another file's.
    #[error("`{}` is not a record of this file that this Claviger reads", .0.display())]
    Foreign(PathBuf),
    /// Paths are kept as text.
    #[error("the path `{}` is not UTF-8", .0.display())]
    NotUtf8(PathBuf),
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> RecordError {
    let path = path.to_owned();
    move |error| RecordError::Io { what, path, error }
}

/// The record of a file.
pub(super) fn file_of(canonical: &Path) -> PathBuf {
    let name = hex(canonical.as_os_str().as_encoded_bytes());
    default_state_dir().join("trust").join(format!("{name}.json"))
}

impl Record {
    /// A decision about these texts, not written yet.
    pub(crate) fn new(canonical: &Path, decision: Decision, texts: &Texts) -> Result<Self, RecordError> {
        let utf8 = |path: &Path| path.to_str().map(ToOwned::to_owned).ok_or(RecordError::NotUtf8(path.to_owned()));
        let pin =
            |text: &Text| Ok(Pinned { path: utf8(&text.path)?, sha256: text.sha256.clone(), text: text.text.clone() });
        Ok(Self {
            format: FORMAT,
            path: utf8(canonical)?,
            decision,
            at: jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_else(|_| jiff::Timestamp::now()).to_string(),
            files: texts.iter().map(pin).collect::<Result<_, _>>()?,
        })
    }

    /// What was decided about a file; `None`: nothing.
    pub(super) fn read(canonical: &Path) -> Result<Option<Self>, RecordError> {
        let path = file_of(canonical);
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("read", &path)(error)),
        };
        // Of the file that was opened, not of what may stand there by now.
        if !is_ours(&file.metadata().map_err(io("read", &path))?) {
            return Err(RecordError::NotOurs(path));
        }
        let record: Self = serde_json::from_reader(std::io::BufReader::new(file))
            .map_err(|error| RecordError::Broken { path: path.clone(), error })?;
        if record.format != FORMAT || Path::new(&record.path) != canonical {
            return Err(RecordError::Foreign(path));
        }
        Ok(Some(record))
    }

    /// Writes it, whole or not at all, for nobody else to read: it holds what the files said.
    pub(crate) fn write(&self) -> Result<PathBuf, RecordError> {
        let path = file_of(Path::new(&self.path));
        let folder = path.parent().unwrap_or(Path::new("/"));
        let failed = io("write", &path);
        let written = || {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            // 0600 from its first moment.
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        written().map_err(failed)?;
        Ok(path)
    }
}

/// Whether nobody but this process's user could have written the file.
pub(crate) fn is_ours(metadata: &std::fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0
}
