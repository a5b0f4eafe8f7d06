//! `GET /v1/credentials`: what is behind each credential, and how its leases stand.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use claviger_credential::{Inventoried, LeaseState};
use serde::Serialize;

use crate::admin::Desk;
use crate::admin::access::{Caller, Role};
use crate::admin::answer::{ApiError, answer};
use crate::state::detail::at;

/// A credential, for programs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) hosts: Vec<String>,
    /// Whose files it stands in.
    pub(crate) team: Option<String>,
    /// `end-to-end`: no stored secret is behind it; `proxy-held`: one is.
    pub(crate) secretless: &'static str,
    /// The secrets that are.
    pub(crate) secrets: Vec<String>,
    /// Of a running process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<Stand>,
}

/// How leases stand.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Stand {
    leases: usize,
    minted_at: Option<String>,
    expires_at: Option<String>,
    failing_since: Option<String>,
    failure: Option<&'static str>,
    /// Whether a good value serves although the last mint failed.
    served_stale: bool,
}

impl From<&Inventoried> for Listed {
    fn from(one: &Inventoried) -> Self {
        Self {
            name: one.name.to_string(),
            kind: one.kind,
            hosts: one.hosts.clone(),
            team: one.team.as_ref().map(ToString::to_string),
            secretless: one.secretless.as_str(),
            secrets: one.references.iter().map(ToString::to_string).collect(),
            state: None,
        }
    }
}

impl From<&LeaseState> for Stand {
    fn from(state: &LeaseState) -> Self {
        Self {
            leases: state.leases,
            minted_at: state.minted_at_ms.map(at),
            expires_at: state.expires_at.map(|seconds| at(seconds.saturating_mul(1_000))),
            failing_since: state.failing_since_ms.map(at),
            failure: state.failure,
            served_stale: state.stale,
        }
    }
}

#[derive(Serialize)]
struct All {
    generation: u64,
    credentials: Vec<Listed>,
}

pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, ApiError> {
    desk.allow(&caller, Role::Operator)?;
    let generation = desk.view.generation();
    let with_state = |one: &Inventoried| Listed { state: Some(Stand::from(&one.state)), ..Listed::from(one) };
    let credentials = generation.credentials.inventory().iter().map(with_state).collect();
    Ok(answer(StatusCode::OK, &All { generation: generation.number, credentials }))
}
