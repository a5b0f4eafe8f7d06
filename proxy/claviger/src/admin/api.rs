//! `/v1/…`: what the Unix socket and `[admin.remote]` offer. Every change asks for a role, and leaves a record also
//! when it is refused.

mod credentials;
mod reload;
mod secrets;
mod status;
mod suspensions;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use super::Desk;
use super::access::{Caller, Role};
use super::answer::ApiError;

pub(crate) use self::credentials::Listed;
pub(crate) use self::reload::{Finding, Reloaded};
pub(crate) use self::secrets::{Change, Changed, Standing};
pub(crate) use self::suspensions::{Wanted, shown};

/// No call needs more.
const BODY_MAX: usize = 16 * 1024;

/// All routes.
pub(super) fn routes(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/v1/status", get(status::status))
        .route("/v1/suspensions", get(suspensions::list).post(suspensions::suspend).delete(suspensions::resume))
        .route("/v1/credentials", get(credentials::list))
        .route("/v1/reload", post(reload::reload))
        .route("/v1/secrets", post(secrets::changed))
        .fallback(async || ApiError::NotFound("there is nothing here; the API begins with /v1/".to_owned()))
        .method_not_allowed_fallback(async || ApiError::Method)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(desk)
}

impl Desk {
    /// Lets the caller change something, or records that it tried.
    pub(super) fn permit(&self, caller: &Caller, needs: Role, what: &str) -> Result<(), ApiError> {
        self.allow(caller, needs).inspect_err(|_| {
            let detail = format!("{what}: refused, for it takes the role `{}`", needs.as_str());
            self.record("change_refused", &caller.name, detail);
        })
    }

    /// Lets the caller look at something.
    pub(super) fn allow(&self, caller: &Caller, needs: Role) -> Result<(), ApiError> {
        if caller.role >= Some(needs) {
            return Ok(());
        }
        Err(ApiError::Forbidden(format!("this takes the role `{}`, which {} has not", needs.as_str(), caller.name)))
    }
}
