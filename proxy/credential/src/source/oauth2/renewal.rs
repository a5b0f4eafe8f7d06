//! Sending a refresh token, so that whatever comes back is sealed before anybody is told of it.
//!
//! ```text
//! lock ─ announce (on disk) ─ send ─ answer ─ the new token (on disk), the old one beside it ─ unlock
//! ```
//!
//! A server that rotates refresh tokens gives each out once, and takes the use of an old one for a theft: it then ends the
//! whole grant (RFC 9700 §4.14.2). An answer must therefore outlive whoever waits for it: the mint, the request that asked,
//! and where a [`Renewer`] sees to it, the process. What is known of an answer that never came is kept as well.

mod passed;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use claviger_contract::outbound::OutboundFailure;
use claviger_contract::{Clock, Outbound, OutboundRequest, OutboundResponse, Reach, Secret};
use http::StatusCode;
use serde::Deserialize;

use super::answer;
use crate::digest::random_hex;
use crate::error::StoreError;
use crate::store::field::SecretText;
use crate::store::sealed::{Access, Grant, GrantLock, SealedStore, same};

/// For the whole call. Longer than anybody waits for it: an answer that is late is an answer.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How often it is tried to seal an answer, and how long between two tries: a disk may be full for a moment.
const SEAL_TRIES: u32 = 120;
const SEAL_AGAIN: Duration = Duration::from_millis(500);

/// Where a grant is sealed, and which try to renew it this is.
#[derive(Clone, Debug)]
struct Place {
    store: SealedStore,
    name: String,
    attempt: String,
    /// A digest of what the access token is asked for.
    asked: String,
    /// Whether the token before the one in force is sent.
    former: bool,
}

/// A refresh token that is about to be sent: the request, and where the answer is sealed. Holds the grant's lock.
pub struct Renewal {
    reach: Reach,
    request: OutboundRequest,
    place: Place,
    lock: GrantLock,
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal").field("name", &self.place.name).finish_non_exhaustive()
    }
}

/// What became of it.
#[derive(Debug)]
pub enum Outcome {
    /// Tokens came, and are sealed.
    Sealed,
    /// The server answered something else.
    Answered(OutboundResponse),
    /// There was no answer.
    Failed(OutboundFailure),
    /// Tokens came and could not be sealed, or the renewal could not be carried out; the text says why.
    Unsealed(String),
}

/// Carries renewals out.
#[async_trait]
pub trait Renewer: Send + Sync + fmt::Debug {
    /// Carries one out. It goes on when nobody waits for it any more.
    async fn renew(&self, renewal: Renewal) -> Outcome;
}

/// Renews within the process: the answer outlives whoever asked, but not the process.
#[derive(Debug)]
pub struct InProcess {
    outbound: Arc<dyn Outbound>,
    clock: Arc<dyn Clock>,
    runtime: tokio::runtime::Handle,
}

impl InProcess {
    /// On this runtime, which is the control runtime.
    pub fn new(outbound: Arc<dyn Outbound>, clock: Arc<dyn Clock>, runtime: tokio::runtime::Handle) -> Self {
        Self { outbound, clock, runtime }
    }
}

#[async_trait]
impl Renewer for InProcess {
    async fn renew(&self, renewal: Renewal) -> Outcome {
        let (outbound, clock) = (self.outbound.clone(), self.clock.clone());
        let renewing = self.runtime.spawn(async move { renewal.carry_out(&*outbound, &*clock).await });
        renewing.await.unwrap_or_else(|error| Outcome::Unsealed(format!("the renewal was given up: {error}")))
    }
}

impl Renewal {
    /// Of the grant that the lock is of. It is on disk that the token is being sent when this returns.
    pub(super) fn announce(
        (store, name): (&SealedStore, &str),
        lock: GrantLock,
        (reach, request): (Reach, OutboundRequest),
        (asked, former): (&str, bool),
        now: i64,
    ) -> Result<Self, StoreError> {
        let attempt = store.announce(name, now)?;
        let place = Place { store: store.clone(), name: name.to_owned(), attempt, asked: asked.to_owned(), former };
        Ok(Self { reach, request: OutboundRequest { timeout: TIMEOUT, ..request }, place, lock })
    }

    /// The open file that is the lock, for a child that is to hold it on.
    pub fn lock(&self) -> std::io::Result<std::fs::File> {
        self.lock.0.try_clone()
    }

    /// Sends the token, and seals what comes back.
    pub async fn carry_out(self, outbound: &dyn Outbound, clock: &dyn Clock) -> Outcome {
        let Self { reach, request, place, lock } = self;
        let asked_at_ms = clock.now_ms();
        let answer = outbound.send(&reach, request).await.map_err(|error| error.kind);
        let learnt = Learnt::from(&answer, asked_at_ms);
        let sealed = place.seal(&learnt, clock).await;
        drop(lock);
        match (answer, learnt, sealed) {
            (_, Learnt::Tokens { .. }, Err(error)) => Outcome::Unsealed(with_cause(&error)),
            (Ok(_), Learnt::Tokens { access: Some(_), .. }, Ok(())) => Outcome::Sealed,
            (Ok(answer), ..) => Outcome::Answered(answer),
            (Err(failure), ..) => Outcome::Failed(failure),
        }
    }
}

/// What an answer says of the grant.
#[derive(Debug)]
enum Learnt {
    /// The token that was sent was taken.
    Tokens { refresh: Option<Secret>, scope: Option<String>, access: Option<answer::Token>, asked_at_ms: i64 },
    /// `invalid_grant`.
    Refused,
    /// It cannot have been taken: it never arrived, or the server minds something else.
    Untouched,
    /// It may have been taken.
    Unknown,
}

/// What a token endpoint says besides the access token.
#[derive(Deserialize)]
struct Besides {
    refresh_token: Option<SecretText>,
    scope: Option<String>,
}

impl Learnt {
    fn from(answer: &Result<OutboundResponse, OutboundFailure>, asked_at_ms: i64) -> Self {
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                return match failure {
                    OutboundFailure::AddressRefused
                    | OutboundFailure::Cleartext
                    | OutboundFailure::Connect
                    | OutboundFailure::Tls => Self::Untouched,
                    OutboundFailure::Timeout | OutboundFailure::TooLarge | OutboundFailure::Broken => Self::Unknown,
                };
            }
        };
        match answer.status {
            StatusCode::OK => Self::of_success(answer, asked_at_ms),
            status if status.is_client_error() => match answer::code(answer) {
                Some("invalid_grant") => Self::Refused,
                _ => Self::Untouched,
            },
            status if status.is_redirection() => Self::Untouched,
            // The server may have failed after it took the token, or something between it and us.
            _ => Self::Unknown,
        }
    }

    /// A new refresh token counts, whatever is wrong with the access token beside it.
    fn of_success(answer: &OutboundResponse, asked_at_ms: i64) -> Self {
        #[allow(clippy::disallowed_methods, reason = "the answer is parsed; only tokens leave, as Secrets")]
        let besides = serde_json::from_slice::<Besides>(answer.body.expose()).ok();
        let access = answer::read("", answer, asked_at_ms).ok();
        let (refresh, scope) = besides.map_or((None, None), |besides| (besides.refresh_token, besides.scope));
        let refresh = refresh.filter(|token| (1..=answer::ANSWER_MAX).contains(&token.0.len()));
        let refresh = refresh.map(|token| Secret::new(token.0.as_bytes().to_vec()));
        match (&refresh, &access) {
            (None, None) => Self::Unknown,
            _ => Self::Tokens { refresh, scope, access, asked_at_ms },
        }
    }
}

impl Place {
    /// Writes down what was learnt; tokens that came are not given up easily.
    async fn seal(&self, learnt: &Learnt, clock: &dyn Clock) -> Result<(), StoreError> {
        let mut tries = 0;
        loop {
            let sealed = self.store.change_grant(&self.name, |grant| {
                // Somebody logged in anew, or set another value: that one stays.
                if grant.note.sent.as_deref() != Some(&*self.attempt) {
                    return Err(StoreError::Overtaken(self.name.clone()));
                }
                self.apply(grant, learnt, clock.now());
                Ok(())
            });
            tries += 1;
            match sealed {
                Err(StoreError::Io { .. }) if tries < SEAL_TRIES && matches!(learnt, Learnt::Tokens { .. }) => {
                    tokio::time::sleep(SEAL_AGAIN).await;
                }
                done => return done,
            }
        }
    }

    fn apply(&self, grant: &mut Grant, learnt: &Learnt, now: i64) {
        grant.note.sent = None;
        match learnt {
            Learnt::Tokens { refresh, scope, access, asked_at_ms } => {
                self.take_tokens(grant, refresh.as_ref(), now);
                (grant.note.unanswered, grant.note.refused) = (None, None);
                if scope.is_some() {
                    grant.note.scope.clone_from(scope);
                }
                grant.access = access.as_ref().map(|access| Access {
                    token: copy(&access.value),
                    id: random_hex(),
                    asked: self.asked.clone(),
                    obtained_ms: *asked_at_ms,
                    expires_ms: access.expires_at_ms,
                });
            }
            Learnt::Refused => grant.note.refused = Some(now),
            Learnt::Untouched => {}
            Learnt::Unknown => grant.note.unanswered = Some(now),
        }
    }

    fn take_tokens(&self, grant: &mut Grant, refresh: Option<&Secret>, now: i64) {
        if self.former
            && let Some(former) = grant.former.take()
        {
            // The one in force was refused, and this one was not.
            grant.refresh = former;
        }
        match refresh {
            Some(token) if !same(token, &grant.refresh) => grant.replace(copy(token), now),
            // It serves on (RFC 6749 §6).
            Some(_) | None => grant.prove(),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a second holder, which wipes its copy as the first does")]
fn copy(secret: &Secret) -> Secret {
    Secret::new(secret.expose().to_vec())
}

/// What an answer says of the scope.
pub(super) fn scope(answer: &OutboundResponse) -> Option<String> {
    #[allow(clippy::disallowed_methods, reason = "the answer is parsed; the scope is no secret")]
    let besides = serde_json::from_slice::<Besides>(answer.body.expose()).ok()?;
    besides.scope
}

fn with_cause(error: &StoreError) -> String {
    match error {
        StoreError::Io { source, .. } => format!("{error}: {source}"),
        other => other.to_string(),
    }
}
