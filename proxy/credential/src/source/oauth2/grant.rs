//! What an access token is asked for with. A new grant is one file here and one line in [`GRANTS`].

mod client_credentials;

use std::fmt;

use async_trait::async_trait;
use claviger_policy::document::{Diagnostics, Table};

use super::answer::Token;
use super::client::Client;
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

    /// The secrets that it reads.
    fn secrets(&self) -> Vec<&SecretReference> {
        Vec::new()
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

/// Takes the keys of one grant from the credential's table.
pub(super) type TakeGrant = fn(&mut Table, &SourceEnv<'_>, &mut Diagnostics) -> Option<TakenGrant>;

/// One grant, as `grant` names it.
pub(super) struct GrantKind {
    pub(super) name: &'static str,
    pub(super) take: TakeGrant,
    /// Whether it may do without a client that proves itself.
    pub(super) client_is_optional: bool,
}

/// Every grant.
pub(super) const GRANTS: &[GrantKind] =
    &[GrantKind { name: "client_credentials", take: client_credentials::take, client_is_optional: false }];
