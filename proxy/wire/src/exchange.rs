//! Exchanges that are under way, so that those whose client does not read, and those that policy no
//! longer allows, are ended although nobody polls them.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use claviger_contract::Moment;
use tokio::sync::Notify;

use crate::body::Sent;
use crate::refusal::{Refusal, RefusalCode};
use crate::server::Core;
use crate::watch::{Over, Watch};

/// A body that waits is polled at least this often by its own timer; one that was not is stalled.
const UNWATCHED: Duration = Duration::from_secs(3);

/// A wait that may be as long as this needs no timer of its own: exchanges are looked at once a second.
const COARSE: Duration = Duration::from_secs(10);

/// How long the body of a suspended exchange has to say so in its own stream; one whose client does not read is cut.
const LAST_WORD: Duration = Duration::from_millis(50);

/// One request between its sending and the end of its answer.
pub(crate) struct Exchange {
    begun: Moment,
    /// When the client last took something of the answer, or waited for something to come. None before the
    /// answer's head: until then the upload's idle time and the service's `response_timeout` hold.
    polled: Cell<Option<Moment>>,
    watch: RefCell<Watch>,
    /// Why it is not allowed any more, once that is known.
    over: RefCell<Option<Over>>,
    /// While upstream's head is waited for, how long that may take.
    awaits: RefCell<Option<Awaits>>,
    /// Whoever waits for the answer's head, or polls its body: told when it is over.
    waker: RefCell<Option<Waker>>,
    /// Ends the client's connection, which is the only way to end what nobody polls.
    kill: Rc<Notify>,
    /// Where it stands among the core's, to be given free when it ends.
    place: usize,
    places: Rc<RefCell<Places>>,
}

/// The exchanges of one data core.
#[derive(Default)]
pub(crate) struct Exchanges(Rc<RefCell<Places>>);

/// A place for each exchange that is under way; places are used again.
#[derive(Default)]
struct Places {
    taken: Vec<Option<Weak<Exchange>>>,
    free: Vec<usize>,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut places = self.places.borrow_mut();
        if let Some(place) = places.taken.get_mut(self.place) {
            *place = None;
            places.free.push(self.place);
        }
    }
}

impl Exchange {
    /// Begins to be looked after.
    pub(crate) fn begin(core: &Core, watch: Watch, kill: Rc<Notify>) -> Rc<Self> {
        let places = &core.exchanges.0;
        let free = places.borrow_mut().free.pop();
        let place = free.unwrap_or_else(|| {
            let taken = &mut places.borrow_mut().taken;
            taken.push(None);
            taken.len() - 1
        });
        let exchange = Rc::new(Self {
            begun: Moment::now(),
            polled: Cell::new(None),
            watch: RefCell::new(watch),
            over: RefCell::default(),
            awaits: RefCell::default(),
            waker: RefCell::default(),
            kill,
            place,
            places: places.clone(),
        });
        if let Some(place) = places.borrow_mut().taken.get_mut(place) {
            *place = Some(Rc::downgrade(&exchange));
        }
        exchange
    }

    /// The answer's head has come, or its body was asked for more.
    pub(crate) fn polled(&self) {
        self.polled.set(Some(Moment::now()));
    }

    /// Whether it may go on; cheap unless something changed. What is over stays over.
    pub(crate) fn still_allowed(&self, core: &Core) -> Result<(), Over> {
        let mut over = self.over.borrow_mut();
        if over.is_none() {
            *over = self.watch.borrow_mut().holds(core).err();
            if let Some(Over::Suspended(suspension)) = &*over {
                core.metrics.suspended(suspension.kind);
            }
        }
        over.clone().map_or(Ok(()), Err)
    }

    /// Why it was ended from outside.
    pub(crate) fn over(&self) -> Option<Over> {
        self.over.borrow().clone()
    }

    /// Where it is polled, to be woken when it is over.
    pub(crate) fn waits(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        match known.as_mut() {
            Some(known) => known.clone_from(waker),
            None => *known = Some(waker.clone()),
        }
    }

    /// Waits for the head of an answer, unless that is or becomes over; dropped in the middle, nothing more is sent. It may
    /// take `limit` from when the request's body moved last.
    pub(crate) async fn answer<T>(
        &self,
        core: &Core,
        limit: Duration,
        sent: &Rc<Sent>,
        mut work: Pin<&mut impl Future<Output = Result<T, Refusal>>>,
    ) -> Result<T, Refusal> {
        self.still_allowed(core).map_err(|over| over.refusal())?;
        if limit < COARSE {
            return while_moving(self.unless_over(work.as_mut()), limit, sent).await;
        }
        *self.awaits.borrow_mut() =
            Some(Awaits { limit, sent: sent.clone(), bytes: sent.bytes.get(), since: Moment::now() });
        let done = self.unless_over(work.as_mut()).await;
        *self.awaits.borrow_mut() = None;
        done
    }

    async fn unless_over<T>(&self, mut work: Pin<&mut impl Future<Output = Result<T, Refusal>>>) -> Result<T, Refusal> {
        std::future::poll_fn(|cx| {
            if let Some(over) = &*self.over.borrow() {
                return Poll::Ready(Err(over.refusal()));
            }
            self.waits(cx.waker());
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Ends a wait that takes too long; says whether it did.
    fn look_at_wait(&self, now: Moment) -> bool {
        let silent = self.awaits.borrow_mut().as_mut().and_then(|awaits| awaits.silent(now));
        let Some(limit) = silent else { return false };
        self.over.borrow_mut().get_or_insert(Over::Silent(limit));
        self.end();
        true
    }

    fn end(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// A wait for the head of an answer.
struct Awaits {
    limit: Duration,
    sent: Rc<Sent>,
    /// How much of the request's body had gone when that was looked at last, and when it was seen to move.
    bytes: u64,
    since: Moment,
}

impl Awaits {
    /// The limit, if it is over.
    fn silent(&mut self, now: Moment) -> Option<Duration> {
        let bytes = self.sent.bytes.get();
        if bytes != self.bytes {
            (self.bytes, self.since) = (bytes, now);
        }
        (now.since(self.since) >= self.limit).then_some(self.limit)
    }
}

/// Waits for the head of an answer, as long as the request's body still moves; exact to the millisecond.
pub(crate) async fn while_moving<T>(
    work: impl Future<Output = Result<T, Refusal>>,
    limit: Duration,
    sent: &Sent,
) -> Result<T, Refusal> {
    let mut work = std::pin::pin!(work);
    loop {
        let before = sent.bytes.get();
        match tokio::time::timeout(limit, work.as_mut()).await {
            Ok(done) => return done,
            Err(_) if sent.bytes.get() != before => {}
            Err(_) => return Err(silent(limit)),
        }
    }
}

/// What a client is told whose upstream does not answer.
pub(crate) fn silent(limit: Duration) -> Refusal {
    Refusal::new(RefusalCode::UpstreamTimeout, format!("no answer within {limit:?}"))
}

impl Exchanges {
    /// Ends what stalls for longer than `limit`, and what is not allowed any more.
    pub(crate) fn sweep(&self, core: &Core, limit: Duration) {
        let now = Moment::now();
        for exchange in self.live() {
            // Who waits for the head of an answer was woken: it can still say why.
            if exchange.look_at_wait(now) {
                continue;
            }
            let unpolled = now.since(exchange.polled.get().unwrap_or(exchange.begun));
            let stalled = exchange.polled.get().is_some() && unpolled >= limit;
            // While it is polled, its body notices by itself and can say so in its own stream.
            let over = exchange.still_allowed(core);
            if stalled || (over.is_err_and(|over| !matches!(over, Over::Silent(_))) && unpolled >= UNWATCHED) {
                exchange.kill.notify_waiters();
            }
        }
    }

    /// Ends what uses something that is suspended, at once: each is told in its own stream, and what is still there
    /// after a moment loses its connection.
    pub(crate) async fn end_suspended(&self, core: &Core) {
        let over = |exchange: &Rc<Exchange>| matches!(exchange.still_allowed(core), Err(Over::Suspended(_)));
        let ending: Vec<Weak<Exchange>> =
            self.live().into_iter().filter(over).inspect(|one| one.end()).map(|one| Rc::downgrade(&one)).collect();
        if ending.is_empty() {
            return;
        }
        tokio::time::sleep(LAST_WORD).await;
        for exchange in ending.iter().filter_map(Weak::upgrade) {
            // On HTTP/2 this ends the client's other streams too: with a window that it does not open, there is no
            // other way to have it notice.
            exchange.kill.notify_waiters();
        }
    }

    /// Held while they are looked at, so that the places are not borrowed when the last holder lets go.
    fn live(&self) -> Vec<Rc<Exchange>> {
        self.0.borrow().taken.iter().flatten().filter_map(Weak::upgrade).collect()
    }
}
