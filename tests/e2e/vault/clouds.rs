//! Engines of clouds: none runs without one. A double answers as Vault's AWS engine is published to
//! (<https://developer.hashicorp.com/vault/api-docs/secret/aws>), and takes nothing that the pages do not say.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use claviger_tests::origin::{OriginBody, full, handler};
use claviger_tests::{CI, GATEWAY, Origin, World, app_and_api, until};
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::scene::get;

/// A Vault with an AWS engine, one AppRole and one token.
#[derive(Debug, Default)]
struct Aws {
    /// Leases that were given out and not taken back.
    leases: Mutex<BTreeSet<String>>,
    made: Mutex<u32>,
    /// Calls, as `METHOD path body`, and what was wrong with those that were refused.
    asked: Mutex<Vec<String>>,
    wrong: Mutex<Vec<String>>,
}

const TOKEN: &str = "hvs.the-token-of-the-double";

impl Aws {
    fn refuse(&self, status: u16, why: &str) -> (u16, Value) {
        self.wrong.lock().unwrap().push(why.to_owned());
        (status, json!({ "errors": [why] }))
    }

    fn answer(&self, head: &http::request::Parts, body: &[u8]) -> (u16, Value) {
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let path = head.uri.path().strip_prefix("/v1/").unwrap_or_default();
        let said: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(body).unwrap() };
        if header("x-vault-request") != Some("true") || header("x-vault-namespace") != Some("team") {
            return self.refuse(400, "a header is missing");
        }
        if path == "auth/approle/login" {
            let is_right = said == json!({ "role_id": "the-role", "secret_id": "the-secret-id" });
            let auth = json!({ "client_token": TOKEN, "lease_duration": 3600, "renewable": true });
            return if is_right {
                (200, json!({ "auth": auth }))
            } else {
                self.refuse(400, "invalid role or secret id")
            };
        }
        if header("x-vault-token") != Some(TOKEN) {
            return self.refuse(403, "permission denied");
        }
        self.asked.lock().unwrap().push(format!("{} {path} {said}", head.method));
        match (&head.method, path) {
            // "If the credential type is iam_user": no session token.
            (&Method::GET, "aws/creds/deploy") => self.make(path, 2_764_800, true, "AKIA", Value::Null),
            // "ttl": of the STS token. Such a lease is not renewable.
            (&Method::POST, "aws/sts/deploy") if said == json!({ "ttl": "15m", "role_session_name": "claviger" }) => {
                self.make(path, 900, false, "ASIA", "FwoGZXIvYXdzEBY-the-session-token".into())
            }
            (&Method::POST, "sys/leases/revoke") => {
                let id = said["lease_id"].as_str().unwrap_or_default();
                match said["sync"] == true && self.leases.lock().unwrap().remove(id) {
                    true => (204, Value::Null),
                    false => self.refuse(400, "invalid lease"),
                }
            }
            _ => self.refuse(404, "no handler for route"),
        }
    }

    fn make(&self, path: &str, seconds: u64, renewable: bool, kind: &str, session: Value) -> (u16, Value) {
        let mut made = self.made.lock().unwrap();
        *made += 1;
        let lease = format!("{path}/{made}");
        self.leases.lock().unwrap().insert(lease.clone());
        let data = json!({
            "access_key": format!("{kind}IOSFODNN7EXAMPL{made}"), "secret_key": format!("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE{made}"),
            "security_token": session, "arn": "arn:aws:sts::123456789012:assumed-role/deploy/claviger",
        });
        let lease = json!({ "lease_id": lease, "renewable": renewable, "lease_duration": seconds, "data": data });
        (200, lease)
    }
}

struct Stage {
    world: World,
    aws: Arc<Aws>,
    origin: Origin,
}

impl Stage {
    async fn start(credential: &str) -> Self {
        let (world, aws) = (World::new(), Arc::new(Aws::default()));
        let serving = aws.clone();
        let vault = handler(move |request: Request<Incoming>| {
            let aws = serving.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let (status, body) = aws.answer(&head, &body);
                let body = if body.is_null() { full("") } else { full(body.to_string()) };
                Response::builder().status(status).body(body).unwrap()
            }
        });
        let vault = Origin::start(&world.ca, &["127.0.0.1"], &["http/1.1"], vault).await;
        let ok = handler(|_: Request<Incoming>| async { Response::new(full(Bytes::from_static(b"ok")) as OriginBody) });
        let origin = Origin::start(&world.ca, &["api.test"], &["http/1.1"], ok).await;
        world.seal("secret-id", "the-secret-id", &[&format!("127.0.0.1:{}", vault.port())]);
        world.configure(&format!(
            r#"{GATEWAY}
{CI}
{}
inject = [{{ header = "x-access", from = "access" }}, {{ header = "x-secret", from = "secret" }}, {{ bearer = true, from = "session" }}]

[store.vault]
kind = "vault"
address = "https://127.0.0.1:{}"
namespace = "team"
auth = {{ approle = {{ role_id = "the-role", secret_id = "secret://sealed/secret-id" }} }}
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]

[credential.aws]
kind = "vault"
store = "vault"
hosts = ["api.test"]
fields = {{ access = "access_key", secret = "secret_key", session = "security_token" }}
{credential}

[allow.app-api]
who = "app"
to = "api"
ops = ["* /**"]
use = "aws"
"#,
            app_and_api(origin.port()),
            vault.port(),
        ));
        Self { world, aws, origin }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_aws_are_made_once_and_taken_back() {
    let sts = "path = \"aws/sts/deploy\"\nparameters = { ttl = \"15m\", role_session_name = \"claviger\" }";
    let stage = Stage::start(sts).await;
    let proxy = stage.world.start();
    for _ in 0..3 {
        assert_eq!(get(&stage.world, &proxy, "app").await, (200, String::new()), "{:?}", stage.aws.wrong.lock());
    }
    let seen = stage.origin.seen();
    let keys =
        |at: usize| ["x-access", "x-secret", "authorization"].map(|name| seen[at].header(name).unwrap().to_owned());
    assert_eq!(
        keys(0),
        ["ASIAIOSFODNN7EXAMPL1", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE1", "Bearer FwoGZXIvYXdzEBY-the-session-token"]
    );
    assert_eq!(keys(2), keys(0));
    assert_eq!(stage.aws.leases.lock().unwrap().len(), 1);
    let minted = proxy.records("credential", 1).remove(0);
    // The login has a stored secret behind it.
    assert_eq!((&minted["kind"], &minted["secretless"]), (&json!("minted"), &json!("proxy-held")), "{minted}");
    let printed = proxy.output();
    assert!(proxy.stop().success());
    assert!(stage.aws.leases.lock().unwrap().is_empty(), "taken back before the process ended");
    assert_eq!(*stage.aws.wrong.lock().unwrap(), [""; 0]);
    for key in keys(0) {
        let key = key.trim_start_matches("Bearer ");
        assert!(!printed.contains(key));
        claviger_tests::canary::assert_absent_below(key, &stage.world.path().join("state"));
    }
}

/// A user of IAM has no session token: what was made for nothing is taken back at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_lacks_a_field_is_taken_back() {
    let stage = Stage::start("path = \"aws/creds/deploy\"").await;
    let proxy = stage.world.start();
    assert_eq!(get(&stage.world, &proxy, "app").await, (503, "credential_unavailable".to_owned()));
    until("it is taken back", async || stage.aws.leases.lock().unwrap().is_empty()).await;
    assert!(*stage.aws.made.lock().unwrap() > 0 && stage.origin.seen().is_empty());
    let failed = proxy.records("credential", 1).remove(0);
    let detail = failed["detail"].as_str().unwrap();
    assert!(detail.contains("v1/aws/creds/deploy") && detail.contains("a member that `fields` names"), "{detail}");
    assert!(!detail.contains("AKIA") && !detail.contains("wJalr"), "{detail}");
}
