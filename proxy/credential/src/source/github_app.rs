//! `kind = "github-app"`: a token of one installation of a GitHub App, for no more repositories and permissions than the
//! rule says. The App's private key signs a JWT, which is exchanged (GitHub REST, "Create an installation access token for
//! an app").

mod answer;
mod scope;
pub(super) mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use claviger_contract::{Clock, Outbound, OutboundRequest, OutboundResponse, Reach, Secret};
use claviger_policy::document::{Diagnostics, Table};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value};

use self::scope::Scope;
use super::oauth2::client_auth::read_for;
use super::oauth2::endpoint::Endpoint;
use super::private_key::{Algorithm, PrivateKey};
use super::{Issued, Mint, Minted, Source};
use crate::error::SourceError;
use crate::reference::SecretReference;
use crate::store::SecretHandle;

/// For one call.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer: one that lists 500 repositories.
const ANSWER_MAX: usize = 8 * 1024 * 1024;
/// A JWT is dated back, for clocks that differ; GitHub recommends a minute.
const DATED_BACK_S: i64 = 60;
/// A JWT lasts this long from now. GitHub takes ten minutes from `iat` at most.
const JWT_S: i64 = 300;

/// Which installation of the App.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Installation {
    /// By its number.
    Id(u64),
    /// That of an organisation or a user.
    Of(String),
    /// That which has a repository: owner and name.
    With(String, String),
}

/// The App and its installation, whatever rules narrow it to.
struct App {
    /// `iss`: the client id, or the App's number.
    issuer: String,
    key: SecretHandle,
    installation: Installation,
    /// Without a `/` at its end.
    api: Endpoint,
    reach: Reach,
    outbound: Arc<dyn Outbound>,
    clock: Arc<dyn Clock>,
    /// The installation's number, once it was looked up.
    found: Mutex<Option<u64>>,
}

#[derive(Clone)]
struct GithubApp {
    app: Arc<App>,
    scope: Scope,
}

impl fmt::Debug for GithubApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GithubApp")
            .field("issuer", &self.app.issuer)
            .field("api", &self.app.api.shown())
            .field("installation", &self.app.installation)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for GithubApp {
    async fn mint(&self, _: Mint<'_>) -> Result<Minted, SourceError> {
        let jwt = self.app.jwt().await?;
        let id = self.app.installation(&jwt).await?;
        let path = ["app", "installations", &id.to_string(), "access_tokens"];
        let (endpoint, response) = self.app.call(Method::POST, &path, &jwt, Some(self.scope.body())).await?;
        if response.status == StatusCode::NOT_FOUND {
            // It may have been removed and made anew: looked up again by the next mint.
            *self.app.found.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        let token = answer::token(&endpoint, &response, &self.scope)?;
        #[allow(
            clippy::disallowed_methods,
            reason = "it is shown once more to be taken back, and wiped as the other is"
        )]
        let shown = Secret::new(token.value.expose().to_vec());
        let issued = InstallationToken { app: self.app.clone(), token: shown };
        let expires_at_ms = Some(token.expires_at_ms);
        Ok(Minted { expires_at_ms, issued: Some(Arc::new(issued)), ..Minted::of(token.value) })
    }

    fn is_renewable(&self) -> bool {
        true
    }

    fn secrets(&self) -> Vec<&SecretReference> {
        vec![&self.app.key.reference]
    }

    fn narrowed(&self, table: &mut Table, out: &mut Diagnostics) -> Option<Arc<dyn Source>> {
        let written = table.clone();
        let scope = Scope::take(table, out)?.within(&self.scope, &written, out)?;
        Some(Arc::new(Self { app: self.app.clone(), scope }))
    }
}

impl App {
    /// A JWT of the App (GitHub, "Generating a JSON Web Token for a GitHub App").
    async fn jwt(&self) -> Result<Secret, SourceError> {
        let stored = read_for(&self.key, &self.api.target).await?;
        let now = self.clock.now();
        let mut claims = Map::new();
        claims.insert("iat".to_owned(), now.saturating_sub(DATED_BACK_S).into());
        claims.insert("exp".to_owned(), now.saturating_add(JWT_S).into());
        claims.insert("iss".to_owned(), self.issuer.as_str().into());
        let unusable = |why| SourceError::Unusable { reference: self.key.reference.to_string(), why };
        let key = PrivateKey::parse(&stored.value).map_err(unusable)?;
        key.jwt(Algorithm::Rs256, None, &claims).map_err(unusable)
    }

    /// The installation's number, looked up once.
    async fn installation(&self, jwt: &Secret) -> Result<u64, SourceError> {
        let known = *self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = known {
            return Ok(id);
        }
        let id = match &self.installation {
            Installation::Id(id) => return Ok(*id),
            Installation::With(owner, name) => self.look_up(&["repos", owner, name, "installation"], jwt).await?,
            Installation::Of(owner) => match self.look_up(&["orgs", owner, "installation"], jwt).await {
                // Not an organisation: a user.
                Err(SourceError::Refused { status: 404, .. }) => {
                    self.look_up(&["users", owner, "installation"], jwt).await?
                }
                looked_up => looked_up?,
            },
        };
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
        Ok(id)
    }

    async fn look_up(&self, path: &[&str], jwt: &Secret) -> Result<u64, SourceError> {
        let (endpoint, response) = self.call(Method::GET, path, jwt, None).await?;
        answer::installation(&endpoint, &response)
    }

    /// A call with its endpoint, for messages.
    async fn call(
        &self,
        method: Method,
        path: &[&str],
        bearer: &Secret,
        body: Option<Value>,
    ) -> Result<(String, OutboundResponse), SourceError> {
        let mut url = self.api.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let endpoint = url.to_string();
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization(bearer).ok_or(SourceError::Aborted)?);
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        headers.insert(HeaderName::from_static("x-github-api-version"), HeaderValue::from_static("2022-11-28"));
        // GitHub refuses calls without one.
        headers.insert(USER_AGENT, HeaderValue::from_static("claviger"));
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let body = body.map(|body| Secret::from(body.to_string()));
        let request = OutboundRequest { method, url, headers, body, timeout: TIMEOUT, max_response: ANSWER_MAX };
        let response = self.outbound.send(&self.reach, request).await?;
        Ok((endpoint, response))
    }
}

/// `Bearer …`, as a header that nothing prints.
fn authorization(bearer: &Secret) -> Option<HeaderValue> {
    let mut text = zeroize::Zeroizing::new(b"Bearer ".to_vec());
    #[allow(clippy::disallowed_methods, reason = "the token proves who calls: it goes into the call's header")]
    text.extend_from_slice(bearer.expose());
    let mut value = HeaderValue::from_bytes(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A token as GitHub knows it.
struct InstallationToken {
    app: Arc<App>,
    token: Secret,
}

impl fmt::Debug for InstallationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InstallationToken(…)")
    }
}

#[async_trait]
impl Issued for InstallationToken {
    async fn revoke(&self) -> Result<(), SourceError> {
        let (endpoint, response) = self.app.call(Method::DELETE, &["installation", "token"], &self.token, None).await?;
        match response.status {
            // One that is unknown has ended already.
            StatusCode::NO_CONTENT | StatusCode::UNAUTHORIZED => Ok(()),
            _ => Err(answer::refused(&endpoint, &response)),
        }
    }
}
