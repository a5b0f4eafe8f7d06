//! An open loop: requests are due at a fixed rate.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::unix::AsyncFd;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::Tally;
use crate::door::{self, Door, Job, Sender};

/// So many requests a second for so long, over these connections. A request that finds no connection free waits for one,
/// and its latency with it.
pub(crate) async fn at_rate(door: &Door, job: &Job, senders: Vec<Sender>, rate: u32, time: Duration) -> Tally {
    let (due, inbox) = mpsc::unbounded_channel::<Instant>();
    let inbox = Arc::new(Mutex::new(inbox));
    let mut loops = JoinSet::new();
    for (turn, mut sender) in senders.into_iter().enumerate() {
        let (door, job, inbox) = (door.clone(), job.clone(), inbox.clone());
        loops.spawn(async move {
            let mut tally = Tally::default();
            loop {
                // In turns: a connection that is done waits behind the others.
                let next = inbox.lock().await.recv().await;
                let Some(at) = next else { return tally };
                let answer = door::exchange(&mut sender, door.request(&job, turn)).await;
                tally.count(at.elapsed(), answer);
            }
        });
    }
    let (clock, start) = (Clock::new(), Instant::now());
    for n in 0..u32::try_from(time.as_millis()).unwrap() * rate / 1000 {
        let at = start + Duration::from_secs(1) * n / rate;
        clock.until(at).await;
        due.send(at).unwrap();
    }
    drop(due);
    let mut all = Tally::default();
    while let Some(tally) = loops.join_next().await {
        all.merge(tally.unwrap());
    }
    all
}

/// tokio's timer counts milliseconds, which would be most of what is measured.
struct Clock(AsyncFd<OwnedFd>);

impl Clock {
    #[allow(deprecated, reason = "what replaces it is unsafe; an owned timer can't be closed while it is registered")]
    fn new() -> Self {
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK).unwrap();
        Self(AsyncFd::new(timer).unwrap())
    }

    async fn until(&self, at: Instant) {
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let it_value = Timespec { tv_sec: left.as_secs().try_into().unwrap(), tv_nsec: left.subsec_nanos().into() };
        let once = Itimerspec { it_interval: Timespec::default(), it_value };
        rustix::time::timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once).unwrap();
        let mut ready = self.0.readable().await.unwrap();
        rustix::io::read(self.0.get_ref(), &mut [0; 8]).unwrap();
        ready.clear_ready();
    }
}
