//! An issuer's keys over HTTPS: fetched ahead of need, by one flight at a time, and kept through an outage for a
//! bounded time.
//!
//! Requests never make the proxy call the issuer more often than once in [`ATTEMPT_EVERY_MS`], whatever `kid` they
//! name. The flight belongs to the control runtime: a client that goes away does not stop it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use claviger_contract::{OutboundRequest, Reach};
use http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::Value;
use tokio::sync::watch;
use url::Url;
use zeroize::Zeroizing;

use super::algorithm::Algorithm;
use super::json;
use super::jws::Jws;
use super::key::KeyUse;
use super::key_set::{Found, KeySet};
use super::key_source::UNKNOWN_KEY;
use crate::{IdentityEnv, IdentityError};

/// The shortest time between two attempts to fetch, in milliseconds.
pub(crate) const ATTEMPT_EVERY_MS: i64 = 10_000;
/// The longest time between two attempts while the issuer is out of reach, in milliseconds.
const BACK_OFF_MAX_MS: i64 = 300_000;
/// For how long fetched keys are fresh where the answer does not say, and the bounds of what it may say.
const FRESH_MS: i64 = 900_000;
const FRESH_MIN_MS: i64 = 300_000;
const FRESH_MAX_MS: i64 = 86_400_000;
/// How often the background task looks whether it is time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_MAX: usize = 512 * 1024;

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `jwks_uri` of the issuer's discovery document (OpenID Connect Discovery 1.0 §4).
    Discovery {
        /// As the document must repeat it.
        issuer: String,
        /// Where the document is.
        document: Url,
    },
    /// A JWK Set.
    Keys(Url),
}

/// All that decides over which keys are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteSettings {
    pub(crate) endpoint: Endpoint,
    pub(crate) reach: Reach,
    /// A file with the bearer token that the endpoint asks for, read at each fetch.
    pub(crate) token_file: Option<PathBuf>,
    /// How long after their last fetch keys may serve, in milliseconds.
    pub(crate) keys_age_max_ms: i64,
}

/// An issuer's keys.
#[derive(Debug)]
pub(crate) struct RemoteKeys {
    settings: RemoteSettings,
    env: IdentityEnv,
    snapshot: ArcSwapOption<Snapshot>,
    flight: Mutex<Flight>,
    landed: watch::Sender<u64>,
    generation: AtomicU64,
}

#[derive(Clone, Debug)]
struct Snapshot {
    keys: KeySet,
    refresh_at_ms: i64,
    ends_at_ms: i64,
}

#[derive(Debug, Default)]
struct Flight {
    is_running: bool,
    next_allowed_ms: i64,
    failures: u32,
    error: Option<Arc<str>>,
}

impl RemoteKeys {
    pub(crate) fn new(settings: RemoteSettings, env: IdentityEnv) -> Arc<Self> {
        Arc::new(Self {
            settings,
            env,
            snapshot: ArcSwapOption::empty(),
            flight: Mutex::default(),
            landed: watch::channel(0).0,
            generation: AtomicU64::new(0),
        })
    }

    /// Takes over what an equal source has fetched.
    pub(crate) fn adopt(&self, previous: &Self) {
        if self.settings == previous.settings && self.snapshot.load().is_none() {
            self.snapshot.store(previous.snapshot.load_full());
        }
    }

    /// Fetches ahead of need until this is dropped.
    pub(crate) fn start(self: &Arc<Self>) {
        self.fetch_if_due();
        let weak = Arc::downgrade(self);
        self.env.runtime.spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let Some(keys) = weak.upgrade() else { return };
                keys.fetch_if_due();
            }
        });
    }

    /// The generation of the keys in use.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Why the last attempt failed.
    pub(crate) fn error(&self) -> Option<Arc<str>> {
        self.flight().error.clone()
    }

    /// Verifies the signature, fetching the keys if there are none or the key is not among them.
    pub(crate) async fn verify(self: &Arc<Self>, token: &Jws<'_>, allowed: &[Algorithm]) -> Result<u64, IdentityError> {
        // Two rounds: with the keys at hand, and once more after a fetch.
        for round in 0..2 {
            // Read before the keys: a swap in between makes the result old, never an old result new.
            let generation = self.generation();
            match self.usable().map(|snapshot| snapshot.keys.verify(token, allowed)) {
                Some(Found::Verified) => return Ok(generation),
                Some(Found::Bad(error)) => return Err(error),
                Some(Found::UnknownKey) if round > 0 => return Err(UNKNOWN_KEY),
                Some(Found::UnknownKey) | None => {}
            }
            if round == 0 {
                self.fetch_and_wait().await;
            }
        }
        Err(IdentityError::Unavailable(self.error().unwrap_or_else(|| "they were not fetched yet".into())))
    }

    /// Whether the keys at hand, if there are any, do not speak against a token.
    pub(crate) fn may_hold(&self, token: &Jws<'_>, allowed: &[Algorithm]) -> bool {
        self.usable().is_none_or(|snapshot| snapshot.keys.verify(token, allowed) == Found::Verified)
    }

    fn usable(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full().filter(|snapshot| self.env.clock.now_ms() < snapshot.ends_at_ms)
    }

    fn fetch_if_due(self: &Arc<Self>) {
        let due = self.snapshot.load().as_ref().is_none_or(|it| self.env.clock.now_ms() >= it.refresh_at_ms);
        if due {
            self.take_off();
        }
    }

    async fn fetch_and_wait(self: &Arc<Self>) {
        // Subscribed before: a flight that lands in between is seen.
        let mut landed = self.landed.subscribe();
        if self.take_off() {
            // An error means that the sender is gone, and so is everything that could wait.
            let _ = landed.changed().await;
        }
    }

    /// Starts a flight if none is in the air and one is allowed; true if there is one to wait for.
    fn take_off(self: &Arc<Self>) -> bool {
        let now = self.env.clock.now_ms();
        {
            let mut flight = self.flight();
            if flight.is_running {
                return true;
            }
            if now < flight.next_allowed_ms {
                return false;
            }
            flight.is_running = true;
            flight.next_allowed_ms = now.saturating_add(ATTEMPT_EVERY_MS);
        }
        let landing = Landing(self.clone());
        self.env.runtime.spawn(async move {
            let fetched = landing.0.fetch().await;
            landing.0.land(fetched);
        });
        true
    }

    fn land(&self, fetched: Result<(KeySet, i64), String>) {
        let now = self.env.clock.now_ms();
        match fetched {
            Ok((keys, fresh_ms)) => {
                // What may not serve for long is fetched the more often.
                let fresh_ms = fresh_ms.min(self.settings.keys_age_max_ms);
                let changed = self.snapshot.load().as_ref().is_none_or(|before| !before.keys.same_as(&keys));
                self.snapshot.store(Some(Arc::new(Snapshot {
                    keys,
                    // Ahead of the end by a fifth, so that one failure is not an outage.
                    refresh_at_ms: now.saturating_add(fresh_ms / 5 * 4),
                    ends_at_ms: now.saturating_add(self.settings.keys_age_max_ms),
                })));
                if changed {
                    self.generation.fetch_add(1, Ordering::AcqRel);
                }
                let mut flight = self.flight();
                flight.failures = 0;
                flight.error = None;
            }
            Err(error) => {
                let mut flight = self.flight();
                let back_off = ATTEMPT_EVERY_MS.saturating_mul(1 << flight.failures.min(6)).min(BACK_OFF_MAX_MS);
                flight.failures = flight.failures.saturating_add(1);
                flight.next_allowed_ms = now.saturating_add(back_off);
                flight.error = Some(error.into());
            }
        }
    }

    /// The keys, and for how long they are fresh.
    async fn fetch(&self) -> Result<(KeySet, i64), String> {
        let keys_at = match &self.settings.endpoint {
            Endpoint::Keys(url) => url.clone(),
            Endpoint::Discovery { issuer, document } => {
                let (text, _) = self.get(document).await?;
                jwks_uri(&text, issuer)?
            }
        };
        let (text, headers) = self.get(&keys_at).await?;
        let keys = KeySet::parse(&text, KeyUse::Signature).map_err(|error| format!("the key set is {error}"))?;
        Ok((keys, fresh_ms(&headers)))
    }

    #[allow(clippy::disallowed_methods, reason = "a key set is public; the answer's type is made for tokens")]
    async fn get(&self, url: &Url) -> Result<(Vec<u8>, HeaderMap), String> {
        let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        if let Some(bearer) = self.bearer(url)? {
            headers.insert(AUTHORIZATION, bearer);
        }
        let request = OutboundRequest {
            method: Method::GET,
            url: url.clone(),
            headers,
            body: None,
            timeout: FETCH_TIMEOUT,
            max_response: ANSWER_MAX,
        };
        let answer = self.env.outbound.send(&self.settings.reach, request).await.map_err(|error| error.to_string())?;
        if answer.status != StatusCode::OK {
            return Err(format!("`{}` answered with status {}", without_query(url), answer.status.as_u16()));
        }
        Ok((answer.body.expose().to_vec(), answer.headers))
    }

    /// What the endpoint is shown. Not what it names: a discovery document could name anybody's host.
    fn bearer(&self, url: &Url) -> Result<Option<HeaderValue>, String> {
        let Some(file) = &self.settings.token_file else { return Ok(None) };
        let (Endpoint::Keys(asked) | Endpoint::Discovery { document: asked, .. }) = &self.settings.endpoint;
        if asked.origin() != url.origin() {
            return Ok(None);
        }
        let failed = |error: &dyn std::fmt::Display| format!("failed to use `{}`: {error}", file.display());
        let text = Zeroizing::new(std::fs::read_to_string(file).map_err(|error| failed(&error))?);
        let value = Zeroizing::new(format!("Bearer {}", text.trim()));
        let mut value = HeaderValue::from_str(&value).map_err(|_| failed(&"it holds no token"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn flight(&self) -> std::sync::MutexGuard<'_, Flight> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the flight however it ends, also when its task is dropped or panics: nobody waits for ever.
struct Landing(Arc<RemoteKeys>);

impl Drop for Landing {
    fn drop(&mut self) {
        self.0.flight().is_running = false;
        self.0.landed.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// OpenID Connect Discovery 1.0 §4.3: the document's issuer must be the configured one, to the letter.
fn jwks_uri(document: &[u8], issuer: &str) -> Result<Url, String> {
    let document = json::object(document).ok_or("the discovery document is not a JSON object")?;
    if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err(format!("the discovery document is not that of the issuer `{issuer}`"));
    }
    let uri = document.get("jwks_uri").and_then(Value::as_str).ok_or("the discovery document has no `jwks_uri`")?;
    Url::parse(uri).map_err(|_| "`jwks_uri` of the discovery document is not a URL".to_owned())
}

/// RFC 9111 §5.2.2.1, within bounds.
fn fresh_ms(headers: &HeaderMap) -> i64 {
    headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|directive| directive.trim().split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("max-age"))
        .and_then(|(_, seconds)| seconds.trim_matches('"').parse::<i64>().ok())
        .map_or(FRESH_MS, |seconds| seconds.saturating_mul(1_000).clamp(FRESH_MIN_MS, FRESH_MAX_MS))
}

fn without_query(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}
