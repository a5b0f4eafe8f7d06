//! The ways to log in.

use std::path::PathBuf;

use base64::Engine;
use serde_json::{Value, json};

use claviger_tests::until;

use crate::scene::{Scene, get, text};

const KEY: &str = "\"secret://vault/kv/data/app#key\"";

async fn scene() -> Scene {
    let scene = Scene::new().await;
    scene.bao.write("kv/data/app", &json!({ "data": { "key": scene.world.canary } })).await;
    scene
}

/// A request gets the key, by a login of this kind.
async fn check(scene: &Scene, auth: &str) {
    scene.stored(auth, "", KEY);
    let proxy = scene.world.start();
    let got = get(&scene.world, &proxy, "app").await;
    assert_eq!(got, (200, String::new()), "{auth}: {:?}", proxy.records("credential", 1));
    assert_eq!(scene.last_token(), scene.world.canary, "{auth}");
}

/// It gets none, and the record says why.
async fn refused(scene: &Scene, auth: &str, why: &str) {
    scene.stored(auth, "", KEY);
    let before = scene.origin.seen().len();
    let proxy = scene.world.start();
    assert_eq!(get(&scene.world, &proxy, "app").await, (503, "credential_unavailable".to_owned()), "{auth}");
    until(why, async || {
        let records = proxy.records("credential", 1);
        records.iter().any(|record| record["detail"].as_str().is_some_and(|detail| detail.contains(why)))
    })
    .await;
    assert_eq!(scene.origin.seen().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_approle_and_by_a_wrapped_secret_id() {
    let scene = scene().await;
    let auth = scene.approle("1h").await;
    check(&scene, &auth).await;
    // The secret id in a wrapping: unwrapped once, and never again.
    let token = scene.bao.write_wrapped("auth/approle/role/claviger/secret-id", &json!({})).await;
    scene.seal("wrapped", &token);
    let wrapped = auth.replace("secret-id\" }", "wrapped\", wrapped = true }");
    check(&scene, &wrapped).await;
    refused(&scene, &wrapped, "the wrapping token was used or is over").await;
    scene.seal("wrong", "no-secret-id-of-this-role");
    refused(&scene, &auth.replace("secret-id\" }", "wrong\" }"), "invalid role or secret id").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_jwt_that_somebody_else_issues() {
    let scene = scene().await;
    scene.bao.write("sys/auth/jwt", &json!({ "type": "jwt" })).await;
    let config = json!({ "jwt_validation_pubkeys": [public_key(&scene)], "bound_issuer": "https://ci.test" });
    scene.bao.write("auth/jwt/config", &config).await;
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "bound_subject": "claviger",
        "token_policies": ["claviger"], "token_ttl": "1h",
    });
    scene.bao.write("auth/jwt/role/claviger", &role).await;
    let auth = "{ jwt = { role = \"claviger\", token = \"secret://file/token.jwt\" } }";
    let token = |sub: &str, claims: Value| scene.world.issuer.token_with(sub, claims);
    scene.world.write("token.jwt", token("claviger", json!({ "aud": "vault" })));
    check(&scene, auth).await;
    scene.world.write("token.jwt", token("claviger", json!({ "aud": "else" })));
    refused(&scene, auth, "the token is for another audience").await;
    scene.world.write("token.jwt", token("nobody", json!({ "aud": "vault" })));
    refused(&scene, auth, "answered 400").await;
    // A pod's token is shown in the same way, from where Kubernetes puts it.
    scene.world.write("pod.jwt", token("claviger", json!({ "aud": "vault" })));
    check(&scene, "{ kubernetes = { role = \"claviger\", mount = \"jwt\", token_file = \"pod.jwt\" } }").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_client_certificate() {
    let scene = scene().await;
    let (certificate, key) = certificate(&scene, "web.test");
    scene.bao.write("sys/auth/cert", &json!({ "type": "cert" })).await;
    let role = json!({
        "certificate": scene.world.ca.pem(), "allowed_dns_sans": "web.test", "token_policies": "claviger", "token_ttl": "1h",
    });
    scene.bao.write("auth/cert/certs/claviger", &role).await;
    let auth = |certificate: &PathBuf, key: &PathBuf| {
        let (certificate, key) = (certificate.display(), key.display());
        format!("{{ cert = {{ certificate = \"{certificate}\", key = \"{key}\", name = \"claviger\" }} }}")
    };
    check(&scene, &auth(&certificate, &key)).await;
    let (other, other_key) = self::certificate(&scene, "another.test");
    refused(&scene, &auth(&other, &other_key), "no role matches the certificate").await;
}

/// No stored secret anywhere: Claviger's own issuer says who the caller is, and the server verifies that by its keys.
#[tokio::test(flavor = "multi_thread")]
async fn by_a_token_that_is_minted_for_claviger_or_for_each_caller() {
    let scene = scene().await;
    let files = scene.world.ca.issue(&["127.0.0.1"]);
    let (certificate, key) = (files.cert.display(), files.key.display());
    let issuer = format!(
        "[issuer]\nurl = \"https://tokens.acme.test\"\nbind = \"127.0.0.1:0\"\n\
         tls = {{ certificate = \"{certificate}\", key = \"{key}\" }}\n"
    );
    let auth = |role: &str| {
        format!("{{ jwt = {{ role = \"{role}\", token = \"issuer\", subject = \"spiffe://acme.test/claviger\" }} }}")
    };
    let configure = |role: &str, credential: &str| {
        let store = scene.store(&auth(role), "");
        scene.configure("[\"bearer\"]", &format!("{store}\n{issuer}\n{credential}\nhosts = [\"api.test\"]\n"));
    };
    configure("claviger", "[credential.app]\nkind = \"static\"\nvalue = \"secret://vault/kv/data/app#key\"");
    let proxy = scene.world.start();
    let keys = format!("https://{}/.well-known/jwks.json", proxy.address("issuer"));
    scene.bao.write("sys/auth/jwt", &json!({ "type": "jwt" })).await;
    let config = json!({
        "jwks_url": keys, "jwks_ca_pem": scene.world.ca.pem(), "bound_issuer": "https://tokens.acme.test",
    });
    scene.bao.write("auth/jwt/config", &config).await;
    for (name, subject) in [("claviger", "spiffe://acme.test/claviger"), ("app", "spiffe://acme.test/ci/app")] {
        let role = json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": [scene.bao.address()], "bound_subject": subject,
            "token_policies": ["claviger"], "token_ttl": "1h",
        });
        scene.bao.write(&format!("auth/jwt/role/{name}"), &role).await;
    }
    // As Claviger, for everyone.
    until("Claviger logs in", async || get(&scene.world, &proxy, "other").await.0 == 200).await;
    assert_eq!(scene.last_token(), scene.world.canary);
    // In the name of each caller: the role is for one of them.
    configure(
        "app",
        "[credential.app]\nkind = \"vault\"\nstore = \"vault\"\npath = \"kv/data/app\"\nfields = \"data.key\"\nper = \"caller\"",
    );
    until("the role is for `app` only", async || get(&scene.world, &proxy, "other").await.0 == 503).await;
    until("`app` has a login", async || get(&scene.world, &proxy, "app").await.0 == 200).await;
    assert_eq!(scene.last_token(), scene.world.canary);
    assert_eq!(get(&scene.world, &proxy, "other").await.0, 503);
    until("the record says whose token it was", async || {
        let records = proxy.records("credential", 1);
        records.iter().any(|record| {
            record["detail"].as_str().is_some_and(|detail| detail.contains("auth/jwt/login` answered 400"))
        })
    })
    .await;
    until("the record says for whom it was minted", async || {
        let of_app = |record: &Value| record["kind"] == "minted" && record["principal"] == "spiffe://acme.test/ci/app";
        proxy.records("credential", 1).iter().any(of_app)
    })
    .await;
}

/// The first key of the issuer's set, as PEM (RFC 5480).
fn public_key(scene: &Scene) -> String {
    const P256: &str = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
    let set: Value = serde_json::from_str(&scene.world.issuer.jwks()).unwrap();
    let url = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut der: Vec<u8> =
        (0..P256.len()).step_by(2).map(|at| u8::from_str_radix(&P256[at..at + 2], 16).unwrap()).collect();
    for part in ["x", "y"] {
        der.extend(url.decode(text(&set["keys"][0][part])).unwrap());
    }
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n", &body[..64], &body[64..])
}

fn certificate(scene: &Scene, name: &str) -> (PathBuf, PathBuf) {
    let files = scene.world.ca.issue_client(&[name]);
    (files.cert, files.key)
}
