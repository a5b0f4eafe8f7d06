//! `kind = "federation"`: a token of a destination for a token of the workload. No secret is stored anywhere: the workload's
//! own proof is exchanged, or one that the [issuer](claviger_contract::SubjectTokens) mints for its principal.
//!
//! What differs from provider to provider is data ([`Profile`]).

mod profile;
pub(super) mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_contract::{
    Attested, Clock, Outbound, OutboundRequest, ProofDigest, Reach, Secret, SubjectTokens, TokenAsk,
};
use dashmap::DashMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use zeroize::Zeroizing;

use self::profile::{BodyForm, Grant, Profile};
use super::caller::Needs;
use super::oauth2::answer::{self, ANSWER_MAX};
use super::oauth2::endpoint::Endpoint;
use super::oauth2::form::{self, Value};
use super::{Ask, Mint, Minted, Source};
use crate::binding::BoundHost;
use crate::cache::Key;
use crate::error::SourceError;
use crate::reference::SecretReference;

/// For the whole call to a token endpoint.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Proofs that are remembered as exchanged; the oldest that have ended go first.
const USED_MAX: usize = 10_000;

/// What is exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    /// The very token that the workload showed.
    Proof,
    /// One that is minted for its principal, with a `jti` of its own each time.
    Minted { audience: Vec<String>, lifetime: Duration },
}

struct FederationSource {
    profile: Profile,
    grant: Grant,
    body: BodyForm,
    endpoint: Endpoint,
    subject: Subject,
    /// Fields of the body, besides the grant's own.
    parameters: Vec<(String, String)>,
    headers: HeaderMap,
    /// Where the tokens go by the profile; `None`: as the configuration says.
    hosts: Option<Vec<BoundHost>>,
    /// Proofs that were exchanged, with their ends, where each is taken once.
    used: DashMap<ProofDigest, i64>,
    reach: Reach,
    outbound: Arc<dyn Outbound>,
    clock: Arc<dyn Clock>,
    tokens: Arc<dyn SubjectTokens>,
}

impl fmt::Debug for FederationSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Parameters stay out: an operator may have put a secret there by mistake.
        f.debug_struct("FederationSource")
            .field("profile", &self.profile.name)
            .field("endpoint", &self.endpoint.shown())
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for FederationSource {
    /// By caller: who may have the token of a principal is that principal, and where its proof is exchanged, with that
    /// proof.
    fn key(&self, ask: Ask<'_>) -> Key {
        match self.subject {
            Subject::Proof => Needs::Proof,
            Subject::Minted { .. } => Needs::Principal,
        }
        .key(ask)
    }

    async fn mint(&self, mint: Mint<'_>) -> Result<Minted, SourceError> {
        let caller = mint.ask.ok_or(SourceError::Aborted)?.caller;
        // From before the calls, so that the token ends early rather than late.
        let asked_at_ms = self.clock.now_ms();
        let minted = match &self.subject {
            Subject::Proof => None,
            Subject::Minted { audience, lifetime } => {
                let ask = TokenAsk {
                    principal: &caller.principal,
                    audience,
                    lifetime: *lifetime,
                    claims: serde_json::Map::new(),
                };
                Some(self.tokens.mint(ask).await?)
            }
        };
        let (subject, ends_at) = match &minted {
            Some(minted) => (&minted.token, Some(minted.expires_at)),
            None => {
                let token = self.unused(caller)?;
                (token, ends_at(token).or(caller.proof.expires_at))
            }
        };
        let response = self.outbound.send(&self.reach, self.request(subject)?).await?;
        let token = answer::read(&self.endpoint.shown(), &response, asked_at_ms)?;
        if minted.is_none() && self.profile.single_use {
            self.remember(caller);
        }
        let by_profile = self.profile.lifetime_max.map(|max| asked_at_ms.saturating_add(millis(max)));
        let by_subject = ends_at.filter(|_| !self.profile.outlives_subject).map(|ends| ends.saturating_mul(1_000));
        let expires_at_ms = by_profile.into_iter().chain(by_subject).fold(token.expires_at_ms, i64::min);
        Ok(Minted { expires_at_ms: Some(expires_at_ms), hosts: self.hosts.clone(), ..Minted::of(token.value) })
    }

    fn is_renewable(&self) -> bool {
        true
    }

    /// A proof that is taken once yields no second token: there is none to be had before the next proof.
    fn refreshes_ahead(&self) -> bool {
        !(self.profile.single_use && self.subject == Subject::Proof)
    }

    fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        self.profile.api_headers.iter().filter_map(|(name, value)| header(name, value)).collect()
    }

    /// None: that is the point.
    fn secrets(&self) -> Vec<&SecretReference> {
        Vec::new()
    }
}

impl FederationSource {
    /// The caller's token, unless its use is over.
    fn unused<'a>(&self, caller: &'a Attested) -> Result<&'a Secret, SourceError> {
        let token = caller.proof.token.as_ref();
        let token = token.ok_or(SourceError::NoToken)?;
        match self.used.contains_key(&caller.proof.digest) {
            true => Err(SourceError::TokenUsed),
            false => Ok(token),
        }
    }

    fn remember(&self, caller: &Attested) {
        if self.used.len() >= USED_MAX {
            let now = self.clock.now();
            self.used.retain(|_, ends| *ends > now);
        }
        self.used.insert(caller.proof.digest, caller.proof.expires_at.unwrap_or(i64::MAX));
    }

    fn request(&self, subject: &Secret) -> Result<OutboundRequest, SourceError> {
        let own: &[(&str, Value<'_>)] = match self.grant {
            Grant::TokenExchange => &[
                ("grant_type", Value::Text("urn:ietf:params:oauth:grant-type:token-exchange")),
                ("subject_token", Value::Secret(subject)),
                ("subject_token_type", Value::Text("urn:ietf:params:oauth:token-type:jwt")),
            ],
            Grant::JwtBearer => &[
                ("grant_type", Value::Text("urn:ietf:params:oauth:grant-type:jwt-bearer")),
                ("assertion", Value::Secret(subject)),
            ],
        };
        let parameters = self.parameters.iter().map(|(name, value)| (name.as_str(), Value::Text(value)));
        let fields: Vec<_> = own.iter().copied().chain(parameters).collect();
        let (body, kind) = match self.body {
            BodyForm::Form => (form::body(&fields), "application/x-www-form-urlencoded"),
            BodyForm::Json => (json(&fields)?, "application/json"),
        };
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        Ok(OutboundRequest {
            method: Method::POST,
            url: self.endpoint.url.clone(),
            headers,
            body: Some(body),
            timeout: TIMEOUT,
            max_response: ANSWER_MAX,
        })
    }
}

/// `exp` of a token that an attestor has verified: the proof's own end is a little behind it, for clocks that differ.
fn ends_at(token: &Secret) -> Option<i64> {
    #[derive(serde::Deserialize)]
    struct Claims {
        exp: i64,
    }
    #[allow(clippy::disallowed_methods, reason = "one number is read of it")]
    let claims = token.expose().split(|byte| *byte == b'.').nth(1)?;
    let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims).ok()?);
    serde_json::from_slice::<Claims>(&claims).ok().map(|claims| claims.exp)
}

/// A JSON object of texts, in a buffer that never grows, so that no copy of a token is left behind.
fn json(fields: &[(&str, Value<'_>)]) -> Result<Secret, SourceError> {
    let bytes = |value: &Value<'_>| match value {
        Value::Text(text) => text.len(),
        Value::Secret(secret) => secret.len(),
    };
    // No character takes more than six in JSON.
    let room: usize = fields.iter().map(|(name, value)| 6 * (name.len() + bytes(value)) + 6).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(room + 2));
    for (at, (name, value)) in fields.iter().enumerate() {
        out.push(if at == 0 { b'{' } else { b',' });
        let text = match value {
            Value::Text(text) => text,
            #[allow(clippy::disallowed_methods, reason = "the subject token is sent to the token endpoint")]
            Value::Secret(secret) => std::str::from_utf8(secret.expose()).map_err(|_| SourceError::NoToken)?,
        };
        // Writing texts into a Vec cannot fail.
        let _ = serde_json::to_writer(&mut *out, name);
        out.push(b':');
        let _ = serde_json::to_writer(&mut *out, text);
    }
    out.push(b'}');
    Ok(Secret::new(out.to_vec()))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A header that profiles name.
fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((name.parse().ok()?, value.parse().ok()?))
}
