//! Not one request is lost, and the ledger says which version served each.

use std::collections::HashMap;
use std::time::Instant;

use claviger_tests::{PATIENCE, Proxy, World, canary, until};
use serde_json::Value;

use crate::keyring::Keyring;
use crate::load::Load;

/// A check call for the usual service.
pub(crate) const CHECK: &str = "inject = [\"bearer\"]\ncheck = \"GET /v1/check\"";

/// A world whose upstream takes the canary.
pub(crate) async fn world() -> (World, Keyring, u16) {
    let world = World::new();
    let (keyring, origin) = Keyring::start(&world, &[&world.canary]).await;
    world.seal("api", &world.canary, &["api.test"]);
    world.configure(&world.usual(origin.port(), "").replace("inject = [\"bearer\"]", CHECK));
    (world, keyring, origin.port())
}

/// `claviger secret …` with the configuration: exit code, stdout, stderr.
pub(crate) fn secret(world: &World, args: &[&str], input: &str) -> (i32, String, String) {
    let output = world.run_with_input(&[&["secret", "--config", "claviger.toml"], args].concat(), input);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if !input.is_empty() {
        canary::assert_absent(input, "stdout", &output.stdout);
        canary::assert_absent(input, "stderr", &output.stderr);
    }
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn version(world: &World) -> String {
    let (code, out, err) = secret(world, &["list", "-o", "json"], "");
    assert_eq!(code, 0, "{err}");
    serde_json::from_str::<Value>(&out).unwrap()[0]["version"].as_str().unwrap().to_owned()
}

/// By trace: the version that the request's answer is owed to.
fn served(proxy: &Proxy, count: usize) -> HashMap<String, String> {
    let finished = proxy.records("finished", count);
    let finished: HashMap<&str, &Value> = finished.iter().map(|one| (one["id"].as_str().unwrap(), one)).collect();
    let decided = proxy.records("decided", count);
    let one = |record: &Value| {
        let finished = finished[record["id"].as_str().unwrap()];
        let version = finished["served_version"].as_str().or(record["credential"]["version"].as_str());
        assert_eq!(finished["replayed"] == true, finished.get("served_version").is_some(), "{finished}");
        (record["trace_id"].as_str().unwrap().to_owned(), version.unwrap().to_owned())
    };
    decided.iter().map(one).collect()
}

/// 200 requests a second through a rotation with an overlap, one whose new key is activated late, and their ends.
#[tokio::test(flavor = "multi_thread")]
async fn rotations_lose_no_request_and_the_ledger_shows_the_versions() {
    let (world, keyring, _) = world().await;
    let keys = [world.canary.clone(), canary::canary(), canary::canary()];
    let [first, second, third] = keys.each_ref().map(String::as_str);
    let proxy = world.start();
    let mut versions = HashMap::from([(version(&world), first)]);
    let load = Load::start(&world, &proxy, 200);
    load.pass(100).await;

    // Upstream takes both, and the probe shows that it does.
    keyring.take(&[first, second]);
    let (code, out, err) = secret(&world, &["rotate", "api"], second);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.starts_with("service `api` takes the value (`GET /v1/check`: 200)\nrotated `api` (version "), "{out}");
    let taken_up = format!("the running process took version {} of credential `api` up at ", version(&world));
    assert!(out.lines().last().unwrap().starts_with(&taken_up), "{out}");
    versions.insert(version(&world), second);
    until("the new key is used", async || keyring.has_seen(second)).await;
    load.pass(100).await;
    // Whatever began with the old key has been answered.
    keyring.take(&[second]);
    load.pass(100).await;
    assert_eq!(secret(&world, &["rotate", "api", "--finish"], "").0, 0);
    load.pass(100).await;

    // Upstream knows the next key only later: a probe says so, and nothing is changed.
    let before = version(&world);
    let (code, _, err) = secret(&world, &["rotate", "api"], third);
    let refused =
        "claviger: nothing was changed: service `api` does not take the value (`GET /v1/check`: it answered 401)";
    assert!(code == 1 && err.starts_with(refused), "{err}");
    assert_eq!(version(&world), before);
    // Put in force all the same, it is tried, and the one before serves on.
    let (code, out, err) = secret(&world, &["rotate", "api", "--no-probe"], third);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    versions.insert(version(&world), third);
    let warning = proxy.wait_for_line("credential `api`");
    assert!(warning.contains("previous value serves"), "{warning}");
    assert!(keyring.has_seen(third));
    load.pass(200).await;
    // Now it does, and the old one is dropped here, then there.
    keyring.take(&[second, third]);
    load.pass(50).await;
    assert_eq!(secret(&world, &["rotate", "api", "--finish"], "").0, 0);
    let taken = |seen: &[(String, u16)]| seen.last() == Some(&(third.to_owned(), 200));
    until("the last key serves", async || keyring.seen().values().any(|seen| taken(seen))).await;
    load.pass(100).await;
    keyring.take(&[third]);
    load.pass(100).await;

    let (answers, rate) = load.end().await;
    println!("{} requests, {rate:.0} a second", answers.len());
    let lost: Vec<_> = answers.iter().filter(|(_, answer)| **answer != Ok(200)).collect();
    assert!(lost.is_empty(), "{} of {} were lost: {:?}", lost.len(), answers.len(), lost.first());
    let (seen, served) = (keyring.seen(), served(&proxy, answers.len()));
    assert_eq!((seen.len(), served.len()), (answers.len(), answers.len()));
    for (trace, requests) in &seen {
        // At most twice, and what served is what the ledger says.
        assert!(requests.len() <= 2 && requests.iter().rev().skip(1).all(|(_, status)| *status == 401), "{requests:?}");
        assert_eq!(versions[&served[trace]], requests.last().unwrap().0, "{trace}");
    }
    let twice = seen.values().filter(|requests| requests.len() == 2).count();
    assert!((1..50).contains(&twice), "{twice} requests paid twice, of {}", seen.len());
    for key in keys {
        assert!(seen.values().any(|requests| requests.last().unwrap().0 == key), "every key has served");
        canary::assert_absent_below(&key, world.path());
        canary::assert_absent(&key, "what the proxy printed", proxy.output().as_bytes());
    }
    let kinds: Vec<_> = proxy.records("credential", 1).iter().map(|record| record["kind"].clone()).collect();
    assert!(kinds.contains(&"fell_back".into()), "{kinds:?}");
    // Who changed what.
    let system = proxy.records("system", 5);
    let changed: Vec<_> = system.iter().filter(|one| one["detail"] == "secret://sealed/api").collect();
    let kinds: Vec<_> = changed.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["secret_rotated", "secret_finished", "secret_rotated", "secret_finished"]);
    assert!(changed.iter().all(|one| one["actor"].is_string()), "{changed:?}");
}

/// Upstream revokes the old key at the moment when it knows the new one: whoever is refused is sent with the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_replaced_at_once_loses_no_request_that_can_be_repeated() {
    let (world, keyring, _) = world().await;
    let (first, second) = (world.canary.clone(), canary::canary());
    let proxy = world.start();
    let load = Load::start(&world, &proxy, 200);
    load.without_streams();
    load.pass(50).await;
    assert_eq!(secret(&world, &["rotate", "api", "--no-probe"], &second).0, 0);
    proxy.wait_for_line("previous value serves");
    load.pass(50).await;
    keyring.take(&[&second]);
    load.pass(100).await;
    proxy.records("credential", 1);
    let (answers, _) = load.end().await;
    let lost: Vec<_> = answers.iter().filter(|(_, answer)| **answer != Ok(200)).collect();
    assert!(lost.is_empty(), "{} of {} were lost: {:?}", lost.len(), answers.len(), lost.first());
    let seen = keyring.seen();
    assert!(seen.values().any(|requests| *requests == [(first.clone(), 401), (second.clone(), 200)]));
    let kinds: Vec<_> = proxy.records("credential", 1).iter().map(|record| record["kind"].clone()).collect();
    assert!(kinds.contains(&"accepted".into()), "{kinds:?}");
    canary::assert_absent_below(&second, world.path());
}

/// Promise 1: while both values are about, neither reaches a client, whichever of them was sent.
#[tokio::test(flavor = "multi_thread")]
async fn promise_1_an_upstream_that_reflects_both_values_shows_neither() {
    let world = World::new();
    let next = canary::canary();
    let both = format!("{} {next}", world.canary);
    let answer = claviger_tests::origin::handler(move |request: http::Request<hyper::body::Incoming>| {
        let both = both.clone();
        async move {
            http_body_util::BodyExt::collect(request.into_body()).await.unwrap();
            let mut response = http::Response::new(claviger_tests::origin::full(both.clone()));
            response.headers_mut().insert("x-both", both.parse().unwrap());
            response
        }
    });
    let origin = claviger_tests::Origin::start(&world.ca, &["api.test"], &["http/1.1"], answer).await;
    world.seal("api", &world.canary, &["api.test"]);
    world.configure(&world.usual(origin.port(), ""));
    let proxy = world.start();
    let (code, out, _) = secret(&world, &["rotate", "api"], &next);
    assert!(code == 0 && out.contains("the running process took version"), "{out}");
    let sent = |value: &str| {
        let bearer = format!("Bearer {value}");
        origin.seen().iter().any(|seen| seen.header("authorization") == Some(&bearer))
    };
    let deadline = Instant::now() + PATIENCE;
    let client = crate::reload::client();
    // A body that streams by is sent with the value that is known to work, another may try the new one.
    while !(sent(&world.canary) && sent(&next)) {
        assert!(Instant::now() < deadline);
        for body in [None, Some("small")] {
            let token = world.token("app");
            let request = client.post(proxy.gateway("/api/v1/x")).bearer_auth(&token);
            let answer = match body {
                None => request.body(crate::load::streamed()),
                Some(small) => request.body(small),
            };
            let answer = answer.send().await.unwrap();
            let headers = format!("{:?}", answer.headers());
            let text = headers + &answer.text().await.unwrap();
            for value in [&world.canary, &next] {
                canary::assert_absent(value, "an answer", text.as_bytes());
            }
            assert!(text.contains("********"), "{text}");
        }
    }
}

/// A value that upstream never takes is taken back; `--finish` leaves no way to the value before.
#[tokio::test(flavor = "multi_thread")]
async fn taken_back_or_finished_there_is_one_value() {
    let (world, keyring, _) = world().await;
    let proxy = world.start();
    let ask = async || {
        let request = crate::reload::client().get(proxy.gateway("/api/v1/x")).bearer_auth(world.token("app"));
        request.send().await.unwrap().status().as_u16()
    };
    for (end, answered) in [("--abort", 200), ("--finish", 401)] {
        let wrong = canary::canary();
        assert_eq!(secret(&world, &["rotate", "api", "--no-probe"], &wrong).0, 0);
        let deadline = Instant::now() + PATIENCE;
        while !keyring.has_seen(&wrong) {
            assert!(Instant::now() < deadline, "the wrong key is never tried");
            assert_eq!(ask().await, 200);
        }
        assert_eq!(secret(&world, &["rotate", "api", end], "").0, 0);
        while proxy.records("credential", 1).last().unwrap()["detail"].is_string() || ask().await != answered {
            assert!(Instant::now() < deadline, "{end}: never {answered}");
        }
        // The other value is gone: nobody is asked twice.
        let count = || keyring.seen().values().flatten().count();
        let before = count();
        assert_eq!((ask().await, count()), (answered, before + 1));
    }
}
