//! `kind = "vault"`: what a dynamic engine of Vault or OpenBao makes (database users, certificates, cloud keys, …), with
//! its lease: renewed while it can be, revoked when nobody is to use it any more.

mod fields;
pub(super) mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use claviger_contract::{OutboundResponse, Secret, Secretless};
use http::{Method, StatusCode};

use super::caller::Needs;
use super::{Ask, Issued, Mint, Minted, Source};
use crate::binding::BoundHost;
use crate::cache::Key;
use crate::error::SourceError;
use crate::reference::SecretReference;
use crate::vault::{Call, Session, Vault, answer, millis};

#[derive(Debug)]
struct VaultSource {
    vault: Arc<Vault>,
    path: String,
    /// Where what is made there may go, by the `bindings` of the store.
    hosts: Option<Vec<BoundHost>>,
    method: Method,
    query: Vec<(String, String)>,
    /// A JSON object; what a configuration says is no secret.
    body: Option<String>,
    /// The credential's fields, and which members of the answer they are.
    fields: Vec<(Arc<str>, String)>,
    /// For values of which the answer does not say how long they last.
    lifetime: Duration,
    /// Who logs in: Claviger for everyone, or in the name of each caller.
    needs: Needs,
    /// Whether an answer looked like a secret that lies there.
    is_stored: AtomicBool,
}

#[async_trait]
impl Source for VaultSource {
    fn key(&self, ask: Ask<'_>) -> Key {
        self.needs.key(ask)
    }

    async fn mint(&self, mint: Mint<'_>) -> Result<Minted, SourceError> {
        let body = self.body.clone().map(Secret::from);
        let call = Call { method: self.method.clone(), path: &self.path, query: &self.query, body };
        // From before the call, so that the value ends early rather than late.
        let Some(ask) = mint.ask else {
            let asked_at_ms = self.vault.now_ms();
            let (response, session) = self.vault.call(&call).await?;
            return self.take(&response, session, false, asked_at_ms).await;
        };
        let session = self.vault.login_as(ask.caller).await?;
        let asked_at_ms = self.vault.now_ms();
        let minted = match self.vault.call_as(&session, &call).await {
            Ok(response) => self.take(&response, session.clone(), true, asked_at_ms).await,
            Err(cause) => Err(cause),
        };
        if minted.as_ref().map_or(true, |minted| minted.issued.is_none()) {
            // Nothing hangs on it any more; if it cannot be ended, it ends by itself.
            let _ = self.vault.end(&session).await;
        }
        minted
    }

    fn is_renewable(&self) -> bool {
        true
    }

    fn secrets(&self) -> Vec<&SecretReference> {
        self.vault.secrets()
    }

    /// What an engine makes is stored nowhere; what a KV engine answers is, and so may be what Claviger logs in with. Which
    /// engine it is, the path tells only where engines that make things have a word of their own in it; and it may lie,
    /// for a KV engine takes any path. So an answer that is a stored secret's counts for more.
    fn secretless(&self) -> Secretless {
        let is_made = makes(&self.path) && !self.is_stored.load(Ordering::Relaxed);
        if is_made && !self.vault.holds_secret() { Secretless::EndToEnd } else { Secretless::ProxyHeld }
    }
}

/// Whether a path is as those of engines that make what they answer: `MOUNT/creds/ROLE`.
fn makes(path: &str) -> bool {
    const WORDS: [&str; 7] = ["creds", "creds-once", "issue", "sign", "sign-intermediate", "sts", "token"];
    let words = || path.split('/').skip(1);
    // Of a KV engine of version 2, whatever comes behind it.
    !words().any(|word| word == "data") && words().any(|word| WORDS.contains(&word))
}

impl VaultSource {
    /// `own`: the session is of this value alone, and ends with it.
    async fn take(
        &self,
        response: &OutboundResponse,
        session: Arc<Session>,
        own: bool,
        asked_at_ms: i64,
    ) -> Result<Minted, SourceError> {
        let endpoint = self.vault.endpoint(&self.path);
        let envelope = answer::read(&endpoint, response)?;
        if envelope.is_stored() {
            self.is_stored.store(true, Ordering::Relaxed);
        }
        let lease = envelope.lease().map(|id| VaultLease {
            vault: self.vault.clone(),
            id: id.to_owned(),
            lifetime_ms: millis(envelope.lease_duration),
            renewable: envelope.renewable,
            session: session.clone(),
            own,
        });
        let unusable = |why| SourceError::Answer { endpoint: endpoint.clone(), why };
        let read = envelope.data.ok_or_else(|| unusable("there is no object in it")).and_then(|data| {
            let fields = fields::read(data, &self.fields).map_err(unusable)?;
            Ok((fields, fields::end_ms(data, asked_at_ms)))
        });
        let (fields, said) = match (read, &lease) {
            (Ok(read), _) => read,
            (Err(cause), Some(lease)) => {
                // Nobody will use what was made; if it cannot be taken back, it ends by itself.
                let _ = lease.revoke().await;
                return Err(cause);
            }
            (Err(cause), None) => return Err(cause),
        };
        let expires_at_ms = match &lease {
            Some(lease) => lease.end_ms(lease.lifetime_ms, asked_at_ms).min(said.unwrap_or(i64::MAX)),
            None => {
                let lifetime = i64::try_from(self.lifetime.as_millis()).unwrap_or(i64::MAX);
                said.unwrap_or_else(|| asked_at_ms.saturating_add(lifetime))
            }
        };
        let issued = lease.map(|lease| -> Arc<dyn Issued> { Arc::new(lease) });
        let expires_at_ms = (expires_at_ms < i64::MAX).then_some(expires_at_ms);
        let hosts = self.hosts.clone();
        Ok(Minted { fields, expires_at_ms, hosts, version: None, previous: None, issued })
    }
}

/// A lease as its server knows it.
#[derive(Debug)]
struct VaultLease {
    vault: Arc<Vault>,
    id: String,
    /// As it was made.
    lifetime_ms: i64,
    renewable: bool,
    /// What it was had with, and ends with.
    session: Arc<Session>,
    own: bool,
}

impl VaultLease {
    fn end_ms(&self, left_ms: i64, asked_at_ms: i64) -> i64 {
        let end = if left_ms == 0 { i64::MAX } else { asked_at_ms.saturating_add(left_ms) };
        end.min(self.session.ends_at_ms())
    }

    /// Whether the session that it hangs on goes on.
    async fn session_lasts(&self) -> Result<bool, SourceError> {
        if self.own { self.vault.prolong(&self.session).await } else { self.vault.is_current(&self.session).await }
    }
}

#[async_trait]
impl Issued for VaultLease {
    /// `None` also near the longest life that the server allows, where renewals give less and less.
    async fn renew(&self) -> Result<Option<i64>, SourceError> {
        if !self.renewable || !self.session_lasts().await? {
            return Ok(None);
        }
        let path = "sys/leases/renew";
        let body = serde_json::json!({ "lease_id": self.id, "increment": self.lifetime_ms / 1_000 });
        let asked_at_ms = self.vault.now_ms();
        let response = self.vault.call_as(&self.session, &Call::post(path, body.to_string().into())).await?;
        let endpoint = self.vault.endpoint(path);
        if matches!(response.status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) {
            // The lease is over, or the policy lets nobody renew: another is made.
            return Ok(None);
        }
        let left_ms = millis(answer::read(&endpoint, &response)?.lease_duration);
        let is_fading = left_ms < self.lifetime_ms / 2;
        Ok((!is_fading).then(|| self.end_ms(left_ms, asked_at_ms)))
    }

    async fn revoke(&self) -> Result<(), SourceError> {
        if self.own {
            // With the session ends all that was had with it.
            return self.vault.end(&self.session).await;
        }
        let path = "sys/leases/revoke";
        // `sync`: the answer says whether it is revoked, and not that it will be.
        let body = serde_json::json!({ "lease_id": self.id, "sync": true });
        let (response, _) = self.vault.call(&Call::post(path, body.to_string().into())).await?;
        match response.status.is_success() {
            true => Ok(()),
            false => Err(answer::refused(&self.vault.endpoint(path), &response)),
        }
    }
}
