//! Tokens that Claviger mints for a principal, for sources that exchange them.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use claviger_policy::Principal;
use serde_json::{Map, Value};

use crate::Secret;

/// What a token is to say.
#[derive(Debug)]
pub struct TokenAsk<'a> {
    /// Whom it is about: `sub` is its SPIFFE ID, unless `claims` says otherwise.
    pub principal: &'a Principal,
    /// `aud`: who may accept it. Never empty.
    pub audience: &'a [String],
    /// How long it lasts.
    pub lifetime: Duration,
    /// More claims. Those that the issuer sets itself (`iss`, `aud`, `exp`, `nbf`, `iat`, `jti`) are not free.
    pub claims: Map<String, Value>,
}

/// A minted token.
#[derive(Debug)]
pub struct SubjectToken {
    /// A JWT in compact form (RFC 7519).
    pub token: Secret,
    /// Its `exp`: seconds since the Unix epoch.
    pub expires_at: i64,
}

/// Why there is no token. Holds no part of one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SubjectTokenError {
    /// There is no `[issuer]`.
    #[error("no `[issuer]` is configured, which would mint tokens for principals")]
    NoIssuer,
    /// The keys are not there, or cannot sign.
    #[error("the issuer cannot sign: {0}")]
    Key(String),
    /// A claim is made of what the caller does not have.
    #[error("the claim `{claim}` is made of `{attribute}`, which the caller does not have in that form")]
    Missing {
        /// Its name.
        claim: String,
        /// The attribute.
        attribute: String,
    },
    /// A claim was asked for that the issuer sets itself.
    #[error("the claim `{0}` is the issuer's own")]
    Claim(String),
}

/// Mints tokens for principals.
#[async_trait]
pub trait SubjectTokens: Send + Sync + fmt::Debug {
    /// The issuer's URL, `iss` of every token; `None` if there is no issuer.
    fn issuer(&self) -> Option<&str>;

    /// The longest life of a token; what is asked for beyond it is cut to it. `None` if there is no issuer.
    fn lifetime_max(&self) -> Option<Duration> {
        None
    }

    /// Mints one. Every token has a `jti` of its own.
    ///
    /// # Errors
    ///
    /// There is no issuer, its keys cannot be used, or a claim is not free.
    async fn mint(&self, ask: TokenAsk<'_>) -> Result<SubjectToken, SubjectTokenError>;
}

/// For a configuration without `[issuer]`.
#[derive(Clone, Copy, Debug)]
pub struct NoIssuer;

#[async_trait]
impl SubjectTokens for NoIssuer {
    fn issuer(&self) -> Option<&str> {
        None
    }

    async fn mint(&self, _: TokenAsk<'_>) -> Result<SubjectToken, SubjectTokenError> {
        Err(SubjectTokenError::NoIssuer)
    }
}
