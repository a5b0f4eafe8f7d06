//! What a token endpoint may answer (RFC 6749 §5). Nothing of an answer is ever shown, except an error
//! code that this file knows.

use std::time::Duration;

use claviger_contract::{OutboundResponse, Secret};
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde::Deserialize;

use crate::error::SourceError;
use crate::store::field::SecretText;

/// The largest answer of a token endpoint, in bytes.
pub(in crate::source) const ANSWER_MAX: usize = 64 * 1024;
/// The longest token that is taken, in bytes: what servers take as a header.
const TOKEN_MAX: usize = 16 * 1024;
/// What RFC 8693 §3 calls an access token, of whatever form.
pub(super) const TOKEN_TYPE_ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
/// What RFC 8693 §3 calls a JWT.
pub(super) const TOKEN_TYPE_JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// For tokens whose endpoint does not say how long they last; RFC 6749 only recommends that it does.
const LIFETIME_UNSAID: Duration = Duration::from_secs(300);
/// A year; what claims to last longer is taken as this long.
const LIFETIME_MAX: Duration = Duration::from_secs(31_536_000);

/// An access token.
#[derive(Debug)]
pub(in crate::source) struct Token {
    pub(in crate::source) value: Secret,
    /// Milliseconds since the Unix epoch, by `expires_in` from when it was asked for.
    pub(in crate::source) expires_at_ms: i64,
    /// The refresh token that came with it.
    #[allow(dead_code, reason = "for the grant that rotates it")]
    pub(in crate::source) refresh_token: Option<Secret>,
}

#[derive(Deserialize)]
struct Success {
    access_token: SecretText,
    token_type: String,
    expires_in: Option<serde_json::Number>,
    refresh_token: Option<SecretText>,
    issued_token_type: Option<String>,
}

#[derive(Deserialize)]
struct Failure {
    error: String,
}

/// The error codes that are shown (RFC 6749 §5.2, RFC 8707 §2, and what servers are known to send). A
/// code that is not in this list could be anything, also what we sent.
const ERRORS: &[&str] = &[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "access_denied",
    "authorization_pending",
    "expired_token",
    "server_error",
    "temporarily_unavailable",
    "slow_down",
    "too_many_requests",
    "unsupported_token_type",
    "unsupported_response_type",
    "invalid_token",
    "insufficient_scope",
    "interaction_required",
    "login_required",
    "consent_required",
    "invalid_dpop_proof",
    "use_dpop_nonce",
];

/// Reads an answer; `endpoint` is named in errors.
pub(in crate::source) fn read(
    endpoint: &str,
    response: &OutboundResponse,
    asked_at_ms: i64,
) -> Result<Token, SourceError> {
    read_as(endpoint, response, asked_at_ms, is_bearer)
}

/// Reads the answer to a token exchange (RFC 8693 §2.2.1): of the type that was requested, or if none was, of one that can
/// be injected.
pub(super) fn read_exchanged(
    endpoint: &str,
    response: &OutboundResponse,
    asked_at_ms: i64,
    requested: Option<&str>,
) -> Result<Token, SourceError> {
    read_as(endpoint, response, asked_at_ms, |success| {
        let issued = success.issued_token_type.as_deref().ok_or("it has no `issued_token_type`")?;
        match requested {
            Some(requested) if issued != requested => Err("its `issued_token_type` is not the one that was requested"),
            None if issued != TOKEN_TYPE_ACCESS && issued != TOKEN_TYPE_JWT => {
                Err("its `issued_token_type` is neither an access token nor a JWT")
            }
            // `N_A`: a token that is none for accessing resources by itself, and was asked for.
            Some(_) if issued != TOKEN_TYPE_ACCESS && success.token_type.eq_ignore_ascii_case("N_A") => Ok(()),
            Some(_) | None => is_bearer(success),
        }
    })
}

fn is_bearer(success: &Success) -> Result<(), &'static str> {
    let is_bearer = success.token_type.eq_ignore_ascii_case("bearer");
    is_bearer.then_some(()).ok_or("its `token_type` is not `Bearer`")
}

fn read_as(
    endpoint: &str,
    response: &OutboundResponse,
    asked_at_ms: i64,
    check: impl FnOnce(&Success) -> Result<(), &'static str>,
) -> Result<Token, SourceError> {
    let unusable = |why| SourceError::Answer { endpoint: endpoint.to_owned(), why };
    #[allow(clippy::disallowed_methods, reason = "the answer is parsed; only the token leaves, as a Secret")]
    let body = response.body.expose();
    if response.status.is_redirection() {
        return Err(unusable("it is a redirect, and redirects are not followed"));
    }
    if response.status != StatusCode::OK {
        return Err(refused(endpoint, response));
    }
    if body.len() > ANSWER_MAX {
        return Err(unusable("it has more than 65536 bytes"));
    }
    // The parser's own message could cite a part of the answer.
    let success: Success = serde_json::from_slice(body).map_err(|_| match error_code(body) {
        Some(_) => unusable("it is an error with the status 200"),
        None => unusable("it is not a JSON object with `access_token`, `token_type` and a number `expires_in`"),
    })?;
    check(&success).map_err(unusable)?;
    let token = success.access_token.0;
    if token.is_empty() || token.len() > TOKEN_MAX {
        return Err(unusable("its `access_token` is empty or has more than 16384 bytes"));
    }
    // RFC 6749 appendix A.12 allows VSCHAR; a space or a control byte would end the header early.
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unusable("its `access_token` has a space or a byte that is not visible ASCII"));
    }
    let lifetime = match success.expires_in {
        Some(seconds) => lifetime(&seconds).ok_or_else(|| unusable("its `expires_in` is not above zero"))?,
        None => LIFETIME_UNSAID,
    };
    let lifetime_ms = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
    let refresh_token = success.refresh_token.map(|token| Secret::new(token.0.as_bytes().to_vec()));
    Ok(Token {
        value: Secret::new(token.as_bytes().to_vec()),
        expires_at_ms: asked_at_ms.saturating_add(lifetime_ms),
        refresh_token,
    })
}

/// An answer that is an error: what of it may be shown.
pub(super) fn refused(endpoint: &str, response: &OutboundResponse) -> SourceError {
    let (status, code) = (response.status.as_u16(), code(response));
    SourceError::Refused { endpoint: endpoint.to_owned(), status, code, retry_after: retry_after(response) }
}

/// Some servers send a fraction.
fn lifetime(seconds: &serde_json::Number) -> Option<Duration> {
    let seconds = seconds.as_f64().filter(|seconds| *seconds > 0.0)?;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(LIFETIME_MAX).min(LIFETIME_MAX))
}

/// The error code of an answer, if it is a known one.
pub(super) fn code(response: &OutboundResponse) -> Option<&'static str> {
    #[allow(clippy::disallowed_methods, reason = "the answer is parsed; a code that this file knows leaves")]
    error_code(response.body.expose())
}

fn error_code(body: &[u8]) -> Option<&'static str> {
    let failure: Failure = serde_json::from_slice(body).ok()?;
    ERRORS.iter().copied().find(|known| *known == failure.error)
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3); a date is left to the back-off.
fn retry_after(response: &OutboundResponse) -> Option<Duration> {
    response.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
