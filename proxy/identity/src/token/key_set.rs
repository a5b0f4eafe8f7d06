//! A set of keys as it stood at one time (RFC 7517 §5).

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

use super::algorithm::Algorithm;
use super::json;
use super::jws::Jws;
use super::key::{KeyUse, VerificationKey};
use crate::IdentityError;

/// The most keys that a set may have: whoever serves more is not believed.
const KEYS_MAX: usize = 256;

/// Keys that tokens of one issuer are verified with.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<VerificationKey>,
    digest: [u8; 32],
}

/// What came of looking for a token's key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The signature is good.
    Verified,
    /// No such key: the set may be older than the key.
    UnknownKey,
    /// The key is there, and the signature is not by it.
    Bad(IdentityError),
}

impl KeySet {
    /// Reads a JWK Set. Entries that cannot be used are ignored; a text that is no JWK Set is an error.
    pub(crate) fn parse(text: &[u8], wanted: KeyUse) -> Result<Self, &'static str> {
        let set = json::object(text).ok_or("not a JSON object without duplicate names")?;
        let Some(Value::Array(entries)) = set.get("keys") else { return Err("there is no list `keys`") };
        if entries.len() > KEYS_MAX {
            return Err("more than 256 keys");
        }
        let keys = entries
            .iter()
            .filter_map(|entry| VerificationKey::from_jwk(entry.as_object()?, wanted))
            // A key of a JWT bundle is always named (JWT-SVID §6.1).
            .filter(|key| wanted == KeyUse::Signature || key.kid.is_some())
            .collect();
        let mut digested = [0; 32];
        digested.copy_from_slice(digest(&SHA256, text).as_ref());
        Ok(Self { keys, digest: digested })
    }

    /// Whether no key of the set can be used.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether both were read from the same text.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// Finds the token's one key and verifies the signature.
    ///
    /// `allowed` is what the configuration allows. A token without `kid` is fine while one key only could have
    /// signed it (OpenID Connect Core §10.1); several keys that fit are never tried in turn.
    pub(crate) fn verify(&self, token: &Jws<'_>, allowed: &[Algorithm]) -> Found {
        if !allowed.contains(&token.algorithm) {
            return Found::Bad(IdentityError::Untrusted("`alg` is not an algorithm that the configuration allows"));
        }
        let named = || self.keys.iter().filter(|key| token.kid.is_none() || key.kid == token.kid);
        let mut fitting = named().filter(|key| key.algorithms.contains(&token.algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) if key.verifies(token) => Found::Verified,
            (Some(_), None) => Found::Bad(IdentityError::Untrusted("the signature is wrong")),
            (Some(_), Some(_)) => Found::Bad(IdentityError::Untrusted("several keys of the issuer fit the token")),
            (None, _) if named().next().is_some() && token.kid.is_some() => {
                Found::Bad(IdentityError::Untrusted("`alg` is not an algorithm of the key"))
            }
            (None, _) => Found::UnknownKey,
        }
    }
}
