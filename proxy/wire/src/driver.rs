//! A connection without a task of its own: whoever uses it drives it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// A connection and its user wake each other when one has done something for the other. Up to so many turns are taken in
/// place; after that others have theirs.
const TURNS_MAX: u32 = 8;

/// What reads and writes for an HTTP/1.1 connection.
pub(crate) struct Driver {
    /// `None` once the connection has ended.
    connection: Option<Pin<Box<dyn Future<Output = hyper::Result<()>>>>>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// Wakes the task that uses the connection, but for what happens while it is there already.
struct Bell {
    user: AtomicWaker,
    is_there: AtomicBool,
    /// Since the connection was polled last: it has something to do.
    rung: AtomicBool,
}

impl Default for Bell {
    fn default() -> Self {
        Self { user: AtomicWaker::new(), is_there: AtomicBool::new(false), rung: AtomicBool::new(true) }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        if !self.is_there.load(Ordering::SeqCst) {
            self.user.wake();
        }
    }
}

impl Driver {
    pub(crate) fn new(connection: impl Future<Output = hyper::Result<()>> + 'static) -> Self {
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(bell.clone());
        Self { connection: Some(Box::pin(connection)), bell, waker }
    }

    /// Whether the connection has not ended, as far as is known since it was driven.
    pub(crate) fn is_alive(&self) -> bool {
        self.connection.is_some()
    }

    /// Moves what can be moved, and does `work` that rests on it. The task of `cx` is woken when there is more to do. While
    /// nothing has rung since it was polled last, the connection is left alone: it could only wait again.
    pub(crate) fn poll_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut work: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.bell.user.register(cx.waker());
        self.bell.is_there.store(true, Ordering::SeqCst);
        let mut inner = Context::from_waker(&self.waker);
        let mut done = Poll::Pending;
        for _ in 0..TURNS_MAX {
            if self.bell.rung.swap(false, Ordering::SeqCst)
                && let Some(connection) = &mut self.connection
                && connection.as_mut().poll(&mut inner).is_ready()
            {
                // How it ended shows in the request that used it; what was not sent comes back with it.
                self.connection = None;
            }
            done = work(&mut inner);
            if done.is_ready() || !self.bell.rung.load(Ordering::SeqCst) {
                break;
            }
        }
        self.bell.is_there.store(false, Ordering::SeqCst);
        // Rung too late to be heard here, or too often.
        if done.is_pending() && self.bell.rung.load(Ordering::SeqCst) {
            cx.waker().wake_by_ref();
        }
        done
    }

    /// Does `work` that rings for the connection, which its caller polls next: nobody needs to be woken for that.
    pub(crate) fn quietly<T>(&self, work: impl FnOnce() -> T) -> T {
        self.bell.is_there.store(true, Ordering::SeqCst);
        let done = work();
        self.bell.is_there.store(false, Ordering::SeqCst);
        done
    }

    /// Moves what can be moved.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        let _ = self.poll_with(cx, |_| Poll::<()>::Pending);
    }

    /// The connection, to be awaited to its end.
    pub(crate) fn into_future(self) -> Option<Pin<Box<dyn Future<Output = hyper::Result<()>>>>> {
        self.connection
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The waker that the connection was polled with last.
    type Kept = Rc<RefCell<Option<Waker>>>;

    /// A connection that counts its polls and rings as often as it is told to.
    fn ringing(times: usize) -> (Driver, Rc<Cell<usize>>, Kept) {
        let (polls, kept) = (Rc::new(Cell::new(0)), Kept::default());
        let (counted, keeps) = (polls.clone(), kept.clone());
        let driver = Driver::new(std::future::poll_fn(move |cx| {
            counted.set(counted.get() + 1);
            *keeps.borrow_mut() = Some(cx.waker().clone());
            if counted.get() <= times {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        }));
        (driver, polls, kept)
    }

    #[test]
    fn turns_are_taken_in_place_and_wake_nobody() {
        let (mut driver, polls, kept) = ringing(3);
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        driver.drive(&mut Context::from_waker(&waker));
        assert_eq!((polls.get(), count.0.load(Ordering::SeqCst)), (4, 0));
        // What happens later wakes whoever drove it last.
        kept.borrow().as_ref().unwrap().wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        let other = Arc::new(Count::default());
        driver.drive(&mut Context::from_waker(&Waker::from(other.clone())));
        kept.borrow().as_ref().unwrap().wake_by_ref();
        assert_eq!((count.0.load(Ordering::SeqCst), other.0.load(Ordering::SeqCst)), (1, 1));
    }

    #[test]
    fn whoever_rings_for_ever_has_to_wait_for_its_turn() {
        let (mut driver, polls, _) = ringing(usize::MAX);
        let count = Arc::new(Count::default());
        driver.drive(&mut Context::from_waker(&Waker::from(count.clone())));
        assert_eq!((polls.get(), count.0.load(Ordering::SeqCst)), (TURNS_MAX as usize, 1));
    }

    #[test]
    fn a_connection_that_nobody_rang_for_is_left_alone() {
        let (mut driver, polls, kept) = ringing(0);
        let mut cx = Context::from_waker(Waker::noop());
        let mut work = 0;
        for _ in 0..3 {
            assert!(
                driver
                    .poll_with(&mut cx, |_| {
                        work += 1;
                        Poll::<()>::Pending
                    })
                    .is_pending()
            );
        }
        assert_eq!((polls.get(), work), (1, 3));
        kept.borrow().as_ref().unwrap().wake_by_ref();
        driver.drive(&mut cx);
        assert_eq!(polls.get(), 2);
        // What its user does for it rings as well, also where nobody is to be woken.
        let waker = kept.borrow().clone().unwrap();
        driver.quietly(|| waker.wake_by_ref());
        driver.drive(&mut cx);
        assert_eq!(polls.get(), 3);
    }

    #[test]
    fn work_that_is_done_ends_the_turn() {
        let (mut driver, polls, _) = ringing(usize::MAX);
        let mut turns = 0;
        let done = driver.poll_with(&mut Context::from_waker(Waker::noop()), |_| {
            turns += 1;
            if turns == 2 { Poll::Ready("done") } else { Poll::Pending }
        });
        assert_eq!((done, polls.get()), (Poll::Ready("done"), 2));
    }

    #[test]
    fn a_connection_that_ended_is_not_polled_again() {
        let mut driver = Driver::new(std::future::ready(Ok(())));
        assert!(driver.is_alive());
        for _ in 0..2 {
            driver.drive(&mut Context::from_waker(Waker::noop()));
            assert!(!driver.is_alive());
        }
        assert!(driver.into_future().is_none());
    }
}
