//! `POST /v1/secrets`: a secret was changed in its store; whatever reads it is read again now, and what is held then is
//! told. No value passes here.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::suspensions::plain;
use crate::admin::Desk;
use crate::admin::access::{Caller, Role};
use crate::admin::answer::{ApiError, answer};
use crate::state::detail::at;

/// The longest name that a secret has in any store, in bytes.
const NAME_MAX: usize = 512;

/// What was done to a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    /// Sealed anew, hosts and all.
    Set,
    /// Given a new value beside the old one.
    Rotated,
    /// Its rotation was finished.
    Finished,
    /// Its rotation was taken back.
    TakenBack,
    /// Removed.
    Removed,
}

impl Change {
    /// The kind of the record.
    fn record(self) -> &'static str {
        match self {
            Self::Set => "secret_set",
            Self::Rotated => "secret_rotated",
            Self::Finished => "secret_finished",
            Self::TakenBack => "secret_taken_back",
            Self::Removed => "secret_removed",
        }
    }
}

/// Which secret was changed, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Changed {
    /// STORE of `secret://STORE/NAME`.
    pub(crate) store: String,
    /// NAME of `secret://STORE/NAME`.
    pub(crate) name: String,
    /// What was done to it.
    pub(crate) change: Change,
}

/// What a credential has now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// `[credential.NAME]`.
    pub(crate) credential: String,
    /// The version that was read.
    pub(crate) version: Option<String>,
    /// The one that is kept beside it, while a rotation is open.
    pub(crate) previous: Option<String>,
    /// When it was read, in RFC 3339.
    pub(crate) at: String,
    /// Why it could not be read.
    pub(crate) error: Option<String>,
}

pub(super) async fn changed(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body = body.map_err(|_| ApiError::TooLarge)?;
    desk.permit(&caller, Role::Operator, "read a secret again")?;
    let changed: Changed = serde_json::from_slice(&body).map_err(|error| ApiError::Bad(error.to_string()))?;
    for (what, text) in [("the store", &changed.store), ("the name", &changed.name)] {
        plain(what, text, NAME_MAX).map_err(ApiError::Bad)?;
    }
    let generation = desk.view.generation();
    let credentials = &generation.credentials;
    let reading = credentials.reading(&changed.store, &changed.name);
    // Whoever asks did it or knows of it: the record names them, and the credentials' own records say what was read.
    desk.record(changed.change.record(), &caller.name, format!("secret://{}/{}", changed.store, changed.name));
    let mut standing = Vec::with_capacity(reading.len());
    for name in reading {
        let read = credentials.reread(&name).await;
        let (lease, error) = match read {
            Ok(lease) => (Some(lease), None),
            Err(error) => (None, Some(error.to_string())),
        };
        standing.push(Standing {
            credential: name.to_string(),
            version: lease.as_ref().map(|lease| lease.version.to_string()),
            previous: lease.and_then(|lease| lease.previous).map(|previous| previous.to_string()),
            at: at(desk.clock.now_ms()),
            error,
        });
    }
    Ok(answer(StatusCode::OK, &json!({ "credentials": standing })))
}
