//! A server that is sealed, killed, or forgets a token.

use serde_json::json;

use claviger_tests::until;

use crate::scene::{Scene, get};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_serves_on_while_the_server_is_away_and_then_it_recovers() {
    let mut scene = Scene::new().await;
    let auth = scene.approle("1h").await;
    let canary = scene.world.canary.clone();
    scene.bao.write("kv/data/app", &json!({ "data": { "key": canary } })).await;
    scene.stored(&auth, "refresh = \"1s\"", "\"secret://vault/kv/data/app#key\"");
    let proxy = scene.world.start();
    assert_eq!(get(&scene.world, &proxy, "app").await.0, 200);
    let failures = || {
        let records = proxy.records("credential", 1);
        records.iter().filter(|record| record["kind"] == "failed").map(|record| record["detail"].to_string()).collect()
    };
    scene.bao.seal().await;
    until("a reading fails", async || {
        assert_eq!(get(&scene.world, &proxy, "app").await.0, 200);
        let failures: Vec<String> = failures();
        failures.iter().any(|detail| detail.contains("answered 503 with `the server is sealed`"))
    })
    .await;
    scene.bao.unseal().await;
    let second = "the-second-value-of-the-key";
    scene.bao.write("kv/data/app", &json!({ "data": { "key": second } })).await;
    let changed = async |value: &str| get(&scene.world, &proxy, "app").await.0 == 200 && scene.last_token() == value;
    until("it is read again", async || changed(second).await).await;
    scene.bao.kill();
    until("the server is not reached", async || {
        assert_eq!(get(&scene.world, &proxy, "app").await.0, 200);
        let failures: Vec<String> = failures();
        failures.iter().any(|detail| detail.contains("cannot connect"))
    })
    .await;
    scene.bao.restart().await;
    let third = "the-third-value-of-the-key";
    scene.bao.write("kv/data/app", &json!({ "data": { "key": third } })).await;
    let changed = async |value: &str| get(&scene.world, &proxy, "app").await.0 == 200 && scene.last_token() == value;
    until("it recovers", async || changed(third).await).await;
}

/// Somebody revokes all tokens of the role: the next reading logs in again.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_server_forgets_is_had_anew() {
    let scene = Scene::new().await;
    let auth = scene.approle("1h").await;
    scene.bao.write("kv/data/app", &json!({ "data": { "key": scene.world.canary } })).await;
    scene.stored(&auth, "refresh = \"1s\"", "\"secret://vault/kv/data/app#key\"");
    let proxy = scene.world.start();
    assert_eq!(get(&scene.world, &proxy, "app").await.0, 200);
    scene.bao.write("sys/leases/revoke-prefix/auth/approle", &json!({})).await;
    let second = "the-second-value-of-the-key";
    scene.bao.write("kv/data/app", &json!({ "data": { "key": second } })).await;
    until("it is read again", async || {
        assert_eq!(get(&scene.world, &proxy, "app").await.0, 200);
        scene.last_token() == second
    })
    .await;
}
