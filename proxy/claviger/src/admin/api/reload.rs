//! `POST /v1/reload`: puts the configuration as it is now in force, and says what came of it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use claviger_policy::document::{Diagnostic, Severity};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::admin::access::{Caller, Role};
use crate::admin::answer::{ApiError, answer};
use crate::admin::{Ask, Desk};

/// What came of a reload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    /// `loaded`, or `refused`: the generation before stays.
    pub(crate) outcome: String,
    /// The generation in force.
    pub(crate) generation: u64,
    /// Why it was refused.
    pub(crate) why: Option<String>,
    /// All findings, those that did not matter among them.
    pub(crate) diagnostics: Vec<Finding>,
}

/// One finding about the configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Finding {
    severity: String,
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    key: String,
    message: String,
    help: Option<String>,
    /// As the terminal shows it.
    pub(crate) text: String,
}

impl From<&Diagnostic> for Finding {
    fn from(one: &Diagnostic) -> Self {
        let place = one.location.as_ref();
        Self {
            severity: match one.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            }
            .to_owned(),
            file: place.map(|place| place.file().to_owned()),
            line: place.map(claviger_policy::document::Location::line),
            column: place.map(claviger_policy::document::Location::column),
            key: one.key.clone(),
            message: one.message.clone(),
            help: one.help.clone(),
            text: one.to_string(),
        }
    }
}

pub(super) async fn reload(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, ApiError> {
    desk.permit(&caller, Role::Operator, "reload")?;
    let (reply, done) = oneshot::channel();
    // Whoever takes it is the control loop; while the process drains nobody does.
    desk.asks.send(Ask::Reload { actor: caller.name, reply }).await.map_err(|_| ApiError::Draining)?;
    let reloaded = done.await.map_err(|_| ApiError::Draining)?;
    let status = if reloaded.why.is_none() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    Ok(answer(status, &reloaded))
}
