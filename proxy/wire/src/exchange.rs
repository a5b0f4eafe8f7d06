//! Exchanges that are under way, so that those whose client does not read, and those that policy no
//! longer allows, are ended although nobody polls them.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::server::Core;
use crate::watch::Watch;

/// A body that waits is polled at least this often by its own timer; one that was not is stalled.
const UNWATCHED: Duration = Duration::from_secs(3);

/// One request between its sending and the end of its answer.
pub(crate) struct Exchange {
    begun: Instant,
    /// When the client last took something of the answer, or waited for something to come. None before the
    /// answer's head: until then the upload's idle time and the service's `response_timeout` hold.
    polled: Cell<Option<Instant>>,
    watch: RefCell<Watch>,
    revoked: Cell<bool>,
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
            begun: Instant::now(),
            polled: Cell::new(None),
            watch: RefCell::new(watch),
            revoked: Cell::new(false),
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
        self.polled.set(Some(Instant::now()));
    }

    /// Whether policy still allows it; cheap unless something changed.
    pub(crate) fn still_allowed(&self, core: &Core) -> bool {
        if !self.revoked.get() && !self.watch.borrow_mut().holds(core) {
            self.revoked.set(true);
        }
        !self.revoked.get()
    }
}

impl Exchanges {
    /// Ends what stalls for longer than `limit`, and what is not allowed any more.
    pub(crate) fn sweep(&self, core: &Core, limit: Duration) {
        // Held while it is looked at, so that the places are not borrowed when the last holder lets go.
        let live: Vec<Rc<Exchange>> = self.0.borrow().taken.iter().flatten().filter_map(Weak::upgrade).collect();
        let now = Instant::now();
        for exchange in live {
            let unpolled = now.duration_since(exchange.polled.get().unwrap_or(exchange.begun));
            let stalled = exchange.polled.get().is_some() && unpolled >= limit;
            // While it is polled, its body notices by itself and can say so in its own stream.
            if stalled || (!exchange.still_allowed(core) && unpolled >= UNWATCHED) {
                exchange.kill.notify_waiters();
            }
        }
    }
}
