//! A new value in place of an old one: both are kept until the rotation is finished or taken back.
//!
//! Each step reads and writes under the store's lock and replaces the file as a whole, so that two at once, or a process
//! that is killed, leave the state before or the state after.

use std::sync::Arc;

use claviger_contract::Secret;

use super::envelope::{Envelope, Metadata, Previous};
use super::{SealedEntry, SealedStore, check_length, fresh};
use crate::error::StoreError;

/// How a new value takes the place of the old one.
#[derive(Clone, Debug, Default)]
pub struct Rotate {
    /// The version that the caller saw. If the file has another by now, nothing is changed.
    pub expected: Option<Arc<str>>,
    /// A probe showed that upstream takes the new value.
    pub proven: bool,
    /// The old value is not kept, nor one that an open rotation keeps: for values that leaked.
    pub at_once: bool,
}

impl SealedStore {
    /// Seals a new value; hosts and owner stay, and the old value is kept beside it.
    ///
    /// # Errors
    ///
    /// [`StoreError::RotationOpen`] if a value is kept already: the one that works might be lost.
    /// [`StoreError::Unchanged`] if the value is the one in force, [`StoreError::Overtaken`] if somebody was quicker.
    pub fn rotate(&self, name: &str, value: Secret, how: &Rotate) -> Result<SealedEntry, StoreError> {
        check_length(name, value.len())?;
        self.change(name, how.expected.as_deref(), |old| {
            if old.metadata.grant.is_some() {
                return Err(StoreError::IsGrant(name.to_owned()));
            }
            if let Some(previous) = old.previous.as_ref().filter(|_| !how.at_once) {
                let (name, version) = (name.to_owned(), previous.version.clone());
                return Err(StoreError::RotationOpen { name, version });
            }
            if same(&value, &old.value) {
                return Err(StoreError::Unchanged(name.to_owned()));
            }
            let (version, created) = fresh();
            let Metadata { version: former, created: sealed, .. } = old.metadata.clone();
            let previous = Previous { version: former, created: Some(sealed), value: old.value };
            let metadata = Metadata { version, created, proven: how.proven, ..old.metadata };
            Ok(Envelope { metadata, value, previous: (!how.at_once).then_some(previous) })
        })
    }

    /// Ends a rotation: the previous value is dropped, and its version is returned beside what is left.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoRotation`] if none is open.
    pub fn finish(&self, name: &str) -> Result<(SealedEntry, Arc<str>), StoreError> {
        let mut dropped = None;
        let entry = self.change(name, None, |old| {
            let previous = old.previous.ok_or_else(|| StoreError::NoRotation(name.to_owned()))?;
            dropped = Some(previous.version);
            Ok(Envelope { previous: None, ..old })
        })?;
        dropped.map(|dropped| (entry, dropped)).ok_or_else(|| StoreError::NoRotation(name.to_owned()))
    }

    /// Takes a rotation back: the previous value is in force again under its version, and the new one is dropped.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoRotation`] if none is open.
    pub fn take_back(&self, name: &str) -> Result<(SealedEntry, Arc<str>), StoreError> {
        let mut dropped = None;
        let entry = self.change(name, None, |old| {
            let Previous { version, created, value } =
                old.previous.ok_or_else(|| StoreError::NoRotation(name.to_owned()))?;
            dropped = Some(old.metadata.version.clone());
            let created = created.unwrap_or(old.metadata.created);
            let metadata = Metadata { version, created, proven: false, ..old.metadata };
            Ok(Envelope { metadata, value, previous: None })
        })?;
        dropped.map(|dropped| (entry, dropped)).ok_or_else(|| StoreError::NoRotation(name.to_owned()))
    }

    /// Reads, changes and replaces one file, with nobody between.
    pub(super) fn change(
        &self,
        name: &str,
        expected: Option<&str>,
        change: impl FnOnce(Envelope) -> Result<Envelope, StoreError>,
    ) -> Result<SealedEntry, StoreError> {
        let path = self.path(name)?;
        if !self.folder.exists() {
            return Err(StoreError::NotFound(name.to_owned()));
        }
        let _lock = self.lock()?;
        let old = self.unseal(name, &path)?;
        if expected.is_some_and(|expected| *expected != *old.metadata.version) {
            return Err(StoreError::Overtaken(name.to_owned()));
        }
        self.write(&path, change(old)?)
    }
}

/// In a time that says nothing of where they differ.
pub(crate) fn same(one: &Secret, other: &Secret) -> bool {
    #[allow(clippy::disallowed_methods, reason = "two values are compared")]
    let (one, other) = (one.expose(), other.expose());
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}
