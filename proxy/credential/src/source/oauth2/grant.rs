//! What an access token is asked for with. A new grant is one file here and one line in [`GRANTS`].

mod client_credentials;
mod jwt_bearer;
pub(super) mod refresh_token;
mod token_exchange;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use claviger_policy::document::{Diagnostics, Table};

use super::answer::Token;
use super::assertion::CheckSecret;
use super::client::Client;
use super::login::Login;
use crate::digest::Digest;
use crate::error::SourceError;
use crate::reference::SecretReference;
use crate::source::caller::Needs;
use crate::source::{Mint, SourceEnv};

/// A way to ask for an access token (RFC 6749 §1.3).
#[async_trait]
pub(super) trait Grant: Send + Sync + fmt::Debug {
    /// What of the caller it takes; a mint is given the caller only then.
    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    /// Gets a token, by [`Client::token`].
    async fn obtain(&self, client: &Client, mint: Mint<'_>) -> Result<Token, SourceError>;

    /// Whether an access token may be ended alone. (A server may end the refresh token with it: RFC 7009 §2.1.)
    fn may_revoke(&self) -> bool {
        true
    }

    /// The secrets that it reads.
    fn secrets(&self) -> Vec<&SecretReference> {
        Vec::new()
    }

    /// How somebody logs in for it, if that is how it is had.
    fn login(&self, client: &Arc<Client>) -> Option<Login> {
        let _ = client;
        None
    }

    /// Changes when another value can be had; asked every second, so it is cheap.
    fn revision(&self) -> u64 {
        0
    }
}

/// A grant, made from its keys.
pub(super) struct TakenGrant {
    pub(super) grant: Box<dyn Grant>,
    /// Over all its keys.
    pub(super) digest: Digest,
}

/// What a grant needs while its keys are taken.
pub(super) struct GrantEnv<'a> {
    pub(super) source: &'a SourceEnv<'a>,
    /// Whether the authorization server has a name.
    pub(super) has_issuer: bool,
    /// Whether the client has one, `client_id`.
    pub(super) has_client: bool,
    /// Checks a secret of the grant's own against the hosts of the server.
    pub(super) check: CheckSecret<'a>,
}

/// Takes the keys of one grant from the credential's table.
pub(super) type TakeGrant = fn(&mut Table, &GrantEnv<'_>, &mut Diagnostics) -> Option<TakenGrant>;

/// One grant, as `grant` names it.
pub(super) struct GrantKind {
    pub(super) name: &'static str,
    pub(super) take: TakeGrant,
    /// Whether it may do without a client that proves itself.
    pub(super) client_is_optional: bool,
    /// Whether somebody has to log in for it.
    pub(super) logs_in: bool,
}

/// Every grant.
pub(super) const GRANTS: &[GrantKind] = &[
    GrantKind { name: "client_credentials", take: client_credentials::take, client_is_optional: false, logs_in: false },
    GrantKind { name: "refresh_token", take: refresh_token::take, client_is_optional: false, logs_in: true },
    GrantKind { name: "jwt_bearer", take: jwt_bearer::take, client_is_optional: true, logs_in: false },
    GrantKind { name: "token_exchange", take: token_exchange::take, client_is_optional: true, logs_in: false },
];
