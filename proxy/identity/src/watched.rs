//! A file that is read again when it changes. A broken new text never replaces a good old one.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};

/// The largest file that is read, in bytes.
const FILE_MAX: u64 = 8 * 1024 * 1024;

/// How often files are looked at. They are small and are compared by content: times and sizes can lie.
pub(crate) const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(2);

/// What a file says, as of its last good text.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    path: PathBuf,
    parse: fn(&[u8]) -> Result<T, String>,
    value: ArcSwap<T>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    seen: Option<Vec<u8>>,
    error: Option<String>,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads a file for the first time. The error is for the operator and names the path.
    pub(crate) fn open(path: PathBuf, parse: fn(&[u8]) -> Result<T, String>) -> Result<Self, String> {
        let (value, seen) = read(&path)
            .map_err(|error| failed("read", &path, &error))
            .and_then(|text| Ok((parse(&text).map_err(|error| failed("use", &path, &error))?, fingerprint(&text))))?;
        let state = Mutex::new(State { seen: Some(seen), error: None });
        Ok(Self { path, parse, value: ArcSwap::from_pointee(value), state })
    }

    /// The last good text's meaning.
    pub(crate) fn get(&self) -> arc_swap::Guard<Arc<T>> {
        self.value.load()
    }

    /// Reads again; true if the meaning was replaced.
    pub(crate) fn look(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let text = match read(&self.path) {
            Ok(text) => text,
            Err(error) => {
                state.error = Some(failed("read", &self.path, &error));
                // What comes back is judged anew, also when it is the text of before.
                state.seen = None;
                return false;
            }
        };
        let seen = fingerprint(&text);
        if state.seen.as_ref() == Some(&seen) {
            return false;
        }
        state.seen = Some(seen);
        match (self.parse)(&text) {
            Ok(value) => {
                self.value.store(Arc::new(value));
                state.error = None;
                true
            }
            Err(error) => {
                state.error = Some(failed("use", &self.path, &error));
                false
            }
        }
    }

    /// Why the file as it is now is not in use; `None` if it is.
    pub(crate) fn error(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).error.clone()
    }

    /// Which file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn failed(what: &str, path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("failed to {what} `{}`: {error}", path.display())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(FILE_MAX + 1).read_to_end(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|len| len <= FILE_MAX) {
        Ok(text)
    } else {
        Err(io::Error::other("larger than 8 MiB"))
    }
}

fn fingerprint(text: &[u8]) -> Vec<u8> {
    digest(&SHA256, text).as_ref().to_vec()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_broken_text_keeps_the_old_one_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        std::fs::write(&path, "1").unwrap();
        let parse = |text: &[u8]| String::from_utf8_lossy(text).parse::<u32>().map_err(|error| error.to_string());
        let watched = Watched::open(path.clone(), parse).unwrap();
        assert!(!watched.look(), "nothing changed");

        std::fs::write(&path, "x").unwrap();
        assert!(!watched.look());
        assert_eq!(**watched.get(), 1);
        assert!(watched.error().unwrap().contains("number`: invalid digit"), "{:?}", watched.error());

        std::fs::remove_file(&path).unwrap();
        assert!(!watched.look());
        assert_eq!(**watched.get(), 1);
        assert!(watched.error().unwrap().starts_with("failed to read"));

        std::fs::write(&path, "2").unwrap();
        assert!(watched.look());
        assert_eq!((**watched.get(), watched.error()), (2, None));
        assert!(Watched::open(folder.path().join("absent"), parse).is_err());
    }
}
