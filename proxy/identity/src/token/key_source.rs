//! Where the keys of an issuer come from.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::algorithm::Algorithm;
use super::jws::Jws;
use super::key::KeyUse;
use super::key_set::{Found, KeySet};
use super::remote::RemoteKeys;
use crate::IdentityError;
use crate::watched::Watched;

/// A key set that changes over time. Each change has a generation, so that what was verified under an older set
/// is verified again.
#[derive(Debug)]
pub(crate) enum KeySource {
    /// A file, read again when it changes.
    File(FileKeys),
    /// A URL, fetched ahead of need.
    Remote(Arc<RemoteKeys>),
}

impl KeySource {
    /// The generation of the keys in use.
    pub(crate) fn generation(&self) -> u64 {
        match self {
            Self::File(file) => file.generation.load(Ordering::Acquire),
            Self::Remote(remote) => remote.generation(),
        }
    }

    /// Verifies the signature; yields the generation that it was verified under.
    pub(crate) async fn verify(&self, token: &Jws<'_>, allowed: &[Algorithm]) -> Result<u64, IdentityError> {
        match self {
            Self::File(file) => file.verify(token, allowed),
            Self::Remote(remote) => remote.verify(token, allowed).await,
        }
    }

    /// Whether the keys at hand do not speak against a token that they once verified. Keys that are not at hand say
    /// nothing.
    pub(crate) fn may_hold(&self, token: &Jws<'_>, allowed: &[Algorithm]) -> bool {
        match self {
            Self::File(file) => file.verify(token, allowed).is_ok(),
            Self::Remote(remote) => remote.may_hold(token, allowed),
        }
    }
}

/// The refusal for a token whose key the issuer does not have.
pub(crate) const UNKNOWN_KEY: IdentityError = IdentityError::Untrusted("the issuer has no such key");

/// Keys from a file.
#[derive(Debug)]
pub(crate) struct FileKeys {
    file: Watched<KeySet>,
    generation: AtomicU64,
}

impl FileKeys {
    /// Reads the file for the first time.
    pub(crate) fn open(path: PathBuf, wanted: KeyUse) -> Result<Self, String> {
        let parse: fn(&[u8]) -> Result<KeySet, String> = match wanted {
            KeyUse::Signature => |text| KeySet::parse(text, KeyUse::Signature).map_err(str::to_owned),
            KeyUse::JwtSvid => |text| KeySet::parse(text, KeyUse::JwtSvid).map_err(str::to_owned),
        };
        Ok(Self { file: Watched::open(path, parse)?, generation: AtomicU64::new(0) })
    }

    /// The generation of the keys in use.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Reads again.
    pub(crate) fn look(&self) {
        if self.file.look() {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The file.
    pub(crate) fn file(&self) -> &Watched<KeySet> {
        &self.file
    }

    /// Verifies the signature; yields the generation that it was verified under.
    pub(crate) fn verify(&self, token: &Jws<'_>, allowed: &[Algorithm]) -> Result<u64, IdentityError> {
        // Read before the keys: a swap in between makes the result old, never an old result new.
        let generation = self.generation();
        match self.file.get().verify(token, allowed) {
            Found::Verified => Ok(generation),
            Found::UnknownKey => Err(UNKNOWN_KEY),
            Found::Bad(error) => Err(error),
        }
    }
}
