//! Promise 10 where it is hard: a crash under load, and a disk that takes no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use claviger_tests::origin::{full, handler};
use claviger_tests::{Origin, Proxy, World};
use http::{Request, Response};
use hyper::body::Incoming;
use rustix::process::{Pid, Resource, Rlimit, Signal};
use serde_json::Value;

use crate::wire::{client, until};

fn verify(world: &World) -> Value {
    let output = world.run(&["ledger", "--config", "claviger.toml", "verify", "-o", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(report: &Value, name: &str) -> usize {
    usize::try_from(report[name].as_u64().unwrap()).unwrap()
}

/// `/v1/held` is never answered.
fn holding() -> claviger_tests::origin::Handler {
    handler(|request: Request<Incoming>| async move {
        if request.uri().path() == "/v1/held" {
            std::future::pending::<()>().await;
        }
        Response::new(full("ok"))
    })
}

/// Killed while hundreds of requests run: the ledger goes on where it was, whole, and names what was open. With
/// `required` nothing was sent that is not in it.
#[tokio::test(flavor = "multi_thread")]
async fn promise_10_a_kill_under_load_leaves_a_ledger_that_holds() {
    const HELD: usize = 20;
    for required in [true, false] {
        let world = World::new();
        let origin = Origin::start(&world.ca, &["api.test"], &["http/1.1"], holding()).await;
        world.seal("api", &world.canary, &["api.test"]);
        world.configure(&world.usual(origin.port(), &format!("[ledger]\nrequired = {required}\n")));
        let proxy = world.start();
        let answered = Arc::new(AtomicUsize::new(0));
        let ends = Arc::new(AtomicBool::new(false));
        let load: Vec<_> = (0..32 + HELD)
            .map(|worker| {
                let path = if worker < HELD { "/api/v1/held" } else { "/api/v1/x" };
                let (url, token) = (proxy.gateway(path), world.token("app"));
                let (answered, ends) = (answered.clone(), ends.clone());
                tokio::spawn(async move {
                    let client = client();
                    while !ends.load(Ordering::SeqCst) {
                        match client.get(&url).bearer_auth(&token).send().await {
                            Ok(answer) if answer.status() == 200 => drop(answered.fetch_add(1, Ordering::SeqCst)),
                            _ => return,
                        }
                    }
                })
            })
            .collect();
        until("load", async || {
            let held = origin.seen().iter().filter(|seen| seen.uri.path() == "/v1/held").count();
            (answered.load(Ordering::SeqCst) > 300 && held == HELD).then_some(())
        })
        .await;
        // Those that are held are on record before the end.
        let held = || proxy.records("decided", HELD).len();
        assert!(held() >= HELD);
        proxy.signal(Signal::KILL);
        ends.store(true, Ordering::SeqCst);
        for worker in load {
            worker.await.unwrap();
        }
        assert!(!proxy.stop().success());

        let before = verify(&world);
        let open = before["open"].as_array().unwrap().len();
        assert!(open >= HELD, "{open} open requests: {before}");
        if required {
            assert!(number(&before, "allowed") >= origin.seen().len(), "sent without a record: {before}");
        }
        let proxy = world.start();
        let answer = client().get(proxy.gateway("/api/v1/x")).bearer_auth(world.token("app")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        drop(proxy);
        let after = verify(&world);
        assert_eq!(number(&after, "allowed"), number(&before, "allowed") + 1);
        assert_eq!(after["open"], before["open"], "the same requests, by their ids");
        assert!(number(&after, "records") >= number(&before, "records") + 4);
        println!("required = {required}: {before}");
    }
}

/// Says how large the proxy's files may grow.
fn limit_files(proxy: &Proxy, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(proxy.pid()).unwrap());
    rustix::process::prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

async fn get(world: &World, proxy: &Proxy) -> (u16, String) {
    let answer = client().get(proxy.gateway("/api/v1/x")).bearer_auth(world.token("app")).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn ledger_size(world: &World) -> u64 {
    std::fs::metadata(world.path().join("state/ledger/ledger.jsonl")).unwrap().len()
}

async fn limited(required: bool) -> (World, Origin, Proxy) {
    let (world, origin) = World::with_keyed_origin().await;
    let more = format!("[ledger]\nrequired = {required}\n[admin]\nbind = \"127.0.0.1:0\"\n");
    world.configure(&world.usual(origin.port(), &more));
    let proxy = world.start();
    assert_eq!(get(&world, &proxy).await.0, 200);
    proxy.records("finished", 1);
    // Room for less than one record.
    limit_files(&proxy, Some(ledger_size(&world) + 100));
    (world, origin, proxy)
}

async fn readyz(proxy: &Proxy) -> u16 {
    client().get(format!("http://{}/readyz", proxy.address("admin"))).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_10_a_full_disk_refuses_where_the_ledger_is_required() {
    let (world, origin, proxy) = limited(true).await;
    for _ in 0..20 {
        let (status, body) = get(&world, &proxy).await;
        assert!(status == 503 && body.contains("ledger_unavailable"), "{status} {body}");
    }
    assert_eq!(origin.seen().len(), 1, "what cannot be recorded is not sent");
    until("not ready", async || (readyz(&proxy).await == 503).then_some(())).await;
    limit_files(&proxy, None);
    until("the disk has room again", async || (get(&world, &proxy).await.0 == 200).then_some(())).await;
    until("ready", async || (readyz(&proxy).await == 200).then_some(())).await;
    drop(proxy);
    let report = verify(&world);
    assert_eq!(report["open"].as_array().unwrap().len(), 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_10_a_full_disk_is_owned_up_to_where_the_ledger_is_not_required() {
    let (world, origin, proxy) = limited(false).await;
    for _ in 0..20 {
        assert_eq!(get(&world, &proxy).await.0, 200);
    }
    assert_eq!(origin.seen().len(), 21);
    until("not ready", async || (readyz(&proxy).await == 503).then_some(())).await;
    limit_files(&proxy, None);
    let lost = until("a record of what was lost", async || {
        assert_eq!(get(&world, &proxy).await.0, 200);
        proxy.records("lost", 0).pop()
    })
    .await;
    assert!(lost["count"].as_u64().unwrap() >= 2, "{lost}");
    drop(proxy);
    let report = verify(&world);
    assert!(number(&report, "lost") >= 2, "{report}");
}
