//! Proofs that were verified before: a digest and a look-up instead of a signature.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

const SHARDS: usize = 16;

/// A bounded map from SHA-256 digests. What was asked for last is kept; of the rest, the older half goes first.
#[derive(Debug)]
pub(crate) struct Verified<V> {
    shards: [Mutex<Shard<V>>; SHARDS],
    /// How many entries each half of a shard may have. All that were asked for since the younger half was empty are in it,
    /// so that so many callers take turns without one being forgotten; with half of it, some of them were at every turn.
    half_max: usize,
}

#[derive(Debug)]
struct Shard<V> {
    young: Half<V>,
    old: Half<V>,
}

type Half<V> = HashMap<[u8; 32], V, BuildHasherDefault<DigestHasher>>;

impl<V: Clone> Verified<V> {
    /// Keeps about so many that were asked for last, and at most twice as many.
    pub(crate) fn new(entries: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::new(Shard { young: Half::default(), old: Half::default() }));
        Self { shards, half_max: (entries / SHARDS).max(1) }
    }

    pub(crate) fn get(&self, digest: &[u8; 32]) -> Option<V> {
        let mut shard = self.shard(digest)?.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = shard.young.get(digest) {
            return Some(value.clone());
        }
        let value = shard.old.remove(digest)?;
        shard.insert(*digest, value.clone(), self.half_max);
        Some(value)
    }

    pub(crate) fn insert(&self, digest: [u8; 32], value: V) {
        if let Some(shard) = self.shard(&digest) {
            shard.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, value, self.half_max);
        }
    }

    fn shard(&self, digest: &[u8; 32]) -> Option<&Mutex<Shard<V>>> {
        let [.., last] = digest;
        self.shards.get(usize::from(*last) % SHARDS)
    }
}

impl<V> Shard<V> {
    fn insert(&mut self, digest: [u8; 32], value: V, half_max: usize) {
        if self.young.len() >= half_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, value);
    }
}

/// A digest is uniform already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.0 = self.0.rotate_left(5) ^ u64::from_le_bytes(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u32) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &n.to_le_bytes()).as_ref());
        digest
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_asked_for() {
        let verified = Verified::new(320);
        verified.insert(digest(0), 0);
        for n in 1..10_000 {
            verified.insert(digest(n), n);
            assert_eq!(verified.get(&digest(0)), Some(0), "after {n}");
        }
        let held = (0..10_000).filter(|n| verified.get(&digest(*n)).is_some()).count();
        assert!((16..=640).contains(&held), "{held}");
        assert_eq!(verified.get(&digest(10_001)), None);
    }

    /// As many as there is room for, short of what chance puts into one shard.
    #[test]
    fn callers_that_take_turns_are_all_kept() {
        let verified = Verified::new(16_384);
        for n in 0..10_000 {
            verified.insert(digest(n), n);
        }
        for turn in 0..3 {
            for n in 0..10_000 {
                assert_eq!(verified.get(&digest(n)), Some(n), "turn {turn}");
            }
        }
    }
}
