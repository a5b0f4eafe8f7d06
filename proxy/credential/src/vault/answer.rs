//! What a server may answer. Nothing of an answer is ever shown, except errors that this file knows.

use std::time::Duration;

use claviger_contract::{OutboundResponse, Secret};
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::SourceError;
use crate::store::field::SecretText;

/// Errors as servers word them (a part of the text, in lower case), and what is shown of each. What is not in this list
/// could be anything, also what we sent.
const ERRORS: &[(&str, &str)] = &[
    ("vault is sealed", "the server is sealed"),
    ("openbao is sealed", "the server is sealed"),
    ("node not active", "the node is a standby without an active node"),
    ("raft", "the cluster has no leader"),
    ("namespace not found", "there is no such namespace"),
    ("no handler for route", "no engine is mounted there"),
    ("unsupported path", "the engine has no such path"),
    ("unsupported operation", "the path takes another method"),
    ("lease not found", "the lease is over"),
    ("lease is not renewable", "the lease cannot be renewed"),
    ("lease expired", "the lease is over"),
    ("invalid role or secret id", "invalid role or secret id"),
    ("invalid secret id", "invalid secret id"),
    ("invalid role id", "invalid role id"),
    ("wrapping token is not valid", "the wrapping token was used or is over"),
    ("could not be found", "there is no such role"),
    ("unknown role", "there is no such role"),
    ("invalid role name", "there is no such role"),
    ("invalid audience", "the token is for another audience"),
    ("audience claim", "the token is for another audience"),
    ("claim \"aud\"", "the token is for another audience"),
    ("claim \"sub\"", "the token is of another subject"),
    ("invalid issuer", "the token is of another issuer"),
    ("claim", "a claim of the token does not match the role"),
    ("token is expired", "the token has expired"),
    ("no known key successfully validated", "the token's signature is not verified"),
    ("signature", "the token's signature is not verified"),
    ("no chain matching", "no role matches the certificate"),
    ("failed to match all constraints", "no role matches the certificate"),
    ("invalid certificate", "no role matches the certificate"),
    ("client certificate must be supplied", "no certificate was shown"),
    ("tls connection required", "no certificate was shown"),
    ("rate limit", "the rate limit is exceeded"),
    ("lease count quota", "the quota of leases is used up"),
    ("permission denied", "permission denied"),
    ("missing client token", "permission denied"),
    ("invalid token", "permission denied"),
    ("bad token", "permission denied"),
];

/// What stands around every answer.
#[derive(Deserialize)]
pub(crate) struct Envelope<'a> {
    #[serde(default)]
    pub(crate) lease_id: Option<String>,
    #[serde(default)]
    pub(crate) lease_duration: u64,
    #[serde(default)]
    pub(crate) renewable: bool,
    #[serde(borrow, default)]
    pub(crate) data: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) auth: Option<Auth>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

/// What a login yields.
#[derive(Deserialize)]
pub(super) struct Auth {
    pub(super) client_token: SecretText,
    /// Seconds; zero if the token has no end.
    pub(super) lease_duration: u64,
    pub(super) renewable: bool,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

impl Envelope<'_> {
    /// Whether there is a lease that can be renewed or revoked.
    pub(crate) fn lease(&self) -> Option<&str> {
        self.lease_id.as_deref().filter(|id| !id.is_empty())
    }

    /// Whether it is a KV engine's answer: of version 1 it has a time to read it again without a lease, of version 2 what
    /// stands around a secret.
    pub(crate) fn is_stored(&self) -> bool {
        #[derive(Deserialize)]
        struct Around<'a> {
            #[serde(borrow, rename = "data")]
            _data: &'a RawValue,
            #[serde(borrow)]
            metadata: &'a RawValue,
        }
        let around = || serde_json::from_str::<Around<'_>>(self.data?.get()).ok();
        self.lease().is_none()
            && (self.lease_duration > 0 || around().is_some_and(|of| of.metadata.get().contains("\"version\"")))
    }

    /// Whether a version 2 KV engine was asked as if it were one of version 1.
    pub(crate) fn is_wrong_kv_path(&self) -> bool {
        self.warnings.iter().flatten().any(|warning| warning.contains("versioned K/V"))
    }
}

/// Reads an answer of 200. `endpoint` is named in errors.
pub(crate) fn read<'a>(endpoint: &str, response: &'a OutboundResponse) -> Result<Envelope<'a>, SourceError> {
    if response.status != StatusCode::OK {
        return Err(refused(endpoint, response));
    }
    parse(endpoint, response)
}

/// Reads an answer, whatever its status.
pub(crate) fn parse<'a>(endpoint: &str, response: &'a OutboundResponse) -> Result<Envelope<'a>, SourceError> {
    #[allow(clippy::disallowed_methods, reason = "the answer is parsed; what leaves it are secrets")]
    let body = response.body.expose();
    // The parser's own message could cite a part of the answer.
    serde_json::from_slice(body).map_err(|_| SourceError::Answer {
        endpoint: endpoint.to_owned(),
        why: "it is not a JSON object as Vault's API has it",
    })
}

/// The error that a status other than 200 is.
pub(crate) fn refused(endpoint: &str, response: &OutboundResponse) -> SourceError {
    if response.status.is_redirection() {
        let why =
            "it is a redirect to another node, and redirects are not followed; name the active node, or what balances";
        return SourceError::Answer { endpoint: endpoint.to_owned(), why };
    }
    SourceError::Refused {
        endpoint: endpoint.to_owned(),
        status: response.status.as_u16(),
        code: error(response),
        retry_after: retry_after(response),
    }
}

/// What the server says is wrong, if this file knows it.
fn error(response: &OutboundResponse) -> Option<&'static str> {
    let texts = errors(response)?.join("\n").to_lowercase();
    ERRORS.iter().find(|(part, _)| texts.contains(part)).map(|(_, shown)| *shown)
}

/// Whether the answer says that nothing stands at a path: 404 without an error.
pub(crate) fn is_nothing(response: &OutboundResponse) -> bool {
    response.status == StatusCode::NOT_FOUND && errors(response).is_none_or(|errors| errors.is_empty())
}

fn errors(response: &OutboundResponse) -> Option<Vec<String>> {
    #[allow(clippy::disallowed_methods, reason = "only texts that this file knows leave it")]
    let body = response.body.expose();
    serde_json::from_slice::<Errors>(body).ok().map(|found| found.errors)
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3); a date is left to the back-off.
fn retry_after(response: &OutboundResponse) -> Option<Duration> {
    response.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// A JSON object of texts, for the body of a call: built in a buffer that never grows, so that no copy of a secret is
/// left behind.
pub(crate) fn body(members: &[(&str, &[u8])]) -> Result<Secret, NotText> {
    let room: usize = members.iter().map(|(name, value)| 6 * (name.len() + value.len()) + 8).sum();
    let mut json = zeroize::Zeroizing::new(Vec::with_capacity(room + 2));
    json.push(b'{');
    for (at, (name, value)) in members.iter().enumerate() {
        if at > 0 {
            json.push(b',');
        }
        string(&mut json, name.as_bytes())?;
        json.push(b':');
        string(&mut json, value)?;
    }
    json.push(b'}');
    Ok(Secret::new(std::mem::take(&mut *json)))
}

/// A value that is to be sent as JSON is not UTF-8.
#[derive(Debug)]
pub(crate) struct NotText;

fn string(json: &mut Vec<u8>, text: &[u8]) -> Result<(), NotText> {
    let text = std::str::from_utf8(text).map_err(|_| NotText)?;
    // Writes in place; each byte takes six at most.
    serde_json::to_writer(json, text).map_err(|_| NotText)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn response(status: u16, body: &str) -> OutboundResponse {
        let status = StatusCode::from_u16(status).unwrap();
        OutboundResponse { status, headers: HeaderMap::new(), body: Secret::from(body.to_owned()) }
    }

    #[test]
    fn errors_are_told_by_words_that_are_known() {
        let check = |status: u16, body: &str, expected: &str| {
            let error = refused("https://v/v1/x", &response(status, body)).to_string();
            assert_eq!(error, expected, "{body}");
        };
        check(503, r#"{"errors":["Vault is sealed"]}"#, "`https://v/v1/x` answered 503 with `the server is sealed`");
        check(
            403,
            r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#,
            "`https://v/v1/x` answered 403 with `permission denied`",
        );
        check(
            404,
            r#"{"errors":["no handler for route \"a/b\". route entry not found."]}"#,
            "`https://v/v1/x` answered 404 with `no engine is mounted there`",
        );
        check(400, r#"{"errors":["error validating token: canary"]}"#, "`https://v/v1/x` answered 400");
        check(502, "canary", "`https://v/v1/x` answered 502");
        check(
            307,
            "",
            "the answer of `https://v/v1/x` cannot be used: it is a redirect to another node, and redirects are not \
             followed; name the active node, or what balances",
        );
    }

    #[test]
    fn nothing_is_a_404_without_an_error() {
        let check = |status: u16, body: &str, expected: bool| {
            assert_eq!(is_nothing(&response(status, body)), expected, "{status} {body}");
        };
        check(404, r#"{"errors":[]}"#, true);
        check(404, r#"{"data":{"data":null,"metadata":{}}}"#, true);
        check(404, r#"{"errors":["namespace not found"]}"#, false);
        check(403, r#"{"errors":[]}"#, false);
    }

    #[test]
    fn a_body_is_json() {
        let made = body(&[("role", b"a\"b"), ("jwt", "ü\n".as_bytes())]).unwrap();
        assert_eq!(crate::fixture::text(&made), r#"{"role":"a\"b","jwt":"ü\n"}"#);
        assert!(body(&[("role", b"\xff")]).is_err());
    }
}
