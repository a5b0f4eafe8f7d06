//! What verifiers read: the discovery document and the key set.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::IssuerSettings;
use super::key::SigningKey;

/// Both documents, as they are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documents {
    /// The path of [`discovery`](Self::discovery): that of the issuer, then `/.well-known/openid-configuration`
    /// (OpenID Connect Discovery §4).
    pub discovery_path: String,
    /// The provider's metadata (OpenID Connect Discovery §3).
    pub discovery: Bytes,
    /// The path of [`keys`](Self::keys).
    pub keys_path: String,
    /// The key set (RFC 7517 §5).
    pub keys: Bytes,
    /// For how long a copy may be kept.
    pub max_age: Duration,
}

const WELL_KNOWN: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/.well-known/jwks.json";

/// No copy needs to be older.
const MAX_AGE: Duration = Duration::from_secs(15 * 60);

impl Documents {
    pub(super) fn new<'a>(settings: &IssuerSettings, keys: impl Iterator<Item = &'a SigningKey> + Clone) -> Self {
        let mut algorithms: Vec<&str> = keys.clone().map(|key| key.algorithm().name()).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        let iss = &settings.iss;
        let discovery = json!({
            "issuer": iss,
            "jwks_uri": format!("{iss}{KEYS}"),
            // Nobody logs in here: tokens are minted for workloads and never asked for over HTTP.
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
            "claims_supported": ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"],
        });
        let set = json!({"keys": keys.map(SigningKey::jwk).collect::<Vec<_>>()});
        let path = settings.url.path().trim_end_matches('/');
        Self {
            discovery_path: format!("{path}{WELL_KNOWN}"),
            discovery: text(&discovery),
            keys_path: format!("{path}{KEYS}"),
            keys: text(&set),
            // A copy of a copy (a CDN's, and then a verifier's) is to know a key before it signs.
            max_age: MAX_AGE.min(settings.overlap / 4),
        }
    }

    /// `Cache-Control` of both.
    pub fn cache_control(&self) -> String {
        match self.max_age.as_secs() {
            0 => "no-cache".to_owned(),
            seconds => format!("public, max-age={seconds}"),
        }
    }
}

fn text(document: &Value) -> Bytes {
    let mut text = format!("{document:#}");
    text.push('\n');
    text.into()
}
