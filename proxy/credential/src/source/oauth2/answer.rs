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
pub(super) const ANSWER_MAX: usize = 64 * 1024;
/// The longest token that is taken, in bytes: what servers take as a header.
const TOKEN_MAX: usize = 16 * 1024;
/// For tokens whose endpoint does not say how long they last; RFC 6749 only recommends that it does.
const LIFETIME_UNSAID: Duration = Duration::from_secs(300);
/// A year; what claims to last longer is taken as this long.
const LIFETIME_MAX: Duration = Duration::from_secs(31_536_000);

/// An access token.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) value: Secret,
    /// Milliseconds since the Unix epoch, by `expires_in` from when it was asked for.
    pub(super) expires_at_ms: i64,
    /// The refresh token that came with it.
    #[allow(dead_code, reason = "for the grant that rotates it")]
    pub(super) refresh_token: Option<Secret>,
}

#[derive(Deserialize)]
struct Success {
    access_token: SecretText,
    token_type: String,
    expires_in: Option<serde_json::Number>,
    refresh_token: Option<SecretText>,
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
    "server_error",
    "temporarily_unavailable",
    "slow_down",
    "too_many_requests",
    "invalid_dpop_proof",
    "use_dpop_nonce",
];

/// Reads an answer; `endpoint` is named in errors.
pub(super) fn read(endpoint: &str, response: &OutboundResponse, asked_at_ms: i64) -> Result<Token, SourceError> {
    let unusable = |why| SourceError::Answer { endpoint: endpoint.to_owned(), why };
    #[allow(clippy::disallowed_methods, reason = "the answer is parsed; only the token leaves, as a Secret")]
    let body = response.body.expose();
    if response.status.is_redirection() {
        return Err(unusable("it is a redirect, and redirects are not followed"));
    }
    if response.status != StatusCode::OK {
        return Err(SourceError::Refused {
            endpoint: endpoint.to_owned(),
            status: response.status.as_u16(),
            code: error_code(body),
            retry_after: retry_after(response),
        });
    }
    if body.len() > ANSWER_MAX {
        return Err(unusable("it has more than 65536 bytes"));
    }
    // The parser's own message could cite a part of the answer.
    let success: Success = serde_json::from_slice(body).map_err(|_| match error_code(body) {
        Some(_) => unusable("it is an error with the status 200"),
        None => unusable("it is not a JSON object with `access_token`, `token_type` and a number `expires_in`"),
    })?;
    if !success.token_type.eq_ignore_ascii_case("bearer") {
        return Err(unusable("its `token_type` is not `Bearer`"));
    }
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

/// Some servers send a fraction.
fn lifetime(seconds: &serde_json::Number) -> Option<Duration> {
    let seconds = seconds.as_f64().filter(|seconds| *seconds > 0.0)?;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(LIFETIME_MAX).min(LIFETIME_MAX))
}

fn error_code(body: &[u8]) -> Option<&'static str> {
    let failure: Failure = serde_json::from_slice(body).ok()?;
    ERRORS.iter().copied().find(|known| *known == failure.error)
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3); a date is left to the back-off.
fn retry_after(response: &OutboundResponse) -> Option<Duration> {
    response.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
