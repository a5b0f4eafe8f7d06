//! The mint: one at a time per slot, on the control runtime, so that it outlives the request that asked.

use std::sync::Arc;
use std::time::Duration;

use claviger_contract::Attested;
use claviger_contract::event::{CredentialEventKind, CredentialStamp};
use tokio::sync::watch;

use super::overlap::{Leased, Overlap, Turn};
use super::slot::{Failure, Flight, Held, Landing, Slot};
use super::{Keeper, Key, check, proof_end_ms, refuse};
use crate::binding::{BoundHost, intersect, list};
use crate::digest::{random_fraction, random_hex};
use crate::error::{CredentialError, SourceError};
use crate::lease::{Lease, LeaseAnswer};
use crate::source::{Ask, Mint, Minted};

/// The first wait after a failure; it doubles with each further one, in milliseconds.
const BACK_OFF_FIRST_MS: i64 = 500;
/// The longest wait, in milliseconds.
const BACK_OFF_MAX_MS: i64 = 30_000;
/// The longest wait that an issuer is granted, in milliseconds.
const ASKED_MAX_MS: i64 = 300_000;
/// For a whole mint, however many calls it makes.
const MINT_TIMEOUT: Duration = Duration::from_secs(60);
/// A lease ends this much before its expiry, for the request's way to the upstream and for clocks that
/// differ; a tenth of its life at most.
const MARGIN_MAX_MS: i64 = 5_000;

/// What was read when somebody asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reread {
    /// The version that was read.
    pub version: Arc<str>,
    /// The one that is kept beside it, while a rotation is open.
    pub previous: Option<Arc<str>>,
}

impl Keeper {
    /// Starts a mint for a lease that is still good; nobody waits for it.
    pub(super) fn refresh(self: &Arc<Self>, slot: &Arc<Slot>, caller: Option<&Attested>, now: i64) {
        let Some(mut flight) = slot.try_flight() else { return };
        let backing_off = flight.failure.as_ref().is_some_and(|failure| now < failure.retry_at_ms);
        if flight.running().is_none() && !backing_off {
            // What was changed where it is stored is read anew, and so is what nobody can prolong.
            let held = slot.held.load_full();
            let former = held.filter(|held| held.lease.revocation.is_some() && held.revision == self.source.revision());
            self.start(slot, &mut flight, caller, former);
        }
    }

    /// Reads or mints now, whatever is held: somebody knows that the value has changed. What is under way may have begun
    /// before that, so it is waited for first.
    pub(crate) async fn reread(self: &Arc<Self>) -> Result<Reread, CredentialError> {
        let slot = &self.cache.shared;
        let under_way = slot.flight().running().cloned();
        if let Some(landing) = under_way {
            // Its outcome is not the one that is asked for.
            let _ = self.landed(landing).await;
        }
        let landing = {
            let mut flight = slot.flight();
            let begun = flight.running().cloned();
            begun.unwrap_or_else(|| self.start(slot, &mut flight, None, None))
        };
        let lease = self.landed(landing).await?;
        let held = slot.held.load();
        let previous = held.as_ref().and_then(|held| held.overlap.as_ref());
        let previous = previous.map(|overlap| overlap.previous.stamp.version.clone());
        Ok(Reread { version: lease.stamp.version.clone(), previous })
    }

    /// Joins the mint under way or starts one; while a failure is fresh, its error is the answer.
    pub(super) fn wait(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        caller: Option<&Attested>,
        now: i64,
        replayable: bool,
    ) -> LeaseAnswer {
        let mut flight = slot.flight();
        // One may have landed since the caller looked.
        if let Some(lease) = slot.serving(now, replayable) {
            return LeaseAnswer::Ready(lease);
        }
        slot.touch(now);
        let landing = match (flight.running(), &flight.failure) {
            (Some(running), _) => running.clone(),
            (None, Some(failure)) if now < failure.retry_at_ms => return refuse(self.failed(failure.cause.clone())),
            (None, _) => self.start(slot, &mut flight, caller, None),
        };
        drop(flight);
        let (keeper, slot) = (self.clone(), slot.clone());
        LeaseAnswer::Wait(Box::pin(async move {
            let lease = keeper.landed(landing).await?;
            Ok(slot.serving(keeper.clock.now_ms(), replayable).unwrap_or(lease))
        }))
    }

    pub(super) async fn landed(&self, mut landing: watch::Receiver<Landing>) -> Result<Arc<Lease>, CredentialError> {
        let aborted = || self.failed(Arc::new(SourceError::Aborted));
        let landed = landing.wait_for(Option::is_some).await.map_err(|_| aborted())?.clone();
        let lease = landed.unwrap_or_else(|| Err(aborted()))?;
        // Whoever is slow to wake up must not use what ended meanwhile.
        if self.clock.now_ms() >= lease.ends_at_ms {
            return Err(self.failed(Arc::new(SourceError::Ended)));
        }
        Ok(lease)
    }

    /// Mints, or prolongs `former` if its issuer does that.
    fn start(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        flight: &mut Flight,
        caller: Option<&Attested>,
        former: Option<Arc<Held>>,
    ) -> watch::Receiver<Landing> {
        let sender = flight.start();
        let landing = sender.subscribe();
        let (keeper, slot, caller) = (self.clone(), slot.clone(), caller.cloned());
        let refused = flight.refused.clone();
        self.runtime.spawn(async move {
            let prolonged = match former {
                Some(former) => keeper.prolong(&slot, &former).await,
                None => None,
            };
            let landed = match prolonged {
                Some(landed) => landed,
                None => {
                    // Before the read: what changes during it is noticed by the next look.
                    let revision = keeper.source.revision();
                    let ask = caller.as_ref().map(|caller| Ask { caller });
                    let mint = Mint { ask, refused: refused.as_deref() };
                    let minted = tokio::time::timeout(MINT_TIMEOUT, keeper.source.mint(mint)).await;
                    let minted = minted.unwrap_or(Err(SourceError::Aborted));
                    let leased = minted.and_then(|minted| keeper.make_lease(minted, caller.as_ref()));
                    keeper.land(&slot, leased, revision)
                }
            };
            // The mint is over before the waiting are told, so that none of them can join it again.
            sender.send_replace(Some(landed));
        });
        landing
    }

    /// Puts the outcome into the slot.
    pub(super) fn land(
        &self,
        slot: &Slot,
        leased: Result<Leased, SourceError>,
        revision: u64,
    ) -> Result<Arc<Lease>, CredentialError> {
        let now = self.clock.now_ms();
        let in_time = |leased: Leased| if now < leased.lease.ends_at_ms { Ok(leased) } else { Err(SourceError::Ended) };
        let leased = leased.and_then(in_time);
        let mut flight = slot.flight();
        flight.end();
        if std::mem::take(&mut flight.discard) {
            return Err(self.failed(Arc::new(SourceError::Aborted)));
        }
        match leased {
            Ok(leased) => {
                flight.failure = None;
                if let Some(refused) = flight.refused.take() {
                    refused.give_way_to(&leased.lease);
                }
                let refresh_at_ms = match self.source.refreshes_ahead() {
                    true => refresh_at_ms(now, leased.lease.ends_at_ms),
                    false => i64::MAX,
                };
                let installed = self.install(slot, leased, refresh_at_ms, revision);
                drop(flight);
                Ok(self.tell(installed))
            }
            Err(cause) => {
                let cause = Arc::new(cause);
                let count = flight.failure.as_ref().map_or(1, |failure| failure.count.saturating_add(1));
                let retry_at_ms = now.saturating_add(back_off_ms(count, &cause));
                let since_ms = flight.failure.as_ref().map_or(now, |failure| failure.since_ms);
                flight.failure = Some(Failure { cause: cause.clone(), count, since_ms, retry_at_ms });
                let gone = cause.is_removal().then(|| slot.held.swap(None)).flatten();
                drop(flight);
                self.report(slot, &cause, gone.as_ref().map(|held| &*held.lease), count, now);
                Err(self.failed(cause))
            }
        }
    }

    fn report(&self, slot: &Slot, cause: &SourceError, gone: Option<&Lease>, count: u32, now: i64) {
        self.emit(CredentialEventKind::Failed, None, Some(cause.to_string().into()));
        if let Some(lease) = gone {
            let detail = "the secret was removed or bound elsewhere";
            self.emit(CredentialEventKind::Invalidated, Some(lease), Some(detail.into()));
        }
        // Once per run of failures: each of them has its own record above.
        if count == 1
            && let Some(lease) = slot.good(now)
        {
            self.emit(CredentialEventKind::ServedStale, Some(&lease), None);
        }
    }

    /// A lease of what was minted: bound to the hosts that both the value and the configuration allow.
    pub(crate) fn make_lease(&self, minted: Minted, caller: Option<&Attested>) -> Result<Leased, SourceError> {
        let stamp = |version: Option<Arc<str>>| CredentialStamp {
            name: self.name.clone(),
            version: version.unwrap_or_else(|| random_hex().into()),
        };
        let (new, principal) = (stamp(minted.version), caller.map(|caller| caller.principal.id.clone()));
        // First: whatever else is wrong with the value, it is ended if it does not come to serve.
        let revocation = minted
            .issued
            .map(|issued| self.revocations.of(issued, new.clone(), principal.clone(), minted.expires_at_ms));
        let hosts = self.narrow(minted.hosts)?;
        let mut expires_at_ms = minted.expires_at_ms;
        if self.source.is_renewable() {
            check::check(&minted.fields).map_err(SourceError::Value)?;
            let own_end_ms = check::own_end_ms(&minted.fields);
            expires_at_ms = expires_at_ms.into_iter().chain(own_end_ms).min();
        }
        let now = self.clock.now_ms();
        let proof_ends_at_ms = caller.and_then(proof_end_ms).unwrap_or(i64::MAX);
        let ends_at_ms = self.ends_at_ms(now, expires_at_ms, proof_ends_at_ms);
        let lease = |stamp, fields, hosts| Lease {
            expires_at: expires_at_ms.map(|ms| ms.div_euclid(1_000)),
            ends_at_ms,
            proof_ends_at_ms,
            renewable: self.source.is_renewable(),
            headers: self.source.headers(),
            key: caller.map_or(Key::Shared, |caller| self.source.key(Ask { caller })),
            principal: principal.clone(),
            ..Lease::new(stamp, fields, hosts)
        };
        let Some(replaced) = minted.previous else {
            return Ok(Leased { lease: Lease { revocation, ..lease(new, minted.fields, hosts) }, overlap: None });
        };
        let mut new = Lease { revocation, ..lease(new, minted.fields, hosts.clone()) };
        let mut previous = lease(stamp(replaced.version), replaced.fields, hosts);
        new.share_guard(&mut previous);
        (new.rotating, previous.rotating) = (true, true);
        let turn = Arc::new(Turn::new(replaced.proven, replaced.since.saturating_mul(1_000), now));
        Ok(Leased { lease: new, overlap: Some(Overlap { previous: Arc::new(previous), turn }) })
    }

    /// When a value that was got now serves no more.
    pub(super) fn ends_at_ms(&self, now: i64, expires_at_ms: Option<i64>, proof_ends_at_ms: i64) -> i64 {
        let usable_until = expires_at_ms.map(|end| end - (end.saturating_sub(now) / 10).clamp(0, MARGIN_MAX_MS));
        let unrefreshed = self.serve_until_ms.map(|ms| now.saturating_add(ms));
        usable_until.into_iter().chain(unrefreshed).fold(proof_ends_at_ms, i64::min)
    }

    fn narrow(&self, bound: Option<Vec<BoundHost>>) -> Result<Vec<BoundHost>, SourceError> {
        let both = match (&bound, &self.hosts) {
            (Some(bound), Some(configured)) => intersect(bound, configured),
            (Some(only), None) | (None, Some(only)) => only.clone(),
            (None, None) => Vec::new(),
        };
        if both.is_empty() {
            let show = |hosts: &Option<Vec<BoundHost>>| match hosts.as_deref() {
                Some([]) | None => "no host".to_owned(),
                Some(hosts) => list(hosts),
            };
            return Err(SourceError::NoHostLeft { sealed: show(&bound), configured: show(&self.hosts) });
        }
        Ok(both)
    }

    pub(super) fn failed(&self, cause: Arc<SourceError>) -> CredentialError {
        CredentialError::Failed { name: self.name.clone(), cause }
    }
}

/// At 75 to 85 percent of the life that is left: replicas that started together do not refresh together.
pub(super) fn refresh_at_ms(now: i64, ends_at_ms: i64) -> i64 {
    if ends_at_ms == i64::MAX {
        return i64::MAX;
    }
    now.saturating_add(fraction(ends_at_ms.saturating_sub(now), 0.75 + 0.1 * random_fraction()))
}

/// 0.5 to 1 times 500 ms, 1 s, 2 s, … 30 s. Longer if the issuer asks for it, up to five minutes, and then a little more,
/// so that not everybody who was told the same comes back at once.
pub(super) fn back_off_ms(count: u32, cause: &SourceError) -> i64 {
    let doubled = BACK_OFF_FIRST_MS.saturating_mul(1_i64 << count.saturating_sub(1).min(16)).min(BACK_OFF_MAX_MS);
    let asked = cause.retry_after().and_then(|after| i64::try_from(after.as_millis()).ok()).unwrap_or(0);
    let asked = fraction(asked.min(ASKED_MAX_MS), 1.0 + 0.1 * random_fraction());
    fraction(doubled, 0.5 + 0.5 * random_fraction()).max(asked)
}

/// Whether what expires then is not worth ending: it does so by itself.
pub(super) fn expires_soon(now: i64, expires_at_ms: i64) -> bool {
    expires_at_ms.saturating_sub(now) <= MARGIN_MAX_MS
}

/// A part of a span, or a little more than it.
fn fraction(span_ms: i64, part: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a span of at most years, in ms")]
    let ms = (span_ms as f64 * part) as i64;
    ms
}
