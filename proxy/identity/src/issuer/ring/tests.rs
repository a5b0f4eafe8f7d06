use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

const SCHEDULE: Schedule =
    Schedule { algorithm: SigningAlgorithm::EdDsa, lifetime_ms: HOUR, rotate_every_ms: 30 * DAY, overlap_ms: DAY };

fn kids(ring: &Ring) -> Vec<String> {
    ring.keys.iter().map(|key| key.kid.clone()).collect()
}

fn signer(ring: &Ring, now: i64) -> String {
    ring.signer(now).unwrap().kid.clone()
}

#[test]
fn the_first_key_signs_at_once() {
    let mut ring = Ring::default();
    assert!(ring.step(5 * DAY, &SCHEDULE).unwrap());
    assert!(!ring.step(5 * DAY, &SCHEDULE).unwrap(), "there is nothing more to do");
    assert_eq!(ring.keys.len(), 1);
    assert_eq!(ring.keys[0].cause, Cause::First);
    assert_eq!(ring.signer(5 * DAY).unwrap().signs_from_ms, 5 * DAY);
}

#[test]
fn a_key_is_published_before_it_signs_and_stays_until_its_last_token_has_ended() {
    let mut ring = Ring::default();
    ring.step(0, &SCHEDULE).unwrap();
    let first = signer(&ring, 0);
    assert_eq!(ring.due_ms(0, &SCHEDULE), 29 * DAY);
    assert!(!ring.step(29 * DAY - 1, &SCHEDULE).unwrap());
    // The overlap begins.
    assert!(ring.step(29 * DAY, &SCHEDULE).unwrap());
    assert_eq!(ring.keys.len(), 2);
    assert_eq!(signer(&ring, 30 * DAY - 1), first);
    assert_eq!(ring.due_ms(29 * DAY, &SCHEDULE), 30 * DAY);
    // It signs, by the time alone: nobody has to write anything for that.
    let second = signer(&ring, 30 * DAY);
    assert_ne!(second, first);
    assert!(ring.step(30 * DAY, &SCHEDULE).unwrap());
    let ends = 30 * DAY + HOUR + CLOCK_DIFFERENCE_MS;
    assert_eq!(ring.due_ms(30 * DAY, &SCHEDULE), ends);
    assert!(!ring.step(ends - 1, &SCHEDULE).unwrap());
    assert_eq!(kids(&ring), [first.clone(), second.clone()]);
    assert!(ring.step(ends, &SCHEDULE).unwrap());
    assert_eq!(kids(&ring), [second]);
}

#[test]
fn after_a_long_sleep_the_next_key_is_still_published_first() {
    let mut ring = Ring::default();
    ring.step(0, &SCHEDULE).unwrap();
    let first = signer(&ring, 0);
    let woken = 300 * DAY;
    ring.step(woken, &SCHEDULE).unwrap();
    assert_eq!(signer(&ring, woken + DAY - 1), first);
    assert_ne!(signer(&ring, woken + DAY), first);
}

#[test]
fn by_hand_it_is_the_same_only_sooner() {
    let mut ring = Ring::default();
    ring.step(0, &SCHEDULE).unwrap();
    let first = signer(&ring, 0);
    assert!(ring.rotate(DAY, &SCHEDULE).unwrap());
    assert!(!ring.rotate(DAY + 1, &SCHEDULE).unwrap(), "one is published already");
    assert_eq!(ring.keys[1].cause, Cause::Command);
    assert_eq!(signer(&ring, 2 * DAY - 1), first);
    assert_ne!(signer(&ring, 2 * DAY), first);
}

#[test]
fn a_compromised_key_is_gone_at_once() {
    let mut ring = Ring::default();
    ring.step(0, &SCHEDULE).unwrap();
    ring.rotate(1, &SCHEDULE).unwrap();
    let before = kids(&ring);
    ring.replace_all(2, &SCHEDULE).unwrap();
    assert_eq!(ring.keys.len(), 1);
    assert!(!before.contains(&signer(&ring, 2)));
}

#[test]
fn another_algorithm_is_another_key_with_the_same_overlap() {
    let mut ring = Ring::default();
    ring.step(0, &SCHEDULE).unwrap();
    ring.rotate(1, &SCHEDULE).unwrap();
    let first = signer(&ring, 1);
    let other = Schedule { algorithm: SigningAlgorithm::Es256, ..SCHEDULE };
    assert!(ring.step(2, &other).unwrap());
    let algorithms: Vec<&str> = ring.keys.iter().map(|key| key.alg.as_str()).collect();
    assert_eq!(algorithms, ["EdDSA", "ES256"], "the next one had signed nothing, and is replaced");
    assert_eq!(signer(&ring, 2 + DAY - 1), first);
    assert_eq!(ring.signer(2 + DAY).unwrap().alg, "ES256");
    assert!(!ring.step(3, &other).unwrap());
    // Back again before it signed: nothing is left of it.
    assert!(ring.step(4, &SCHEDULE).unwrap());
    assert_eq!(kids(&ring), [first]);
}

#[test]
fn a_shorter_life_of_tokens_shortens_no_key_that_signed_longer_ones() {
    let mut ring = Ring::default();
    ring.step(0, &Schedule { lifetime_ms: 10 * HOUR, ..SCHEDULE }).unwrap();
    ring.rotate(1, &SCHEDULE).unwrap();
    ring.step(1 + DAY, &SCHEDULE).unwrap();
    assert_eq!(ring.keys[0].ends_at_ms, Some(1 + DAY + 10 * HOUR + CLOCK_DIFFERENCE_MS));
}

#[test]
fn a_clock_that_was_set_back_leaves_a_key() {
    let mut ring = Ring::default();
    ring.step(10 * DAY, &SCHEDULE).unwrap();
    assert_eq!(signer(&ring, 0), ring.keys[0].kid);
    assert!(!ring.step(0, &SCHEDULE).unwrap());
    assert_eq!(ring.keys.len(), 1);
}

#[test]
fn a_ring_is_read_as_it_was_written_and_says_nothing() {
    let mut ring = Ring::default();
    ring.step(0, &SCHEDULE).unwrap();
    let sealed = ring.to_secret().unwrap();
    let read = Ring::from_secret(&sealed).unwrap();
    assert_eq!(kids(&read), kids(&ring));
    assert_eq!(read.keys[0].open().unwrap().kid(), ring.keys[0].kid);
    assert!(Ring::from_secret(&Secret::from("[]".to_owned())).is_err());
    // A name that is not the key's own is no key.
    let mut wrong = read;
    wrong.keys[0].kid.push('x');
    assert_eq!(wrong.keys[0].open().unwrap_err(), RingError::Unreadable);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Two processes look whenever they do; verifiers' copies are as old as the overlap allows. No token is ever signed
    /// with a key that such a copy lacks, and none outlives its key.
    #[test]
    fn no_token_is_ever_without_its_key(
        waits in prop::collection::vec(1_i64..5 * DAY, 1..120),
        lifetime_h in 1_i64..48,
        by_hand in prop::collection::vec(0_usize..120, 0..4),
    ) {
        let schedule = Schedule { lifetime_ms: lifetime_h * HOUR, ..SCHEDULE };
        let (mut ring, mut now) = (Ring::default(), 0);
        ring.step(now, &schedule).unwrap();
        let mut published: BTreeMap<String, i64> = ring.keys.iter().map(|key| (key.kid.clone(), i64::MIN)).collect();
        let mut tokens: Vec<(String, i64)> = Vec::new();
        for (at, wait) in waits.into_iter().enumerate() {
            now += wait;
            if by_hand.contains(&at) {
                ring.rotate(now, &schedule).unwrap();
            } else {
                ring.step(now, &schedule).unwrap();
            }
            let there: BTreeSet<String> = kids(&ring).into_iter().collect();
            for kid in &there {
                published.entry(kid.clone()).or_insert(now);
            }
            tokens.retain(|(_, ends)| now < *ends);
            for (kid, _) in &tokens {
                prop_assert!(there.contains(kid), "a token lives and its key is gone");
            }
            let kid = signer(&ring, now);
            prop_assert!(now.saturating_sub(published[&kid]) >= schedule.overlap_ms, "it signs before all know it");
            tokens.push((kid, now + schedule.lifetime_ms));
            prop_assert!(there.len() <= 4);
        }
    }
}
