//! A thousand live streams end at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use claviger_tests::PATIENCE;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::scene::{admin, ok, scene};

const STREAMS: usize = 1_000;

/// The effect is asserted; how long it took is printed. A machine that runs everything at once says nothing about the
/// proxy: the figure that is promised is measured alone, in release.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_live_streams_end_at_once() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let (world, _origin, proxy) = scene("[limits]\ncaller_requests_max = 4096\n").await;
    let token: Arc<str> = world.token("app").into();
    let url: Arc<str> = proxy.gateway("/api/v1/stream").into();
    // One client has a connection for each: none of them is ever idle.
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut streams = Vec::new();
    for _ in 0..STREAMS / 50 {
        let opening = (0..50).map(|_| {
            let (client, url, token) = (client.clone(), url.clone(), token.clone());
            tokio::spawn(async move {
                let mut stream = client.get(&*url).bearer_auth(&token).send().await.unwrap();
                assert_eq!(stream.status(), 200);
                assert!(stream.chunk().await.unwrap().is_some());
                stream
            })
        });
        for opened in opening.collect::<Vec<_>>() {
            streams.push(opened.await.unwrap());
        }
    }
    let spared = client.get(&*url).bearer_auth(world.token("other")).send().await.unwrap();
    let ends: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            tokio::spawn(async move {
                let end = tokio::time::timeout(PATIENCE, stream.chunk()).await.expect("a stream goes on");
                assert!(!matches!(end, Ok(Some(_))), "{end:?}");
                Instant::now()
            })
        })
        .collect();
    let admin = admin(&world);
    // The connection first: what is measured is the suspension.
    admin.get("http://localhost/v1/status").send().await.unwrap().text().await.unwrap();
    let asked = Instant::now();
    let body = r#"{"kind":"principal","name":"spiffe://acme.test/ci/app"}"#;
    let call = admin.post("http://localhost/v1/suspensions").header("content-type", "application/json");
    let answer = call.body(body).send().await.unwrap();
    let answered = asked.elapsed();
    assert_eq!(answer.status(), 200);
    let mut took: Vec<Duration> = Vec::new();
    for end in ends {
        took.push(end.await.unwrap().saturating_duration_since(asked));
    }
    took.sort_unstable();
    let at = |part: usize| took[(STREAMS * part / 100).min(STREAMS - 1)];
    eprintln!(
        "{STREAMS} live streams: answered after {answered:?}; ended p50 {:?}, p99 {:?}, last {:?}",
        at(50),
        at(99),
        at(100)
    );
    // One is not of the caller that is suspended.
    claviger_tests::until("all are on record", async || {
        let all = proxy.records("finished", STREAMS);
        all.iter().filter(|one| one["code"] == "suspended").count() == STREAMS
    })
    .await;
    drop(spared);
    ok(&world, &["resume", "principal", "spiffe://acme.test/ci/app"]);
}
