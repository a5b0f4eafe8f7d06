//! Prolonging a value at its issuer, where that can be done, in place of minting another.

use std::sync::Arc;
use std::time::Duration;

use claviger_contract::event::CredentialEventKind;

use super::Keeper;
use super::check;
use super::flight::refresh_at_ms;
use super::slot::{Held, Slot};
use crate::error::{CredentialError, SourceError};
use crate::lease::Lease;

/// For one attempt, however many calls it makes.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Keeper {
    /// Prolongs the value that is held. `None`: it cannot be prolonged any more, not by enough to be worth it, or is
    /// not wanted any more, and another is to be minted.
    ///
    /// An issuer that does not answer is not asked for another value at once: it would not answer that either.
    pub(super) async fn prolong(&self, slot: &Slot, former: &Arc<Held>) -> Option<Result<Arc<Lease>, CredentialError>> {
        let revocation = former.lease.revocation.as_ref()?;
        // From before the call, so that the lease ends early rather than late.
        let asked_at_ms = self.clock.now_ms();
        let renewed = tokio::time::timeout(TIMEOUT, revocation.issued().renew()).await;
        match renewed.unwrap_or(Err(SourceError::Aborted)) {
            Ok(Some(expires_at_ms)) => self.land_prolonged(slot, former, asked_at_ms, expires_at_ms),
            Err(away @ (SourceError::Call(_) | SourceError::Aborted)) => {
                Some(self.land(slot, Err(away), former.revision))
            }
            Ok(None) | Err(_) => None,
        }
    }

    fn land_prolonged(
        &self,
        slot: &Slot,
        former: &Arc<Held>,
        asked_at_ms: i64,
        expires_at_ms: i64,
    ) -> Option<Result<Arc<Lease>, CredentialError>> {
        // The issuer's word is about its lease: a value that says itself when it ends says so still.
        let own_end_ms = check::own_end_ms(&former.lease.fields);
        let expires_at_ms = own_end_ms.map_or(expires_at_ms, |own| own.min(expires_at_ms));
        let ends_at_ms = self.ends_at_ms(asked_at_ms, Some(expires_at_ms), former.lease.proof_ends_at_ms);
        // Close to the longest life that the issuer grants, each renewal adds less than the one before.
        let is_worth_it = ends_at_ms.saturating_sub(asked_at_ms) > former.life_ms / 2;
        let mut flight = slot.flight();
        let is_held = slot.held.load().as_ref().is_some_and(|held| Arc::ptr_eq(held, former));
        if flight.discard {
            drop(flight);
            return Some(self.land(slot, Err(SourceError::Aborted), former.revision));
        }
        if !is_worth_it || !is_held || ends_at_ms <= former.lease.ends_at_ms {
            return None;
        }
        let lease = Arc::new(former.lease.prolonged(expires_at_ms, ends_at_ms));
        let held = Held {
            lease: lease.clone(),
            refresh_at_ms: refresh_at_ms(asked_at_ms, ends_at_ms),
            minted_at_ms: self.clock.now_ms(),
            life_ms: former.life_ms,
            revision: former.revision,
            overlap: former.overlap.clone(),
        };
        slot.held.store(Some(Arc::new(held)));
        flight.failure = None;
        flight.end();
        drop(flight);
        self.emit(CredentialEventKind::Renewed, Some(&lease), None);
        Some(Ok(lease))
    }
}
