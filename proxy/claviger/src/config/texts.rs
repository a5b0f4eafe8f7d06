//! The files that a configuration is made of, as they were read: what is judged is what is parsed.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use super::discover::Source;

/// No certificate, bundle or key set is larger, in bytes.
const NAMED_MAX: u64 = 64 << 20;

/// One file that was read.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    /// Links followed.
    pub(crate) path: PathBuf,
    /// Of the bytes that were parsed, in hex.
    pub(crate) sha256: String,
    /// What it says; `None`: it is not a configuration, but a file that one names, such as a certificate.
    pub(crate) text: Option<String>,
}

/// Every file that decides over what a configuration means, in the order in which they were read.
///
/// All files of a configuration (the file itself, what it includes, what teams say) are read through this and
/// never again, so that nothing can be put between the judgement of a file and its use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    all: Vec<Text>,
    /// Whether somebody else may have put the files there.
    of_project: bool,
}

/// No configuration file is longer, in bytes.
const FILE_MAX: u64 = 16 << 20;

impl Texts {
    /// For the files of this configuration.
    pub(crate) fn of(source: &Source) -> Self {
        Self { all: Vec::new(), of_project: source.project().is_some() }
    }

    /// Reads a file of the configuration. One that was named may be a pipe; one that was found may not.
    pub(crate) fn read(&mut self, path: &Path) -> std::io::Result<String> {
        if self.of_project {
            return self.read_regular(path, FILE_MAX);
        }
        let text = std::fs::read_to_string(path)?;
        self.all.push(Text { path: canonical(path), sha256: hex(text.as_bytes()), text: Some(text.clone()) });
        Ok(text)
    }

    /// Reads a file that somebody else may have put there: only a regular one, and only so many bytes.
    pub(crate) fn read_regular(&mut self, path: &Path, max: u64) -> std::io::Result<String> {
        let bytes = crate::os::read_regular(path, max)?;
        let text = String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8"))?;
        self.all.push(Text { path: canonical(path), sha256: hex(text.as_bytes()), text: Some(text.clone()) });
        Ok(text)
    }

    /// Notes a file that the configuration names and others read: what it holds is judged too.
    pub(crate) fn note(&mut self, path: &Path) -> std::io::Result<()> {
        let path = path.canonicalize()?;
        let bytes = crate::os::read_regular(&path, NAMED_MAX)?;
        if !self.all.iter().any(|text| text.path == path) {
            self.all.push(Text { path, sha256: hex(&bytes), text: None });
        }
        Ok(())
    }

    /// All that were read.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Text> {
        self.all.iter()
    }
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The SHA-256 of some bytes, in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
