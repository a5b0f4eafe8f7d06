//! Why a caller could not be attested.

use std::sync::Arc;

/// Why a proof was refused.
///
/// [`IdentityError::code`] is for the workload; `Display` is for the operator (log and ledger). Neither
/// holds content of the proof beyond names that the configuration also has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a token, certificate or ID at all, or one that breaks its standard.
    #[error("the proof is malformed: {0}")]
    Malformed(&'static str),
    /// The proof has ended.
    #[error("the proof has expired")]
    Expired,
    /// The proof does not hold yet.
    #[error("the proof is not valid yet")]
    NotYetValid,
    /// Nothing that is configured vouches for the proof.
    #[error("the proof is not trusted: {0}")]
    Untrusted(&'static str),
    /// No attestor of the listener knows the token's issuer or trust domain.
    #[error("no attestor of this listener knows the issuer of the token")]
    UnknownIssuer,
    /// The token is meant for somebody else.
    #[error("the token is not meant for this audience")]
    Audience,
    /// The proof's issuer has taken it back.
    #[error("the certificate is revoked")]
    Revoked,
    /// The proof is genuine, but the attestor's own conditions do not hold.
    #[error("attestor `{attestor}` refuses: {detail}")]
    Refused {
        /// `[attestor.NAME]`.
        attestor: Arc<str>,
        /// Which condition, in the words of the configuration.
        detail: Arc<str>,
    },
    /// The issuer's keys could not be had, so that nothing can be said about the proof.
    #[error("the issuer's keys are not available: {0}")]
    Unavailable(Arc<str>),
}

impl IdentityError {
    /// The stable code that the workload is told.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "identity_malformed",
            Self::Expired => "identity_expired",
            Self::NotYetValid => "identity_not_yet_valid",
            Self::Untrusted(_) => "identity_untrusted",
            Self::UnknownIssuer => "identity_unknown_issuer",
            Self::Audience => "identity_audience",
            Self::Revoked => "identity_revoked",
            Self::Refused { .. } => "identity_refused",
            Self::Unavailable(_) => "identity_unavailable",
        }
    }
}
