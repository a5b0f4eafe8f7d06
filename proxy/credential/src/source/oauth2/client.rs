//! A client of an authorization server: asks its token endpoint, with its proof.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use claviger_contract::{Clock, Outbound, OutboundRequest, OutboundResponse, Reach};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};

use super::answer::{self, Token};
use super::client_auth::ClientAuth;
use super::endpoint::{Endpoint, Endpoints};
use super::form::{self, Value};
use crate::error::SourceError;
use crate::reference::SecretReference;
use crate::source::Ask;

/// For a whole call to an endpoint.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A registered client, and all that its calls need.
pub(super) struct Client {
    /// Empty for a client that none is needed of.
    pub(super) id: String,
    pub(super) auth: ClientAuth,
    pub(super) endpoints: Endpoints,
    /// `scope`, `audience`, `resource` and `parameters`, in this order: the same whatever the grant.
    pub(super) parameters: Vec<(String, String)>,
    pub(super) reach: Reach,
    pub(super) outbound: Arc<dyn Outbound>,
    pub(super) clock: Arc<dyn Clock>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Extra parameters stay out: an operator may have put a secret there by mistake.
        f.debug_struct("Client").field("id", &self.id).field("auth", &self.auth).finish_non_exhaustive()
    }
}

impl Client {
    /// Asks the token endpoint. `fields` are the grant's own, `grant_type` first.
    pub(super) async fn token(&self, fields: &[(&str, Value<'_>)], ask: Option<Ask<'_>>) -> Result<Token, SourceError> {
        let endpoint = &self.endpoints.token;
        let parameters = self.parameters.iter().map(|(name, value)| (name.as_str(), Value::Text(value)));
        let fields: Vec<_> = fields.iter().copied().chain(parameters).collect();
        // From before the call, so that the token ends early rather than late.
        let asked_at_ms = self.clock.now_ms();
        let response = self.post(endpoint, fields, ask).await?;
        answer::read(&endpoint.shown(), &response, asked_at_ms)
    }

    /// Posts a form with the client's proof.
    pub(super) async fn post(
        &self,
        endpoint: &Endpoint,
        mut fields: Vec<(&str, Value<'_>)>,
        ask: Option<Ask<'_>>,
    ) -> Result<OutboundResponse, SourceError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let shown = self.auth.show(&self.id, endpoint, ask).await?;
        if shown.with_id {
            fields.push(("client_id", Value::Text(&self.id)));
        }
        fields.extend(shown.fields.iter().map(|(name, value)| (*name, Value::Secret(value))));
        headers.extend(shown.header);
        let request = OutboundRequest {
            method: Method::POST,
            url: endpoint.url.clone(),
            headers,
            body: Some(form::body(&fields)),
            timeout: TIMEOUT,
            max_response: answer::ANSWER_MAX,
        };
        Ok(self.outbound.send(shown.reach.as_ref().unwrap_or(&self.reach), request).await?)
    }

    pub(super) fn secrets(&self) -> Vec<&SecretReference> {
        self.auth.secrets()
    }
}
