//! OpenBao trusts Claviger's issuer by its discovery document alone, also while the keys change.

use std::net::TcpListener;

use claviger_tests::{PATIENCE, until};
use serde_json::{Value, json};

use crate::scene::{Scene, get};

/// The details of the process's records of this kind.
fn told(proxy: &claviger_tests::Proxy, kind: &str) -> usize {
    proxy.records("system", 1).iter().filter(|record| record["kind"] == kind).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_change_and_no_login_is_refused() {
    let scene = Scene::new().await;
    scene.bao.write("kv/data/app", &json!({ "data": { "key": scene.world.canary } })).await;
    // `iss` names the place where the documents are, so it is chosen before anything listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let files = scene.world.ca.issue(&["127.0.0.1"]);
    let issuer = format!(
        "[issuer]\nurl = \"https://127.0.0.1:{port}\"\nbind = \"127.0.0.1:{port}\"\nlifetime = \"5m\"\n\
         rotate_every = \"12s\"\noverlap = \"6s\"\ntls = {{ certificate = \"{}\", key = \"{}\" }}\n",
        files.cert.display(),
        files.key.display()
    );
    let auth = "{ jwt = { role = \"caller\", token = \"issuer\", subject = \"spiffe://acme.test/claviger\" } }";
    let credential = "[credential.app]\nkind = \"vault\"\nstore = \"vault\"\npath = \"kv/data/app\"\nfields = \"data.key\"\n\
                      per = \"caller\"\nhosts = [\"api.test\"]\n";
    let more = format!("{issuer}\n{}\n{credential}", scene.store(auth, ""));
    let text = scene.text(scene.origin.port(), "[\"bearer\"]", &more);
    scene.world.configure(
        &text.replace(
            "[\"spiffe://acme.test/ci/app\", \"spiffe://acme.test/ci/other\"]",
            "\"spiffe://acme.test/ci/**\"",
        ),
    );
    let proxy = scene.world.start();
    scene.bao.write("sys/auth/jwt", &json!({ "type": "jwt" })).await;
    let config = json!({ "oidc_discovery_url": format!("https://127.0.0.1:{port}"), "oidc_discovery_ca_pem": scene.world.ca.pem() });
    scene.bao.write("auth/jwt/config", &config).await;
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": [scene.bao.address()], "bound_claims_type": "glob",
        "bound_claims": { "sub": "spiffe://acme.test/ci/w*" }, "token_policies": ["claviger"], "token_ttl": "1h",
    });
    scene.bao.write("auth/jwt/role/caller", &role).await;
    let deadline = std::time::Instant::now() + PATIENCE;
    let mut after = 0;
    // Each caller logs in by a token of its own, which the key of that moment signs.
    for caller in 0.. {
        let answer = get(&scene.world, &proxy, &format!("w{caller}")).await;
        assert_eq!(answer, (200, String::new()), "caller {caller}: {:?}", proxy.records("credential", 1).last());
        assert_eq!(scene.last_token(), scene.world.canary);
        after += usize::from(told(&proxy, "issuer_key_in_use") > 0);
        if after > 20 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "no key was replaced:\n{}", proxy.output());
    }
    assert!(told(&proxy, "issuer_key_published") >= 2);
    // Nothing stored is behind the login. A path that is called as those of engines that make things, and is a stored
    // secret's, is told by its answer.
    scene.bao.write("old/creds/app", &json!({ "key": scene.world.canary })).await;
    let configured = std::fs::read_to_string(scene.world.path().join("claviger.toml")).unwrap();
    let made = configured
        .replace("path = \"kv/data/app\"\nfields = \"data.key\"", "path = \"old/creds/app\"\nfields = \"key\"");
    assert_ne!(made, configured);
    scene.world.configure(&made);
    let listed = scene.world.run(&["check", "--config", "claviger.toml"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("end-to-end"), "the path alone says so: {listed}");
    assert!(scene.world.run(&["reload", "--config", "claviger.toml"]).status.success(), "{}", proxy.output());
    assert_eq!(get(&scene.world, &proxy, "wstored").await, (200, String::new()));
    until("the record says that it is stored", async || {
        let records = proxy.records("credential", 1);
        let minted = records.iter().rfind(|record| record["kind"] == "minted").unwrap();
        minted["principal"] == "spiffe://acme.test/ci/wstored" && minted["secretless"] == "proxy-held"
    })
    .await;
    // Another subject, which the server's role does not take.
    assert_eq!(get(&scene.world, &proxy, "other").await, (503, "credential_unavailable".to_owned()));
    // Of each caller whose value was minted, no login is left: it was for this value alone, which has no lease.
    let accessors = scene.bao.ask("LIST".parse().unwrap(), "auth/token/accessors", &Value::Null).await.1;
    let known = accessors["data"]["keys"].as_array().unwrap().len();
    assert!(known <= 2, "only root's is left: {accessors}");
}
