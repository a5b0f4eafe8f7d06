//! Requests at a rate of their own, whatever becomes of those before: an open loop.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use claviger_tests::{PATIENCE, Proxy, World};
use futures_util::StreamExt;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// Requests under way at most: a machine that is slower than the rate makes the rate, and not its memory, give way.
const UNDER_WAY_MAX: usize = 256;

/// Requests that are being offered.
pub(crate) struct Load {
    shared: Arc<Shared>,
    offering: JoinHandle<()>,
    began: Instant,
}

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    /// Whether bodies of unknown length are among them.
    streams: AtomicBool,
    offered: AtomicUsize,
    under_way: AtomicUsize,
    /// By the trace of the request: the status, or what broke.
    answers: Mutex<HashMap<String, Result<u16, String>>>,
}

impl Load {
    /// Offers so many requests a second to the gateway: in turn without a body, with a small one, and with one that does
    /// not say how long it is.
    pub(crate) fn start(world: &World, proxy: &Proxy, rate: u32) -> Self {
        let shared = Arc::<Shared>::default();
        shared.streams.store(true, Ordering::SeqCst);
        let (url, token, offering) = (proxy.gateway("/api/v1/x"), world.token("app"), shared.clone());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let offering = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            while !offering.ends.load(Ordering::SeqCst) {
                ticks.tick().await;
                if offering.under_way.load(Ordering::SeqCst) >= UNDER_WAY_MAX {
                    continue;
                }
                let number = offering.offered.fetch_add(1, Ordering::SeqCst);
                offering.under_way.fetch_add(1, Ordering::SeqCst);
                let trace = format!("{:032x}", number + 1);
                let request = match number % 3 {
                    0 => client.get(&url),
                    1 => client.post(&url).body("a small body"),
                    _ if offering.streams.load(Ordering::SeqCst) => client.post(&url).body(streamed()),
                    _ => client.put(&url).body("another small body"),
                };
                let request = request
                    .header("proxy-authorization", format!("Bearer {token}"))
                    .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
                let shared = offering.clone();
                tokio::spawn(async move {
                    let outcome = async {
                        let answer = request.send().await?;
                        let status = answer.status().as_u16();
                        answer.bytes().await?;
                        Ok::<_, reqwest::Error>(status)
                    };
                    let outcome = outcome.await.map_err(|error| format!("{error:?}"));
                    shared.answers.lock().unwrap().insert(trace, outcome);
                    shared.under_way.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { shared, offering, began: Instant::now() }
    }

    /// From now on every body says how long it is.
    pub(crate) fn without_streams(&self) {
        self.shared.streams.store(false, Ordering::SeqCst);
    }

    /// Waits until the requests that were offered so far are answered, and `more` after them.
    pub(crate) async fn pass(&self, more: usize) {
        let offered = self.shared.offered.load(Ordering::SeqCst);
        self.until(|answers| {
            let early = (1..=offered).all(|number| answers.contains_key(&format!("{number:032x}")));
            early && answers.len() >= offered + more
        })
        .await;
    }

    /// Waits until a request that begins after this is answered.
    pub(crate) async fn pass_one(&self) {
        let next = format!("{:032x}", self.shared.offered.load(Ordering::SeqCst) + 1);
        self.until(|answers| answers.contains_key(&next)).await;
    }

    async fn until(&self, holds: impl Fn(&HashMap<String, Result<u16, String>>) -> bool) {
        let deadline = Instant::now() + PATIENCE * 3;
        while !holds(&self.shared.answers.lock().unwrap()) {
            assert!(Instant::now() < deadline, "{} were answered", self.shared.answers.lock().unwrap().len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it: all answers by their traces, and the rate that was reached.
    pub(crate) async fn end(self) -> (HashMap<String, Result<u16, String>>, f64) {
        self.shared.ends.store(true, Ordering::SeqCst);
        self.offering.await.unwrap();
        let offered = self.shared.offered.load(Ordering::SeqCst);
        let deadline = Instant::now() + PATIENCE * 3;
        while self.shared.under_way.load(Ordering::SeqCst) > 0 {
            assert!(Instant::now() < deadline, "some requests never end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let answers = std::mem::take(&mut *self.shared.answers.lock().unwrap());
        assert_eq!(answers.len(), offered);
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = offered as f64 / self.began.elapsed().as_secs_f64();
        (answers, rate)
    }
}

/// A body in two pieces that does not say how long it is.
pub(crate) fn streamed() -> reqwest::Body {
    let pieces = futures_util::stream::iter(["a body ", "in pieces"]);
    let frames = pieces.map(|piece| Ok::<_, std::io::Error>(hyper::body::Frame::data(bytes::Bytes::from(piece))));
    reqwest::Body::wrap(http_body_util::StreamBody::new(frames))
}
