//! Waiting until a record is durable, for `ledger.required`.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Why a record is not durable: the request must be refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The disk refused the record. Holds what the operating system said.
    #[error("the ledger cannot be written: {0}")]
    Write(Arc<str>),
    /// The ledger was shut down.
    #[error("the ledger is shut down")]
    Closed,
}

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    Done(Result<(), CommitError>),
}

/// What the writer settles and one request waits for.
#[derive(Debug)]
pub(crate) struct Ticket(Mutex<State>);

impl Ticket {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State::Waiting(None))))
    }

    /// The first result stays.
    pub(crate) fn settle(&self, result: Result<(), CommitError>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Waiting(waker) = &mut *state {
            let waker = waker.take();
            *state = State::Done(result);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// The writer's side of a [`Ticket`]: dropped unsettled (the writer ended), it settles as closed.
#[derive(Debug)]
pub(crate) struct Settle(pub(crate) Arc<Ticket>);

impl Drop for Settle {
    fn drop(&mut self) {
        self.0.settle(Err(CommitError::Closed));
    }
}

/// Resolves when the `decided` record is durable; at once where `ledger.required` is off.
#[derive(Debug)]
#[must_use = "nothing waits until it is awaited"]
pub struct Commit(pub(crate) Option<Arc<Ticket>>);

impl Future for Commit {
    type Output = Result<(), CommitError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(ticket) = &self.0 else { return Poll::Ready(Ok(())) };
        let mut state = ticket.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Done(result) => Poll::Ready(result.clone()),
            State::Waiting(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
