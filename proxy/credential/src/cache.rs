//! Leases at hand: the look-up takes no lock that is held across an await and allocates nothing.
//!
//! ```text
//! minted ──── served ────┬─ refresh_at ── served, one refresh under way ──┬─ ends_at ── waits for a mint
//!                        │                                                │
//!                 75–85 % of its life                      expiry less a margin, end of the proof, or
//!                                                          `serve_until` after the last refresh
//! ```
//!
//! A value that its issuer can prolong is prolonged instead of minted anew; one that it can end is ended when the last who
//! holds it lets go (`revocation.rs`), and at once where an operator suspends its credential.

mod check;
mod flight;
mod overlap;
mod renewal;
mod revocation;
mod slot;
mod state;

use std::sync::Arc;

use claviger_contract::Attested;
use claviger_contract::event::{CredentialEvent, CredentialEventKind};
use claviger_contract::{Clock, Event, EventSink};
use claviger_policy::SpiffeId;
use dashmap::DashMap;
use http::StatusCode;
use tokio::sync::watch;

pub use self::flight::Reread;
pub(crate) use self::overlap::Leased;
pub(crate) use self::overlap::RETRY_MS;
use self::overlap::{Change, Which};
pub(crate) use self::revocation::{Revocation, Revocations};
pub(crate) use self::slot::Landing;
use self::slot::{Held, Slot};
pub use self::state::LeaseState;
use crate::digest::Digest;
use crate::error::CredentialError;
use crate::lease::{Lease, LeaseAnswer, LeaseFuture};
use crate::source::{Ask, Source};

/// Leases that one credential keeps for different callers; the least recently used go first.
const KEYED_MAX: usize = 10_000;
/// Between two mints that a 401 caused, in milliseconds: an upstream that refuses every value must not
/// make the issuer mint one per request.
const INVALIDATION_INTERVAL_MS: i64 = 30_000;

/// Under which a lease is kept within its credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// One value for everyone.
    Shared,
    /// One per digest of what the mint takes from the caller.
    #[allow(dead_code, reason = "for sources that exchange the caller's own proof")]
    Caller(Digest),
}

/// The leases of one credential. Outlives a reload that leaves the credential as it is.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    shared: Arc<Slot>,
    keyed: DashMap<Digest, Arc<Slot>>,
}

/// What was put into a slot.
struct Installed {
    kind: CredentialEventKind,
    lease: Arc<Lease>,
    /// The version that is kept beside it.
    previous: Option<Arc<str>>,
}

/// A credential at work: its source, its cache, and what both need.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) name: Arc<str>,
    pub(crate) source: Arc<dyn Source>,
    /// The hosts in the configuration; the lease may go where these and the value's own allow.
    pub(crate) hosts: Option<Vec<crate::BoundHost>>,
    /// How long a value serves after it was last minted, read or prolonged, in milliseconds; `None`: until its expiry.
    pub(crate) serve_until_ms: Option<i64>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) runtime: tokio::runtime::Handle,
}

impl Keeper {
    /// A lease for this caller: at once if one is at hand, else when the mint that is under way ends.
    ///
    /// `replayable`: the request could be sent once more, so that it may try a value that upstream may not know yet.
    pub(crate) fn lease(self: &Arc<Self>, caller: &Attested, replayable: bool) -> LeaseAnswer {
        let now = self.clock.now_ms();
        match self.source.key(Ask { caller }) {
            Key::Shared => self.serve(&self.cache.shared, None, now, replayable),
            Key::Caller(digest) => {
                if proof_end_ms(caller).is_some_and(|end| now >= end) {
                    return refuse(CredentialError::ProofEnded(self.name.clone()));
                }
                let slot = self.keyed_slot(digest, caller);
                self.serve(&slot, Some(caller), now, replayable)
            }
        }
    }

    fn serve(self: &Arc<Self>, slot: &Arc<Slot>, caller: Option<&Attested>, now: i64, replayable: bool) -> LeaseAnswer {
        if let Some(held) = slot.held.load().as_ref()
            && now < held.lease.ends_at_ms
        {
            slot.touch(now);
            if now >= held.refresh_at_ms {
                self.refresh(slot, caller, now);
            }
            return LeaseAnswer::Ready(held.serving(now, replayable));
        }
        self.wait(slot, caller, now, replayable)
    }

    fn keyed_slot(&self, digest: Digest, caller: &Attested) -> Arc<Slot> {
        let keyed = &self.cache.keyed;
        if let Some(slot) = keyed.get(&digest) {
            return slot.clone();
        }
        if keyed.len() >= KEYED_MAX {
            self.evict();
        }
        keyed.entry(digest).or_insert_with(|| Arc::new(Slot::of(caller.principal.id.clone()))).clone()
    }

    /// Drops the tenth that was used least recently: rarely, so that its cost spreads over many inserts.
    fn evict(&self) {
        let keyed = &self.cache.keyed;
        let mut used: Vec<(i64, Digest)> = keyed.iter().map(|entry| (entry.used_at_ms(), *entry.key())).collect();
        let tenth = used.len() / 10 + 1;
        if tenth < used.len() {
            used.select_nth_unstable(tenth);
        }
        for (_, digest) in used.into_iter().take(tenth) {
            keyed.remove(&digest);
        }
    }

    /// Upstream refused the value: the next request mints, unless that was tried shortly before.
    pub(crate) fn invalidate(&self, lease: &Lease) {
        let Some(slot) = self.slot_of(lease) else { return };
        let now = self.clock.now_ms();
        if slot.invalidate(lease, now, INVALIDATION_INTERVAL_MS) {
            self.emit(CredentialEventKind::Invalidated, Some(lease), Some("upstream answered 401".into()));
        }
    }

    /// While a rotation is open: the other value, for a request whose value upstream refused. Never one that is not
    /// kept any more; for a request that was sent with such a value, the one that serves.
    pub(crate) fn other(&self, refused: &Lease) -> Option<Arc<Lease>> {
        let slot = self.slot_of(refused)?;
        let held = slot.held.load_full()?;
        let now = self.clock.now_ms();
        if now >= held.lease.ends_at_ms || held.overlap.as_ref().is_some_and(|overlap| !overlap.turn.may_replay(now)) {
            return None;
        }
        match held.which(&refused.stamp) {
            None => Some(held.serving(now, false)),
            Some(Which::Previous) => Some(held.lease.clone()),
            Some(Which::New) => held.overlap.as_ref().map(|overlap| overlap.previous.clone()),
        }
    }

    /// What upstream said to a value while a rotation is open; `replayed`: the request was sent once more, with this one.
    pub(crate) fn answered(self: &Arc<Self>, lease: &Lease, replayed: bool, status: StatusCode) {
        let Some(held) = self.slot_of(lease).and_then(|slot| slot.held.load_full()) else { return };
        let (Some(which), Some(overlap)) = (held.which(&lease.stamp), &held.overlap) else { return };
        let now = self.clock.now_ms();
        let change = match replayed {
            true => overlap.turn.replayed(which, status, now),
            false => overlap.turn.answered(which, status),
        };
        let Some(change) = change else { return };
        let (kind, lease, detail) = match change {
            Change::Accepted => (CredentialEventKind::Accepted, held.lease.clone(), None),
            Change::FellBack => {
                let detail = format!(
                    "upstream answered 401 to version `{}`; this one serves, and in {} s the other is tried again",
                    held.lease.stamp.version,
                    RETRY_MS / 1_000
                );
                (CredentialEventKind::FellBack, overlap.previous.clone(), Some(detail.into()))
            }
        };
        // Rare, and told to people too: not on a data core.
        let keeper = self.clone();
        self.runtime.spawn(async move { keeper.emit(kind, Some(&lease), detail) });
    }

    /// Lets go of every lease, so that its value is wiped, and ends it at its issuer, whoever may be using it; `why` is for
    /// the records.
    pub(crate) fn drop_leases(&self, why: &Arc<str>) {
        for slot in self.slots() {
            self.end(&slot, why);
        }
        self.cache.keyed.clear();
    }

    /// As [`drop_leases`](Self::drop_leases), but only of what was made for some callers.
    pub(crate) fn drop_leases_of(&self, is_meant: &dyn Fn(&SpiffeId) -> bool, why: &Arc<str>) {
        let keyed = &self.cache.keyed;
        let theirs = keyed.iter().filter(|slot| slot.principal.as_ref().is_some_and(is_meant));
        let theirs: Vec<(Digest, Arc<Slot>)> = theirs.map(|slot| (*slot.key(), slot.clone())).collect();
        for (digest, slot) in theirs {
            self.end(&slot, why);
            keyed.remove(&digest);
        }
    }

    /// Lets go of a lease and ends its value at the issuer, whoever may be using it.
    fn end(&self, slot: &Slot, why: &Arc<str>) {
        if let Some(held) = slot.discard() {
            self.emit(CredentialEventKind::Invalidated, Some(&held.lease), Some(why.clone()));
            held.revoke(why);
        }
    }

    /// Nobody is allowed the credential any more: lets go of what was minted for it. Requests that are under way with a
    /// value end first. What was only read is as good as its store, and costs nobody anything.
    pub(crate) fn retire(&self, why: &Arc<str>) {
        if !self.source.is_renewable() {
            return;
        }
        for slot in self.slots() {
            if let Some(held) = slot.discard() {
                held.lease.because(why);
                self.emit(CredentialEventKind::Invalidated, Some(&held.lease), Some(why.clone()));
            }
        }
        self.cache.keyed.clear();
    }

    /// The process stops: ends at once what an issuer can end. What is on its way is not kept; yields it, to be waited for.
    pub(crate) fn close(&self, why: &Arc<str>) -> Vec<watch::Receiver<Landing>> {
        let mut on_their_way = Vec::new();
        for slot in self.slots() {
            on_their_way.extend(slot.flight().running().cloned());
            if let Some(held) = slot.discard() {
                held.revoke(why);
            }
        }
        on_their_way
    }

    fn slots(&self) -> Vec<Arc<Slot>> {
        self.cache.keyed.iter().map(|slot| slot.clone()).chain([self.cache.shared.clone()]).collect()
    }

    fn slot_of(&self, lease: &Lease) -> Option<Arc<Slot>> {
        match lease.key {
            Key::Shared => Some(self.cache.shared.clone()),
            Key::Caller(digest) => self.cache.keyed.get(&digest).map(|slot| slot.clone()),
        }
    }

    /// Puts in a value that was read while the configuration loaded.
    pub(crate) fn seed(&self, leased: Leased, revision: u64) {
        let slot = &self.cache.shared;
        let flight = slot.flight();
        let refresh_at_ms = flight::refresh_at_ms(self.clock.now_ms(), leased.lease.ends_at_ms);
        let installed = self.install(slot, leased, refresh_at_ms, revision);
        drop(flight);
        self.tell(installed);
    }

    /// Whether a rotation is open, so that two values are at hand.
    pub(crate) fn is_rotating(&self) -> bool {
        self.cache.shared.held.load().as_ref().is_some_and(|held| held.overlap.is_some())
    }

    /// Whether a lease is held for everyone that was read at this revision.
    pub(crate) fn holds(&self, revision: u64) -> bool {
        self.cache.shared.held.load().as_ref().is_some_and(|held| held.revision == revision)
    }

    /// Once a second: reads again what was changed where it is stored, refreshes what is in use and near
    /// its end, and wipes what has ended.
    pub(crate) fn tick(self: &Arc<Self>) {
        let now = self.clock.now_ms();
        let slot = &self.cache.shared;
        if let Some(held) = slot.held.load_full() {
            let changed = held.revision != self.source.revision();
            if changed || (now >= held.refresh_at_ms && slot.used_at_ms() >= held.minted_at_ms) {
                self.refresh(slot, None, now);
            }
        }
        slot.drop_ended(now);
        // Refreshed by their callers' requests only: the proof that a mint needs comes with them.
        self.cache.keyed.retain(|_, slot| {
            slot.drop_ended(now);
            slot.is_wanted(now)
        });
    }

    /// Puts a lease into its slot; the caller holds the slot's lock, and [tells](Self::tell) afterwards.
    fn install(&self, slot: &Slot, leased: Leased, refresh_at_ms: i64, revision: u64) -> Installed {
        let Leased { lease, mut overlap } = leased;
        let lease = Arc::new(lease);
        if let (Some(overlap), Some(former)) = (&mut overlap, slot.held.load().as_ref())
            && let Some(known) = &former.overlap
            && (&known.previous.stamp, &former.lease.stamp) == (&overlap.previous.stamp, &lease.stamp)
        {
            // Read again for another reason: what is known of the two values stays known.
            overlap.turn = known.turn.clone();
        }
        let previous = overlap.as_ref().map(|overlap| overlap.previous.stamp.version.clone());
        let minted_at_ms = self.clock.now_ms();
        let life_ms = lease.ends_at_ms.saturating_sub(minted_at_ms);
        let held = Held { lease: lease.clone(), refresh_at_ms, minted_at_ms, life_ms, revision, overlap };
        let kind = match slot.held.swap(Some(Arc::new(held))) {
            Some(former) => {
                former.lease.give_way_to(&lease);
                CredentialEventKind::Refreshed
            }
            None => CredentialEventKind::Minted,
        };
        Installed { kind, lease, previous }
    }

    fn tell(&self, installed: Installed) -> Arc<Lease> {
        let Installed { kind, lease, previous } = installed;
        let detail =
            previous.map(|version| format!("a rotation is open: version `{version}` is kept beside it").into());
        self.emit(kind, Some(&lease), detail);
        lease
    }

    fn emit(&self, kind: CredentialEventKind, lease: Option<&Lease>, detail: Option<Arc<str>>) {
        self.events.emit(Event::Credential(CredentialEvent {
            at_ms: self.clock.now_ms(),
            credential: self.name.clone(),
            version: lease.map(|lease| lease.stamp.version.clone()),
            kind,
            principal: lease.and_then(|lease| lease.principal.clone()),
            expires_at: lease.and_then(|lease| lease.expires_at),
            secretless: Some(self.source.secretless()),
            detail,
        }));
    }
}

fn proof_end_ms(caller: &Attested) -> Option<i64> {
    caller.proof.expires_at.map(|seconds| seconds.saturating_mul(1_000))
}

fn refuse(error: CredentialError) -> LeaseAnswer {
    let future: LeaseFuture = Box::pin(std::future::ready(Err(error)));
    LeaseAnswer::Wait(future)
}

#[cfg(test)]
mod tests;
