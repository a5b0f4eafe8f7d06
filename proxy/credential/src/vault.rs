//! A client of HashiCorp Vault and OpenBao: one login that store and sources share.
//!
//! A token is had by the first call and prolonged by later ones, once a third of its life is over; what keeps it alive is
//! the use of what was read with it. Leases of dynamic engines end with the token that they were had with, so nothing
//! that a [`Session`] yielded is good for longer than the session.
//!
//! Deliberately absent: a thread that renews, redirects of standby nodes (a token would follow them), and retries of
//! what failed: whoever mints backs off.

pub(crate) mod answer;
mod login;
mod session;
pub(crate) mod settings;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use claviger_contract::{Attested, Clock, Outbound, OutboundRequest, OutboundResponse, Reach, Secret, SubjectTokens};
use claviger_policy::Target;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use self::session::State;
pub(crate) use self::session::{Session, millis};
use crate::CredentialEnv;
use crate::error::SourceError;

/// For one call.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer, in bytes: a KV secret has a megabyte at most, values have much less.
const ANSWER_MAX: usize = 256 * 1024;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Vault's agents may demand it, since no browser sends it on another page's behalf.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// One call below `/v1/`.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    /// As `kv/data/app`: segments without an escape.
    pub(crate) path: &'a str,
    pub(crate) query: &'a [(String, String)],
    /// JSON; it may hold a secret.
    pub(crate) body: Option<Secret>,
}

impl<'a> Call<'a> {
    pub(crate) fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, query: &[], body: None }
    }

    pub(crate) fn post(path: &'a str, body: Secret) -> Self {
        Self { method: Method::POST, path, query: &[], body: Some(body) }
    }
}

/// What is around the client and may be another after a reload.
#[derive(Clone, Debug)]
pub(crate) struct Around {
    pub(crate) outbound: Arc<dyn Outbound>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tokens: Arc<dyn SubjectTokens>,
}

impl Around {
    pub(crate) fn of(env: &CredentialEnv) -> Self {
        Self { outbound: env.outbound.clone(), clock: env.clock.clone(), tokens: env.tokens.clone() }
    }
}

/// A server, and how Claviger logs in there.
pub(crate) struct Vault {
    address: url::Url,
    /// The same as a target, which bindings of the login's secrets are checked against.
    target: Target,
    namespace: Option<HeaderValue>,
    reach: Reach,
    login: login::Login,
    around: ArcSwap<Around>,
    state: tokio::sync::Mutex<State>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({})", self.address)
    }
}

impl Vault {
    /// Goes on with what is around a newer configuration.
    pub(crate) fn adopt(&self, around: Around) {
        self.around.store(Arc::new(around));
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.around.load().clock.now_ms()
    }

    /// Calls with the shared login. A token that is refused is had anew, once; the session is the one that the answer
    /// was given to.
    pub(crate) async fn call(&self, call: &Call<'_>) -> Result<(OutboundResponse, Arc<Session>), SourceError> {
        let session = self.session().await?;
        let response = self.send(Some(&session), call).await?;
        if response.status != StatusCode::FORBIDDEN || self.is_known(&session).await {
            return Ok((response, session));
        }
        let session = self.session_instead_of(&session).await?;
        let response = self.send(Some(&session), call).await?;
        Ok((response, session))
    }

    /// Logs in as a caller: a session of its own, which nobody else uses.
    pub(crate) async fn login_as(&self, caller: &Attested) -> Result<Arc<Session>, SourceError> {
        self.log_in(Some(&caller.principal)).await.map(Arc::new).map_err(|cause| SourceError::Login(Arc::new(cause)))
    }

    /// Calls with a session that is not the shared one.
    pub(crate) async fn call_as(&self, session: &Session, call: &Call<'_>) -> Result<OutboundResponse, SourceError> {
        self.send(Some(session), call).await
    }

    async fn send(&self, session: Option<&Session>, call: &Call<'_>) -> Result<OutboundResponse, SourceError> {
        let reach = session.map_or(&self.reach, |session| &session.reach);
        self.send_over(reach, session.map(|session| &session.token), call).await
    }

    async fn send_over(
        &self,
        reach: &Reach,
        token: Option<&Secret>,
        call: &Call<'_>,
    ) -> Result<OutboundResponse, SourceError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(REQUEST, HeaderValue::from_static("true"));
        if let Some(namespace) = &self.namespace {
            headers.insert(NAMESPACE, namespace.clone());
        }
        if let Some(token) = token {
            headers.insert(TOKEN, self.token_header(token)?);
        }
        let body = call.body.as_ref().map(copy);
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let request = OutboundRequest {
            method: call.method.clone(),
            url: self.url(call),
            headers,
            body,
            timeout: TIMEOUT,
            max_response: ANSWER_MAX,
        };
        let outbound = self.around.load().outbound.clone();
        Ok(outbound.send(reach, request).await?)
    }

    fn token_header(&self, token: &Secret) -> Result<HeaderValue, SourceError> {
        #[allow(clippy::disallowed_methods, reason = "the token is sent to the server that issued it")]
        let value = HeaderValue::from_bytes(token.expose());
        let mut value = value.map_err(|_| SourceError::Answer {
            endpoint: self.address.to_string(),
            why: "the token is not visible ASCII",
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn url(&self, call: &Call<'_>) -> url::Url {
        let mut url = self.address.clone();
        // An address that is a base always has segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(call.path.split('/'));
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        url
    }

    /// Scheme, host, port and path of a call, for messages.
    pub(crate) fn endpoint(&self, path: &str) -> String {
        self.url(&Call::get(path)).to_string()
    }
}

/// A call may have to be made twice, and a body is sent by giving it away.
fn copy(secret: &Secret) -> Secret {
    #[allow(clippy::disallowed_methods, reason = "a copy that is wiped as the value itself is")]
    Secret::new(secret.expose().to_vec())
}
