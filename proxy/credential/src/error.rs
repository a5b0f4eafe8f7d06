//! What can go wrong between a reference and a lease. No message holds a value, a body or a query.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use claviger_contract::{OutboundError, SubjectTokenError, outbound::OutboundFailure};

use crate::binding::BoundHostError;

/// Why a store did not yield a secret, or did not take one.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no secret of this name.
    #[error("there is no secret `{0}`")]
    NotFound(String),
    /// The name cannot be one of this store.
    #[error("`{name}` is not a name of this store: {why}")]
    Name {
        /// As written.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The secret is empty.
    #[error("the secret `{0}` is empty")]
    Empty(String),
    /// The secret is longer than a store holds.
    #[error("the secret `{name}` has more than {max} bytes")]
    TooLarge {
        /// Its name.
        name: String,
        /// The longest value, in bytes.
        max: usize,
    },
    /// `#field` was asked of a value that is no JSON object with that member as a string.
    #[error("the secret `{name}` is not a JSON object with a string `{field}`")]
    Field {
        /// Its name.
        name: String,
        /// The member that was asked for.
        field: String,
    },
    /// A file that holds a key may be read by others.
    #[error("the key file `{}` may be read by others than its owner (mode {mode:04o}); run `chmod 600 {}`", path.display(), path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Sealed files are there, and the key is not.
    #[error("the key file `{}` is missing; restore it, or remove the sealed secrets and set them anew", .0.display())]
    KeyMissing(PathBuf),
    /// The key file is no age identity.
    #[error("the key file `{}` holds no age identity (`AGE-SECRET-KEY-1…`)", .0.display())]
    KeyInvalid(PathBuf),
    /// The file was sealed with another key.
    #[error("`{}` was sealed with another key", .0.display())]
    OtherKey(PathBuf),
    /// The file was changed, cut, or put under another name.
    #[error("`{}` is damaged or was tampered with", .0.display())]
    Tampered(PathBuf),
    /// The file is no regular file.
    #[error("`{}` is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// A host that a secret is to be sealed for.
    #[error(transparent)]
    Host(#[from] BoundHostError),
    /// A secret without hosts could go nowhere.
    #[error("no host is named for `{0}`: a secret is sealed together with the hosts that it may go to")]
    NoHosts(String),
    /// A rotation is open, so that two values are kept already.
    #[error("a rotation of `{name}` is open: the previous value, version `{version}`, is kept")]
    RotationOpen {
        /// The secret.
        name: String,
        /// The version that is kept.
        version: Arc<str>,
    },
    /// No rotation is open.
    #[error("no rotation of `{0}` is open")]
    NoRotation(String),
    /// The new value is the old one.
    #[error("the new value of `{0}` is the one in force")]
    Unchanged(String),
    /// It is what a login was granted, which nothing but its own credential may use.
    #[error("`{0}` is the grant of a login, which only a credential with `grant = \"refresh_token\"` uses")]
    IsGrant(String),
    /// The secret has changed since it was looked at.
    #[error("`{0}` was changed by somebody else meanwhile")]
    Overtaken(String),
    /// The store is asked over a network, and did not answer with the secret.
    #[error(transparent)]
    Remote(Box<SourceError>),
    /// The operating system refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried: `open`, `write`, …
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

/// Why a source yielded no value.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The secret that the source needs cannot be read.
    #[error("failed to read `{reference}`: {}", explain(cause))]
    Store {
        /// The reference as written.
        reference: String,
        /// Why not.
        cause: StoreError,
    },
    /// A secret is not bound to where it would have to go.
    #[error("`{reference}` may go to {hosts} only, not to `{destination}`")]
    Binding {
        /// The reference as written.
        reference: String,
        /// The hosts that it is bound to.
        hosts: String,
        /// Where the source would have sent it.
        destination: String,
    },
    /// What the secrets are bound to and what the configuration names have no host in common.
    #[error("no host is left: the secret may go to {sealed} only, and the configuration names {configured}")]
    NoHostLeft {
        /// The hosts that the secret is bound to.
        sealed: String,
        /// The hosts in the configuration.
        configured: String,
    },
    /// The endpoint gave no answer.
    #[error(transparent)]
    Call(#[from] OutboundError),
    /// The endpoint answered with an error.
    #[error("`{endpoint}` answered {status}{}", code.map(|code| format!(" with `{code}`")).unwrap_or_default())]
    Refused {
        /// Scheme, host, port and path.
        endpoint: String,
        /// The HTTP status.
        status: u16,
        /// The OAuth 2.0 error code, if it is a known one.
        code: Option<&'static str>,
        /// How long the endpoint asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The endpoint's answer is not what the protocol says.
    #[error("the answer of `{endpoint}` cannot be used: {why}")]
    Answer {
        /// Scheme, host, port and path.
        endpoint: String,
        /// What is wrong with it; never a part of it.
        why: &'static str,
    },
    /// A grant that nobody has, or that the server does not take any more: somebody has to log in.
    #[error("{why}; run `claviger login {credential}`")]
    LoginNeeded {
        /// `[credential.NAME]`.
        credential: String,
        /// What is wrong with the grant.
        why: String,
        /// There is none, so that what it yielded must not go on serving either.
        missing: bool,
    },
    /// Another process renews the same grant, and does not come to an end.
    #[error("another process is renewing the grant `{0}`")]
    GrantBusy(String),
    /// Tokens came that could not be kept.
    #[error("the tokens that `{endpoint}` gave out could not be sealed: {why}")]
    Unsealed {
        /// Scheme, host, port and path.
        endpoint: String,
        /// Why not.
        why: String,
    },
    /// A secret was read, and is not what the source needs.
    #[error("`{reference}` cannot be used: {why}")]
    Unusable {
        /// The reference as written.
        reference: String,
        /// What is wrong with it; never a part of it.
        why: &'static str,
    },
    /// A token of the workload's own is needed, and what it showed is none.
    #[error("the workload's proof is no token, and this credential is made of it")]
    NoToken,
    /// The workload's own token was exchanged already, where each is taken once.
    #[error("the workload's token was exchanged before, and is taken once: it has to show another")]
    TokenUsed,
    /// The endpoints of an issuer are not known. Others that wait for them have the same cause.
    #[error("the endpoints of the issuer are not known: {0}")]
    Discovery(Arc<SourceError>),
    /// A server wants a login first, and refused it. Others that need the same login have the same cause.
    #[error("the login failed: {0}")]
    Login(Arc<SourceError>),
    /// No token could be minted for the principal.
    #[error(transparent)]
    Token(#[from] SubjectTokenError),
    /// What was minted cannot serve.
    #[error("the value cannot be used: {0}")]
    Value(&'static str),
    /// What was minted has ended before it could be used.
    #[error("the value had expired when it arrived")]
    Ended,
    /// What would be shown is made of a proof that has ended.
    #[error("the workload's proof has ended, of which the client's own would be made")]
    ProofEnded,
    /// The mint was given up, because the proxy is stopping or a part of it failed.
    #[error("the mint was given up")]
    Aborted,
}

/// A store's message with the operating system's reason behind it.
fn explain(cause: &StoreError) -> String {
    match cause {
        StoreError::Io { source, .. } => format!("{cause}: {source}"),
        other => other.to_string(),
    }
}

impl SourceError {
    /// A stable code for records and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store { cause: StoreError::NotFound(_), .. } => "secret_missing",
            Self::Store { cause: StoreError::Remote(cause), .. } => cause.code(),
            Self::Login(cause) | Self::Discovery(cause) => cause.code(),
            Self::Unusable { .. } => "secret_unusable",
            Self::NoToken => "proof_no_token",
            Self::TokenUsed => "proof_used",
            Self::Token(_) => "token_unavailable",
            Self::Store { .. } => "secret_unreadable",
            Self::Binding { .. } | Self::NoHostLeft { .. } => "secret_binding",
            Self::Call(error) => match error.kind {
                OutboundFailure::Timeout => "issuer_timeout",
                OutboundFailure::AddressRefused | OutboundFailure::Cleartext => "issuer_address_refused",
                OutboundFailure::TooLarge => "issuer_answer_invalid",
                OutboundFailure::Connect | OutboundFailure::Tls | OutboundFailure::Broken => "issuer_unreachable",
            },
            Self::Refused { .. } => "issuer_refused",
            Self::Answer { .. } => "issuer_answer_invalid",
            Self::LoginNeeded { .. } => "login_needed",
            Self::GrantBusy(_) => "grant_busy",
            Self::Unsealed { .. } => "secret_unwritable",
            Self::Value(_) => "value_invalid",
            Self::Ended => "value_expired",
            Self::ProofEnded => "proof_ended",
            Self::Aborted => "mint_aborted",
        }
    }

    /// Whether the value is gone for good, so that an older one must not go on serving.
    pub(crate) fn is_removal(&self) -> bool {
        match self {
            Self::Store { cause: StoreError::NotFound(_), .. } => true,
            // The operator bound the secret anew, away from here.
            Self::Binding { .. } | Self::NoHostLeft { .. } => true,
            Self::LoginNeeded { missing, .. } => *missing,
            Self::Store { .. }
            | Self::Call(_)
            | Self::Refused { .. }
            | Self::Answer { .. }
            | Self::GrantBusy(_)
            | Self::Unsealed { .. }
            | Self::Unusable { .. }
            | Self::NoToken
            | Self::TokenUsed
            | Self::Discovery(_)
            | Self::Login(_)
            | Self::Token(_)
            | Self::Value(_)
            | Self::Ended
            | Self::ProofEnded
            | Self::Aborted => false,
        }
    }

    /// How long the issuer asks to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Store { cause: StoreError::Remote(cause), .. } => cause.retry_after(),
            Self::Login(cause) | Self::Discovery(cause) => cause.retry_after(),
            Self::Store { .. }
            | Self::Binding { .. }
            | Self::NoHostLeft { .. }
            | Self::Call(_)
            | Self::Answer { .. }
            | Self::LoginNeeded { .. }
            | Self::GrantBusy(_)
            | Self::Unsealed { .. }
            | Self::Unusable { .. }
            | Self::NoToken
            | Self::TokenUsed
            | Self::Token(_)
            | Self::Value(_)
            | Self::Ended
            | Self::ProofEnded
            | Self::Aborted => None,
        }
    }
}

/// Why there is no lease. The text is for the operator; a workload is told only that there is none.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CredentialError {
    /// The configuration has no such credential.
    #[error("there is no credential `{0}`")]
    Unknown(Arc<str>),
    /// The source yielded no value.
    #[error("credential `{name}`: {cause}")]
    Failed {
        /// `[credential.NAME]`.
        name: Arc<str>,
        /// Why.
        cause: Arc<SourceError>,
    },
    /// The proof that the value would be derived from has ended.
    #[error("credential `{0}`: the workload's proof has expired")]
    ProofEnded(Arc<str>),
    /// A rule narrows it, and its source was never asked whether it can.
    #[error("credential `{0}` is not known as the rule narrows it")]
    NotNarrowed(Arc<str>),
}

impl CredentialError {
    /// A stable code for records and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "credential_unknown",
            Self::Failed { cause, .. } => cause.code(),
            Self::ProofEnded(_) => "proof_ended",
            Self::NotNarrowed(_) => "credential_not_narrowed",
        }
    }
}
