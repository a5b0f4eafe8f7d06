//! `grant = "client_credentials"` (RFC 6749 §4.4): the client for itself.

use async_trait::async_trait;
use claviger_policy::document::{Diagnostics, Table};

use super::{Grant, GrantEnv, TakenGrant};
use crate::digest::Digester;
use crate::error::SourceError;
use crate::source::Mint;
use crate::source::oauth2::answer::Token;
use crate::source::oauth2::client::Client;
use crate::source::oauth2::form::Value;

#[derive(Debug)]
struct ClientCredentials;

#[async_trait]
impl Grant for ClientCredentials {
    async fn obtain(&self, client: &Client, mint: Mint<'_>) -> Result<Token, SourceError> {
        client.token(&[("grant_type", Value::Text("client_credentials"))], mint.ask).await
    }
}

/// It has no keys of its own.
pub(super) fn take(_: &mut Table, _: &GrantEnv<'_>, _: &mut Diagnostics) -> Option<TakenGrant> {
    Some(TakenGrant { grant: Box::new(ClientCredentials), digest: Digester::new("client_credentials").finish() })
}
