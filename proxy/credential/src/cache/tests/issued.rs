//! Values that their issuer prolongs and ends.

use std::collections::VecDeque;

use super::*;
use crate::source::Issued;

/// An issuer that knows what it gave out.
#[derive(Debug, Default)]
pub(super) struct Registrar {
    /// The numbers of the values that were ended, in order.
    ended: Mutex<Vec<usize>>,
    /// How attempts to end one go; when there are none left, well.
    failures: AtomicUsize,
    /// What it says to those who want a value prolonged: its new end, or that this cannot be done. None left: it is away.
    renewals: Mutex<VecDeque<Option<i64>>>,
    asked: AtomicUsize,
    /// Whether it answers at all.
    hangs: std::sync::atomic::AtomicBool,
}

#[derive(Debug)]
struct Entry(Arc<Registrar>, usize);

impl Registrar {
    pub(super) fn entry(self: &Arc<Self>, number: usize) -> Arc<dyn Issued> {
        Arc::new(Entry(self.clone(), number))
    }

    fn ended(&self) -> Vec<usize> {
        self.ended.lock().unwrap().clone()
    }

    fn prolongs(&self, until: impl IntoIterator<Item = Option<i64>>) {
        self.renewals.lock().unwrap().extend(until);
    }
}

#[async_trait::async_trait]
impl Issued for Entry {
    async fn renew(&self) -> Result<Option<i64>, SourceError> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        self.0.renewals.lock().unwrap().pop_front().ok_or(SourceError::Aborted)
    }

    async fn revoke(&self) -> Result<(), SourceError> {
        if self.0.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.0.failures.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(SourceError::Aborted);
        }
        self.0.ended.lock().unwrap().push(self.1);
        Ok(())
    }
}

fn bench(per_caller: bool) -> (Bench, Arc<Registrar>) {
    let registrar = Arc::<Registrar>::default();
    let bench = Bench::with(per_caller, Some(registrar.clone()));
    bench.let_mint(1_000);
    (bench, registrar)
}

async fn lease(bench: &Bench) -> Arc<Lease> {
    settle(bench.ask()).await.1.unwrap()
}

#[tokio::test]
async fn a_replaced_value_ends_when_the_last_request_that_holds_it_does() {
    let (bench, registrar) = bench(false);
    let in_flight = lease(&bench).await;
    bench.clock.advance_ms(81_000);
    registrar.prolongs([None]);
    lease(&bench).await;
    bench.idle().await;
    assert_eq!(bench.get().await, Ok((2, true)));
    bench.idle().await;
    assert_eq!(registrar.ended(), [0; 0], "a request is under way with it");
    drop(in_flight);
    bench.idle().await;
    assert_eq!((registrar.ended(), bench.events.take()), (vec![1], vec!["minted", "refreshed", "revoked"]));
    // Nothing is ended twice.
    drop(bench.keeper.cache.shared.discard());
    bench.idle().await;
    assert_eq!(registrar.ended(), [1, 2]);
}

#[tokio::test]
async fn suspension_ends_values_at_once_also_those_on_their_way() {
    for per_caller in [false, true] {
        let (bench, registrar) = bench(per_caller);
        let in_flight = lease(&bench).await;
        bench.keeper.drop_leases(&"suspended".into());
        bench.idle().await;
        assert_eq!(registrar.ended(), [1], "whoever holds it");
        drop(in_flight);
        let on_its_way = bench.ask();
        bench.keeper.drop_leases(&"suspended".into());
        assert!(settle(on_its_way).await.1.is_err());
        bench.idle().await;
        assert_eq!(registrar.ended(), [1, 2]);
        assert_eq!(bench.events.take(), ["minted", "invalidated", "revoked", "revoked"]);
    }
}

#[tokio::test]
async fn what_upstream_refused_and_what_was_evicted_is_ended() {
    let (bench, registrar) = bench(false);
    let refused = lease(&bench).await;
    bench.keeper.invalidate(&refused);
    drop(refused);
    bench.idle().await;
    // The issuer may give it out once more.
    assert_eq!(registrar.ended(), [0; 0]);
    lease(&bench).await;
    bench.idle().await;
    assert_eq!(registrar.ended(), [1]);
    // The whole credential is gone: no generation has it any more.
    drop(bench.keeper);
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(registrar.ended(), [1, 2]);
}

#[tokio::test]
async fn what_upstream_refused_is_ended_also_if_nobody_asks_for_another() {
    let (bench, registrar) = bench(false);
    let refused = lease(&bench).await;
    bench.keeper.invalidate(&refused);
    drop(refused);
    for (passed_ms, ended) in [(29_000, vec![]), (2_000, vec![1])] {
        bench.clock.advance_ms(passed_ms);
        bench.keeper.tick();
        bench.idle().await;
        assert_eq!(registrar.ended(), ended);
    }
}

#[tokio::test]
async fn what_upstream_refused_and_its_issuer_gives_out_again_is_not_ended() {
    let (bench, registrar) = bench(false);
    let refused = lease(&bench).await;
    bench.source.minted.store(0, Ordering::SeqCst);
    bench.keeper.invalidate(&refused);
    let again = lease(&bench).await;
    drop(refused);
    bench.idle().await;
    assert_eq!(registrar.ended(), [0; 0]);
    drop((again, bench.keeper));
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(registrar.ended().len(), 1);
}

/// Revocations that nobody answers take all the places that there are; an operator's have places of their own.
#[tokio::test]
async fn suspension_does_not_queue_behind_an_issuer_that_hangs() {
    let (bench, registrar) = bench(true);
    let turns = async || {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    };
    for number in 0..20 {
        settle(bench.keeper.lease(&caller_named(&format!("c{number}"), None), true)).await.1.unwrap();
    }
    registrar.hangs.store(true, Ordering::SeqCst);
    bench.keeper.cache.keyed.clear();
    turns().await;
    registrar.hangs.store(false, Ordering::SeqCst);
    settle(bench.keeper.lease(&caller_named("last", None), true)).await.1.unwrap();
    bench.keeper.drop_leases(&"suspended".into());
    turns().await;
    assert_eq!(registrar.ended(), [21]);
}

/// One issuer that hangs, with more to be ended there than it has places for, and one that answers.
#[tokio::test]
async fn an_issuer_that_hangs_delays_no_other_credential() {
    let (hanging, registrar) = bench(true);
    let (other, answering) = bench(true);
    let other = Keeper {
        name: "other".into(),
        source: other.keeper.source.clone(),
        hosts: other.keeper.hosts.clone(),
        serve_until_ms: None,
        cache: Arc::default(),
        revocations: hanging.keeper.revocations.clone(),
        clock: hanging.clock.clone(),
        events: hanging.events.clone(),
        runtime: tokio::runtime::Handle::current(),
    };
    let other = Arc::new(other);
    for number in 0..100 {
        let caller = caller_named(&format!("c{number}"), None);
        settle(hanging.keeper.lease(&caller, true)).await.1.unwrap();
    }
    settle(other.lease(&caller_named("one", None), true)).await.1.unwrap();
    registrar.hangs.store(true, Ordering::SeqCst);
    for retired in [&hanging.keeper, &other] {
        retired.retire(&"no rule uses the credential any more".into());
    }
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!((registrar.ended(), answering.ended()), (vec![], vec![1]));
    // Nor does what was begun before delay an operator, whose credential has the same issuer.
    registrar.hangs.store(false, Ordering::SeqCst);
    settle(hanging.keeper.lease(&caller_named("last", None), true)).await.1.unwrap();
    hanging.keeper.drop_leases(&"suspended".into());
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(registrar.ended(), [101]);
}

/// A principal that is suspended: what is its own goes and is ended, also what is on its way; the others' stays.
#[tokio::test]
async fn a_suspended_caller_loses_what_is_its_own() {
    let (bench, registrar) = bench(true);
    let ask = |name: &str| bench.keeper.lease(&caller_named(name, None), true);
    let (one, two) = (caller_named("one", None).principal.id.clone(), caller_named("two", None).principal.id.clone());
    let in_flight = settle(ask("one")).await.1.unwrap();
    settle(ask("two")).await.1.unwrap();
    bench.events.take();
    bench.keeper.drop_leases_of(&|id| *id == one, &"suspended".into());
    bench.idle().await;
    assert_eq!((registrar.ended(), bench.events.take()), (vec![1], vec!["invalidated", "revoked"]));
    assert!(settle(ask("two")).await.0, "kept");
    drop(in_flight);
    // Nothing of it is left to end; and what a mint brings that was begun before does not come to serve.
    let on_its_way = ask("one");
    bench.keeper.drop_leases_of(&|id| *id == one, &"suspended".into());
    assert!(settle(on_its_way).await.1.is_err());
    bench.idle().await;
    assert_eq!((registrar.ended(), bench.keeper.cache.keyed.len()), (vec![1, 3], 1));
    bench.keeper.drop_leases_of(&|id| *id != two && *id != one, &"suspended".into());
    bench.idle().await;
    assert_eq!(registrar.ended(), [1, 3]);
}

/// What everybody shares is nobody's own.
#[tokio::test]
async fn a_suspended_caller_leaves_what_is_shared() {
    let (bench, registrar) = bench(false);
    lease(&bench).await;
    bench.keeper.drop_leases_of(&|_| true, &"suspended".into());
    bench.idle().await;
    assert_eq!((registrar.ended(), bench.get().await), (vec![], Ok((1, true))));
}

#[tokio::test]
async fn what_ends_by_itself_is_left_alone() {
    let (bench, registrar) = bench(false);
    lease(&bench).await;
    bench.clock.advance_ms(95_000);
    bench.keeper.cache.shared.drop_ended(bench.clock.now_ms());
    bench.idle().await;
    assert!(bench.keeper.cache.shared.held.load().is_none());
    assert_eq!((registrar.ended(), bench.events.take()), (vec![], vec!["minted"]));
}

#[tokio::test]
async fn a_value_whose_proof_ended_is_ended_too() {
    let (bench, registrar) = bench(true);
    let proof_ends = Some(START_MS / 1_000 + 30);
    settle(bench.keeper.lease(&caller_named("a", proof_ends), true)).await.1.unwrap();
    bench.clock.advance_ms(30_000);
    bench.keeper.tick();
    bench.idle().await;
    assert_eq!((registrar.ended(), bench.keeper.cache.keyed.len()), (vec![1], 0));
}

#[tokio::test]
async fn a_value_that_was_given_out_again_is_not_ended_under_its_new_name() {
    let (bench, registrar) = bench(false);
    lease(&bench).await;
    // The issuer gives out `token-1` once more.
    bench.source.minted.store(0, Ordering::SeqCst);
    registrar.prolongs([None]);
    bench.clock.advance_ms(81_000);
    lease(&bench).await;
    bench.idle().await;
    assert_eq!((bench.started(), bench.get().await), (2, Ok((1, true))));
    bench.idle().await;
    assert_eq!(registrar.ended(), [0; 0]);
    bench.keeper.drop_leases(&"suspended".into());
    bench.idle().await;
    assert_eq!(registrar.ended(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_revocation_is_tried_again_and_given_up_in_the_end() {
    for (failures, ended, last) in [(3, vec![1], "revoked"), (1_000, vec![], "revocation_failed")] {
        let (bench, registrar) = bench(false);
        bench.last(100_000_000);
        registrar.failures.store(failures, Ordering::SeqCst);
        lease(&bench).await;
        bench.keeper.drop_leases(&"suspended".into());
        bench.keeper.revocations.settled().await;
        assert_eq!(registrar.ended(), ended);
        let events = bench.events.take();
        assert_eq!((events.last(), events.len()), (Some(&last), 2 + failures.min(7) + 1), "{events:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_everything_and_waits_for_so_long_only() {
    let (bench, registrar) = bench(false);
    bench.last(100_000_000);
    lease(&bench).await;
    // One that waits for its second attempt is tried at once.
    registrar.failures.store(1, Ordering::SeqCst);
    bench.keeper.drop_leases(&"suspended".into());
    bench.idle().await;
    lease(&bench).await;
    let begun = tokio::time::Instant::now();
    bench.keeper.close(&"the proxy stops".into());
    bench.keeper.revocations.close(Duration::from_secs(5)).await;
    assert_eq!((registrar.ended().len(), begun.elapsed()), (2, Duration::ZERO));
    // An issuer that does not answer holds nobody up for longer than that.
    registrar.hangs.store(true, Ordering::SeqCst);
    lease(&bench).await;
    bench.keeper.close(&"the proxy stops".into());
    bench.events.take();
    bench.keeper.revocations.close(Duration::from_secs(5)).await;
    assert_eq!((bench.events.take(), begun.elapsed()), (vec!["revocation_failed"], Duration::from_secs(5)));
}

#[tokio::test]
async fn a_value_is_prolonged_in_place_of_a_mint() {
    let (bench, registrar) = bench(false);
    let first = lease(&bench).await;
    let mut seen = vec![];
    for _ in 0..3 {
        bench.clock.advance_ms(81_000);
        registrar.prolongs([Some(bench.clock.now_ms() + 100_000)]);
        assert_eq!(number(&*lease(&bench).await), 1);
        bench.idle().await;
        seen.push(lease(&bench).await.ends_at_ms - bench.clock.now_ms());
    }
    assert_eq!((seen, bench.started()), (vec![95_000; 3], 1));
    assert_eq!(lease(&bench).await.stamp(), first.stamp());
    assert_eq!(bench.events.take(), ["minted", "renewed", "renewed", "renewed"]);
    // The first lease and its prolonged copies are one value: it is not ended while one of them is there.
    drop(first);
    bench.idle().await;
    assert_eq!(registrar.ended(), [0; 0]);
    // And what stops is ended by its new expiry, not by its first one.
    bench.clock.advance_ms(50_000);
    bench.keeper.drop_leases(&"suspended".into());
    bench.idle().await;
    assert_eq!(registrar.ended(), [1]);
}

#[tokio::test]
async fn what_cannot_be_prolonged_by_enough_is_minted_anew() {
    // The new end, after 81 of 100 seconds, or that there is none; what then serves, and what is recorded.
    for (until, number, events) in [
        (Some(100_000), 1, vec!["minted", "renewed"]),
        (Some(60_000), 1, vec!["minted", "renewed"]),
        // Near the longest life that the issuer grants.
        (Some(45_000), 2, vec!["minted", "refreshed", "revoked"]),
        (Some(10_000), 2, vec!["minted", "refreshed", "revoked"]),
        (Some(-1), 2, vec!["minted", "refreshed", "revoked"]),
        (None, 2, vec!["minted", "refreshed", "revoked"]),
    ] {
        let (bench, registrar) = bench(false);
        lease(&bench).await;
        bench.clock.advance_ms(81_000);
        registrar.prolongs([until.map(|ms| bench.clock.now_ms() + ms)]);
        lease(&bench).await;
        bench.idle().await;
        assert_eq!(bench.get().await, Ok((number, true)), "{until:?}");
        bench.idle().await;
        assert_eq!(bench.events.take(), events, "{until:?}");
    }
}

#[tokio::test]
async fn an_issuer_that_is_away_is_asked_again_later_and_the_value_serves_on() {
    let (bench, registrar) = bench(false);
    lease(&bench).await;
    bench.clock.advance_ms(81_000);
    lease(&bench).await;
    bench.idle().await;
    assert_eq!((bench.started(), registrar.asked.load(Ordering::SeqCst)), (1, 1), "no mint behind a failed renewal");
    assert_eq!(bench.events.take(), ["minted", "failed", "served_stale"]);
    lease(&bench).await;
    bench.idle().await;
    assert_eq!(registrar.asked.load(Ordering::SeqCst), 1, "not before its time");
    bench.clock.advance_ms(1_000);
    registrar.prolongs([Some(bench.clock.now_ms() + 100_000)]);
    lease(&bench).await;
    bench.idle().await;
    assert_eq!(bench.events.take(), ["renewed"]);
}

#[tokio::test]
async fn no_renewal_passes_the_end_of_the_proof_or_brings_back_what_was_refused() {
    let (bench, registrar) = bench(true);
    let caller = caller_named("a", Some(START_MS / 1_000 + 98));
    let ask = async || settle(bench.keeper.lease(&caller, true)).await.1.unwrap();
    let first = ask().await;
    bench.clock.advance_ms(81_000);
    registrar.prolongs([Some(bench.clock.now_ms() + 500_000)]);
    ask().await;
    bench.idle().await;
    assert_eq!(ask().await.ends_at_ms, START_MS + 98_000);
    drop(first);
    // Upstream refuses it while it is being prolonged.
    let (bench, registrar) = self::bench(false);
    let first = lease(&bench).await;
    bench.clock.advance_ms(81_000);
    registrar.prolongs([Some(bench.clock.now_ms() + 100_000)]);
    lease(&bench).await;
    bench.keeper.invalidate(&first);
    assert_eq!(number(&*lease(&bench).await), 2);
}
