//! The keys of an issuer over time. Pure: the time is given, nothing is read or written here.
//!
//! ```text
//! published ── signs_from ─────────── the next one's signs_from ───────── ends_at
//!     │  overlap   │       signs                 │  what it signed may live  │ gone
//! ```
//!
//! A key is published before it signs, so that whoever holds a copy of the set has it by then; and it stays published
//! until the last token that it signed has ended.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger_contract::Secret;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::key::{KeyRefused, SigningAlgorithm, SigningKey};

/// After the last token has ended by this clock, it has ended by all others too.
const CLOCK_DIFFERENCE_MS: i64 = 60_000;

/// When keys change, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) algorithm: SigningAlgorithm,
    /// The longest life of a token.
    pub(super) lifetime_ms: i64,
    pub(super) rotate_every_ms: i64,
    /// For how long a key is published before it signs.
    pub(super) overlap_ms: i64,
}

/// Why a key was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// There was none.
    First,
    /// The schedule said so.
    Schedule,
    /// The configuration asks for another algorithm.
    Algorithm,
    /// Somebody ran `claviger issuer rotate`.
    Command,
    /// Somebody said that the keys before it are in wrong hands.
    Compromise,
}

impl Cause {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::First => "the first one",
            Self::Schedule => "by schedule",
            Self::Algorithm => "for another algorithm",
            Self::Command => "by hand",
            Self::Compromise => "by hand, because of a compromise",
        }
    }
}

/// One key with its times, in milliseconds since the Unix epoch.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct RingKey {
    pub(super) kid: String,
    pub(super) alg: String,
    /// PKCS #8 in base64.
    pkcs8: Wiped,
    pub(super) cause: Cause,
    pub(super) published_ms: i64,
    pub(super) signs_from_ms: i64,
    /// The longest life of a token that it may have signed.
    lifetime_ms: i64,
    /// Set once the next one signs.
    pub(super) ends_at_ms: Option<i64>,
}

/// A text that is wiped.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct Wiped(String);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// All keys of an issuer, in the order in which they were made.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Ring {
    pub(super) keys: Vec<RingKey>,
}

/// The ring cannot be read, or a key cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RingError {
    #[error("what is sealed as the issuer's keys is no such thing")]
    Unreadable,
    #[error(transparent)]
    Key(#[from] KeyRefused),
}

impl Ring {
    /// Reads what [`to_secret`](Self::to_secret) wrote.
    #[allow(clippy::disallowed_methods, reason = "keys are read out of what was sealed")]
    pub(super) fn from_secret(secret: &Secret) -> Result<Self, RingError> {
        serde_json::from_slice(secret.expose()).map_err(|_| RingError::Unreadable)
    }

    pub(super) fn to_secret(&self) -> Result<Secret, RingError> {
        serde_json::to_vec(self).map(Secret::new).map_err(|_| RingError::Unreadable)
    }

    /// The key that signs now.
    pub(super) fn signer(&self, now_ms: i64) -> Option<&RingKey> {
        let begun = self.keys.iter().filter(|key| key.signs_from_ms <= now_ms);
        // A clock that was set back must not leave the issuer without a key.
        begun.max_by_key(|key| key.signs_from_ms).or_else(|| self.keys.first())
    }

    /// The key that will sign after the one that signs now.
    pub(super) fn next(&self, now_ms: i64) -> Option<&RingKey> {
        let signer = self.signer(now_ms)?;
        self.keys.iter().find(|key| key.signs_from_ms > signer.signs_from_ms)
    }

    /// Brings the keys up to date: what has ended goes, what was replaced gets an end, and the next one is made when it
    /// is to be published. Whether anything changed.
    pub(super) fn step(&mut self, now_ms: i64, schedule: &Schedule) -> Result<bool, RingError> {
        let mut changed = self.raise_lifetimes(schedule.lifetime_ms);
        let Some(signs_from_ms) = self.signer(now_ms).map(|key| key.signs_from_ms) else {
            self.publish(now_ms, now_ms, schedule, Cause::First)?;
            return Ok(true);
        };
        for key in self.keys.iter_mut().filter(|key| key.signs_from_ms < signs_from_ms && key.ends_at_ms.is_none()) {
            key.ends_at_ms = Some(signs_from_ms.saturating_add(key.lifetime_ms).saturating_add(CLOCK_DIFFERENCE_MS));
            changed = true;
        }
        let before = self.keys.len();
        self.keys.retain(|key| key.ends_at_ms.is_none_or(|end| now_ms < end));
        changed |= self.keys.len() != before;
        Ok(self.prepare_next(now_ms, signs_from_ms, schedule)? || changed)
    }

    fn prepare_next(&mut self, now_ms: i64, signs_from_ms: i64, schedule: &Schedule) -> Result<bool, RingError> {
        let wanted = schedule.algorithm.name();
        let has_other_algorithm = self.signer(now_ms).is_some_and(|key| key.alg != wanted);
        let replaced_ms = signs_from_ms.saturating_add(schedule.rotate_every_ms);
        let soonest_ms = now_ms.saturating_add(schedule.overlap_ms);
        match self.next(now_ms).map(|next| next.alg == wanted) {
            Some(true) => Ok(false),
            Some(false) => {
                // It has not signed anything.
                self.keys.retain(|key| key.signs_from_ms <= now_ms || key.alg == wanted);
                if has_other_algorithm {
                    self.publish(now_ms, soonest_ms, schedule, Cause::Algorithm)?;
                }
                Ok(true)
            }
            None if has_other_algorithm => self.publish(now_ms, soonest_ms, schedule, Cause::Algorithm).map(|()| true),
            None if now_ms >= replaced_ms.saturating_sub(schedule.overlap_ms) => {
                // Never before it was published for as long as others may hold a copy without it.
                self.publish(now_ms, soonest_ms.max(replaced_ms), schedule, Cause::Schedule).map(|()| true)
            }
            None => Ok(false),
        }
    }

    /// Publishes the next key now, whatever the schedule says; `false`: one is published already.
    pub(super) fn rotate(&mut self, now_ms: i64, schedule: &Schedule) -> Result<bool, RingError> {
        self.step(now_ms, schedule)?;
        if self.next(now_ms).is_some() {
            return Ok(false);
        }
        self.publish(now_ms, now_ms.saturating_add(schedule.overlap_ms), schedule, Cause::Command)?;
        Ok(true)
    }

    /// Takes all keys out of use at once: what they signed is refused wherever the set is read again.
    pub(super) fn replace_all(&mut self, now_ms: i64, schedule: &Schedule) -> Result<(), RingError> {
        self.keys.clear();
        self.publish(now_ms, now_ms, schedule, Cause::Compromise)
    }

    /// When [`step`](Self::step) has something to do next, as far as time alone decides.
    pub(super) fn due_ms(&self, now_ms: i64, schedule: &Schedule) -> i64 {
        let Some(signer) = self.signer(now_ms) else { return i64::MIN };
        let prepare = match self.next(now_ms) {
            Some(next) => next.signs_from_ms,
            None => {
                let lives_ms = schedule.rotate_every_ms.saturating_sub(schedule.overlap_ms);
                signer.signs_from_ms.saturating_add(lives_ms)
            }
        };
        self.keys.iter().filter_map(|key| key.ends_at_ms).fold(prepare, i64::min)
    }

    fn raise_lifetimes(&mut self, lifetime_ms: i64) -> bool {
        let mut changed = false;
        for key in self.keys.iter_mut().filter(|key| key.ends_at_ms.is_none() && key.lifetime_ms < lifetime_ms) {
            key.lifetime_ms = lifetime_ms;
            changed = true;
        }
        changed
    }

    fn publish(&mut self, now_ms: i64, from_ms: i64, schedule: &Schedule, cause: Cause) -> Result<(), RingError> {
        let pkcs8 = SigningKey::generate(schedule.algorithm)?;
        let kid = SigningKey::from_pkcs8(schedule.algorithm, &pkcs8)?.kid().to_owned();
        self.keys.push(RingKey {
            kid,
            alg: schedule.algorithm.name().to_owned(),
            pkcs8: Wiped(STANDARD.encode(&*pkcs8)),
            cause,
            published_ms: now_ms,
            signs_from_ms: from_ms,
            lifetime_ms: schedule.lifetime_ms,
            ends_at_ms: None,
        });
        Ok(())
    }
}

impl RingKey {
    /// The key itself, ready to sign.
    pub(super) fn open(&self) -> Result<SigningKey, RingError> {
        let algorithm = SigningAlgorithm::named(&self.alg).ok_or(RingError::Unreadable)?;
        let pkcs8 = STANDARD.decode(&self.pkcs8.0).map(Zeroizing::new).map_err(|_| RingError::Unreadable)?;
        let key = SigningKey::from_pkcs8(algorithm, &pkcs8)?;
        if key.kid() == self.kid { Ok(key) } else { Err(RingError::Unreadable) }
    }
}

#[cfg(test)]
mod tests;
