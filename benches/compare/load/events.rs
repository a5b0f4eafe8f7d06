//! Streams of events: how many come, and how late.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::task::JoinSet;

use super::Tally;
use crate::door::{self, Door, Job, Problem, Sender};
use crate::origin::{AT, now};

/// An open stream.
pub(crate) struct Stream {
    body: Incoming,
    _sender: Sender,
}

/// Opens so many streams and reads the first of each.
pub(crate) async fn open(door: &Door, job: &Job, streams: usize) -> Result<Vec<Stream>, Problem> {
    futures_util::stream::iter((0..streams).map(|turn| one(door, job, turn))).buffered(16).try_collect().await
}

async fn one(door: &Door, job: &Job, turn: usize) -> Result<Stream, Problem> {
    let mut sender = door.connect().await?;
    let answer = sender.send_request(door.request(job, turn)).await.map_err(|error| door::chain(&error))?;
    if answer.status() != 200 {
        return Err(format!("status {}", answer.status()));
    }
    let mut body = answer.into_body();
    body.frame().await.ok_or("ends at once")?.map_err(|error| door::chain(&error))?;
    Ok(Stream { body, _sender: sender })
}

/// Reads them for so long. An event's latency is from its making to its coming.
pub(crate) async fn read(streams: Vec<Stream>, time: Duration) -> Tally {
    let until = tokio::time::Instant::from_std(Instant::now() + time);
    // What was made while the others were opened has waited for us, not for the proxy.
    let since = now();
    let mut loops = JoinSet::new();
    for mut stream in streams {
        loops.spawn(async move {
            let mut tally = Tally::default();
            loop {
                match tokio::time::timeout_at(until, stream.body.frame()).await {
                    Err(_) => return tally,
                    Ok(Some(Ok(frame))) => frame.data_ref().into_iter().for_each(|data| count(&mut tally, data, since)),
                    Ok(ended) => {
                        let problem = ended.map_or("ended".to_owned(), |frame| door::chain(&frame.unwrap_err()));
                        tally.count(Duration::ZERO, Err(problem));
                        return tally;
                    }
                }
            }
        });
    }
    let mut all = Tally::default();
    while let Some(tally) = loops.join_next().await {
        all.merge(tally.unwrap());
    }
    all
}

/// A frame may hold several events, or the end of one: what counts is where an event's time stands.
fn count(tally: &mut Tally, data: &[u8], since: u64) {
    let (now, text) = (now(), String::from_utf8_lossy(data));
    for part in text.split(AT).skip(1) {
        let at: String = part.chars().take_while(char::is_ascii_digit).collect();
        let made: u64 = at.parse().unwrap_or(now);
        if made >= since {
            tally.count(Duration::from_nanos(now.saturating_sub(made)), Ok(data.len()));
        }
    }
}
