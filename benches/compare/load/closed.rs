//! A closed loop over keep-alive connections, over h2 streams, or over connections that are made anew each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt};
use tokio::task::JoinSet;

use super::Tally;
use crate::door::{self, Door, Job, Problem, Sender};

/// After so many errors a loop ends: the figure is void anyway.
const ERRORS: u64 = 5;

/// Keep-alive connections that have served a request each.
pub(crate) async fn warm(door: &Door, job: &Job, connections: usize) -> Result<Vec<Sender>, Problem> {
    let warmed = (0..connections).map(|turn| async move {
        let mut sender = door.connect().await?;
        door::exchange(&mut sender, door.request(job, turn)).await?;
        Ok(sender)
    });
    // Not all at once, which would leave the memory of a burst behind.
    futures_util::stream::iter(warmed).buffered(16).try_collect().await
}

/// Asks for so long, so many at a time, each in turns on connections of its own.
pub(crate) async fn keep_alive(
    door: &Door,
    job: &Job,
    senders: Vec<Sender>,
    at_a_time: usize,
    time: Duration,
) -> Tally {
    let until = Instant::now() + time;
    let turn = Arc::new(AtomicUsize::new(0));
    let mut loops = JoinSet::new();
    let mut shares: Vec<Vec<Sender>> = (0..at_a_time).map(|_| Vec::new()).collect();
    senders.into_iter().enumerate().for_each(|(n, sender)| shares[n % at_a_time].push(sender));
    for mut senders in shares {
        let (door, job, turn) = (door.clone(), job.clone(), turn.clone());
        loops.spawn(async move {
            let (mut tally, mut next, count) = (Tally::default(), 0, senders.len());
            while Instant::now() < until && tally.errors < ERRORS {
                let request = door.request(&job, turn.fetch_add(1, Ordering::Relaxed));
                let start = Instant::now();
                let answer = door::exchange(&mut senders[next], request).await;
                tally.count(start.elapsed(), answer);
                next = (next + 1) % count;
            }
            tally
        });
    }
    joined(loops).await
}

/// Asks on so many streams of one h2 connection for so long.
pub(crate) async fn streams(door: &Door, job: &Job, streams: usize, time: Duration) -> Tally {
    let sender = match door.connect_h2().await {
        Ok(sender) => sender,
        Err(problem) => return Tally { errors: 1, problem: Some(problem), ..Tally::default() },
    };
    let until = Instant::now() + time;
    let mut loops = JoinSet::new();
    for stream in 0..streams {
        let (door, job, mut sender) = (door.clone(), job.clone(), sender.clone());
        loops.spawn(async move {
            let mut tally = Tally::default();
            while Instant::now() < until && tally.errors < ERRORS {
                let request = door.request_h2(&job, stream);
                let start = Instant::now();
                let answer = async {
                    sender.ready().await.map_err(|error| door::chain(&error))?;
                    door::whole(sender.send_request(request).await.map_err(|error| door::chain(&error))?).await
                };
                let answer = answer.await;
                tally.count(start.elapsed(), answer);
            }
            tally
        });
    }
    joined(loops).await
}

/// Makes a connection, asks once, closes; for so long, so many at a time. `host` names the host of each.
pub(crate) async fn fresh(
    door: &Door,
    job: &Job,
    at_a_time: usize,
    time: Duration,
    host: impl Fn(usize) -> String + Clone + Send + 'static,
) -> Tally {
    let until = Instant::now() + time;
    let turn = Arc::new(AtomicUsize::new(0));
    let mut loops = JoinSet::new();
    for _ in 0..at_a_time {
        let (door, job, turn, host) = (door.clone(), job.clone(), turn.clone(), host.clone());
        loops.spawn(async move {
            let mut tally = Tally::default();
            while Instant::now() < until && tally.errors < ERRORS {
                let turn = turn.fetch_add(1, Ordering::Relaxed);
                let host = host(turn);
                let mut request = door.request(&job, turn);
                request.headers_mut().insert("host", host.parse().unwrap());
                let start = Instant::now();
                let answer = async {
                    let mut sender = door.connect_to(&host).await?;
                    door::exchange(&mut sender, request).await
                };
                let answer = answer.await;
                tally.count(start.elapsed(), answer);
            }
            tally
        });
    }
    joined(loops).await
}

async fn joined(mut loops: JoinSet<Tally>) -> Tally {
    let mut all = Tally::default();
    while let Some(tally) = loops.join_next().await {
        all.merge(tally.unwrap());
    }
    all
}
