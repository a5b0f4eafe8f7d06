//! The state is away: what was suspended last stays so, and nothing can be changed. A process that cannot read it does
//! not start.

use crate::scene::{admin, claviger, client, ok, passes, prepared, said, scene, system};

#[tokio::test(flavor = "multi_thread")]
async fn without_its_state_a_process_does_not_start() {
    let (world, _origin) = prepared("").await;
    world.write("state/state.db", "no database, and as long as one has to be to be taken for it. ".repeat(30));
    let output = claviger(&world, &["run"]);
    let (_, err) = said(&output);
    assert_eq!(output.status.code(), Some(1), "{err}");
    for text in [
        "failed to open the state `state/state.db`: file is not a database",
        "help: without it nobody knows what is suspended, so that nothing is served; restore `state/state.db`",
    ] {
        assert!(err.contains(text), "{err}");
    }
    assert!(!err.contains("listens on"), "it serves: {err}");
    // A folder in its place, and a file in the place of its folder.
    std::fs::remove_file(world.path().join("state/state.db")).unwrap();
    std::fs::create_dir(world.path().join("state/state.db")).unwrap();
    let (_, err) = said(&claviger(&world, &["run"]));
    assert!(err.contains("failed to open the state `state/state.db`: "), "{err}");
    std::fs::remove_dir(world.path().join("state/state.db")).unwrap();
    // One that was not there is made while the listeners open, and that it cannot be made ends the process all the same.
    std::fs::create_dir(world.path().join("state/state.db-journal")).unwrap();
    let output = claviger(&world, &["run"]);
    let (_, err) = said(&output);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("failed to open the state `state/state.db`: unable to open database file"), "{err}");
    assert!(!err.contains("ready"), "it serves: {err}");
    std::fs::remove_dir(world.path().join("state/state.db-journal")).unwrap();
    drop(world.start());
}

#[tokio::test(flavor = "multi_thread")]
async fn state_that_goes_away_keeps_what_was_suspended() {
    let (world, _origin, proxy) = scene("[admin]\nbind = \"127.0.0.1:0\"\n").await;
    ok(&world, &["suspend", "service", "api"]);
    let page = async |path: &str| {
        let url = format!("http://{}{path}", proxy.address("admin"));
        client().get(url).send().await.unwrap().text().await.unwrap()
    };
    assert_eq!(page("/readyz").await, "ok\n");
    let (file, aside) = (world.path().join("state/state.db"), world.path().join("state/aside.db"));
    std::fs::rename(&file, &aside).unwrap();
    claviger_tests::until("it is noticed", async || page("/metrics").await.contains("claviger_state_healthy 0")).await;
    assert_eq!(page("/readyz").await, "ok, but suspensions cannot be read or changed\n");
    assert!(!passes(&world, &proxy, "app", "/api/v1/x").await);
    for (method, url) in [
        ("POST", "http://localhost/v1/suspensions"),
        ("DELETE", "http://localhost/v1/suspensions?kind=service&name=api"),
    ] {
        let call = admin(&world).request(method.parse().unwrap(), url).header("content-type", "application/json");
        let answer = call.body(r#"{"kind":"service","name":"crm"}"#).send().await.unwrap();
        assert_eq!(answer.status(), 503, "{method}");
        let answer: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(answer["error"]["code"], "state_unavailable");
    }
    let output = claviger(&world, &["resume", "service", "api"]);
    let (_, err) = said(&output);
    assert!(
        output.status.code() == Some(1) && err.contains("nothing was changed: the state `state/state.db`"),
        "{err}"
    );
    assert!(!passes(&world, &proxy, "app", "/api/v1/x").await);
    assert!(passes(&world, &proxy, "app", "/crm/v1/x").await);
    let (out, err) = ok(&world, &["suspend", "list"]);
    assert!(out.starts_with("service    api") && err.contains("this is what was suspended last"), "{out}{err}");
    assert!(!file.exists(), "it was made anew, and empty");
    // Restored: it goes on where it was.
    std::fs::rename(&aside, &file).unwrap();
    claviger_tests::until("it is noticed", async || page("/metrics").await.contains("claviger_state_healthy 1")).await;
    assert!(!passes(&world, &proxy, "app", "/api/v1/x").await);
    ok(&world, &["resume", "service", "api"]);
    assert!(passes(&world, &proxy, "app", "/api/v1/x").await);
    assert!(system(&proxy, "state_unavailable", 1)[0]["detail"].as_str().unwrap().contains("cannot be used"));
    system(&proxy, "state_available", 1);
}

/// Nobody is to read why something was suspended, or to end it by writing a file.
#[tokio::test(flavor = "multi_thread")]
async fn the_state_is_its_owners() {
    use std::os::unix::fs::PermissionsExt;
    let (world, _origin, proxy) = scene("").await;
    ok(&world, &["suspend", "service", "api"]);
    let mode = |name: &str| std::fs::metadata(world.path().join(name)).unwrap().permissions().mode() & 0o777;
    for name in ["state/state.db", "state/state.db-wal", "state/admin.sock"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    drop(proxy);
    assert!(!world.path().join("state/admin.sock").exists(), "the door stands yet, and nobody is behind it");
}
