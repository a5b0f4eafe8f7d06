//! A client of an authorization server: asks its token endpoint, with its proof.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use claviger_contract::{Clock, Outbound, OutboundRequest, OutboundResponse, Reach, Secret, SubjectTokens};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::answer::{self, Token};
use super::client_auth::ClientAuth;
use super::discovery::Net;
use super::endpoint::{Endpoint, Endpoints, Which};
use super::form::{self, Value};
use crate::error::SourceError;
use crate::reference::SecretReference;
use crate::source::Ask;
use crate::source::subject::Place;

/// For a whole call to an endpoint.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

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
    pub(super) tokens: Arc<dyn SubjectTokens>,
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
        let (endpoint, asked_at_ms, response) = self.ask(fields, ask).await?;
        answer::read(&endpoint.shown(), &response, asked_at_ms)
    }

    /// Asks for an exchange (RFC 8693): for a token of the `requested` type, or of any that can be injected.
    pub(super) async fn exchange(
        &self,
        fields: &[(&str, Value<'_>)],
        requested: Option<&str>,
        ask: Option<Ask<'_>>,
    ) -> Result<Token, SourceError> {
        let (endpoint, asked_at_ms, response) = self.ask(fields, ask).await?;
        answer::read_exchanged(&endpoint.shown(), &response, asked_at_ms, requested)
    }

    async fn ask(
        &self,
        fields: &[(&str, Value<'_>)],
        ask: Option<Ask<'_>>,
    ) -> Result<(Endpoint, i64, OutboundResponse), SourceError> {
        let endpoint = self.token_endpoint().await?;
        let parameters = self.parameters.iter().map(|(name, value)| (name.as_str(), Value::Text(value)));
        let fields: Vec<_> = fields.iter().copied().chain(parameters).collect();
        // From before the call, so that the token ends early rather than late.
        let asked_at_ms = self.clock.now_ms();
        let response = self.post(&endpoint, fields, ask).await?;
        Ok((endpoint, asked_at_ms, response))
    }

    /// An endpoint, if the server has it.
    pub(super) async fn endpoint(&self, which: Which) -> Result<Option<Endpoint>, SourceError> {
        let net = Net { reach: &self.reach, outbound: &*self.outbound, clock: &*self.clock };
        self.endpoints.find(which, self.auth.is_by_certificate(), net).await
    }

    /// The token endpoint, which every server has.
    pub(super) async fn token_endpoint(&self) -> Result<Endpoint, SourceError> {
        self.endpoint(Which::Token).await?.ok_or_else(|| SourceError::Answer {
            endpoint: self.endpoints.issuer.clone().unwrap_or_default(),
            why: "its metadata name no `token_endpoint`",
        })
    }

    /// What tokens that are made for this endpoint may say whom they are for.
    pub(super) fn place<'a>(&'a self, endpoint: &'a Endpoint) -> Place<'a> {
        Place { issuer: self.endpoints.issuer.as_deref(), token_url: endpoint.url.as_str() }
    }

    /// Ends a token at its server (RFC 7009 §2).
    pub(super) async fn revoke(&self, token: &Secret, hint: &str, ask: Option<Ask<'_>>) -> Result<(), SourceError> {
        let Some(endpoint) = self.endpoint(Which::Revocation).await? else { return Ok(()) };
        let fields = vec![("token", Value::Secret(token)), ("token_type_hint", Value::Text(hint))];
        let response = self.post(&endpoint, fields, ask).await?;
        // A token that the server does not know is one that has ended: it answers 200 to that as well.
        if response.status == StatusCode::OK { Ok(()) } else { Err(answer::refused(&endpoint.shown(), &response)) }
    }

    /// Posts a form with the client's proof.
    pub(super) async fn post(
        &self,
        endpoint: &Endpoint,
        fields: Vec<(&str, Value<'_>)>,
        ask: Option<Ask<'_>>,
    ) -> Result<OutboundResponse, SourceError> {
        let (reach, request) = self.request(endpoint, fields, ask).await?;
        Ok(self.outbound.send(&reach, request).await?)
    }

    /// A form with the client's proof, and how it travels.
    pub(super) async fn request(
        &self,
        endpoint: &Endpoint,
        mut fields: Vec<(&str, Value<'_>)>,
        ask: Option<Ask<'_>>,
    ) -> Result<(Reach, OutboundRequest), SourceError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let shown = self.auth.show(self, endpoint, ask).await?;
        if shown.with_id && !fields.iter().any(|(name, _)| *name == "client_id") {
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
        Ok((shown.reach.unwrap_or_else(|| self.reach.clone()), request))
    }

    pub(super) fn secrets(&self) -> Vec<&SecretReference> {
        self.auth.secrets()
    }
}
