//! Ends values at their issuers, once nobody uses them any more.
//!
//! A lease holds its [`Revocation`], and so do the requests that were given the lease. When the last of them lets go (the
//! lease was replaced, refused by upstream, evicted, or its credential is no longer configured, and the requests that were
//! sent with it have their answers), the issuer is asked to end the value. Where an operator suspended the credential
//! nobody is waited for: [`Revocation::at_once`].
//!
//! Deliberately absent: a list of what was issued that outlives the process. A process that is killed leaves values
//! behind, which end at their expiry.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use claviger_contract::event::{CredentialEvent, CredentialEventKind, CredentialStamp};
use claviger_contract::{Clock, Event, EventSink};
use claviger_policy::SpiffeId;
use tokio::sync::{Semaphore, watch};

use super::flight::{back_off_ms, expires_soon};
use crate::error::SourceError;
use crate::source::Issued;

/// The issuer is asked so often before it is left alone, with waits of half a second up to 30 s in between.
const ATTEMPTS_MAX: u32 = 8;
/// For one attempt, however many calls it makes.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// So many attempts of one credential are under way at a time: a rule that goes may end thousands of values. Each has
/// places of its own, so that an issuer that does not answer delays the revocations of no other.
const AT_ONCE_MAX: usize = 8;

/// What a lease's value is called in records.
#[derive(Clone, Debug)]
struct About {
    stamp: CredentialStamp,
    principal: Option<SpiffeId>,
    /// Milliseconds since the Unix epoch.
    expires_at_ms: Option<i64>,
}

/// The right, and the duty, to end one value at its issuer.
pub(crate) struct Revocation {
    issued: Arc<dyn Issued>,
    /// As of the mint or of the last renewal.
    about: Mutex<About>,
    why: OnceLock<Arc<str>>,
    begun: AtomicBool,
    all: Arc<Revocations>,
}

impl Revocation {
    /// The issuer's word for the value.
    pub(crate) fn issued(&self) -> &Arc<dyn Issued> {
        &self.issued
    }

    /// The value lasts longer now.
    pub(crate) fn prolonged(&self, expires_at_ms: i64) {
        self.about.lock().unwrap_or_else(PoisonError::into_inner).expires_at_ms = Some(expires_at_ms);
    }

    /// Why the value will be given up, for the record; the first reason stays.
    pub(crate) fn because(&self, why: &Arc<str>) {
        let _ = self.why.set(why.clone());
    }

    /// Ends the value although requests may be under way with it.
    pub(crate) fn at_once(&self, why: &Arc<str>) {
        self.because(why);
        self.begin(true);
    }

    /// The value is somebody else's now, who ends it.
    pub(crate) fn disarm(&self) {
        self.begun.store(true, Ordering::Release);
    }

    fn begin(&self, urgent: bool) {
        if self.begun.swap(true, Ordering::AcqRel) {
            return;
        }
        let about = self.about.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // It ends by itself before the issuer could be asked twice.
        if about.expires_at_ms.is_some_and(|end| expires_soon(self.all.clock.now_ms(), end)) {
            return;
        }
        let why = self.why.get().cloned().unwrap_or_else(|| "nobody uses it any more".into());
        self.all.clone().start(self.issued.clone(), about, why, urgent);
    }
}

impl Drop for Revocation {
    fn drop(&mut self) {
        self.begin(false);
    }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revocation(…)")
    }
}

/// The revocations of a process that are under way. Outlives its generations.
pub(crate) struct Revocations {
    clock: Arc<dyn Clock>,
    events: Arc<dyn EventSink>,
    runtime: tokio::runtime::Handle,
    shares: Mutex<HashMap<Share, Weak<Semaphore>>>,
    pending: Mutex<HashMap<u64, About>>,
    /// How many are pending.
    count: watch::Sender<usize>,
    /// The process stops: nothing is waited for any more.
    closing: watch::Sender<bool>,
}

/// Whose places an attempt takes: those of its credential, and of the two kinds that there are. What an operator asked
/// for does not queue behind what the issuer did not answer before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Share {
    credential: Arc<str>,
    urgent: bool,
}

async fn attempt_one(issued: &dyn Issued, places: &Semaphore) -> Result<(), SourceError> {
    // Never closed.
    let _place = places.acquire().await;
    tokio::time::timeout(ATTEMPT_TIMEOUT, issued.revoke()).await.unwrap_or(Err(SourceError::Aborted))
}

impl Revocations {
    pub(crate) fn new(clock: Arc<dyn Clock>, events: Arc<dyn EventSink>, runtime: tokio::runtime::Handle) -> Arc<Self> {
        Arc::new(Self {
            clock,
            events,
            runtime,
            shares: Mutex::default(),
            pending: Mutex::default(),
            count: watch::Sender::new(0),
            closing: watch::Sender::new(false),
        })
    }

    /// What a lease holds for a value that its issuer can end.
    pub(crate) fn of(
        self: &Arc<Self>,
        issued: Arc<dyn Issued>,
        stamp: CredentialStamp,
        principal: Option<SpiffeId>,
        expires_at_ms: Option<i64>,
    ) -> Arc<Revocation> {
        let about = Mutex::new(About { stamp, principal, expires_at_ms });
        Arc::new(Revocation { issued, about, why: OnceLock::new(), begun: AtomicBool::new(false), all: self.clone() })
    }

    fn start(self: Arc<Self>, issued: Arc<dyn Issued>, about: About, why: Arc<str>, urgent: bool) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.pending().insert(number, about.clone());
        self.count.send_modify(|count| *count += 1);
        let place = Place { all: self.clone(), number };
        let places = self.places(Share { credential: about.stamp.name.clone(), urgent });
        let runtime = self.runtime.clone();
        runtime.spawn(async move {
            self.run(&*issued, &about, &why, &places).await;
            drop(place);
        });
    }

    async fn run(&self, issued: &dyn Issued, about: &About, why: &Arc<str>, places: &Semaphore) {
        let mut closing = self.closing.subscribe();
        for attempt in 1..=ATTEMPTS_MAX {
            let last = attempt == ATTEMPTS_MAX || *closing.borrow_and_update();
            let Err(cause) = attempt_one(issued, places).await else {
                return self.emit(CredentialEventKind::Revoked, about, why.clone());
            };
            let last = last || matches!(cause, SourceError::ProofEnded);
            let wait_ms = back_off_ms(attempt, &cause);
            let ends = about.expires_at_ms.is_some_and(|end| self.clock.now_ms().saturating_add(wait_ms) >= end);
            let then = match (last, ends) {
                (_, true) => "it ends by itself before the next attempt".to_owned(),
                (true, false) => "it is given up and ends at its expiry".to_owned(),
                (false, false) => format!("attempt {attempt} of {ATTEMPTS_MAX}"),
            };
            self.emit(CredentialEventKind::RevocationFailed, about, format!("{cause}; {then} ({why})").into());
            if last || ends {
                return;
            }
            let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0));
            // Whoever stops the process wants one more attempt, and now.
            let _ = tokio::time::timeout(wait, closing.wait_for(|closing| *closing)).await;
        }
    }

    /// Waits until all values that were given up are ended, for so long at most; nothing is tried a second time from
    /// now on.
    pub(crate) async fn close(&self, limit: Duration) {
        self.closing.send_replace(true);
        let mut count = self.count.subscribe();
        let all = tokio::time::timeout(limit, count.wait_for(|count| *count == 0)).await;
        if all.is_err() {
            for (_, about) in self.pending().drain() {
                let why = "the process stopped before the issuer answered; it ends at its expiry";
                self.emit(CredentialEventKind::RevocationFailed, &about, why.into());
            }
        }
    }

    /// Until nothing is under way.
    #[cfg(test)]
    pub(crate) async fn settled(&self) {
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    /// The places of a share, for as long as somebody holds them.
    fn places(&self, share: Share) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shares.entry(share).or_default();
        known.upgrade().unwrap_or_else(|| {
            let places = Arc::new(Semaphore::new(AT_ONCE_MAX));
            *known = Arc::downgrade(&places);
            places
        })
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<u64, About>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn emit(&self, kind: CredentialEventKind, about: &About, detail: Arc<str>) {
        self.events.emit(Event::Credential(CredentialEvent {
            at_ms: self.clock.now_ms(),
            credential: about.stamp.name.clone(),
            version: Some(about.stamp.version.clone()),
            kind,
            principal: about.principal.clone(),
            expires_at: about.expires_at_ms.map(|ms| ms.div_euclid(1_000)),
            secretless: None,
            detail: Some(detail),
        }));
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("pending", &*self.count.borrow()).finish_non_exhaustive()
    }
}

/// Counts one revocation for as long as its task lives, also where the runtime drops it.
struct Place {
    all: Arc<Revocations>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.pending().remove(&self.number);
        self.all.count.send_modify(|count| *count = count.saturating_sub(1));
    }
}
