//! How long a handle lasts: its end, a restart, a reload, and a login whose credential cannot be had.

use std::time::Instant;

use claviger_tests::proxy::PATIENCE;
use serde_json::Value;

use crate::scene::{Caller, Scene, refused, told};

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_ends() {
    let scene = Scene::oauth2(", lifetime = \"1s\"").await;
    let proxy = scene.start();
    let app = Caller::new(&scene.world, &proxy, "app");
    let (handle, lasts) = app.log_in().await;
    assert_eq!(lasts, 1);
    let deadline = Instant::now() + PATIENCE;
    let mut records = 1;
    let answer = loop {
        let answer = app.call(&handle).await;
        records += 1;
        if answer.0 != 200 {
            break answer;
        }
        assert!(Instant::now() < deadline, "it does not end");
    };
    assert_eq!(answer, refused(401, "handle_invalid"));
    let records = proxy.records("decided", records);
    assert_eq!(records.last().unwrap()["code"], "handle_expired");
    // What clients do then, with the old one still in their hands.
    let (next, _) = app.log_in().await;
    assert_ne!(next, handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_outlives_a_restart_and_a_reload() {
    let scene = Scene::oauth2("").await;
    let proxy = scene.start();
    let (handle, _) = Caller::new(&scene.world, &proxy, "app").log_in().await;
    assert!(proxy.stop().success());

    let proxy = scene.start();
    let app = Caller::new(&scene.world, &proxy, "app");
    assert_eq!(app.call(&handle).await, (200, None), "another process with the same state reads it");
    // Another generation.
    scene.configure(&scene.crm(", lifetime = \"5m\""));
    proxy.wait_for_line("generation 2 is in force");
    assert_eq!(app.call(&handle).await, (200, None));
    // The rule is judged at each use: a handle is no permission.
    let without = scene.crm("").replace("who = \"app\"", "who = \"reader\"");
    scene.configure(&without);
    proxy.wait_for_line("generation 3 is in force");
    assert_eq!(app.call(&handle).await, refused(403, "denied"));
    // No logins any more: what clients show is a placeholder again.
    let text = scene.crm("");
    let without: String =
        text.lines().filter(|line| !line.starts_with("login = ")).map(|line| format!("{line}\n")).collect();
    scene.configure(&without);
    proxy.wait_for_line("generation 4 is in force");
    assert_eq!(app.call(&handle).await, (200, None));
    assert!(proxy.stop().success());

    // With another key nobody's handle is one.
    let key = scene.world.path().join("state/sealed/.handles.age");
    std::fs::remove_file(&key).unwrap_or_else(|error| panic!("{}: {error}", key.display()));
    scene.configure(&scene.crm(""));
    let proxy = scene.start();
    let app = Caller::new(&scene.world, &proxy, "app");
    assert_eq!(app.call(&handle).await, refused(401, "handle_invalid"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_fails_when_the_credential_cannot_be_had() {
    let scene = Scene::oauth2("").await;
    scene.world.seal("client", &scene.world.canary, &["127.0.0.1:9"]);
    let minted = r#"
[credential.minted]
kind = "oauth2"
grant = "client_credentials"
token_url = "https://127.0.0.1:9/token"
client_id = "claviger"
client_secret = "secret://sealed/client"
hosts = ["api.test"]
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
"#;
    let services = scene.crm("").replace("secret = \"secret://sealed/api\"\n", "") + minted;
    scene.configure(&services);
    let proxy = scene.start();
    let app = Caller::new(&scene.world, &proxy, "app");
    let answer = app.post("/crm/oauth/token", &[("grant_type", "client_credentials")]).await;
    assert_eq!(told(&answer), refused(503, "credential_unavailable"));
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"], "temporarily_unavailable");
    assert_eq!(scene.origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_of_one_caller_are_bounded() {
    let scene = Scene::oauth2(", rate = 2").await;
    let proxy = scene.start();
    let app = Caller::new(&scene.world, &proxy, "app");
    let (first, _) = app.log_in().await;
    app.log_in().await;
    let answer = app.post("/crm/oauth/token", &[("grant_type", "client_credentials")]).await;
    assert_eq!(told(&answer), refused(429, "login_limited"));
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"], "temporarily_unavailable");
    assert_eq!(app.call(&first).await, (200, None), "what it has goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_workload_does_not_log_in() {
    let scene = Scene::oauth2("").await;
    let proxy = scene.start();
    let app = Caller::new(&scene.world, &proxy, "app");
    let (handle, _) = app.log_in().await;
    let args = ["suspend", "principal", "spiffe://acme.test/ci/app", "--config", "claviger.toml", "--reason", "test"];
    let suspended = scene.world.run(&args);
    assert!(suspended.status.success(), "{}", String::from_utf8_lossy(&suspended.stderr));
    let answer = app.post("/crm/oauth/token", &[("grant_type", "client_credentials")]).await;
    assert_eq!(told(&answer), refused(400, "suspended"));
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"], "unauthorized_client");
    assert_eq!(app.call(&handle).await, refused(403, "suspended"));
}
