//! `/v1/suspensions`: lists, suspends (POST), resumes (DELETE).

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use claviger_contract::{Suspendable, Suspension};
use claviger_policy::{IdPattern, SpiffeId, document};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin::Desk;
use crate::admin::access::{Caller, Role};
use crate::admin::answer::{ApiError, answer};
use crate::state::detail::at;

/// SPIFFE IDs have 2,048 bytes at most (SPIFFE-ID §2.3).
const NAME_MAX: usize = 2_048;
/// It stands in every record of a request that is refused.
const REASON_MAX: usize = 500;

/// What is to be suspended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// `principal`, `credential` or `service`.
    pub(crate) kind: String,
    /// A SPIFFE ID or pattern, or a name in the configuration.
    pub(crate) name: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// When it ends by itself, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
}

impl Wanted {
    /// The suspension that this is, made by `actor` now. The error is for whoever asked.
    pub(crate) fn parse(self, actor: Arc<str>, now_ms: i64) -> Result<Suspension, String> {
        let kind = parse_kind(&self.kind)?;
        let name = parse_name(kind, &self.name)?;
        let reason = self.reason.map(|reason| reason.trim().to_owned()).filter(|reason| !reason.is_empty());
        if let Some(reason) = &reason {
            plain("the reason", reason, REASON_MAX)?;
        }
        let until_ms = self.until.as_deref().map(|until| parse_until(until, now_ms)).transpose()?;
        Ok(Suspension { kind, name: name.into(), reason: reason.map(Into::into), actor, since_ms: now_ms, until_ms })
    }
}

fn parse_kind(text: &str) -> Result<Suspendable, String> {
    text.parse().map_err(|error: claviger_contract::suspension::NotSuspendable| error.to_string())
}

fn parse_name(kind: Suspendable, text: &str) -> Result<String, String> {
    plain("the name", text, NAME_MAX)?;
    match kind {
        Suspendable::Principal if SpiffeId::parse(text).is_err() => IdPattern::parse(text).map(drop)?,
        Suspendable::Principal | Suspendable::Credential | Suspendable::Service => {}
    }
    Ok(text.to_owned())
}

/// It goes into records, answers and terminals.
pub(super) fn plain(what: &str, text: &str, max: usize) -> Result<(), String> {
    if text.is_empty() {
        return Err(format!("{what} is empty"));
    }
    if text.len() > max {
        return Err(format!("{what} has more than {max} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{what} has control characters"));
    }
    Ok(())
}

fn parse_until(text: &str, now_ms: i64) -> Result<i64, String> {
    let until = text.parse::<jiff::Timestamp>().map_err(|_| {
        format!("`{text}` is not a time; write it as `2026-11-23T10:00:00Z` or `2026-11-23T11:00:00+01:00`")
    })?;
    let until = until.as_millisecond();
    if until <= now_ms { Err(format!("`{text}` is over already")) } else { Ok(until) }
}

/// A suspension as programs read it.
pub(crate) fn shown(one: &Suspension) -> serde_json::Value {
    json!({
        "kind": one.kind.as_str(),
        "name": &*one.name,
        "reason": one.reason.as_deref(),
        "by": &*one.actor,
        "since": at(one.since_ms),
        "until": one.until_ms.map(at),
    })
}

pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, ApiError> {
    desk.allow(&caller, Role::Operator)?;
    let all: Vec<_> = desk.state.suspended().list().iter().map(|one| shown(one)).collect();
    Ok(answer(StatusCode::OK, &json!({ "suspensions": all, "complaint": desk.state.complaint() })))
}

pub(super) async fn suspend(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body = body.map_err(|_| ApiError::TooLarge)?;
    // Before the body is understood: who has no role is told nothing of what it would have done.
    desk.permit(&caller, Role::Operator, &format!("suspend {}", told(&body)))?;
    let wanted: Wanted = serde_json::from_slice(&body).map_err(|error| ApiError::Bad(format!("the body: {error}")))?;
    let suspension = wanted.parse(caller.name, desk.clock.now_ms()).map_err(ApiError::Bad)?;
    let before = desk.state.suspend(&suspension).await?;
    let generation = desk.view.generation();
    let warning = match suspension.kind {
        Suspendable::Service => unknown("service", &suspension.name, generation.services.keys().map(|name| &**name)),
        Suspendable::Credential => {
            let facts = generation.credentials.facts();
            unknown("credential", &suspension.name, facts.iter().map(|facts| facts.name.value.as_str()))
        }
        Suspendable::Principal => generation.policy.concerns_nobody(&suspension.name).map(|near| match near {
            Some(near) => format!("no workload has such an ID; did you mean `{near}`?"),
            None => "no workload has such an ID".to_owned(),
        }),
    };
    let body = json!({
        "suspension": shown(&suspension),
        "replaced": before.as_ref().map(shown),
        "warnings": warning.into_iter().collect::<Vec<_>>(),
    });
    Ok(answer(StatusCode::OK, &body))
}

pub(super) async fn resume(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let query = uri.query().unwrap_or_default();
    desk.permit(&caller, Role::Operator, &format!("resume {}", told(query.as_bytes())))?;
    let value = |wanted: &str| {
        let mut values = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == wanted);
        values.next().map(|(_, value)| value.into_owned())
    };
    let (Some(kind), Some(name)) = (value("kind"), value("name")) else {
        return Err(ApiError::Bad("write `?kind=KIND&name=NAME`".to_owned()));
    };
    let kind = parse_kind(&kind).map_err(ApiError::Bad)?;
    let Some(ended) = desk.state.resume(kind, &name, &caller.name).await? else {
        let all = desk.state.suspended().list();
        let names = all.iter().filter(|one| one.kind == kind).map(|one| &*one.name);
        let near = document::nearest(&name, names).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(ApiError::NotFound(format!("{kind} `{name}` is not suspended{near}")));
    };
    Ok(answer(StatusCode::OK, &json!({ "resumed": shown(&ended) })))
}

/// What a configuration does not name is suspended all the same: it may name it tomorrow.
fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    if known.clone().any(|known| known == name) {
        return None;
    }
    let near = document::nearest(name, known).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    Some(format!("there is no {what} `{name}` in the configuration{near}"))
}

/// The beginning of what a caller without a role sent, for the record.
fn told(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).chars().filter(|one| !one.is_control()).take(200).collect();
    format!("`{text}`")
}
