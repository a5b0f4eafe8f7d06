//! How long a body may wait, and how often it looks meanwhile.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use claviger_contract::Moment;
use tokio::time::{Instant, Sleep, sleep_until};

use super::BodyError;

/// A waiting stream looks at least so often whether policy still allows it.
const TICK: Duration = Duration::from_secs(1);

/// The looks of all streams are multiples of this apart, so that a core wakes once for many of them.
const BEAT: Duration = Duration::from_micros(62_500);

/// When a stream that looked at `now` looks next: less than a beat before a tick is over.
fn next_look(now: Instant) -> Instant {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let since = now.saturating_duration_since(*FIRST.get_or_init(|| now)) + TICK;
    let past = since.as_micros() % BEAT.as_micros();
    now + TICK - Duration::from_micros(u64::try_from(past).unwrap_or_default())
}

/// A timer that exists only while a body waits: most bodies never do.
pub(super) struct Idle {
    limit: Duration,
    last: Moment,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, last: Moment::now(), sleep: None }
    }

    pub(super) fn moved(&mut self) {
        self.last = Moment::now();
    }

    /// Ready with `Ok` at each tick, with `Err` when nothing moved for too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(next_look(Instant::now()))));
        ready!(sleep.as_mut().poll(cx));
        if Moment::now().since(self.last) >= self.limit {
            return Poll::Ready(Err(BodyError::Idle));
        }
        sleep.as_mut().reset(next_look(Instant::now()));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn many_streams_look_at_few_moments_and_each_once_a_second() {
        let first = Instant::now();
        let mut moments = BTreeSet::new();
        for stream in 0..10_000 {
            let now = first + Duration::from_micros(100) * stream;
            let look = next_look(now);
            assert!(look <= now + TICK && look > now + TICK - BEAT, "{stream}: {:?}", look - now);
            moments.insert((look - first).as_millis());
        }
        assert!(moments.len() <= 18, "{moments:?}");
    }
}
