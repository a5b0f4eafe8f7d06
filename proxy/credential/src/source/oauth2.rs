//! `kind = "oauth2"`: an access token of an OAuth 2.0 token endpoint. What is asked for is the [`Grant`]'s matter, how
//! the client proves itself the [`ClientAuth`](client_auth::ClientAuth)'s, where the [`Endpoints`](endpoint::Endpoints)'.

pub(super) mod answer;
mod assertion;
mod client;
pub(super) mod client_auth;
mod discovery;
pub(super) mod endpoint;
pub(super) mod form;
mod grant;
pub(crate) mod login;
pub(crate) mod renewal;
pub(super) mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use claviger_contract::{Attested, Secret};

use self::client::Client;
use self::endpoint::Which;
use self::grant::Grant;
use self::login::Login;
use super::caller::Needs;
use super::{Ask, Issued, Mint, Minted, Source};
use crate::cache::Key;
use crate::error::SourceError;
use crate::reference::SecretReference;

struct OAuth2Source {
    client: Arc<Client>,
    grant: Box<dyn Grant>,
    /// What of the caller the client's proof and the grant are made of.
    needs: Needs,
}

/// A token as its server knows it.
struct AccessToken {
    client: Arc<Client>,
    value: Secret,
    /// Whom it was minted for, where the client's proof is made of the caller's.
    caller: Option<Attested>,
}

impl AccessToken {
    fn of(client: &Arc<Client>, value: &Secret, ask: Option<Ask<'_>>) -> Arc<dyn Issued> {
        #[allow(clippy::disallowed_methods, reason = "what is revoked is kept beside the lease, and wiped as it is")]
        let value = Secret::new(value.expose().to_vec());
        // A proof that nothing is made of is not kept.
        let ask = ask.filter(|_| client.auth.needs() != Needs::Nothing);
        Arc::new(Self { client: client.clone(), value, caller: ask.map(|ask| ask.caller.clone()) })
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("client", &self.client).finish_non_exhaustive()
    }
}

#[async_trait]
impl Issued for AccessToken {
    async fn revoke(&self) -> Result<(), SourceError> {
        let ends = self.caller.as_ref().and_then(|caller| caller.proof.expires_at);
        if ends.is_some_and(|ends| ends <= self.client.clock.now()) {
            // Nothing is shown in the name of somebody whose proof has ended.
            return Err(SourceError::ProofEnded);
        }
        let ask = self.caller.as_ref().map(|caller| Ask { caller });
        self.client.revoke(&self.value, "access_token", ask).await
    }
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
        // Known by now, if it is known at all.
        let can_be_revoked =
            self.grant.may_revoke() && matches!(self.client.endpoint(Which::Revocation).await, Ok(Some(_)));
        let issued = can_be_revoked.then(|| AccessToken::of(&self.client, &token.value, mint.ask));
        Ok(Minted { expires_at_ms: Some(token.expires_at_ms), issued, ..Minted::of(token.value) })
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

    fn login(&self) -> Option<Login> {
        self.grant.login(&self.client)
    }
}
