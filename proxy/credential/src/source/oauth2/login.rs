//! Logging in: how somebody grants what a credential with `grant = "refresh_token"` uses.
//!
//! By a browser on this machine: authorization code with PKCE (RFC 7636), answered to a loopback address (RFC 8252). By
//! another device: a code to type in there (RFC 8628). Either way no token is shown to anybody: it is sealed, bound to
//! the token endpoint.

mod browser;
mod device;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_contract::{OutboundResponse, Secret};

pub use self::browser::Asked;
pub use self::device::{DeviceCode, Polled};
use super::answer::{self, Token};
use super::client::Client;
use super::endpoint::{Endpoint, Which};
use super::form::Value;
use super::grant::refresh_token::asked;
use super::renewal;
use crate::binding::{BoundHost, list};
use crate::digest::random_hex;
use crate::error::{SourceError, StoreError};
use crate::reference::SecretReference;
use crate::store::SecretHandle;
use crate::store::sealed::{Access, Grant, GrantNote, SealedEntry};

/// How often it is looked whether a renewal of the same grant has ended.
const LOCK_LOOK: Duration = Duration::from_millis(25);
/// How long that is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// How to log in for one credential.
pub struct Login {
    pub(super) credential: String,
    pub(super) client: Arc<Client>,
    pub(super) handle: SecretHandle,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("credential", &self.credential).finish_non_exhaustive()
    }
}

/// What a login yielded; not sealed yet.
#[derive(Debug)]
pub struct Granted {
    refresh: Secret,
    access: Token,
    scope: Option<String>,
    asked_at_ms: i64,
}

/// Why a login came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// A call failed, or a secret of the client cannot be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What was granted cannot be sealed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration does not say where to go.
    #[error("nobody says where to log in: `[credential.{credential}]` has no `{key}`, and its `issuer` names none")]
    NoEndpoint {
        /// The credential.
        credential: String,
        /// The key that names the endpoint.
        key: &'static str,
    },
    /// The answer has another `state` than was asked with, or none.
    #[error("the answer does not belong to this login")]
    NotOurs,
    /// The answer is from another server than the one that was asked (RFC 9207).
    #[error("the answer names another issuer than the configuration")]
    OtherIssuer,
    /// The user or the server said no; with a code that is known, if it is one.
    #[error("the login was refused{}", .0.map(|code| format!(" with `{code}`")).unwrap_or_default())]
    Refused(Option<&'static str>),
    /// Nobody entered the code in time.
    #[error("the code expired before anybody entered it")]
    Expired,
    /// Tokens came, but none that outlives the login.
    #[error("the server granted no refresh token")]
    NoRefreshToken,
    /// There is no randomness.
    #[error("the system yields no randomness")]
    Random,
}

impl Login {
    /// `[credential.NAME]`.
    pub fn credential(&self) -> &str {
        &self.credential
    }

    /// Where what is granted will be sealed.
    pub fn reference(&self) -> &SecretReference {
        &self.handle.reference
    }

    /// The endpoint, which the configuration names as `key`, or its issuer.
    async fn endpoint(&self, which: Which, key: &'static str) -> Result<Endpoint, LoginError> {
        let found = self.client.endpoint(which).await?;
        found.ok_or_else(|| LoginError::NoEndpoint { credential: self.credential.clone(), key })
    }

    /// Seals what was granted, in place of what was granted before.
    ///
    /// # Errors
    ///
    /// It cannot be written, or a renewal of the former grant does not come to an end.
    pub async fn seal(&self, granted: Granted) -> Result<SealedEntry, LoginError> {
        let (store, name) = self.handle.sealed().ok_or(SourceError::Aborted)?;
        // What a renewal under way yields belongs to the former grant.
        let _lock = self.lock().await?;
        let endpoint = self.client.token_endpoint().await?;
        let note = GrantNote::new(self.credential.clone(), granted.scope, self.client.clock.now());
        let access = Access {
            token: granted.access.value,
            id: random_hex(),
            asked: asked(&self.client, &endpoint),
            obtained_ms: granted.asked_at_ms,
            expires_ms: granted.access.expires_at_ms,
        };
        let hosts = vec![BoundHost::of_target(&endpoint.target)];
        let grant = Grant { note, hosts, refresh: granted.refresh, former: None, access: Some(access) };
        Ok(store.set_grant(name, grant)?)
    }

    /// Ends the grant at its server (RFC 7009) and removes it here: whether the server was told, or with `force` why not.
    ///
    /// # Errors
    ///
    /// There is none, it cannot be removed, or without `force` the server does not end it.
    pub async fn end(&self, force: bool) -> Result<Result<bool, SourceError>, LoginError> {
        let (store, name) = self.handle.sealed().ok_or(SourceError::Aborted)?;
        let _lock = self.lock().await?;
        let told = self.revoke(&store.grant(name)?).await;
        match told {
            Err(error) if !force => Err(error.into()),
            told => {
                store.remove(name)?;
                Ok(told)
            }
        }
    }

    async fn revoke(&self, grant: &Grant) -> Result<bool, SourceError> {
        let Some(endpoint) = self.client.endpoint(Which::Revocation).await? else { return Ok(false) };
        if !grant.hosts.iter().any(|host| host.matches(&endpoint.target)) {
            return Err(SourceError::Binding {
                reference: self.reference().to_string(),
                hosts: list(&grant.hosts),
                destination: BoundHost::of_target(&endpoint.target).to_string(),
            });
        }
        self.client.revoke(&grant.refresh, "refresh_token", None).await.map(|()| true)
    }

    async fn lock(&self) -> Result<crate::store::sealed::GrantLock, LoginError> {
        let (store, name) = self.handle.sealed().ok_or(SourceError::Aborted)?;
        let until = tokio::time::Instant::now() + LOCK_WAIT;
        loop {
            match store.try_lock_grant(name)? {
                Some(lock) => return Ok(lock),
                None if tokio::time::Instant::now() >= until => {
                    return Err(SourceError::GrantBusy(self.reference().to_string()).into());
                }
                None => tokio::time::sleep(LOCK_LOOK).await,
            }
        }
    }

    /// `--scope`, or what the configuration says.
    fn scope<'a>(&'a self, wanted: Option<&'a str>) -> Option<&'a str> {
        let configured = || self.client.parameters.iter().find(|(name, _)| name == "scope");
        wanted.or_else(|| configured().map(|(_, scope)| scope.as_str()))
    }

    /// `audience`, `resource` and `parameters`.
    fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.client.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        all.filter(|(name, _)| *name != "scope")
    }

    /// Asks the token endpoint for what a login yields.
    async fn ask(&self, mut fields: Vec<(&str, Value<'_>)>) -> Result<Answered, SourceError> {
        let endpoint = self.client.token_endpoint().await?;
        fields.extend(self.parameters().map(|(name, value)| (name, Value::Text(value))));
        let asked_at_ms = self.client.clock.now_ms();
        let answer = self.client.post(&endpoint, fields, None).await?;
        Ok(Answered { endpoint: endpoint.shown(), answer, asked_at_ms })
    }
}

/// What the token endpoint said to a login.
struct Answered {
    endpoint: String,
    answer: OutboundResponse,
    asked_at_ms: i64,
}

impl Answered {
    /// The tokens; `scope` is what was asked for.
    fn granted(&self, scope: Option<&str>) -> Result<Granted, LoginError> {
        let mut access = answer::read(&self.endpoint, &self.answer, self.asked_at_ms)?;
        let refresh = access.refresh_token.take().filter(|token| !token.is_empty());
        let refresh = refresh.ok_or(LoginError::NoRefreshToken)?;
        // A server that says nothing gave what was asked for (RFC 6749 §5.1).
        let scope = renewal::scope(&self.answer).or_else(|| scope.map(str::to_owned));
        Ok(Granted { refresh, access, scope, asked_at_ms: self.asked_at_ms })
    }
}

impl Granted {
    /// What was granted, as far as that is known.
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }
}

/// 256 bits, as text that may stand anywhere.
fn random_text() -> Result<String, LoginError> {
    let mut bytes = zeroize::Zeroizing::new([0_u8; 32]);
    aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| LoginError::Random)?;
    Ok(URL_SAFE_NO_PAD.encode(*bytes))
}
