//! The handle: what a client that logs in is given in place of a token.
//!
//! ```text
//! clvh_ base64url( nonce (12) ‖ sealed( issued (8) ‖ expires (8) ‖ service (16) ‖ listener (16) ‖ owner ) ‖ tag (16) )
//! ```
//!
//! AES-256-GCM under a key of Claviger's own. A handle opens nothing by itself: it is asked for beside the workload's own
//! proof, and only its owner's is taken. Nothing is remembered of a login, so that nothing grows with logins, and every
//! replica with the same key reads every handle.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_contract::Secret;
use claviger_policy::SpiffeId;

/// How every handle begins.
pub(crate) const PREFIX: &str = "clvh_";

/// No handle is longer, in bytes.
pub(crate) const HANDLE_MAX: usize = 1_024;

/// A longer SPIFFE ID stands in a handle as its digest.
const OWNER_MAX: usize = 512;

/// What the seal is for, so that no other use of the key could make one.
const PURPOSE: &[u8] = b"claviger handle 1";

const KEY_LEN: usize = 32;
const NAME_LEN: usize = 16;
const FIXED_LEN: usize = 8 + 8 + NAME_LEN + NAME_LEN;
const TAG_LEN: usize = 16;

/// Seals and opens handles. Cheap to clone.
#[derive(Clone)]
pub struct HandleKey(Arc<RandomizedNonceKey>);

impl HandleKey {
    /// A new key, with its bytes for [`HandleKey::new`].
    ///
    /// # Errors
    ///
    /// There is no randomness.
    pub fn generate() -> Result<(Self, Secret), HandleKeyError> {
        let mut bytes = zeroize::Zeroizing::new(vec![0; KEY_LEN]);
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| HandleKeyError)?;
        let secret = Secret::new(bytes.to_vec());
        Ok((Self::new(&secret)?, secret))
    }

    /// The key of these 32 bytes.
    ///
    /// # Errors
    ///
    /// They are not 32.
    pub fn new(bytes: &Secret) -> Result<Self, HandleKeyError> {
        #[allow(clippy::disallowed_methods, reason = "handed to the cipher")]
        let key = RandomizedNonceKey::new(&AES_256_GCM, bytes.expose()).map_err(|_| HandleKeyError)?;
        Ok(Self(Arc::new(key)))
    }

    /// The handle's text; `None` only if there is no randomness.
    pub(crate) fn seal(&self, handle: &Handle) -> Option<String> {
        let mut text = Vec::with_capacity(FIXED_LEN + handle.owner.0.len() + TAG_LEN);
        text.extend_from_slice(&handle.issued.to_be_bytes());
        text.extend_from_slice(&handle.expires.to_be_bytes());
        text.extend_from_slice(&handle.service.0);
        text.extend_from_slice(&handle.listener.0);
        text.extend_from_slice(handle.owner.0.as_bytes());
        let nonce = self.0.seal_in_place_append_tag(Aad::from(PURPOSE), &mut text).ok()?;
        let whole = [nonce.as_ref().as_slice(), &text].concat();
        Some(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(whole)))
    }

    /// What a text says that this key sealed; `None` for any other text.
    pub(crate) fn open(&self, text: &[u8]) -> Option<Handle> {
        if text.len() > HANDLE_MAX {
            return None;
        }
        let mut whole = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX.as_bytes())?).ok()?;
        let (nonce, sealed) = whole.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain: &[u8] = self.0.open_in_place(nonce, Aad::from(PURPOSE), sealed).ok()?;
        let (issued, plain) = plain.split_first_chunk::<8>()?;
        let (expires, plain) = plain.split_first_chunk::<8>()?;
        let (service, plain) = plain.split_first_chunk::<NAME_LEN>()?;
        let (listener, plain) = plain.split_first_chunk::<NAME_LEN>()?;
        Some(Handle {
            issued: i64::from_be_bytes(*issued),
            expires: i64::from_be_bytes(*expires),
            service: Name(*service),
            listener: Name(*listener),
            owner: Owner(std::str::from_utf8(plain).ok()?.into()),
        })
    }
}

impl fmt::Debug for HandleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandleKey(…)")
    }
}

/// The key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key of handles is not one of 32 bytes")]
pub struct HandleKeyError;

/// What a handle says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handle {
    /// When it was given out, in seconds since the Unix epoch.
    pub(crate) issued: i64,
    /// When it ends, in seconds since the Unix epoch.
    pub(crate) expires: i64,
    pub(crate) service: Name,
    pub(crate) listener: Name,
    pub(crate) owner: Owner,
}

/// The digest of a service's or listener's name: names may be long, a handle is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name([u8; NAME_LEN]);

impl Name {
    pub(crate) fn of(name: &str) -> Self {
        let mut start = [0; NAME_LEN];
        for (to, from) in start.iter_mut().zip(digest(&SHA256, name.as_bytes()).as_ref()) {
            *to = *from;
        }
        Self(start)
    }
}

/// Whom a handle was given to: a SPIFFE ID, or of a very long one the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner(Box<str>);

impl Owner {
    pub(crate) fn of(id: &SpiffeId) -> Self {
        let id = id.as_str();
        if id.len() <= OWNER_MAX {
            return Self(id.into());
        }
        let hash = digest(&SHA256, id.as_bytes());
        let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("sha256:{hex}").into())
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> HandleKey {
        HandleKey::generate().unwrap().0
    }

    fn id(path: &str) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://acme.test/{path}")).unwrap()
    }

    fn handle(owner: &SpiffeId) -> Handle {
        let (service, listener) = (Name::of("crm"), Name::of("egress"));
        Handle { issued: 1_000, expires: 2_000, service, listener, owner: Owner::of(owner) }
    }

    #[test]
    fn what_was_sealed_is_what_is_opened() {
        let (key, handle) = (key(), handle(&id("ci/app")));
        let (one, other) = (key.seal(&handle).unwrap(), key.seal(&handle).unwrap());
        assert_ne!(one, other, "two logins are two handles");
        assert_eq!(key.open(one.as_bytes()), Some(handle.clone()));
        assert_eq!(key.open(other.as_bytes()), Some(handle));
    }

    #[test]
    fn another_key_opens_nothing() {
        let sealed = key().seal(&handle(&id("ci/app"))).unwrap();
        assert_eq!(key().open(sealed.as_bytes()), None);
    }

    #[test]
    fn the_bytes_make_the_same_key() {
        let (key, bytes) = HandleKey::generate().unwrap();
        let sealed = key.seal(&handle(&id("ci/app"))).unwrap();
        assert!(HandleKey::new(&bytes).unwrap().open(sealed.as_bytes()).is_some());
        assert_eq!(HandleKey::new(&Secret::new(vec![7; 31])).err(), Some(HandleKeyError));
    }

    #[test]
    fn nothing_of_it_can_be_read() {
        let sealed = key().seal(&handle(&id("ci/app"))).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&sealed[PREFIX.len()..]).unwrap();
        assert!(memchr::memmem::find(&bytes, b"spiffe").is_none());
        assert!(!sealed.contains('.'), "it cannot be taken for a JWT");
    }

    #[test]
    fn a_long_owner_stands_as_a_digest() {
        let (long, key) = (id(&"x".repeat(1_900)), key());
        let sealed = key.seal(&handle(&long)).unwrap();
        let longest = key.seal(&handle(&id(&"x".repeat(OWNER_MAX - "spiffe://acme.test/".len())))).unwrap();
        assert!(longest.len() <= HANDLE_MAX, "{}", longest.len());
        assert!(sealed.len() < longest.len());
        let opened = key.open(sealed.as_bytes()).unwrap();
        assert_eq!(opened.owner, Owner::of(&long));
        assert_ne!(opened.owner, Owner::of(&id(&"x".repeat(1_901))));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(key().open(&text), None);
            let prefixed = [PREFIX.as_bytes(), &text].concat();
            prop_assert_eq!(key().open(&prefixed), None);
            let encoded = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&text));
            prop_assert_eq!(key().open(encoded.as_bytes()), None);
        }

        #[test]
        fn one_changed_character_opens_nothing(at in 0_usize..1_000, with in "[A-Za-z0-9_.=-]") {
            let key = key();
            let sealed = key.seal(&handle(&id("ci/app"))).unwrap();
            let at = at % sealed.len();
            let changed = format!("{}{with}{}", &sealed[..at], &sealed[at + 1..]);
            prop_assume!(changed != sealed);
            prop_assert_eq!(key.open(changed.as_bytes()), None);
            prop_assert_eq!(key.open(format!("{sealed}{with}").as_bytes()), None);
            prop_assert_eq!(key.open(&sealed.as_bytes()[..sealed.len() - 1]), None);
        }

        #[test]
        fn whatever_it_says_comes_back(issued: i64, expires: i64, path in "[a-z0-9/]{0,3}[a-z0-9]{1,600}") {
            prop_assume!(!path.starts_with('/') && !path.contains("//"));
            let handle = Handle { issued, expires, ..handle(&id(&path)) };
            let key = key();
            let sealed = key.seal(&handle).unwrap();
            prop_assert!(sealed.len() <= HANDLE_MAX);
            prop_assert_eq!(key.open(sealed.as_bytes()), Some(handle));
        }
    }
}
