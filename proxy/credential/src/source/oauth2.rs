//! `kind = "oauth2"`: an access token of an OAuth 2.0 token endpoint. What is asked for is the [`Grant`]'s matter, how
//! the client proves itself the [`ClientAuth`](client_auth::ClientAuth)'s, where the [`Endpoints`](endpoint::Endpoints)'.

pub(super) mod answer;
mod client;
mod client_auth;
mod endpoint;
mod form;
mod grant;
pub(super) mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use self::client::Client;
use self::grant::Grant;
use super::caller::Needs;
use super::{Ask, Mint, Minted, Source};
use crate::cache::Key;
use crate::error::SourceError;
use crate::reference::SecretReference;

struct OAuth2Source {
    client: Arc<Client>,
    grant: Box<dyn Grant>,
    /// What of the caller the client's proof and the grant are made of.
    needs: Needs,
}

impl fmt::Debug for OAuth2Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2Source").field("client", &self.client).field("grant", &self.grant).finish()
    }
}

#[async_trait]
impl Source for OAuth2Source {
    fn key(&self, ask: Ask<'_>) -> Key {
        self.needs.key(ask)
    }

    async fn mint(&self, mint: Mint<'_>) -> Result<Minted, SourceError> {
        let token = self.grant.obtain(&self.client, mint).await?;
        Ok(Minted { expires_at_ms: Some(token.expires_at_ms), ..Minted::of(token.value) })
    }

    fn is_renewable(&self) -> bool {
        true
    }

    fn secrets(&self) -> Vec<&SecretReference> {
        self.client.secrets().into_iter().chain(self.grant.secrets()).collect()
    }

    fn revision(&self) -> u64 {
        self.grant.revision()
    }
}
