mod issued;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use claviger_contract::{ManualClock, Secret};
use proptest::prelude::*;
use tokio::sync::Semaphore;

use super::*;
use crate::error::SourceError;
use crate::fixture::{Events, START_MS, caller, caller_named, settle, value};
use crate::source::Mint;
use crate::source::Minted;

/// Mints `token-1`, `token-2`, …, each when it is let; the number of a good one, or a failure.
#[derive(Debug)]
struct Scripted {
    clock: Arc<ManualClock>,
    /// How long each value lasts; `None`: the mint fails.
    lasts_ms: Mutex<Option<i64>>,
    gate: Semaphore,
    started: AtomicUsize,
    minted: AtomicUsize,
    per_caller: bool,
    /// Knows its values, if there is one.
    registrar: Option<Arc<issued::Registrar>>,
}

#[async_trait::async_trait]
impl Source for Scripted {
    fn key(&self, ask: Ask<'_>) -> Key {
        if !self.per_caller {
            return Key::Shared;
        }
        Key::Caller(crate::digest::Digester::new("test").field("id", ask.caller.principal.id.as_str()).finish())
    }

    async fn mint(&self, mint: Mint<'_>) -> Result<Minted, SourceError> {
        assert_eq!(mint.ask.is_some(), self.per_caller);
        self.started.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        let lasts_ms = *self.lasts_ms.lock().unwrap();
        let expires_at_ms = Some(self.clock.now_ms() + lasts_ms.ok_or(SourceError::Aborted)?);
        let number = self.minted.fetch_add(1, Ordering::SeqCst) + 1;
        let fields = vec![("value".into(), Secret::from(format!("token-{number}-canary")))];
        let issued = self.registrar.as_ref().map(|registrar| registrar.entry(number));
        Ok(Minted { fields, expires_at_ms, hosts: None, version: None, previous: None, issued })
    }

    fn is_renewable(&self) -> bool {
        true
    }

    fn secrets(&self) -> Vec<&crate::SecretReference> {
        Vec::new()
    }
}

struct Bench {
    clock: Arc<ManualClock>,
    events: Arc<Events>,
    source: Arc<Scripted>,
    keeper: Arc<Keeper>,
}

impl Bench {
    fn new(per_caller: bool) -> Self {
        Self::with(per_caller, None)
    }

    fn with(per_caller: bool, registrar: Option<Arc<issued::Registrar>>) -> Self {
        let clock = Arc::new(ManualClock::at_ms(START_MS));
        let events = Arc::<Events>::default();
        let source = Arc::new(Scripted {
            clock: clock.clone(),
            lasts_ms: Mutex::new(Some(100_000)),
            gate: Semaphore::new(0),
            started: AtomicUsize::new(0),
            minted: AtomicUsize::new(0),
            per_caller,
            registrar,
        });
        let keeper = Arc::new(Keeper {
            name: "c".into(),
            source: source.clone(),
            hosts: Some(vec![crate::BoundHost::parse("h.com").unwrap()]),
            serve_until_ms: None,
            revocations: Revocations::new(clock.clone(), events.clone(), tokio::runtime::Handle::current()),
            cache: Arc::default(),
            clock: clock.clone(),
            events: events.clone(),
            runtime: tokio::runtime::Handle::current(),
        });
        Self { clock, events, source, keeper }
    }

    /// Lets `count` mints end.
    fn let_mint(&self, count: usize) -> &Self {
        self.source.gate.add_permits(count);
        self
    }

    fn fail(&self) -> &Self {
        *self.source.lasts_ms.lock().unwrap() = None;
        self
    }

    fn last(&self, ms: i64) -> &Self {
        *self.source.lasts_ms.lock().unwrap() = Some(ms);
        self
    }

    fn ask(&self) -> LeaseAnswer {
        self.keeper.lease(&caller(None), true)
    }

    /// The number of the token and whether it was there at once; the code of an error.
    async fn get(&self) -> Result<(usize, bool), &'static str> {
        let (at_once, lease) = settle(self.ask()).await;
        lease.map(|lease| (number(&lease), at_once)).map_err(|error| error.code())
    }

    /// Until the runtime has nothing left to do.
    async fn idle(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    fn started(&self) -> usize {
        self.source.started.load(Ordering::SeqCst)
    }
}

fn number(lease: &Lease) -> usize {
    value(lease).split('-').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_thousand_first_requests_make_one_mint() {
    let bench = Bench::new(false);
    let waiting: Vec<_> = (0..1_000).map(|_| tokio::spawn(settle(bench.ask()))).collect();
    bench.idle().await;
    assert_eq!(bench.started(), 1);
    bench.let_mint(1_000);
    for waiting in waiting {
        let (at_once, lease) = waiting.await.unwrap();
        assert_eq!((at_once, number(&lease.unwrap())), (false, 1));
    }
    assert_eq!((bench.started(), bench.get().await), (1, Ok((1, true))));
    assert_eq!(bench.events.take(), ["minted"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn also_when_they_come_from_several_threads() {
    let bench = Arc::new(Bench::new(false));
    bench.let_mint(1_000);
    let waiting: Vec<_> = (0..1_000)
        .map(|_| {
            let bench = bench.clone();
            tokio::spawn(async move { number(&settle(bench.ask()).await.1.unwrap()) })
        })
        .collect();
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), 1);
    }
    assert_eq!(bench.started(), 1);
}

#[tokio::test]
async fn a_mint_survives_whoever_asked_first() {
    let bench = Bench::new(false);
    let first = bench.ask();
    drop(first);
    let second = tokio::spawn(settle(bench.ask()));
    bench.idle().await;
    assert_eq!(bench.started(), 1);
    bench.let_mint(1);
    assert_eq!(number(&second.await.unwrap().1.unwrap()), 1);
    assert_eq!(bench.started(), 1);
}

#[tokio::test]
async fn a_lease_is_refreshed_ahead_and_never_waited_for() {
    let bench = Bench::new(false);
    bench.let_mint(1);
    assert_eq!(bench.get().await, Ok((1, false)));
    // It lasts 100 s and is served for 95 s; the refresh begins after 75 to 85 % of these.
    bench.clock.advance_ms(71_000);
    assert_eq!(bench.get().await, Ok((1, true)));
    bench.idle().await;
    assert_eq!(bench.started(), 1);
    bench.clock.advance_ms(10_000);
    for _ in 0..10 {
        assert_eq!(bench.get().await, Ok((1, true)), "the old one serves while the new one is minted");
    }
    bench.idle().await;
    assert_eq!(bench.started(), 2, "one refresh, however many ask");
    bench.let_mint(1).idle().await;
    assert_eq!(bench.get().await, Ok((2, true)));
    assert_eq!(bench.events.take(), ["minted", "refreshed"]);
}

/// Replicas that started together do not refresh together, and those who were told the same do not come back together.
#[test]
fn refreshes_and_waits_are_spread() {
    let spread = |draw: &dyn Fn() -> i64, within: std::ops::RangeInclusive<i64>| {
        let drawn: std::collections::BTreeSet<i64> = (0..200).map(|_| draw()).collect();
        assert!(drawn.iter().all(|at| within.contains(at)), "{within:?}: {drawn:?}");
        assert!(drawn.len() > 20, "{within:?}: {drawn:?}");
    };
    spread(&|| flight::refresh_at_ms(START_MS, START_MS + 100_000) - START_MS, 75_000..=85_000);
    let failed = SourceError::Aborted;
    spread(&|| flight::back_off_ms(1, &failed), 250..=500);
    spread(&|| flight::back_off_ms(4, &failed), 2_000..=4_000);
    spread(&|| flight::back_off_ms(50, &failed), 15_000..=30_000);
    let asked = |seconds| SourceError::Refused {
        endpoint: "https://login.test/token".to_owned(),
        status: 429,
        code: None,
        retry_after: Some(Duration::from_secs(seconds)),
    };
    spread(&|| flight::back_off_ms(1, &asked(100)), 100_000..=110_000);
    // Nobody is left alone for longer than five minutes.
    spread(&|| flight::back_off_ms(1, &asked(86_400)), 300_000..=330_000);
}

#[tokio::test]
async fn a_lease_in_use_is_refreshed_without_a_request_and_an_idle_one_ends() {
    let bench = Bench::new(false);
    bench.let_mint(2);
    bench.get().await.unwrap();
    bench.clock.advance_ms(50_000);
    bench.get().await.unwrap();
    bench.clock.advance_ms(31_000);
    bench.keeper.tick();
    bench.idle().await;
    assert_eq!(bench.get().await, Ok((2, true)));
    // Used once at its very start and never again: nobody pays for another.
    let held = Arc::downgrade(bench.keeper.cache.shared.held.load().as_ref().unwrap());
    bench.clock.advance_ms(81_000);
    bench.clock.advance_ms(20_000);
    bench.keeper.tick();
    bench.idle().await;
    assert!(held.upgrade().is_none(), "what has ended is wiped");
}

#[tokio::test]
async fn failures_are_answered_at_once_and_retried_ever_more_slowly() {
    let bench = Bench::new(false);
    bench.fail().let_mint(1_000);
    let mut waits = Vec::new();
    assert_eq!(bench.get().await, Err("mint_aborted"));
    for failures in 1..=10 {
        let mut waited = 0_i64;
        while bench.started() == failures {
            bench.clock.advance_ms(50);
            waited += 50;
            assert_eq!(bench.get().await, Err("mint_aborted"));
        }
        waits.push(waited);
    }
    for (at, waited) in waits.iter().enumerate() {
        let longest = (500_i64 << at).min(30_000);
        assert!((longest / 2..=longest + 50).contains(waited), "{at}: {waits:?}");
    }
    bench.last(100_000).clock.advance_ms(30_000);
    assert_eq!(bench.get().await, Ok((1, false)));
    assert_eq!(bench.keeper.cache.shared.flight().failure.as_ref().map(|failure| failure.count), None);
}

#[tokio::test]
async fn those_who_wait_get_the_error() {
    let bench = Bench::new(false);
    bench.fail();
    let waiting: Vec<_> = (0..100).map(|_| tokio::spawn(settle(bench.ask()))).collect();
    bench.idle().await;
    bench.let_mint(100);
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().1.unwrap_err().code(), "mint_aborted");
    }
    assert_eq!((bench.started(), bench.events.take()), (1, vec!["failed"]));
}

#[tokio::test]
async fn the_last_good_value_serves_until_its_end_and_no_longer() {
    let bench = Bench::new(false);
    bench.let_mint(1);
    bench.get().await.unwrap();
    bench.fail().let_mint(100);
    bench.clock.advance_ms(81_000);
    assert_eq!(bench.get().await, Ok((1, true)));
    bench.idle().await;
    bench.clock.advance_ms(13_999);
    assert_eq!(bench.get().await, Ok((1, true)));
    bench.idle().await;
    assert_eq!(bench.events.take(), ["minted", "failed", "served_stale", "failed"]);
    bench.clock.advance_ms(1);
    assert_eq!(bench.get().await, Err("mint_aborted"));
}

#[tokio::test]
async fn a_401_mints_once_and_not_once_per_request() {
    let bench = Bench::new(false);
    bench.let_mint(100);
    let lease = async || settle(bench.ask()).await.1.unwrap();
    let first = lease().await;
    bench.keeper.invalidate(&first);
    let second = lease().await;
    assert_eq!((number(&first), number(&second)), (1, 2));
    // Late 401s of the first concern nobody; those of the second come too soon.
    bench.keeper.invalidate(&first);
    bench.keeper.invalidate(&second);
    assert_eq!(number(&*lease().await), 2);
    assert_eq!(bench.events.take(), ["minted", "invalidated", "minted"]);
    bench.clock.advance_ms(INVALIDATION_INTERVAL_MS);
    bench.keeper.invalidate(&second);
    assert_eq!(number(&*lease().await), 3);
}

#[tokio::test]
async fn dropped_leases_are_gone_with_those_that_were_on_their_way() {
    for per_caller in [false, true] {
        let bench = Bench::new(per_caller);
        bench.let_mint(1);
        assert_eq!(bench.get().await, Ok((1, false)));
        bench.keeper.drop_leases(&"suspended".into());
        assert!(bench.keeper.cache.shared.held.load().is_none());
        assert!(bench.keeper.cache.keyed.is_empty());
        assert_eq!(bench.events.take(), ["minted", "invalidated"]);
        // One mint is under way while the leases are dropped again.
        let LeaseAnswer::Wait(waiting) = bench.ask() else { panic!("a dropped lease was handed out") };
        bench.idle().await;
        assert_eq!(bench.started(), 2);
        bench.keeper.drop_leases(&"suspended".into());
        bench.let_mint(1);
        let _ = waiting.await;
        assert!(bench.keeper.cache.shared.held.load().is_none(), "what was on its way is kept");
        assert!(bench.keeper.cache.keyed.is_empty());
        // Resumed: the next one is minted as ever.
        bench.let_mint(1);
        assert_eq!(bench.get().await, Ok((3, false)));
    }
}

#[tokio::test]
async fn callers_have_leases_of_their_own_that_end_with_their_proofs() {
    let bench = Bench::new(true);
    bench.let_mint(100);
    let now = START_MS / 1_000;
    let get = async |name: &str, proof_ends: Option<i64>| {
        let (at_once, lease) = settle(bench.keeper.lease(&caller_named(name, proof_ends), true)).await;
        lease.map(|lease| (number(&lease), at_once, lease.ends_at_ms - START_MS)).map_err(|error| error.code())
    };
    assert_eq!(get("a", Some(now + 30)).await, Ok((1, false, 30_000)));
    assert_eq!(get("b", None).await, Ok((2, false, 95_000)));
    assert_eq!(get("a", Some(now + 30)).await, Ok((1, true, 30_000)));
    bench.clock.advance_ms(30_000);
    assert_eq!(get("a", Some(now + 30)).await, Err("proof_ended"));
    assert_eq!(get("a", Some(now + 300)).await, Ok((3, false, 125_000)));
    assert_eq!(get("b", None).await, Ok((2, true, 95_000)));
}

#[tokio::test]
async fn the_number_of_callers_is_bounded() {
    let bench = Bench::new(true);
    bench.let_mint(KEYED_MAX * 2);
    let ask =
        async |name: usize| settle(bench.keeper.lease(&caller_named(&name.to_string(), None), true)).await.1.unwrap();
    for name in 0..KEYED_MAX {
        ask(name).await;
    }
    assert_eq!(bench.keeper.cache.keyed.len(), KEYED_MAX);
    // All but one grow old; the one in use stays.
    bench.clock.advance_ms(1_000);
    ask(0).await;
    let minted = bench.started();
    for name in KEYED_MAX..KEYED_MAX + 100 {
        ask(name).await;
    }
    assert!(bench.keeper.cache.keyed.len() <= KEYED_MAX);
    ask(0).await;
    assert_eq!(bench.started(), minted + 100, "the one in use was kept");
    // What has ended leaves the map.
    bench.clock.advance_ms(100_000);
    bench.keeper.tick();
    assert_eq!(bench.keeper.cache.keyed.len(), 0);
}

#[tokio::test]
async fn a_value_that_arrives_too_late_is_refused() {
    let bench = Bench::new(false);
    bench.last(0).let_mint(1);
    assert_eq!(bench.get().await, Err("value_expired"));
    // And one that ends while the waiting wake up.
    bench.last(1_000).clock.advance_ms(60_000);
    let waiting = bench.ask();
    bench.let_mint(1).idle().await;
    bench.clock.advance_ms(1_000);
    assert_eq!(settle(waiting).await.1.unwrap_err().code(), "value_expired");
}

/// A control runtime that has stopped must not leave requests waiting for ever.
#[test]
fn a_mint_whose_runtime_stopped_is_given_up() {
    let control = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bench = {
        let _entered = control.enter();
        Bench::new(false)
    };
    let waiting = bench.ask();
    drop(control);
    let data = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(data.block_on(settle(waiting)).1.unwrap_err().code(), "mint_aborted");
    assert_eq!(data.block_on(bench.get()), Err("mint_aborted"));
}

#[tokio::test]
async fn nothing_printed_holds_a_value() {
    let bench = Bench::new(false);
    bench.let_mint(1);
    let answer = bench.ask();
    assert_eq!(format!("{answer:?}"), "Wait(…)");
    bench.get().await.unwrap();
    let shown = format!("{:?} {:?}", bench.keeper, bench.ask());
    assert!(shown.contains("Ready(Lease") && !shown.contains("canary"), "{shown}");
}

#[derive(Clone, Debug)]
enum Step {
    Wait(i64),
    Ask,
    Tick,
    Mint { lasts_ms: Option<i64> },
    Invalidate,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..40_000_i64).prop_map(Step::Wait),
        Just(Step::Ask),
        Just(Step::Ask),
        Just(Step::Tick),
        proptest::option::weighted(0.7, 0..60_000_i64).prop_map(|lasts_ms| Step::Mint { lasts_ms }),
        Just(Step::Invalidate),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Whatever happens in whatever order: no lease is handed out at or after its expiry, and never
    /// are two mints under way.
    #[test]
    fn nothing_is_served_after_its_end(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new(false);
            let mut held: Option<Arc<Lease>> = None;
            let mut ended = 0;
            for step in steps {
                match step {
                    Step::Wait(ms) => bench.clock.advance_ms(ms),
                    Step::Tick => bench.keeper.tick(),
                    Step::Ask => if let LeaseAnswer::Ready(lease) = bench.ask() {
                        assert!(bench.clock.now_ms() < lease.expires_at().unwrap() * 1_000 + 1_000);
                        assert!(bench.clock.now_ms() < lease.ends_at_ms);
                        held = Some(lease);
                    },
                    Step::Mint { lasts_ms } => {
                        bench.idle().await;
                        if bench.started() > ended {
                            *bench.source.lasts_ms.lock().unwrap() = lasts_ms;
                            bench.let_mint(1);
                            ended += 1;
                        }
                    }
                    Step::Invalidate => if let Some(lease) = &held {
                        bench.keeper.invalidate(lease);
                    },
                }
                bench.idle().await;
                assert!(bench.started() <= ended + 1);
            }
        });
    }
}
