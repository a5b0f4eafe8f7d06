//! The files that a configuration is made of, as they were read: what is judged is what is parsed.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

/// One file that was read.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    /// Links followed.
    pub(crate) path: PathBuf,
    /// Of the bytes that were parsed, in hex.
    pub(crate) sha256: String,
    /// The text; empty for a file that is not a configuration, such as a certificate.
    pub(crate) text: String,
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
        self.0.push(Text { path: canonical(path), sha256: hex(text.as_bytes()), text: text.clone() });
        Ok(text)
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
