//! A token, how long it lasts, and how it is had anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use claviger_contract::{OutboundResponse, Reach, Secret};
use http::StatusCode;

use super::answer::{self, Auth};
use super::{Call, Vault};
use crate::digest::random_fraction;
use crate::error::SourceError;

/// A token ends this much before the server lets go of it, for the way there and for clocks that differ; a tenth of its
/// life at most.
const MARGIN_MAX_MS: i64 = 5_000;
/// The first wait after a login that failed; it doubles with each further one.
const BACK_OFF_FIRST_MS: i64 = 500;
const BACK_OFF_MAX_MS: i64 = 30_000;
/// A token that is not older is not the reason of a refusal, so that a path that is always refused does not make a login
/// of each request.
const FRESH_MS: i64 = 10_000;

/// What a login yielded.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) token: Secret,
    /// The client's certificate at the login: some servers want it shown again with the token.
    pub(super) reach: Reach,
    begun_at_ms: i64,
    /// As the server said when the token was made; `None` if it has no end.
    lifetime_ms: Option<i64>,
    renewable: AtomicBool,
    /// Moves on when the token is renewed.
    ends_at_ms: AtomicI64,
    renew_at_ms: AtomicI64,
}

impl Session {
    pub(super) fn new(auth: &Auth, reach: Reach, asked_at_ms: i64) -> Self {
        let lifetime_ms = (auth.lease_duration > 0).then(|| millis(auth.lease_duration));
        let token = Secret::new(auth.client_token.0.as_bytes().to_vec());
        let session = Self {
            token,
            reach,
            begun_at_ms: asked_at_ms,
            lifetime_ms,
            renewable: AtomicBool::new(auth.renewable),
            ends_at_ms: AtomicI64::new(i64::MAX),
            renew_at_ms: AtomicI64::new(i64::MAX),
        };
        if let Some(left) = lifetime_ms {
            session.lasts(asked_at_ms, left);
        }
        session
    }

    /// When what was had with it ends at the latest, in milliseconds since the Unix epoch; `i64::MAX`: it has no end.
    pub(crate) fn ends_at_ms(&self) -> i64 {
        self.ends_at_ms.load(Ordering::Acquire)
    }

    fn lasts(&self, asked_at_ms: i64, left_ms: i64) {
        let margin = (left_ms / 10).min(MARGIN_MAX_MS);
        self.ends_at_ms.store(asked_at_ms.saturating_add(left_ms - margin), Ordering::Release);
        // Early: leases last no longer than their token, and are prolonged at four fifths of their life.
        self.renew_at_ms.store(asked_at_ms.saturating_add(left_ms / 3), Ordering::Release);
    }

    /// What the server said to a renewal.
    fn renewed(&self, auth: &Auth, asked_at_ms: i64) {
        let left = millis(auth.lease_duration);
        if auth.lease_duration > 0 {
            self.lasts(asked_at_ms, left);
        }
        // Near its longest life, renewals give less and less: then the next is a login.
        let is_fading = self.lifetime_ms.is_some_and(|lifetime| left < lifetime / 2);
        if !auth.renewable || is_fading {
            self.renewable.store(false, Ordering::Release);
        }
    }
}

/// Seconds as milliseconds.
pub(crate) fn millis(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000)
}

/// The shared session, and why there is none.
#[derive(Debug, Default)]
pub(super) struct State {
    session: Option<Arc<Session>>,
    failed: Option<Failed>,
}

#[derive(Debug)]
struct Failed {
    cause: Arc<SourceError>,
    count: u32,
    retry_at_ms: i64,
}

impl Vault {
    /// The shared session: as it is, renewed, or by a login. One at a time does what is to be done, and the others wait.
    pub(super) async fn session(&self) -> Result<Arc<Session>, SourceError> {
        let mut state = self.state.lock().await;
        let now = self.now_ms();
        let Some(session) = state.session.clone().filter(|session| now < session.ends_at_ms()) else {
            return self.enter(&mut state, now).await;
        };
        let is_due = now >= session.renew_at_ms.load(Ordering::Acquire);
        let waits = state.failed.as_ref().is_some_and(|failed| now < failed.retry_at_ms);
        if !is_due || waits {
            return Ok(session);
        }
        let renewed = if session.renewable.load(Ordering::Acquire) { self.renew(&session).await } else { Ok(false) };
        match renewed {
            Ok(true) => {
                state.failed = None;
                Ok(session)
            }
            // It cannot be prolonged; while it lasts, a login that fails is no harm.
            Ok(false) => Ok(self.enter(&mut state, now).await.unwrap_or(session)),
            Err(cause) => {
                state.fail(Arc::new(cause), now);
                Ok(session)
            }
        }
    }

    /// The shared session after this one was refused: what somebody else has had since, or a new one.
    pub(super) async fn session_instead_of(&self, refused: &Arc<Session>) -> Result<Arc<Session>, SourceError> {
        let mut state = self.state.lock().await;
        if let Some(session) = state.session.as_ref().filter(|session| !Arc::ptr_eq(session, refused)) {
            return Ok(session.clone());
        }
        state.session = None;
        let now = self.now_ms();
        self.enter(&mut state, now).await
    }

    /// Whether the server still knows the token, so that it was the request that it refused.
    pub(super) async fn is_known(&self, session: &Session) -> bool {
        if self.now_ms().saturating_sub(session.begun_at_ms) < FRESH_MS {
            return true;
        }
        let asked = self.send(Some(session), &Call::get("auth/token/lookup-self")).await;
        !asked.is_ok_and(|response| response.status == StatusCode::FORBIDDEN)
    }

    async fn enter(&self, state: &mut State, now: i64) -> Result<Arc<Session>, SourceError> {
        if let Some(failed) = state.failed.as_ref().filter(|failed| now < failed.retry_at_ms) {
            return Err(SourceError::Login(failed.cause.clone()));
        }
        match self.log_in(None).await {
            Ok(session) => {
                let session = Arc::new(session);
                *state = State { session: Some(session.clone()), failed: None };
                Ok(session)
            }
            Err(cause) => {
                let cause = Arc::new(cause);
                state.fail(cause.clone(), self.now_ms());
                Err(SourceError::Login(cause))
            }
        }
    }

    /// Prolongs a token; `false` if the server does not.
    async fn renew(&self, session: &Session) -> Result<bool, SourceError> {
        let path = "auth/token/renew-self";
        let asked_at_ms = self.now_ms();
        let call = Call { method: http::Method::POST, path, query: &[], body: Some(Secret::from("{}".to_owned())) };
        let response = self.send(Some(session), &call).await?;
        match response.status {
            StatusCode::OK => {
                let auth = auth_of(&self.endpoint(path), &response)?;
                session.renewed(&auth, asked_at_ms);
                Ok(true)
            }
            // The token is gone, or another certificate is shown, or it is not renewable after all.
            StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => Ok(false),
            _ => Err(answer::refused(&self.endpoint(path), &response)),
        }
    }

    /// Whether a session is the shared one still: what was had with it goes on as long as it is prolonged.
    pub(crate) async fn is_current(&self, session: &Arc<Session>) -> Result<bool, SourceError> {
        Ok(Arc::ptr_eq(&self.session().await?, session))
    }

    /// Prolongs a session that nobody shares, if it is due; `false` if it ends.
    pub(crate) async fn prolong(&self, session: &Session) -> Result<bool, SourceError> {
        let now = self.now_ms();
        if now < session.renew_at_ms.load(Ordering::Acquire) {
            return Ok(true);
        }
        if now >= session.ends_at_ms() || !session.renewable.load(Ordering::Acquire) {
            return Ok(false);
        }
        self.renew(session).await
    }

    /// Ends a session, and with it every lease that was had with it.
    pub(crate) async fn end(&self, session: &Session) -> Result<(), SourceError> {
        let path = "auth/token/revoke-self";
        let call = Call { method: http::Method::POST, path, query: &[], body: None };
        let response = self.send(Some(session), &call).await?;
        // One that is not known any more has ended.
        if response.status.is_success() || response.status == StatusCode::FORBIDDEN {
            return Ok(());
        }
        Err(answer::refused(&self.endpoint(path), &response))
    }
}

impl State {
    fn fail(&mut self, cause: Arc<SourceError>, now: i64) {
        let count = self.failed.as_ref().map_or(1, |failed| failed.count.saturating_add(1));
        let doubled = BACK_OFF_FIRST_MS.saturating_mul(1 << count.saturating_sub(1).min(16)).min(BACK_OFF_MAX_MS);
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "half a minute at most")]
        let jittered = (doubled as f64 * (0.5 + 0.5 * random_fraction())) as i64;
        let asked = cause.retry_after().and_then(|after| i64::try_from(after.as_millis()).ok()).unwrap_or(0);
        let retry_at_ms = now.saturating_add(jittered.max(asked.min(BACK_OFF_MAX_MS)));
        self.failed = Some(Failed { cause, count, retry_at_ms });
    }
}

/// The token in an answer to a login or a renewal.
pub(super) fn auth_of(endpoint: &str, response: &OutboundResponse) -> Result<Auth, SourceError> {
    let auth = answer::read(endpoint, response)?.auth;
    let auth = auth.filter(|auth| !auth.client_token.0.is_empty());
    auth.ok_or_else(|| SourceError::Answer { endpoint: endpoint.to_owned(), why: "there is no token in it" })
}
