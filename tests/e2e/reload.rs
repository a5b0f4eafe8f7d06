//! Reload is atomic: a good file takes effect at the next request of live connections, a bad one changes nothing.

use claviger_tests::World;

use crate::gateway::client;

/// Promise 7: policy holds for every request on a live connection, also after a reload.
#[tokio::test(flavor = "multi_thread")]
async fn promise_7_a_live_connection_follows_the_new_rules() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let client = client();
    let token = world.token("app");
    let status =
        async |path: &str| client.get(proxy.gateway(path)).bearer_auth(&token).send().await.unwrap().status().as_u16();
    assert_eq!(status("/api/v1/a").await, 200);
    let text = world.usual(origin.port(), "[deny.closed]\nwho = \"*\"\nto = \"api\"\nops = [\"GET /v1/a\"]\n");
    world.configure(&text);
    proxy.wait_for_line("generation 2 is in force");
    assert_eq!(status("/api/v1/a").await, 403);
    assert_eq!(status("/api/v1/b").await, 200);
    world.configure(&world.usual(origin.port(), ""));
    proxy.wait_for_line("generation 3 is in force");
    assert_eq!(status("/api/v1/a").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_keeps_the_running_generation_and_says_why() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    world.configure(&world.usual(origin.port(), "[allow.broken]\nwho = \"ap\"\nto = \"api\"\nops = \"*\"\n"));
    let said = proxy.wait_for_line("error:");
    assert!(said.contains("claviger.toml:") && said.contains("`allow.broken.who`"), "{said}");
    proxy.wait_for_line("generation 1 stays");
    let answer = client().get(proxy.gateway("/api/v1/a")).bearer_auth(world.token("app")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let kinds: Vec<_> = proxy.records("system", 2).iter().map(|record| record["kind"].clone()).collect();
    assert!(kinds.contains(&"generation_refused".into()), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reloads() {
    let (world, _origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    proxy.signal(rustix::process::Signal::HUP);
    proxy.wait_for_line("generation 2 is in force");
}

/// A rotated secret is taken up by the running proxy, whether or not it can be told; upstream knows only the old one.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_is_used_without_a_restart() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let rotated =
        world.run_with_input(&["secret", "--state-dir", "state", "rotate", "api"], "a-new-value-of-some-length");
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    let deadline = std::time::Instant::now() + claviger_tests::PATIENCE;
    let new =
        |seen: &claviger_tests::origin::Seen| seen.header("authorization") == Some("Bearer a-new-value-of-some-length");
    while !origin.seen().iter().any(new) {
        let answer = client().get(proxy.gateway("/api/v1/a")).bearer_auth(world.token("app")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "the request that tried it was sent once more");
        assert!(std::time::Instant::now() < deadline, "the old value is still used");
    }
}

/// An upload that is under way when the proxy is told to stop is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_open_requests_end() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<bytes::Bytes>();
    let body = futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|chunk| (Ok::<_, std::io::Error>(chunk), receiver))
    });
    let frames = futures_util::StreamExt::map(body, |chunk| chunk.map(hyper::body::Frame::data));
    let request = client()
        .post(proxy.gateway("/api/v1/slow"))
        .bearer_auth(world.token("app"))
        .body(reqwest::Body::wrap(http_body_util::StreamBody::new(frames)));
    let answer = tokio::spawn(request.send());
    sender.send("first ".into()).unwrap();
    while origin.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    proxy.signal(rustix::process::Signal::TERM);
    proxy.wait_for_line("draining");
    sender.send("last".into()).unwrap();
    drop(sender);
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.unwrap().contains("first last"));
}

/// Whoever writes the file in place is waited for: its first half is a valid configuration that lacks a deny.
#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn half_a_file_is_never_in_force() {
    use std::io::Write;
    let (world, origin) = World::with_keyed_origin().await;
    let deny = "[deny.closed]\nwho = \"*\"\nto = \"api\"\nops = [\"GET /v1/a\"]\n";
    world.configure(&world.usual(origin.port(), deny));
    let proxy = world.start();
    let (client, token) = (client(), world.token("app"));
    let status =
        async |path: &str| client.get(proxy.gateway(path)).bearer_auth(&token).send().await.unwrap().status().as_u16();
    let mut file = std::fs::File::create(world.path().join("claviger.toml")).unwrap();
    write!(file, "# Another.\n{}", world.usual(origin.port(), "")).unwrap();
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_secs(2) {
        assert_eq!(status("/api/v1/a").await, 403);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    file.write_all(deny.as_bytes()).unwrap();
    drop(file);
    proxy.wait_for_line("generation 2 is in force");
    assert_eq!((status("/api/v1/a").await, status("/api/v1/b").await), (403, 200));
}
