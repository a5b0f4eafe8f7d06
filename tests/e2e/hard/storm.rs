//! Reloads while requests run: each request is of one generation, whole, and none is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use claviger_tests::origin::{full, handler};
use claviger_tests::{Origin, Proxy, World};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::task::JoinHandle;

use crate::wire::{Outer, Session, client};

/// Two configurations that differ in everything that a request takes from one: header, credential, rule.
fn state(world: &World, port: u16, which: &str) -> String {
    world
        .usual(port, "")
        .replace("inject = [\"bearer\"]", &format!("inject = [{{ header = \"x-{which}\" }}]"))
        .replace("secret://sealed/api", &format!("secret://sealed/{which}"))
        .replace("[allow.app-api]", &format!("[allow.rule-{which}]"))
}

/// Clients of every kind that ask without a pause until they are told to end, and fail on the first refusal.
async fn load(world: &World, proxy: &Proxy) -> (Arc<AtomicBool>, Vec<JoinHandle<usize>>) {
    let ends = Arc::new(AtomicBool::new(false));
    let mut workers: Vec<JoinHandle<usize>> = Vec::new();
    let token = world.token("app");
    for _ in 0..4 {
        let (ends, url, token) = (ends.clone(), proxy.gateway("/api/v1/x"), token.clone());
        workers.push(tokio::spawn(async move {
            let client = client();
            let mut served = 0;
            while !ends.load(Ordering::SeqCst) {
                let request = client.get(&url).header("proxy-authorization", format!("Bearer {token}"));
                let answer = request.send().await.unwrap();
                assert_eq!(answer.status(), 200);
                assert_eq!(answer.text().await.unwrap(), "ok");
                served += 1;
            }
            served
        }));
    }
    for h2 in [true, true, false] {
        let proof = format!("Proxy-Authorization: Bearer {token}\r\n");
        let session = Session::forward(world, proxy, Outer::Cleartext, &proof, h2).await;
        let ends = ends.clone();
        workers.push(tokio::spawn(async move {
            let mut served = 0;
            while !ends.load(Ordering::SeqCst) {
                let calls = (0..if h2 { 8 } else { 1 }).map(|_| session.get("/v1/x"));
                for status in futures_util::future::join_all(calls).await {
                    assert_eq!(status.unwrap(), 200);
                    served += 1;
                }
            }
            served
        }));
    }
    (ends, workers)
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_7_fifty_reloads_mix_nothing_and_fail_no_request() {
    let world = World::new();
    let keys = ["a", "b"].map(|which| (which, format!("{}-{which}", world.canary)));
    let mixed = Arc::new(AtomicUsize::new(0));
    let (expected, count) = (keys.clone(), mixed.clone());
    let answer = handler(move |request: Request<Incoming>| {
        let shown: Vec<Option<&[u8]>> = expected
            .iter()
            .map(|(which, _)| request.headers().get(format!("x-{which}")).map(|v| v.as_bytes()))
            .collect();
        let whole = expected
            .iter()
            .enumerate()
            .any(|(at, (_, key))| shown[at] == Some(key.as_bytes()) && shown[1 - at].is_none());
        if !whole || request.headers().contains_key("authorization") {
            count.fetch_add(1, Ordering::SeqCst);
        }
        async { Response::new(full("ok")) }
    });
    let origin = Origin::start(&world.ca, &["api.test"], &["h2", "http/1.1"], answer).await;
    for (which, key) in &keys {
        world.seal(which, key, &["api.test"]);
    }
    world.configure(&state(&world, origin.port(), "a"));
    let proxy = world.start();
    let (ends, workers) = load(&world, &proxy).await;
    for round in 0..50 {
        match round % 3 {
            0 => {
                world.configure(&state(&world, origin.port(), "b"));
                proxy.wait_for_line("is in force");
            }
            1 => {
                let bad = ["version = ", "version = 1\n", "", "[allow.x]\nwho = \"nobody\"\n"][round % 4];
                world.configure(bad);
                proxy.wait_for_line("stays");
            }
            _ => {
                world.configure(&state(&world, origin.port(), "a"));
                proxy.wait_for_line("is in force");
            }
        }
    }
    ends.store(true, Ordering::SeqCst);
    let mut served = 0;
    for worker in workers {
        served += worker.await.unwrap();
    }
    assert_eq!(mixed.load(Ordering::SeqCst), 0, "requests with the header of one generation and the key of another");
    let decided = proxy.records("decided", served);
    let finished = proxy.records("finished", served);
    assert_eq!((decided.len(), finished.len()), (served, served));
    assert!(finished.iter().all(|record| record["code"] == "ok" && record["status"] == 200));
    let generations: std::collections::HashSet<u64> =
        decided.iter().map(|record| record["generation"].as_u64().unwrap()).collect();
    assert!(generations.len() >= 20, "{generations:?}");
    for record in &decided {
        // Odd and even generations alternate between the two states.
        let which = ["b", "a"][usize::try_from(record["generation"].as_u64().unwrap() % 2).unwrap()];
        assert_eq!(record["rule"], format!("rule-{which}"), "{record}");
    }
    println!("{served} requests over {} generations", generations.len());
}
