//! Namespaces of OpenBao: the login, secrets and what engines make, in one that stands in another.

use serde_json::json;

use claviger_tests::until;

use crate::scene::{Scene, get, text};

const NAMESPACE: &str = "team/app";

async fn scene() -> (Scene, String) {
    let scene = Scene::new().await;
    let bao = &scene.bao;
    bao.write("sys/namespaces/team", &json!({})).await;
    bao.write_in("team", "sys/namespaces/app", &json!({})).await;
    let auth = scene.approle_in(NAMESPACE, "1h").await;
    bao.write_in(NAMESPACE, "sys/mounts/kv", &json!({ "type": "kv", "options": { "version": "2" } })).await;
    let secret = json!({ "data": { "key": scene.world.canary } });
    bao.write_in(NAMESPACE, "kv/data/app", &secret).await;
    // One of the same name outside, which nobody is to get.
    bao.write("kv/data/app", &json!({ "data": { "key": "of-the-root-namespace" } })).await;
    bao.write_in(NAMESPACE, "sys/mounts/pki", &json!({ "type": "pki" })).await;
    bao.write_in(NAMESPACE, "pki/root/generate/internal", &json!({ "common_name": "root", "ttl": "24h" })).await;
    let role = json!({ "allow_any_name": true, "max_ttl": "2h", "key_type": "ec", "generate_lease": true });
    bao.write_in(NAMESPACE, "pki/roles/web", &role).await;
    (scene, auth)
}

#[tokio::test(flavor = "multi_thread")]
async fn login_secret_and_lease_are_of_the_namespace() {
    let (scene, auth) = scene().await;
    scene.stored(&auth, &format!("namespace = \"{NAMESPACE}\""), "\"secret://vault/kv/data/app#key\"");
    let proxy = scene.world.start();
    assert_eq!(get(&scene.world, &proxy, "app").await, (200, String::new()));
    assert_eq!(scene.last_token(), scene.world.canary);
    assert!(proxy.stop().success());
    // What an engine makes, with its lease, which is taken back there.
    let store = scene.store(&auth, &format!("namespace = \"/{NAMESPACE}/\""));
    let credential = "[credential.app]\nkind = \"vault\"\nstore = \"vault\"\npath = \"pki/issue/web\"\n\
                      parameters = { common_name = \"app.test\" }\nfields = \"serial_number\"\nhosts = [\"api.test\"]\n";
    scene.configure("[\"bearer\"]", &format!("{store}\n{credential}"));
    let proxy = scene.world.start();
    assert_eq!(get(&scene.world, &proxy, "app").await, (200, String::new()));
    let serial = scene.last_token();
    let path = format!("pki/cert/{serial}");
    let revoked = async || scene.bao.read_in(NAMESPACE, &path).await["data"]["revocation_time"].as_i64().unwrap() > 0;
    assert!(!revoked().await);
    assert!(proxy.stop().success());
    until("the lease is taken back", revoked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_of_another_namespace_opens_nothing() {
    let (scene, auth) = scene().await;
    let check = async |namespace: &str, path: &str, why: &str| {
        scene.stored(&auth, namespace, "\"secret://vault/kv/data/app#key\"");
        let proxy = scene.world.start();
        assert_eq!(get(&scene.world, &proxy, "app").await, (503, "credential_unavailable".to_owned()), "{namespace}");
        let detail = text(&proxy.records("credential", 1)[0]["detail"]).to_owned();
        assert!(detail.contains(path) && detail.contains(why), "{namespace}: {detail}");
        assert!(proxy.stop().success());
    };
    check("", "auth/approle/login", "answered 4").await;
    check("namespace = \"team\"", "auth/approle/login", "answered 4").await;
    check("namespace = \"nowhere\"", "auth/approle/login", "answered 4").await;
    assert_eq!(scene.origin.seen().len(), 0);
}
