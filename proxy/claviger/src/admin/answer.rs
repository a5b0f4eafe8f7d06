//! Answers of the API: JSON, errors with a stable code.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use claviger_contract::StateError;
use serde::Serialize;
use serde_json::json;

/// Why a call was refused or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The call makes no sense; in words for whoever made it.
    #[error("{0}")]
    Bad(String),
    /// No proof of identity, or a bad one.
    #[error("{0}")]
    Unidentified(String),
    /// The caller has not the role.
    #[error("{0}")]
    Forbidden(String),
    /// The caller itself is suspended.
    #[error("the caller is suspended")]
    Suspended,
    /// Nothing is here.
    #[error("{0}")]
    NotFound(String),
    /// The path is right and the method is not.
    #[error("the method is not allowed here")]
    Method,
    /// The body is larger than any call needs, or ended in the middle.
    #[error("the body is too large, or was not sent whole")]
    TooLarge,
    /// Something took too long.
    #[error("the call took too long; whether it was carried out is not known")]
    Timeout,
    /// The process is about to end.
    #[error("the process is draining")]
    Draining,
    /// The state cannot be read or changed.
    #[error("nothing was changed: {0}; what was suspended stays suspended")]
    State(#[from] StateError),
}

impl ApiError {
    /// Status and code. One row each; no catch-all.
    fn row(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Bad(_) => (StatusCode::BAD_REQUEST, "bad_request"),
            Self::Unidentified(_) => (StatusCode::UNAUTHORIZED, "no_identity"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
            Self::Suspended => (StatusCode::FORBIDDEN, "suspended"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
            Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            Self::State(_) => (StatusCode::SERVICE_UNAVAILABLE, "state_unavailable"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.row();
        answer(status, &json!({ "error": { "code": code, "message": self.to_string() } }))
    }
}

/// An answer that no cache keeps.
pub(super) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    let headers = [(axum::http::header::CACHE_CONTROL, "no-store")];
    (status, headers, Json(serde_json::to_value(body).unwrap_or_default())).into_response()
}
