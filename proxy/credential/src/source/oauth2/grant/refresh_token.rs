//! `refresh_token` (RFC 6749 §6): what somebody was granted by logging in, renewed for as long as the server lets it.
//!
//! The grant lies in a sealed store with the access token that came last, so that every process that shares the store
//! uses what one of them obtained. Whoever needs another sends the refresh token under a lock: see
//! [`renewal`](super::super::renewal).
//!
//! The order in which tokens are tried: the one in force, always. The one before it only when the one in force never
//! worked, was refused, and is not so new that the server's replicas may not know it yet: a server that rotates takes the
//! use of an old token for a theft, so this is for one that forgot the new token, when nothing is left to lose.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use claviger_contract::outbound::OutboundFailure;
use claviger_contract::{Clock, OutboundError, OutboundResponse, Secret};
use claviger_policy::document::{Diagnostics, Located, Table};

use super::super::answer::{self, Token};
use super::super::client::Client;
use super::super::endpoint::Endpoint;
use super::super::form::Value;
use super::super::login::Login;
use super::super::renewal::{Outcome, Renewal, Renewer};
use super::{Grant, GrantEnv, TakenGrant};
use crate::binding::{BoundHost, list};
use crate::digest::Digester;
use crate::error::{SourceError, StoreError};
use crate::reference::SecretReference;
use crate::source::Mint;
use crate::store::SecretHandle;
use crate::store::sealed::{self, GrantLock, SealedStore};

/// How long a mint waits for another process that renews the same grant, and how often it looks.
const LOCK_WAIT: Duration = Duration::from_secs(20);
const LOCK_LOOK: Duration = Duration::from_millis(25);
/// How long a mint waits for the answer; the renewal itself goes on, and its tokens are found by the next mint.
const ANSWER_WAIT: Duration = Duration::from_secs(25);
/// A refresh token that was given out less than this ago may not be known to every replica of the server, in seconds.
const SETTLED: i64 = 60;
/// How long a refused grant is not tried again, in seconds.
const REFUSED_FOR: i64 = 300;

/// The refresh token of one credential.
pub(in crate::source::oauth2) struct RefreshToken {
    /// `[credential.NAME]`, for `claviger login NAME`.
    credential: String,
    handle: SecretHandle,
    renewer: Arc<dyn Renewer>,
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

/// What this source has made of the sealed file so far.
#[derive(Debug, Default)]
struct Seen {
    /// The access token that was handed out last: who asks after that wants another.
    served: Option<String>,
    /// The file as it was read last, and what [`Grant::revision`] says for it: what this source wrote is no news.
    file: u64,
    told: u64,
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefreshToken").field("handle", &self.handle).finish_non_exhaustive()
    }
}

/// Takes `refresh_token`: where the grant is sealed.
pub(super) fn take(table: &mut Table, env: &GrantEnv<'_>, out: &mut Diagnostics) -> Option<TakenGrant> {
    let env = env.source;
    let key = table.key_of("refresh_token");
    let credential = table.key().strip_prefix("credential.").unwrap_or(table.key()).to_owned();
    let text = table.required_string("refresh_token", out)?;
    let handle = env.stores.find(&text, &key, out)?;
    let Some((store, name)) = handle.sealed() else {
        out.error(&text.location, key, "a refresh token lies in a sealed store: its server may replace it at any use")
            .help("write `secret://sealed/NAME`, and run `claviger login` for the credential");
        return None;
    };
    if handle.reference.field().is_some() {
        out.error(&text.location, key, "a grant has no fields").help("leave out what follows `#`");
        return None;
    }
    warn_if_missing(store, name, &credential, &text, &key, out);
    let digest = Digester::new("grant refresh_token").field("refresh_token", env.stores.digest_of(&handle)).finish();
    let (renewer, clock) = (env.env.renewer.clone(), env.env.clock.clone());
    let grant = Box::new(RefreshToken { credential, handle, renewer, clock, seen: Mutex::default() });
    Some(TakenGrant { grant, digest })
}

/// No error: a grant may end at any time, and Claviger must start all the same.
fn warn_if_missing(
    store: &SealedStore,
    name: &str,
    credential: &str,
    text: &Located<String>,
    key: &str,
    out: &mut Diagnostics,
) {
    if let Err(error) = store.grant(name) {
        out.warning(&text.location, key, format!("failed to read `{}`: {error}", text.value))
            .help(format!("run `claviger login {credential}`"));
    }
}

#[async_trait]
impl Grant for RefreshToken {
    async fn obtain(&self, client: &Client, mint: Mint<'_>) -> Result<Token, SourceError> {
        let before = self.revision();
        let mut file = self.handle.revision();
        let obtained = match client.token_endpoint().await {
            Ok(endpoint) => {
                let asked = asked(client, &endpoint);
                self.obtain_any(&Call { client, mint, endpoint, asked }, &mut file).await
            }
            Err(error) => Err(error),
        };
        let mut seen = self.seen();
        (seen.file, seen.told) = (file, before);
        if let Ok((_, id)) = &obtained {
            seen.served = Some(id.clone());
        }
        obtained.map(|(token, _)| token)
    }

    /// Other processes use it too.
    fn may_revoke(&self) -> bool {
        false
    }

    fn secrets(&self) -> Vec<&SecretReference> {
        vec![&self.handle.reference]
    }

    fn login(&self, client: &Arc<Client>) -> Option<Login> {
        Some(Login { credential: self.credential.clone(), client: client.clone(), handle: self.handle.clone() })
    }

    fn revision(&self) -> u64 {
        let file = self.handle.revision();
        let seen = self.seen();
        if seen.file == file { seen.told } else { file }
    }
}

/// One mint.
struct Call<'a> {
    client: &'a Client,
    mint: Mint<'a>,
    endpoint: Endpoint,
    asked: String,
}

/// A token with what tells it from others.
type Obtained = (Token, String);

impl RefreshToken {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> Result<(&SealedStore, &str), SourceError> {
        // It was one when the configuration was taken.
        self.handle.sealed().ok_or(SourceError::Aborted)
    }

    /// What is sealed while it lasts, else what a renewal yields, else what is sealed to its very end.
    async fn obtain_any(&self, call: &Call<'_>, file: &mut u64) -> Result<Obtained, SourceError> {
        if let Some(kept) = self.kept(&self.read(call, file)?, call, false) {
            return Ok(kept);
        }
        let renewed = self.renew(call, file).await;
        match renewed {
            Err(error) if !error.is_removal() => {
                let kept = self.read(call, file).ok().and_then(|grant| self.kept(&grant, call, true));
                kept.ok_or(error)
            }
            renewed => renewed,
        }
    }

    /// The access token that is sealed, unless it was handed out already, or refused. With a quarter of its life left it is as good as
    /// a new one; `to_its_end`: as long as it lasts.
    fn kept(&self, grant: &sealed::Grant, call: &Call<'_>, to_its_end: bool) -> Option<Obtained> {
        let access = grant.access.as_ref().filter(|access| access.asked == call.asked)?;
        // A reload forgets what this source has handed out, and not what upstream said to it.
        let is_refused = call.mint.refused.is_some_and(|lease| lease.has_value(&access.token));
        let left = access.expires_ms.saturating_sub(self.clock.now_ms());
        let life = access.expires_ms.saturating_sub(access.obtained_ms);
        let is_good = left > 0 && (to_its_end || left.saturating_mul(4) >= life);
        let is_new = self.seen().served.as_ref() != Some(&access.id);
        (is_good && is_new && !is_refused).then(|| (token(access), access.id.clone()))
    }

    fn read(&self, call: &Call<'_>, file: &mut u64) -> Result<sealed::Grant, SourceError> {
        let (store, name) = self.store()?;
        // Before the read: what changes meanwhile is noticed by the next look.
        *file = self.handle.revision();
        let grant = store.grant(name).map_err(|error| self.unreadable(error))?;
        let endpoint = &call.endpoint.target;
        if !grant.hosts.iter().any(|host| host.matches(endpoint)) {
            return Err(SourceError::Binding {
                reference: self.handle.reference.to_string(),
                hosts: list(&grant.hosts),
                destination: BoundHost::of_target(endpoint).to_string(),
            });
        }
        Ok(grant)
    }

    fn unreadable(&self, error: StoreError) -> SourceError {
        let reference = self.handle.reference.to_string();
        match error {
            StoreError::NotFound(_) => {
                let why = format!("nobody has logged in: there is no grant `{reference}`");
                SourceError::LoginNeeded { credential: self.credential.clone(), why, missing: true }
            }
            cause => SourceError::Store { reference, cause },
        }
    }

    async fn renew(&self, call: &Call<'_>, file: &mut u64) -> Result<Obtained, SourceError> {
        let mut former = false;
        loop {
            let lock = self.lock().await?;
            let grant = self.read(call, file)?;
            // Somebody else may have renewed it meanwhile.
            if let Some(kept) = self.kept(&grant, call, false) {
                return Ok(kept);
            }
            let recently = |refused: i64| self.clock.now().saturating_sub(refused) < REFUSED_FOR;
            if !former && grant.note.refused.is_some_and(recently) {
                return Err(self.refused(call, &grant));
            }
            let outcome = self.send(call, &grant, former, lock).await?;
            let grant = self.read(call, file)?;
            match outcome {
                Outcome::Sealed => {
                    let access = grant.access.as_ref().filter(|access| access.asked == call.asked);
                    return access.map(|access| (token(access), access.id.clone())).ok_or(SourceError::Aborted);
                }
                Outcome::Answered(answer) if answer::code(&answer) == Some("invalid_grant") => {
                    if former || !self.may_try_former(&grant) {
                        return Err(self.refused(call, &grant));
                    }
                    former = true;
                }
                Outcome::Answered(answer) => return Err(self.unusable(call, &answer)),
                Outcome::Failed(kind) => {
                    return Err(OutboundError { endpoint: call.endpoint.shown(), kind }.into());
                }
                Outcome::Unsealed(why) => {
                    return Err(SourceError::Unsealed { endpoint: call.endpoint.shown(), why });
                }
            }
        }
    }

    /// Waits until nobody else sends the refresh token.
    async fn lock(&self) -> Result<GrantLock, SourceError> {
        let (store, name) = self.store()?;
        let until = tokio::time::Instant::now() + LOCK_WAIT;
        loop {
            let locked = store.try_lock_grant(name);
            let reference = || self.handle.reference.to_string();
            match locked.map_err(|cause| SourceError::Store { reference: reference(), cause })? {
                Some(lock) => return Ok(lock),
                None if tokio::time::Instant::now() >= until => return Err(SourceError::GrantBusy(reference())),
                None => tokio::time::sleep(LOCK_LOOK).await,
            }
        }
    }

    async fn send(
        &self,
        call: &Call<'_>,
        grant: &sealed::Grant,
        former: bool,
        lock: GrantLock,
    ) -> Result<Outcome, SourceError> {
        let refresh = grant.former.as_ref().filter(|_| former).unwrap_or(&grant.refresh);
        let fields = [("grant_type", Value::Text("refresh_token")), ("refresh_token", Value::Secret(refresh))];
        // Without `scope` the server gives what was granted (RFC 6749 §6), which may be less than was asked for.
        let parameters = unscoped(call.client).map(|(name, value)| (name.as_str(), Value::Text(value)));
        let fields = fields.into_iter().chain(parameters).collect();
        let called = call.client.request(&call.endpoint, fields, call.mint.ask).await?;
        let (store, name) = self.store()?;
        let place = (store, name);
        let renewal = Renewal::announce(place, lock, called, (&call.asked, former), self.clock.now())
            .map_err(|cause| SourceError::Store { reference: self.handle.reference.to_string(), cause })?;
        let renewing = self.renewer.renew(renewal);
        Ok(tokio::time::timeout(ANSWER_WAIT, renewing).await.unwrap_or(Outcome::Failed(OutboundFailure::Timeout)))
    }

    fn may_try_former(&self, grant: &sealed::Grant) -> bool {
        let age = self.clock.now().saturating_sub(grant.note.renewed);
        !grant.note.proven && grant.former.is_some() && age >= SETTLED
    }

    fn refused(&self, call: &Call<'_>, grant: &sealed::Grant) -> SourceError {
        let (endpoint, reference) = (call.endpoint.shown(), &self.handle.reference);
        let lost = match grant.note.unanswered {
            Some(_) => ", or the answer to an earlier use of it was lost",
            None => "",
        };
        let why = format!(
            "`{endpoint}` refuses the grant `{reference}` with `invalid_grant`: it has expired or was revoked{lost}"
        );
        SourceError::LoginNeeded { credential: self.credential.clone(), why, missing: false }
    }

    fn unusable(&self, call: &Call<'_>, answer: &OutboundResponse) -> SourceError {
        let read = answer::read(&call.endpoint.shown(), answer, self.clock.now_ms());
        read.err().unwrap_or(SourceError::Aborted)
    }
}

fn token(access: &sealed::Access) -> Token {
    #[allow(clippy::disallowed_methods, reason = "the lease holds the token too, and is wiped as the first is")]
    let value = Secret::new(access.token.expose().to_vec());
    Token { value, expires_at_ms: access.expires_ms, refresh_token: None }
}

/// What is sent with a refresh token besides it.
fn unscoped(client: &Client) -> impl Iterator<Item = &(String, String)> {
    client.parameters.iter().filter(|(name, _)| name != "scope")
}

/// A digest of what an access token is asked for, so that a credential which asks another thing of the same grant does not
/// take it for its own.
pub(in crate::source::oauth2) fn asked(client: &Client, endpoint: &Endpoint) -> String {
    let digest = Digester::new("asked of a grant")
        .field("endpoint", endpoint.url.as_str())
        .field("client", &client.id)
        .fields("parameter", unscoped(client).map(|(name, value)| format!("{name}\0{value}")))
        .finish();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
