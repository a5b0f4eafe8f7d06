//! The issuer: tokens that Claviger mints for principals, and what others verify them by.
//!
//! Its keys are sealed among Claviger's own. Every process that shares them looks once a second whether another one has
//! changed them, and whoever finds that a change is due makes it, under a lock.
//!
//! Deliberately absent: no endpoint hands out a token, and no private key leaves this module.

mod documents;
mod key;
mod ring;
mod settings;

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_contract::event::{Event, SystemEvent};
use claviger_contract::{Clock, EventSink, Secret, SubjectToken, SubjectTokenError, SubjectTokens, TokenAsk};
use serde_json::{Map, Value};

pub use self::documents::Documents;
pub use self::key::SigningAlgorithm;
use self::key::SigningKey;
pub use self::ring::Cause;
use self::ring::Ring;
pub use self::settings::IssuerSettings;

/// Where an issuer's keys are kept, sealed.
pub trait IssuerKeys: Send + Sync + fmt::Debug {
    /// Changes when the keys do; asked every second, so it is cheap.
    fn revision(&self) -> u64;

    /// What is kept; `None` if nothing ever was.
    ///
    /// # Errors
    /// It cannot be read; why, in words.
    fn read(&self) -> Result<Option<Secret>, String>;

    /// Reads, changes and writes while no other process does. `None` from the change leaves everything as it is.
    ///
    /// # Errors
    /// It cannot be read or written, or the change was refused; why, in words.
    fn change(&self, change: &mut dyn FnMut(Option<Secret>) -> Result<Option<Secret>, String>) -> Result<(), String>;
}

/// The claims that the issuer sets.
const OWN_CLAIMS: [&str; 6] = ["iss", "aud", "exp", "nbf", "iat", "jti"];

/// A token holds from a little before it is made: a verifier's clock may be behind.
const NOT_BEFORE_S: i64 = 30;

/// How often it is asked whether keys have changed or are to change.
const TICK: Duration = Duration::from_secs(1);

/// After a failure to bring keys up to date, in milliseconds.
const AGAIN_MS: i64 = 10_000;

/// Mints tokens with keys that rotate.
pub struct Issuer {
    settings: IssuerSettings,
    keys: Arc<dyn IssuerKeys>,
    clock: Arc<dyn Clock>,
    events: Arc<dyn EventSink>,
    view: ArcSwapOption<View>,
    /// Held while keys are read and changed.
    refreshing: Mutex<()>,
    /// Not before this, after a failure.
    again_at_ms: AtomicI64,
    complaint: Mutex<Option<String>>,
}

/// The keys as this process knows them.
struct View {
    revision: u64,
    ring: Ring,
    /// In the order of the ring.
    opened: Vec<SigningKey>,
    documents: Arc<Documents>,
    /// When time alone changes something.
    due_ms: i64,
}

/// A key, without what is secret of it. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// Its name: the thumbprint (RFC 7638).
    pub kid: String,
    /// What it signs with.
    pub algorithm: String,
    /// Why it was made.
    pub cause: Cause,
    /// Since when it is published.
    pub published_ms: i64,
    /// When it signs first.
    pub signs_from_ms: i64,
    /// When it is published no longer, if that is known.
    pub ends_at_ms: Option<i64>,
    /// Whether it is the one that signs now.
    pub signs: bool,
}

impl Issuer {
    /// An issuer of these settings. Nothing is read, made or written yet.
    pub fn new(
        settings: IssuerSettings,
        keys: Arc<dyn IssuerKeys>,
        clock: Arc<dyn Clock>,
        events: Arc<dyn EventSink>,
    ) -> Self {
        Self {
            settings,
            keys,
            clock,
            events,
            view: ArcSwapOption::empty(),
            refreshing: Mutex::new(()),
            again_at_ms: AtomicI64::new(i64::MIN),
            complaint: Mutex::new(None),
        }
    }

    /// Its settings.
    pub fn settings(&self) -> &IssuerSettings {
        &self.settings
    }

    /// Reads the keys, makes the first one, and makes the changes that are due. Blocks on the disk.
    ///
    /// # Errors
    /// The keys cannot be read or written. Those that are at hand serve on.
    pub fn refresh(&self) -> Result<(), SubjectTokenError> {
        let _alone = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let refreshed = self.refresh_alone();
        if refreshed.is_err() {
            self.again_at_ms.store(self.clock.now_ms().saturating_add(AGAIN_MS), Ordering::Relaxed);
        }
        self.complain(refreshed.as_ref().err());
        refreshed.map_err(SubjectTokenError::Key)
    }

    fn refresh_alone(&self) -> Result<(), String> {
        let (now, schedule) = (self.clock.now_ms(), self.settings.schedule());
        // Before the read: what changes during it is noticed by the next look.
        let revision = self.keys.revision();
        let ring = self.keys.read()?.as_ref().map(Ring::from_secret).transpose().map_err(|error| error.to_string())?;
        let mut stepped = ring.clone().unwrap_or_default();
        if !stepped.step(now, &schedule).map_err(|error| error.to_string())? {
            return self.take_up(stepped, revision, &[]);
        }
        self.write(&mut |ring| ring.step(now, &schedule).map_err(|error| error.to_string()))
    }

    /// Changes the ring under the lock, from what is there then, and takes it up.
    fn write(&self, change: &mut dyn FnMut(&mut Ring) -> Result<bool, String>) -> Result<(), String> {
        let (mut after, mut made, mut revision) = (None, Vec::new(), 0);
        self.keys.change(&mut |sealed| {
            // Before anything is written: a change by another process behind this one is noticed by the next look.
            revision = self.keys.revision();
            let ring = sealed.as_ref().map(Ring::from_secret).transpose().map_err(|error| error.to_string())?;
            let mut ring = ring.unwrap_or_default();
            let before: Vec<String> = ring.keys.iter().map(|key| key.kid.clone()).collect();
            let changed = change(&mut ring)?;
            made = ring.keys.iter().map(|key| key.kid.clone()).filter(|kid| !before.contains(kid)).collect();
            let secret = changed.then(|| ring.to_secret()).transpose().map_err(|error| error.to_string())?;
            after = Some(ring);
            Ok(secret)
        })?;
        after.map_or(Ok(()), |ring| self.take_up(ring, revision, &made))
    }

    fn take_up(&self, ring: Ring, revision: u64, made: &[String]) -> Result<(), String> {
        let now = self.clock.now_ms();
        let opened: Result<Vec<_>, _> = ring.keys.iter().map(ring::RingKey::open).collect();
        let opened = opened.map_err(|error| error.to_string())?;
        let documents = Arc::new(Documents::new(&self.settings, opened.iter()));
        let due_ms = ring.due_ms(now, &self.settings.schedule());
        let view = Arc::new(View { revision, ring, opened, documents, due_ms });
        let before = self.view.swap(Some(view.clone()));
        self.tell(before.as_deref(), &view, now, made);
        Ok(())
    }

    /// Records what changed, whoever changed it. What was there before this process is none of its news.
    fn tell(&self, before: Option<&View>, after: &View, now_ms: i64, made: &[String]) {
        let known = |view: &View, kid: &str| view.ring.keys.iter().any(|key| key.kid == kid);
        let emit = |kind, detail: String| {
            let (generation, configuration, actor) = (None, None, None);
            let detail = Some(detail.into());
            self.events.emit(Event::System(SystemEvent {
                at_ms: now_ms,
                kind,
                generation,
                configuration,
                actor,
                detail,
            }));
        };
        for key in &after.ring.keys {
            let is_news = before.map_or(made.contains(&key.kid), |before| !known(before, &key.kid));
            if is_news {
                let detail = format!("{} key `{}`, {}", key.alg, key.kid, key.cause.text());
                emit("issuer_key_published", detail);
            }
        }
        let signer = |view: &View, at: i64| view.ring.signer(at).map(|key| key.kid.clone());
        let Some(before) = before else { return };
        let signed =
            before.ring.keys.iter().filter(|key| key.ends_at_ms.is_none()).find(|key| key.signs_from_ms <= now_ms);
        if let Some(kid) = signer(after, now_ms).filter(|kid| signed.is_none_or(|signed| signed.kid != *kid)) {
            emit("issuer_key_in_use", format!("key `{kid}` signs from now on"));
        }
        for key in before.ring.keys.iter().filter(|key| !known(after, &key.kid)) {
            emit("issuer_key_withdrawn", format!("key `{}` is published no longer", key.kid));
        }
    }

    /// Publishes the next key now; it signs after the overlap. `false`: one is published already.
    ///
    /// # Errors
    /// The keys cannot be read or written.
    pub fn rotate(&self) -> Result<bool, SubjectTokenError> {
        let (now, schedule) = (self.clock.now_ms(), self.settings.schedule());
        let mut made = false;
        self.write(&mut |ring| {
            made = ring.rotate(now, &schedule).map_err(|error| error.to_string())?;
            // The step before it may have changed something too.
            Ok(true)
        })
        .map_err(SubjectTokenError::Key)?;
        Ok(made)
    }

    /// Takes all keys out of use at once, and signs with a new one. What they signed is refused by whoever reads the set
    /// again, and what the new one signs by whoever has not yet.
    ///
    /// # Errors
    /// The keys cannot be written.
    pub fn replace_all(&self) -> Result<(), SubjectTokenError> {
        let (now, schedule) = (self.clock.now_ms(), self.settings.schedule());
        let replace = &mut |ring: &mut Ring| ring.replace_all(now, &schedule).map(|()| true).map_err(|e| e.to_string());
        self.write(replace).map_err(SubjectTokenError::Key)
    }

    /// What verifiers read; `None` until the keys were read.
    pub fn documents(&self) -> Option<Arc<Documents>> {
        self.view.load().as_ref().map(|view| view.documents.clone())
    }

    /// The keys that are published, oldest first.
    pub fn key_facts(&self) -> Vec<KeyFacts> {
        let Some(view) = self.view.load_full() else { return Vec::new() };
        let signer = view.ring.signer(self.clock.now_ms()).map(|key| key.kid.as_str());
        let facts = |key: &ring::RingKey| KeyFacts {
            kid: key.kid.clone(),
            algorithm: key.alg.clone(),
            cause: key.cause,
            published_ms: key.published_ms,
            signs_from_ms: key.signs_from_ms,
            ends_at_ms: key.ends_at_ms,
            signs: signer == Some(key.kid.as_str()),
        };
        view.ring.keys.iter().map(facts).collect()
    }

    /// Keeps the keys up to date for as long as anybody has the issuer.
    pub fn keep_up(self: &Arc<Self>, runtime: &tokio::runtime::Handle) {
        let issuer = Arc::downgrade(self);
        runtime.spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(issuer) = issuer.upgrade() else { return };
                if issuer.is_behind() {
                    // What went wrong was said, and is tried again.
                    let _ = tokio::task::spawn_blocking(move || issuer.refresh()).await;
                }
            }
        });
    }

    fn is_behind(&self) -> bool {
        let now = self.clock.now_ms();
        now >= self.again_at_ms.load(Ordering::Relaxed)
            && self.view.load().as_ref().is_none_or(|view| now >= view.due_ms || self.keys.revision() != view.revision)
    }

    /// Records a failure once, and its end.
    fn complain(&self, failure: Option<&String>) {
        let mut complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        if complaint.as_ref() == failure {
            return;
        }
        let kind = if failure.is_some() { "issuer_failed" } else { "issuer_recovered" };
        let detail = failure.map(|failure| failure.as_str().into());
        let at_ms = self.clock.now_ms();
        *complaint = failure.cloned();
        let (generation, configuration, actor) = (None, None, None);
        self.events.emit(Event::System(SystemEvent { at_ms, kind, generation, configuration, actor, detail }));
    }

    fn claims(&self, ask: TokenAsk<'_>, now: i64) -> Result<(Map<String, Value>, i64), SubjectTokenError> {
        let mut claims = ask.claims;
        if let Some(claim) = OWN_CLAIMS.iter().find(|claim| claims.contains_key(**claim)) {
            return Err(SubjectTokenError::Claim((*claim).to_owned()));
        }
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| SubjectTokenError::Key("there is no randomness".to_owned()))?;
        let lifetime = ask.lifetime.clamp(Duration::from_secs(1), self.settings.lifetime);
        let expires_at = now.saturating_add(i64::try_from(lifetime.as_secs()).unwrap_or(0));
        if !claims.contains_key("sub") {
            claims.insert("sub".to_owned(), ask.principal.id.as_str().into());
        }
        let aud = match ask.audience {
            // RFC 7519 §4.1.3; some verifiers know no list.
            [only] => only.as_str().into(),
            several => several.iter().map(String::as_str).collect::<Value>(),
        };
        claims.insert("iss".to_owned(), self.settings.iss.as_str().into());
        claims.insert("aud".to_owned(), aud);
        claims.insert("iat".to_owned(), now.into());
        claims.insert("nbf".to_owned(), now.saturating_sub(NOT_BEFORE_S).into());
        claims.insert("exp".to_owned(), expires_at.into());
        claims.insert("jti".to_owned(), URL_SAFE_NO_PAD.encode(random).into());
        Ok((claims, expires_at))
    }

    fn sign(&self, ask: TokenAsk<'_>) -> Result<SubjectToken, SubjectTokenError> {
        let Some(view) = self.view.load_full() else {
            return Err(SubjectTokenError::Key("its keys could not be read".to_owned()));
        };
        let now_ms = self.clock.now_ms();
        let signer = view.ring.signer(now_ms);
        let key = signer.and_then(|signer| view.opened.iter().find(|key| key.kid() == signer.kid));
        let key = key.ok_or_else(|| SubjectTokenError::Key("it has no key".to_owned()))?;
        let (claims, expires_at) = self.claims(ask, now_ms.div_euclid(1_000))?;
        let token = key.sign(&claims).map_err(|error| SubjectTokenError::Key(error.to_string()))?;
        Ok(SubjectToken { token: Secret::from(token), expires_at })
    }
}

#[async_trait]
impl SubjectTokens for Issuer {
    fn issuer(&self) -> Option<&str> {
        Some(&self.settings.iss)
    }

    fn lifetime_max(&self) -> Option<Duration> {
        Some(self.settings.lifetime)
    }

    async fn mint(&self, ask: TokenAsk<'_>) -> Result<SubjectToken, SubjectTokenError> {
        // For commands that keep nothing up to date.
        if self.view.load().is_none() && self.clock.now_ms() >= self.again_at_ms.load(Ordering::Relaxed) {
            self.refresh()?;
        }
        self.sign(ask)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("url", &self.settings.iss).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
