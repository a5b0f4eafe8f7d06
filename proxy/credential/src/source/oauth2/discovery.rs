//! What an authorization server says of itself (RFC 8414, OpenID Connect Discovery 1.0): fetched by the first mint, kept for
//! an hour, and used for a day where it cannot be fetched anew.

use std::sync::Arc;

use claviger_contract::{Clock, Outbound, OutboundRequest, OutboundResponse, Reach};
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::answer::ANSWER_MAX;
use super::client::TIMEOUT;
use super::endpoint::{Endpoint, Which};
use crate::binding::BoundHost;
use crate::error::SourceError;

/// How long metadata are taken for current, in milliseconds.
const FRESH_MS: i64 = 3_600_000;
/// How long they are used while they cannot be fetched anew, in milliseconds.
const USABLE_MS: i64 = 86_400_000;
/// How long a failure is the answer to everybody, in milliseconds: each caller's mint would wait for its own otherwise.
const FAILED_MS: i64 = 2_000;
/// While what was fetched before can be used, an issuer that hangs holds nobody up again so soon.
const FAILED_BUT_USABLE_MS: i64 = 60_000;

/// The metadata of one issuer.
#[derive(Debug)]
pub(super) struct Discovery {
    /// As configured: it must come back byte for byte (RFC 8414 §3.3).
    issuer: String,
    /// Where the documents are looked for, in this order.
    places: Vec<Endpoint>,
    /// Hosts that endpoints may be on: the issuer's own, and those that the configuration adds. What Claviger shows there
    /// is bound to hosts that somebody wrote down, not to what a document says.
    hosts: Vec<BoundHost>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    metadata: Option<(i64, Arc<Metadata>)>,
    failed: Option<(i64, Arc<SourceError>)>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Document {
    issuer: String,
    #[serde(flatten)]
    endpoints: Named,
    #[serde(default)]
    mtls_endpoint_aliases: Named,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Named {
    token_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    authorization_endpoint: Option<String>,
    device_authorization_endpoint: Option<String>,
}

impl Named {
    fn get(&self, which: Which) -> Option<&str> {
        match which {
            Which::Token => self.token_endpoint.as_deref(),
            Which::Revocation => self.revocation_endpoint.as_deref(),
            Which::Authorization => self.authorization_endpoint.as_deref(),
            Which::DeviceAuthorization => self.device_authorization_endpoint.as_deref(),
        }
    }
}

/// A document that was read, and where.
#[derive(Debug)]
struct Metadata {
    place: String,
    document: Document,
}

/// What a call needs.
#[derive(Clone, Copy)]
pub(super) struct Net<'a> {
    pub(super) reach: &'a Reach,
    pub(super) outbound: &'a dyn Outbound,
    pub(super) clock: &'a dyn Clock,
}

impl Discovery {
    /// Of an issuer's URL; `also` are hosts that its endpoints may be on besides its own.
    pub(super) fn new(issuer: &str, also: Vec<BoundHost>, reach: &Reach) -> Result<Self, String> {
        let own = Endpoint::parse(issuer, "an issuer", reach)?;
        if own.url.query().is_some() {
            return Err("an issuer has no query (RFC 8414 §2)".to_owned());
        }
        let path = own.url.path().trim_end_matches('/');
        let at = |path: String| {
            let mut url = own.url.clone();
            url.set_path(&path);
            Endpoint { url, target: own.target.clone() }
        };
        // The first by RFC 8414 §3.1, the second by OpenID Connect Discovery §4.
        let places = vec![
            at(format!("/.well-known/oauth-authorization-server{path}")),
            at(format!("{path}/.well-known/openid-configuration")),
        ];
        let hosts = std::iter::once(BoundHost::of_target(&own.target)).chain(also).collect();
        Ok(Self { issuer: issuer.to_owned(), places, hosts, kept: Mutex::default() })
    }

    /// Hosts that endpoints may be on.
    pub(super) fn hosts(&self) -> &[BoundHost] {
        &self.hosts
    }

    /// An endpoint, if the issuer has it; where the client shows a certificate, the one that asks for it (RFC 8705 §5).
    pub(super) async fn find(
        &self,
        which: Which,
        by_mtls: bool,
        net: Net<'_>,
    ) -> Result<Option<Endpoint>, SourceError> {
        let metadata = self.metadata(net).await?;
        let document = &metadata.document;
        let alias = document.mtls_endpoint_aliases.get(which).filter(|_| by_mtls);
        let Some(text) = alias.or_else(|| document.endpoints.get(which)) else { return Ok(None) };
        let unusable = |why| SourceError::Answer { endpoint: metadata.place.clone(), why };
        let endpoint = Endpoint::parse(text, "an endpoint", net.reach)
            .map_err(|_| unusable("it names an endpoint that is no https:// URL"))?;
        if !self.hosts.iter().any(|host| host.matches(&endpoint.target)) {
            return Err(unusable(
                "it names an endpoint on another host than the issuer's, and `endpoint_hosts` does not list it",
            ));
        }
        Ok(Some(endpoint))
    }

    async fn metadata(&self, net: Net<'_>) -> Result<Arc<Metadata>, SourceError> {
        let mut kept = self.kept.lock().await;
        let now = net.clock.now_ms();
        let younger = |at: i64, than: i64| (0..than).contains(&now.saturating_sub(at));
        if let Some((at, metadata)) = &kept.metadata
            && younger(*at, FRESH_MS)
        {
            return Ok(metadata.clone());
        }
        let usable = kept.metadata.as_ref().filter(|(at, _)| younger(*at, USABLE_MS)).map(|(_, kept)| kept.clone());
        if let Some((at, cause)) = &kept.failed
            && younger(*at, if usable.is_some() { FAILED_BUT_USABLE_MS } else { FAILED_MS })
        {
            return usable.ok_or_else(|| SourceError::Discovery(cause.clone()));
        }
        match self.fetch(net).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *kept = Kept { metadata: Some((now, metadata.clone())), failed: None };
                Ok(metadata)
            }
            Err(cause) => {
                let cause = Arc::new(cause);
                kept.failed = Some((net.clock.now_ms(), cause.clone()));
                usable.ok_or(SourceError::Discovery(cause))
            }
        }
    }

    async fn fetch(&self, net: Net<'_>) -> Result<Metadata, SourceError> {
        let mut last = None;
        for place in &self.places {
            let request = OutboundRequest {
                method: Method::GET,
                url: place.url.clone(),
                headers: HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]),
                body: None,
                timeout: TIMEOUT,
                max_response: ANSWER_MAX,
            };
            let response = net.outbound.send(net.reach, request).await?;
            let shown = place.shown();
            match read(&shown, &response) {
                Ok(document) if document.issuer != self.issuer => {
                    let why = "its `issuer` is not the one that was asked";
                    return Err(SourceError::Answer { endpoint: shown, why });
                }
                Ok(document) => return Ok(Metadata { place: shown, document }),
                // Only who does not have the document is asked for the other.
                Err(error) if response.status.is_client_error() && response.status != StatusCode::TOO_MANY_REQUESTS => {
                    last.get_or_insert(error);
                }
                Err(error @ SourceError::Answer { .. }) => _ = last.get_or_insert(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or(SourceError::Aborted))
    }
}

fn read(endpoint: &str, response: &OutboundResponse) -> Result<Document, SourceError> {
    let unusable = |why| SourceError::Answer { endpoint: endpoint.to_owned(), why };
    if response.status.is_redirection() {
        return Err(unusable("it is a redirect, and redirects are not followed"));
    }
    if response.status != StatusCode::OK {
        return Err(super::answer::refused(endpoint, response));
    }
    #[allow(clippy::disallowed_methods, reason = "the document is parsed; only endpoints leave")]
    let body = response.body.expose();
    serde_json::from_slice(body)
        .map_err(|_| unusable("it is not a JSON object with `issuer` and endpoints as RFC 8414 has them"))
}
