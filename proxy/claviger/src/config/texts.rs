//! The files that a configuration is made of, as they were read: what is judged is what is parsed.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

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
pub(crate) struct Texts(Vec<Text>);

impl Texts {
    /// Reads a file of the configuration.
    pub(crate) fn read(&mut self, path: &Path) -> std::io::Result<String> {
        let text = std::fs::read_to_string(path)?;
        self.0.push(Text { path: canonical(path), sha256: hex(text.as_bytes()), text: Some(text.clone()) });
        Ok(text)
    }

    /// Reads a file that somebody else may have put there: only a regular one, and only so many bytes.
    pub(crate) fn read_regular(&mut self, path: &Path, max: u64) -> std::io::Result<String> {
        let bytes = crate::os::read_regular(path, max)?;
        let text = String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8"))?;
        self.0.push(Text { path: canonical(path), sha256: hex(text.as_bytes()), text: Some(text.clone()) });
        Ok(text)
    }

    /// Notes a file that the configuration names and others read: what it holds is judged too.
    pub(crate) fn note(&mut self, path: &Path) -> std::io::Result<()> {
        let path = path.canonicalize()?;
        let bytes = crate::os::read_regular(&path, NAMED_MAX)?;
        if !self.0.iter().any(|text| text.path == path) {
            self.0.push(Text { path, sha256: hex(&bytes), text: None });
        }
        Ok(())
    }

    /// All that were read.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Text> {
        self.0.iter()
    }
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The SHA-256 of some bytes, in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
