//! Secrets of KV engines.

use serde_json::json;

use claviger_tests::until;

use crate::scene::{Scene, get};

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_kv_are_read() {
    let scene = Scene::new().await;
    let auth = scene.approle("1h").await;
    let canary = scene.world.canary.clone();
    scene.bao.write("kv/data/team/app", &json!({ "data": { "key": canary, "other": "x" } })).await;
    scene.bao.write("old/team/app", &json!({ "key": canary })).await;
    for reference in ["kv/data/team/app#key", "old/team/app#key"] {
        scene.stored(&auth, "", &format!("\"secret://vault/{reference}\""));
        let proxy = scene.world.start();
        assert_eq!(get(&scene.world, &proxy, "app").await, (200, String::new()), "{reference}");
        assert_eq!(scene.last_token(), canary, "{reference}");
        assert!(proxy.stop().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_is_read_and_a_deleted_one_goes_nowhere() {
    let scene = Scene::new().await;
    let auth = scene.approle("1h").await;
    let (first, second) = (scene.world.canary.clone(), "the-second-value-of-the-key");
    scene.bao.write("kv/data/app", &json!({ "data": { "key": first } })).await;
    scene.stored(&auth, "refresh = \"1s\"", "\"secret://vault/kv/data/app#key\"");
    let proxy = scene.world.start();
    let passes = async || get(&scene.world, &proxy, "app").await.0 == 200;
    assert!(passes().await);
    assert_eq!(scene.last_token(), first);
    scene.bao.write("kv/data/app", &json!({ "data": { "key": second } })).await;
    until("the second version is sent", async || passes().await && scene.last_token() == second).await;
    scene.bao.delete("kv/data/app").await;
    until("a deleted secret is refused", async || !passes().await).await;
    let before = scene.origin.seen().len();
    assert_eq!(get(&scene.world, &proxy, "app").await, (503, "credential_unavailable".to_owned()));
    assert_eq!(scene.origin.seen().len(), before);
    scene.bao.write("kv/undelete/app", &json!({ "versions": [2] })).await;
    until("it is back", passes).await;
    assert_eq!(scene.last_token(), second);
    let records = proxy.records("credential", 1);
    let versions: Vec<_> = records.iter().filter_map(|record| record["credential"]["version"].as_str()).collect();
    assert!(versions.contains(&"1") && versions.contains(&"2"), "{versions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_says_where_its_secrets_may_go_and_a_namespace_is_its_own() {
    let scene = Scene::new().await;
    let canary = scene.world.canary.clone();
    scene.bao.write("sys/namespaces/team", &json!({})).await;
    scene.bao.write_in("team", "sys/mounts/kv", &json!({ "type": "kv", "options": { "version": "2" } })).await;
    scene.bao.write_in("team", "kv/data/app", &json!({ "data": { "key": canary } })).await;
    scene.bao.write_in("team", "sys/policies/acl/claviger", &json!({ "policy": crate::scene::POLICY })).await;
    let made = scene.bao.write_in("team", "auth/token/create", &json!({ "policies": ["claviger"], "ttl": "1h" })).await;
    scene.seal("token", made["auth"]["client_token"].as_str().unwrap());
    let (auth, inject) = ("{ token = \"secret://sealed/token\" }", "[\"bearer\"]");
    let credential = "[credential.app]\nkind = \"static\"\nvalue = \"secret://vault/kv/data/app#key\"\n";
    let bound = "namespace = \"team\"\nbindings = { \"kv/data/*\" = [\"api.test\"] }";
    scene.configure(inject, &format!("{}\n{credential}", scene.store(auth, bound)));
    let proxy = scene.world.start();
    assert_eq!(get(&scene.world, &proxy, "app").await, (200, String::new()));
    assert_eq!(scene.last_token(), canary);
    assert!(proxy.stop().success());
    // Bound elsewhere: it does not load.
    let elsewhere = "namespace = \"team\"\nbindings = { \"kv/data/*\" = [\"else.test\"] }";
    scene.configure(inject, &format!("{}\n{credential}", scene.store(auth, elsewhere)));
    let output = scene.world.run(&["check", "--config", "claviger.toml"]);
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
