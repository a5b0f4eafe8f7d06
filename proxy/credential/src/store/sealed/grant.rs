//! What a login was granted: a refresh token, the one before it, and the access token that came last.
//!
//! The three stand one behind the other as the value of a sealed file; what is known of them stands beside it. Whoever
//! sends the refresh token holds the [`GrantLock`], and writes down beforehand that it is being sent: so that of several
//! processes one sends it, and whoever finds it after a crash knows that an answer may have been lost.

use std::fs::File;

use claviger_contract::Secret;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::envelope::{Envelope, Metadata};
use super::{SealedEntry, SealedStore, check_length, fresh};
use crate::binding::BoundHost;
use crate::digest::random_hex;
use crate::error::StoreError;
use crate::os;

/// What is known of a grant without its tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantNote {
    /// The credential that was logged in.
    pub credential: String,
    /// What was granted, as far as the server said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// When the refresh token was given out, in seconds since the Unix epoch.
    pub renewed: i64,
    /// The refresh token was seen to work; until then the one before it is kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proven: bool,
    /// It is being sent, or whoever sent it is gone: which try that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sent: Option<String>,
    /// Since when, in seconds since the Unix epoch, a refresh token may have been given out that never arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<i64>,
    /// When the server refused it (`invalid_grant`), in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    former_length: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access: Option<AccessNote>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessNote {
    id: String,
    asked: String,
    obtained_ms: i64,
    expires_ms: i64,
    length: usize,
}

/// An access token that is kept for every process that uses the grant.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) token: Secret,
    /// Random; tells it from others.
    pub(crate) id: String,
    /// A digest of what was asked for: another credential may ask another thing of the same grant.
    pub(crate) asked: String,
    /// In milliseconds since the Unix epoch.
    pub(crate) obtained_ms: i64,
    /// In milliseconds since the Unix epoch.
    pub(crate) expires_ms: i64,
}

/// A grant, open.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) note: GrantNote,
    /// Where the refresh token may go: the token endpoint.
    pub(crate) hosts: Vec<BoundHost>,
    pub(crate) refresh: Secret,
    /// The refresh token before, until the one in force has proven to work.
    pub(crate) former: Option<Secret>,
    pub(crate) access: Option<Access>,
}

/// The right to send a grant's refresh token, across processes. A child that inherits the file holds it on.
#[derive(Debug)]
pub(crate) struct GrantLock(pub(crate) File);

impl GrantNote {
    /// Of a grant that was given out at this time, in seconds since the Unix epoch.
    pub(crate) fn new(credential: String, scope: Option<String>, renewed: i64) -> Self {
        Self { credential, scope, renewed, ..Self::default() }
    }
}

impl Grant {
    /// Takes a token that was given out just now in place of the one that was `sent`.
    pub(crate) fn replace(&mut self, token: Secret, now: i64) {
        let former = std::mem::replace(&mut self.refresh, token);
        self.former = Some(former);
        self.note.proven = false;
        self.note.renewed = now;
    }

    /// The token in force was taken once more, or works on: what was before it is of no use.
    pub(crate) fn prove(&mut self) {
        self.former = None;
        self.note.proven = true;
    }

    fn open(envelope: Envelope) -> Option<Self> {
        let Envelope { metadata, value, .. } = envelope;
        let hosts = metadata.hosts;
        let Some(note) = metadata.grant else {
            // A refresh token that somebody had already, sealed by `claviger secret set`.
            let note = GrantNote { renewed: metadata.created, ..GrantNote::default() };
            return Some(Self { note, hosts, refresh: value, former: None, access: None });
        };
        #[allow(clippy::disallowed_methods, reason = "the value is taken apart; each part leaves as a Secret")]
        let bytes = value.expose();
        let part = |bytes: &[u8]| Secret::new(bytes.to_vec());
        let lengths = (note.former_length.unwrap_or(0), note.access.as_ref().map_or(0, |access| access.length));
        let (rest, access) = bytes.split_at_checked(bytes.len().checked_sub(lengths.1)?)?;
        let (refresh, former) = rest.split_at_checked(rest.len().checked_sub(lengths.0)?)?;
        let access = note.access.clone().map(|known| Access {
            token: part(access),
            id: known.id,
            asked: known.asked,
            obtained_ms: known.obtained_ms,
            expires_ms: known.expires_ms,
        });
        let former = note.former_length.map(|_| part(former));
        let refresh = part(refresh);
        Some(Self { note, hosts, refresh, former, access })
    }

    /// The three tokens as one value, and the note that takes them apart again.
    fn close(self) -> (Secret, GrantNote) {
        let Self { mut note, refresh, former, access, .. } = self;
        let tokens = || [Some(&refresh), former.as_ref(), access.as_ref().map(|access| &access.token)];
        let room = tokens().into_iter().flatten().map(Secret::len).sum();
        let mut value = Zeroizing::new(Vec::with_capacity(room));
        for token in tokens().into_iter().flatten() {
            #[allow(clippy::disallowed_methods, reason = "the tokens are put together to be sealed")]
            value.extend_from_slice(token.expose());
        }
        note.former_length = former.as_ref().map(Secret::len);
        note.access = access.map(|access| AccessNote {
            id: access.id,
            asked: access.asked,
            obtained_ms: access.obtained_ms,
            expires_ms: access.expires_ms,
            length: access.token.len(),
        });
        (Secret::new(std::mem::take(&mut *value)), note)
    }
}

impl SealedStore {
    /// A grant with its tokens.
    pub(crate) fn grant(&self, name: &str) -> Result<Grant, StoreError> {
        let path = self.path(name)?;
        let envelope = self.unseal(name, &path)?;
        Grant::open(envelope).ok_or(StoreError::Tampered(path))
    }

    /// Seals what a login was granted. Whatever stood under this name is replaced; its owner stays.
    pub(crate) fn set_grant(&self, name: &str, grant: Grant) -> Result<SealedEntry, StoreError> {
        let path = self.path(name)?;
        check_length(name, grant.refresh.len())?;
        let _lock = self.lock()?;
        let owner = self.unseal(name, &path).ok().and_then(|old| old.metadata.owner);
        let (version, created) = fresh();
        let hosts = grant.hosts.clone();
        let (value, note) = grant.close();
        let metadata =
            Metadata { name: name.to_owned(), hosts, owner, version, created, proven: false, grant: Some(note) };
        self.write(&path, Envelope { metadata, value, previous: None })
    }

    /// Reads, changes and replaces a grant, with nobody between. It is on disk when this returns.
    pub(crate) fn change_grant(
        &self,
        name: &str,
        change: impl FnOnce(&mut Grant) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let path = self.path(name)?;
        self.change(name, None, |old| {
            let Metadata { name, owner, created, .. } = old.metadata.clone();
            let mut grant = Grant::open(old).ok_or(StoreError::Tampered(path.clone()))?;
            change(&mut grant)?;
            let hosts = grant.hosts.clone();
            let (value, note) = grant.close();
            let version = fresh().0;
            let metadata = Metadata { name, hosts, owner, version, created, proven: false, grant: Some(note) };
            Ok(Envelope { metadata, value, previous: None })
        })
        .map(drop)
    }

    /// Writes down that the refresh token is about to be sent; the name of the try is returned. The caller holds the lock.
    pub(crate) fn announce(&self, name: &str, now: i64) -> Result<String, StoreError> {
        let attempt = random_hex();
        self.change_grant(name, |grant| {
            // Whoever announced it before held the lock, and is gone.
            if grant.note.sent.take().is_some() {
                grant.note.unanswered = Some(now);
            }
            grant.note.sent = Some(attempt.clone());
            Ok(())
        })?;
        Ok(attempt)
    }

    /// The lock, unless another process (or another credential of this one) holds it.
    pub(crate) fn try_lock_grant(&self, name: &str) -> Result<Option<GrantLock>, StoreError> {
        let path = self.path(name)?;
        let folder = path.parent().unwrap_or(&self.folder);
        os::create_private_dir(folder).map_err(StoreError::io("create", folder))?;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let lock = folder.join(format!(".{file}.lock"));
        Ok(os::try_lock(&lock).map_err(StoreError::io("lock", &lock))?.map(GrantLock))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::text;

    fn secret(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    fn grant(refresh: &str, former: Option<&str>, access: Option<&str>) -> Grant {
        let access = access.map(|token| Access {
            token: secret(token),
            id: "a1".into(),
            asked: "x".into(),
            obtained_ms: 1,
            expires_ms: 2,
        });
        let note = GrantNote { credential: "crm".into(), renewed: 7, ..GrantNote::default() };
        let hosts = vec![BoundHost::parse("login.test").unwrap()];
        Grant { note, hosts, refresh: secret(refresh), former: former.map(secret), access }
    }

    fn tokens(grant: &Grant) -> (String, Option<String>, Option<String>) {
        let access = grant.access.as_ref().map(|access| text(&access.token));
        (text(&grant.refresh), grant.former.as_ref().map(text), access)
    }

    #[test]
    fn a_grant_is_what_was_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let store = SealedStore::open(folder.path());
        for (former, access) in
            [(None, None), (Some("former-1"), None), (None, Some("access-1")), (Some("former-1"), Some("access-1"))]
        {
            store.set_grant("crm", grant("refresh-1", former, access)).unwrap();
            let read = store.grant("crm").unwrap();
            assert_eq!(tokens(&read), ("refresh-1".into(), former.map(str::to_owned), access.map(str::to_owned)));
            assert_eq!((read.note.credential.as_str(), read.note.renewed), ("crm", 7));
        }
        let listed = store.list().unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0].grant.as_ref().map(|note| note.credential.as_str()), Some("crm"));
    }

    #[test]
    fn a_grant_is_nothing_to_inject_nor_to_rotate_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let store = SealedStore::open(folder.path());
        store.set_grant("crm", grant("refresh-1", None, None)).unwrap();
        let read = super::super::SecretStore::read_now(&store, "crm").unwrap();
        assert!(matches!(read, Err(StoreError::IsGrant(_))), "{read:?}");
        let rotated = store.rotate("crm", secret("other-value"), &super::super::Rotate::default());
        assert!(matches!(rotated, Err(StoreError::IsGrant(_))), "{rotated:?}");
        assert_eq!(tokens(&store.grant("crm").unwrap()).0, "refresh-1");
    }

    #[test]
    fn a_refresh_token_that_was_set_by_hand_is_a_grant() {
        let folder = tempfile::tempdir().unwrap();
        let store = SealedStore::open(folder.path());
        store.set("crm", secret("refresh-0"), vec!["login.test".into()], Some("ops".into())).unwrap();
        assert_eq!(tokens(&store.grant("crm").unwrap()), ("refresh-0".into(), None, None));
        store
            .change_grant("crm", |grant| {
                grant.replace(secret("refresh-1"), 9);
                Ok(())
            })
            .unwrap();
        let read = store.grant("crm").unwrap();
        assert_eq!(tokens(&read), ("refresh-1".into(), Some("refresh-0".into()), None));
        assert_eq!(store.entry("crm").unwrap().owner.as_deref(), Some("ops"));
    }

    #[test]
    fn who_finds_an_announcement_knows_that_an_answer_may_be_lost() {
        let folder = tempfile::tempdir().unwrap();
        let store = SealedStore::open(folder.path());
        store.set_grant("crm", grant("refresh-1", None, None)).unwrap();
        let first = store.announce("crm", 8).unwrap();
        assert_eq!(store.grant("crm").unwrap().note.unanswered, None);
        let second = store.announce("crm", 8).unwrap();
        let note = store.grant("crm").unwrap().note;
        assert_ne!(first, second);
        assert_eq!(note.sent, Some(second));
        assert_eq!(note.unanswered, Some(8));
    }

    #[test]
    fn one_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let store = SealedStore::open(folder.path());
        let held = store.try_lock_grant("team/crm").unwrap();
        assert!(held.is_some());
        assert!(store.try_lock_grant("team/crm").unwrap().is_none());
        assert!(store.try_lock_grant("team/other").unwrap().is_some());
        drop(held);
        assert!(store.try_lock_grant("team/crm").unwrap().is_some());
    }
}
