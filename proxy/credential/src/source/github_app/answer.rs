//! What GitHub may answer. Nothing of an answer is ever shown.

use std::collections::BTreeMap;
use std::time::Duration;

use claviger_contract::{OutboundResponse, Secret};
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde::Deserialize;

use super::scope::{Level, Scope};
use crate::error::SourceError;
use crate::store::field::SecretText;

/// The longest token that is taken, in bytes.
const TOKEN_MAX: usize = 4 * 1024;

/// An installation access token.
pub(super) struct Token {
    pub(super) value: Secret,
    pub(super) expires_at_ms: i64,
}

#[derive(Deserialize)]
struct Created {
    token: SecretText,
    expires_at: String,
    #[serde(default)]
    permissions: BTreeMap<String, String>,
    #[serde(default)]
    repository_selection: Option<String>,
    #[serde(default)]
    repositories: Option<Vec<Repository>>,
}

#[derive(Deserialize)]
struct Repository {
    id: i64,
    name: String,
}

#[derive(Deserialize)]
struct Installation {
    id: u64,
    #[serde(default)]
    suspended_at: Option<String>,
}

pub(super) fn token(endpoint: &str, response: &OutboundResponse, scope: &Scope) -> Result<Token, SourceError> {
    if response.status != StatusCode::CREATED {
        return Err(refused(endpoint, response));
    }
    let wrong = |why| SourceError::Answer { endpoint: endpoint.to_owned(), why };
    #[allow(clippy::disallowed_methods, reason = "the token is read out of the answer")]
    let created: Created =
        serde_json::from_slice(response.body.expose()).map_err(|_| wrong("it is not the JSON of a token"))?;
    let token = &created.token.0;
    if token.is_empty() || token.len() > TOKEN_MAX || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(wrong("its token is empty, too long, or has characters that no header takes"));
    }
    check(&created, scope).map_err(wrong)?;
    let expires_at: jiff::Timestamp =
        created.expires_at.parse().map_err(|_| wrong("it does not say when the token ends"))?;
    Ok(Token { value: Secret::new(token.as_bytes().to_vec()), expires_at_ms: expires_at.as_millisecond() })
}

/// A token that reaches further than was asked for is not handed on.
fn check(created: &Created, scope: &Scope) -> Result<(), &'static str> {
    if let Some(asked) = &scope.permissions {
        let is_within = |(name, level): (&String, &String)| {
            // Every token may read names and numbers of its repositories, whatever was asked for.
            (name == "metadata" && level == "read")
                || Level::named(level).is_some_and(|level| asked.get(name).is_some_and(|asked| level <= *asked))
        };
        if !created.permissions.iter().all(is_within) {
            return Err("the token has more permissions than were asked for");
        }
    }
    if scope.repositories.is_none() && scope.repository_ids.is_none() {
        return Ok(());
    }
    if created.repository_selection.as_deref() != Some("selected") {
        return Err("the token is not for selected repositories");
    }
    let is_asked = |had: &Repository| {
        scope.repositories.as_ref().is_none_or(|names| names.contains(&had.name.to_ascii_lowercase()))
            && scope.repository_ids.as_ref().is_none_or(|ids| ids.contains(&had.id))
    };
    match &created.repositories {
        Some(had) if had.iter().all(is_asked) => Ok(()),
        Some(_) => Err("the token is for other repositories than were asked for"),
        None => Err("it does not say which repositories the token is for"),
    }
}

pub(super) fn installation(endpoint: &str, response: &OutboundResponse) -> Result<u64, SourceError> {
    if response.status != StatusCode::OK {
        return Err(refused(endpoint, response));
    }
    let wrong = |why| SourceError::Answer { endpoint: endpoint.to_owned(), why };
    #[allow(clippy::disallowed_methods, reason = "the installation's number is read out of the answer")]
    let found: Installation =
        serde_json::from_slice(response.body.expose()).map_err(|_| wrong("it is not the JSON of an installation"))?;
    match found.suspended_at {
        None => Ok(found.id),
        Some(_) => Err(wrong("the installation is suspended")),
    }
}

pub(super) fn refused(endpoint: &str, response: &OutboundResponse) -> SourceError {
    let seconds = response.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    SourceError::Refused {
        endpoint: endpoint.to_owned(),
        status: response.status.as_u16(),
        code: None,
        retry_after: seconds.map(Duration::from_secs),
    }
}
