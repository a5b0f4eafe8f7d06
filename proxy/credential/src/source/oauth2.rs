//! `kind = "oauth2"`: an access token by the client credentials grant (RFC 6749 §4.4).

mod answer;
pub(super) mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claviger_contract::{Clock, Outbound, OutboundRequest, Reach, Secret};
use claviger_policy::Target;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use zeroize::Zeroizing;

use super::{Mint, Minted, Source};
use crate::binding::{BoundHost, list};
use crate::error::SourceError;
use crate::reference::SecretReference;
use crate::store::{SecretHandle, Stored};

/// For the whole call to a token endpoint.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer of a token endpoint, in bytes.
const ANSWER_MAX: usize = 64 * 1024;

/// How the client proves itself to the token endpoint (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientAuth {
    /// HTTP Basic, of the form-encoded id and secret.
    Basic,
    /// `client_id` and `client_secret` in the body.
    Post,
}

struct OAuth2Source {
    token_url: url::Url,
    /// The same as a target, which the client secret's binding is checked against.
    endpoint: Target,
    client_id: String,
    client_secret: SecretHandle,
    auth: ClientAuth,
    /// `grant_type`, `scope`, `audience` and `parameters`, in this order.
    parameters: Vec<(String, String)>,
    reach: Reach,
    outbound: Arc<dyn Outbound>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for OAuth2Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Extra parameters stay out: an operator may have put a secret there by mistake.
        f.debug_struct("OAuth2Source")
            .field("endpoint", &endpoint_text(&self.token_url))
            .field("client_id", &self.client_id)
            .field("client_secret", &self.client_secret)
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for OAuth2Source {
    async fn mint(&self, _: Mint<'_>) -> Result<Minted, SourceError> {
        let stored = self.client_secret.read().await?;
        check_binding(&self.client_secret, &stored, &self.endpoint)?;
        let request = self.request(&stored.value);
        drop(stored);
        // From before the call, so that the token ends early rather than late.
        let asked_at_ms = self.clock.now_ms();
        let response = self.outbound.send(&self.reach, request).await?;
        let token = answer::read(&endpoint_text(&self.token_url), &response)?;
        let lifetime_ms = i64::try_from(token.lifetime.as_millis()).unwrap_or(i64::MAX);
        Ok(Minted { expires_at_ms: Some(asked_at_ms.saturating_add(lifetime_ms)), ..Minted::of(token.value) })
    }

    fn is_renewable(&self) -> bool {
        true
    }

    fn secrets(&self) -> Vec<&SecretReference> {
        vec![&self.client_secret.reference]
    }
}

impl OAuth2Source {
    fn request(&self, secret: &Secret) -> OutboundRequest {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut body = Form::with_room_for(&self.parameters, &self.client_id, secret);
        for (name, value) in &self.parameters {
            body.pair(name, value.as_bytes());
        }
        match self.auth {
            ClientAuth::Basic => {
                headers.insert(AUTHORIZATION, basic(&self.client_id, secret));
            }
            ClientAuth::Post => {
                body.pair("client_id", self.client_id.as_bytes());
                #[allow(clippy::disallowed_methods, reason = "the client secret is sent to its own token endpoint")]
                body.pair("client_secret", secret.expose());
            }
        }
        OutboundRequest {
            method: Method::POST,
            url: self.token_url.clone(),
            headers,
            body: Some(Secret::new(body.0.as_bytes().to_vec())),
            timeout: TIMEOUT,
            max_response: ANSWER_MAX,
        }
    }
}

/// A form body that never grows beyond its room, so that no copy of the secret is left behind.
struct Form(Zeroizing<String>);

impl Form {
    fn with_room_for(parameters: &[(String, String)], client_id: &str, secret: &Secret) -> Self {
        let plain: usize = parameters.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        // Each byte takes three at most.
        let room = 3 * (plain + client_id.len() + secret.len() + 64);
        Self(Zeroizing::new(String::with_capacity(room)))
    }

    fn pair(&mut self, name: &str, value: &[u8]) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.encoded(name.as_bytes());
        self.0.push('=');
        self.encoded(value);
    }

    fn encoded(&mut self, value: &[u8]) {
        url::form_urlencoded::byte_serialize(value).for_each(|part| self.0.push_str(part));
    }
}

/// `Basic base64(form(id) ":" form(secret))`: RFC 6749 §2.3.1 encodes both before they are joined.
fn basic(client_id: &str, secret: &Secret) -> HeaderValue {
    let mut pair = Form::with_room_for(&[], client_id, secret);
    pair.encoded(client_id.as_bytes());
    pair.0.push(':');
    #[allow(clippy::disallowed_methods, reason = "the client secret is sent to its own token endpoint")]
    pair.encoded(secret.expose());
    let mut text = Zeroizing::new(String::with_capacity(6 + pair.0.len().div_ceil(3) * 4));
    text.push_str("Basic ");
    STANDARD.encode_string(pair.0.as_bytes(), &mut text);
    // Base64 is always a header value. (Its copy inside of `http` cannot be wiped.)
    let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// The client secret goes to its token endpoint only, and only if it is bound there.
fn check_binding(handle: &SecretHandle, stored: &Stored, endpoint: &Target) -> Result<(), SourceError> {
    match &stored.hosts {
        Some(hosts) if !hosts.iter().any(|host| host.matches(endpoint)) => Err(SourceError::Binding {
            reference: handle.reference.to_string(),
            hosts: if hosts.is_empty() { "no host".to_owned() } else { list(hosts) },
            destination: BoundHost::of_target(endpoint).to_string(),
        }),
        // A value without hosts of its own: the configuration that names the endpoint binds it.
        Some(_) | None => Ok(()),
    }
}

/// Scheme, host, port and path; a query may hold what must not be shown.
fn endpoint_text(url: &url::Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.to_string()
}
