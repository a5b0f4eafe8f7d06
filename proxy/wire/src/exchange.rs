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
}

/// The exchanges of one data core.
#[derive(Default)]
pub(crate) struct Exchanges(RefCell<Vec<Weak<Exchange>>>);

impl Exchange {
    /// Begins to be looked after.
    pub(crate) fn begin(core: &Core, watch: Watch, kill: Rc<Notify>) -> Rc<Self> {
        let exchange = Rc::new(Self {
            begun: Instant::now(),
            polled: Cell::new(None),
            watch: RefCell::new(watch),
            revoked: Cell::new(false),
            kill,
        });
        core.exchanges.0.borrow_mut().push(Rc::downgrade(&exchange));
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
        // The list is taken out while it is looked through: a watch may run policy, which begins nothing.
        let mut live = std::mem::take(&mut *self.0.borrow_mut());
        let now = Instant::now();
        live.retain(|exchange| {
            let Some(exchange) = exchange.upgrade() else { return false };
            let unpolled = now.duration_since(exchange.polled.get().unwrap_or(exchange.begun));
            let stalled = exchange.polled.get().is_some() && unpolled >= limit;
            // While it is polled, its body notices by itself and can say so in its own stream.
            if stalled || (!exchange.still_allowed(core) && unpolled >= UNWATCHED) {
                exchange.kill.notify_waiters();
                return false;
            }
            true
        });
        self.0.borrow_mut().append(&mut live);
    }
}
