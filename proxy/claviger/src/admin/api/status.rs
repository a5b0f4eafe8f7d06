//! `GET /v1/status`: what runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use crate::admin::access::{Caller, Role};
use crate::admin::answer::{ApiError, answer};
use crate::admin::{Desk, Facts};
use crate::state::detail::at;

#[derive(Serialize)]
struct Status<'a> {
    version: &'static str,
    pid: u32,
    started_at: String,
    /// `serving` or `draining`.
    phase: &'static str,
    generation: u64,
    /// The digest of its files.
    configuration: String,
    #[serde(flatten)]
    facts: &'a Facts,
    suspensions: usize,
    state: Health,
    ledger: Health,
}

/// Whether something works.
#[derive(Serialize)]
struct Health {
    healthy: bool,
    complaint: Option<String>,
}

impl From<Option<String>> for Health {
    fn from(complaint: Option<String>) -> Self {
        Self { healthy: complaint.is_none(), complaint }
    }
}

pub(super) async fn status(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, ApiError> {
    desk.allow(&caller, Role::Operator)?;
    let (facts, generation) = (desk.facts.load(), desk.view.generation());
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        started_at: at(desk.started_ms),
        phase: if desk.ready.load(Ordering::Acquire) { "serving" } else { "draining" },
        generation: generation.number,
        configuration: generation.configuration.to_string(),
        facts: &facts,
        suspensions: desk.state.suspended().list().len(),
        state: desk.state.complaint().into(),
        ledger: desk.ledger.stats().error.map(|error| error.to_string()).into(),
    };
    Ok(answer(StatusCode::OK, &status))
}
