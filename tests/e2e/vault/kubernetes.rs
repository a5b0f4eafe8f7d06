//! The kubernetes method of a real OpenBao. There is no cluster; a double of its API answers token reviews as the API is
//! published (<https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/>).

use std::sync::{Arc, Mutex};

use claviger_tests::origin::{full, handler};
use claviger_tests::{Origin, until};
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::scene::{Scene, get};

const UID: &str = "e6a8680e-d103-4cce-80ea-03acbbeacf7d";

/// The API of a cluster.
#[derive(Debug)]
struct Cluster {
    /// What may ask for reviews.
    reviewer: String,
    /// The tokens that it has issued and that hold, with their audiences.
    issued: Mutex<Vec<(String, Vec<String>)>>,
    wrong: Mutex<Vec<String>>,
}

impl Cluster {
    fn answer(&self, head: &http::request::Parts, body: &[u8]) -> (u16, Value) {
        let refuse = |status: u16, why: String| {
            self.wrong.lock().unwrap().push(why.clone());
            let reason =
                json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": why, "code": status });
            (status, reason)
        };
        if head.headers.get("authorization").and_then(|value| value.to_str().ok())
            != Some(&format!("Bearer {}", self.reviewer))
        {
            return refuse(401, "Unauthorized".to_owned());
        }
        if (&head.method, head.uri.path()) != (&Method::POST, "/apis/authentication.k8s.io/v1/tokenreviews") {
            return refuse(404, format!("{} {}", head.method, head.uri.path()));
        }
        let asked: Value = serde_json::from_slice(body).unwrap();
        // Both may be left out: the path says them.
        for (member, expected) in [("kind", "TokenReview"), ("apiVersion", "authentication.k8s.io/v1")] {
            if !asked[member].is_null() && asked[member] != expected {
                return refuse(400, format!("no TokenReview: {member} is {}", asked[member]));
            }
        }
        let wanted: Vec<&str> =
            asked["spec"]["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let issued = self.issued.lock().unwrap();
        let found = issued.iter().find(|(token, _)| asked["spec"]["token"] == *token);
        let shared = |audiences: &Vec<String>| -> Vec<String> {
            audiences.iter().filter(|known| wanted.contains(&known.as_str())).cloned().collect()
        };
        let status = match found.map(|(_, audiences)| shared(audiences)) {
            Some(audiences) if !audiences.is_empty() => json!({
                "authenticated": true, "audiences": audiences,
                "user": {
                    "username": "system:serviceaccount:agents:claviger", "uid": UID,
                    "groups": ["system:serviceaccounts", "system:serviceaccounts:agents", "system:authenticated"],
                },
            }),
            Some(_) => json!({ "user": {}, "error": "token audiences do not match" }),
            None => json!({ "user": {}, "error": "invalid bearer token" }),
        };
        (
            201,
            json!({ "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": asked["spec"], "status": status }),
        )
    }
}

/// The cluster's API at a port of loopback.
async fn serve(scene: &Scene, cluster: &Arc<Cluster>) -> Origin {
    let serving = cluster.clone();
    let api = handler(move |request: Request<Incoming>| {
        let cluster = serving.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let (status, answer) = cluster.answer(&head, &body);
            let response = Response::builder().status(status).header("content-type", "application/json");
            response.body(full(answer.to_string())).unwrap()
        }
    });
    Origin::start(&scene.world.ca, &["127.0.0.1"], &["h2", "http/1.1"], api).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_logs_in_by_its_service_account() {
    let scene = Scene::new().await;
    scene.bao.write("kv/data/app", &json!({ "data": { "key": scene.world.canary } })).await;
    let (issued, wrong) = (Mutex::default(), Mutex::default());
    let cluster = Arc::new(Cluster { reviewer: scene.world.token("reviewer"), issued, wrong });
    let api = serve(&scene, &cluster).await;
    scene.bao.write("sys/auth/kubernetes", &json!({ "type": "kubernetes" })).await;
    let config = json!({
        "kubernetes_host": format!("https://127.0.0.1:{}", api.port()), "kubernetes_ca_cert": scene.world.ca.pem(),
        "token_reviewer_jwt": cluster.reviewer, "disable_local_ca_jwt": true,
    });
    scene.bao.write("auth/kubernetes/config", &config).await;
    let role = json!({
        "bound_service_account_names": "claviger", "bound_service_account_namespaces": "agents", "audience": "vault",
        "token_policies": ["claviger"], "token_ttl": "1h",
    });
    scene.bao.write("auth/kubernetes/role/claviger", &role).await;
    // The kubelet writes another before one ends; the former does not hold any more.
    let project = |account: &str, audience: &str, number: u32| {
        let claims = json!({ "aud": [audience], "jti": number.to_string() });
        let token = scene.world.issuer.projected("agents", account, claims);
        *cluster.issued.lock().unwrap() = vec![(token.clone(), vec![audience.to_owned()])];
        scene.world.write("pod.jwt", &token);
        token
    };
    let auth = "{ kubernetes = { role = \"claviger\", token_file = \"pod.jwt\" } }";
    let made =
        "[credential.app]\nkind = \"static\"\nvalue = \"secret://vault/kv/data/app#key\"\nhosts = [\"api.test\"]\n";
    let start = || {
        scene.configure("[\"bearer\"]", &format!("{}\n{made}", scene.store(auth, "")));
        scene.world.start()
    };
    let first = project("claviger", "vault", 1);
    let proxy = start();
    assert_eq!(get(&scene.world, &proxy, "app").await, (200, String::new()), "{:?}", cluster.wrong.lock());
    assert_eq!(scene.last_token(), scene.world.canary);
    assert!(proxy.stop().success());
    let second = project("claviger", "vault", 2);
    assert_ne!(first, second);
    let proxy = start();
    assert_eq!(get(&scene.world, &proxy, "app").await, (200, String::new()), "{:?}", cluster.wrong.lock());
    let printed = proxy.output();
    assert!(proxy.stop().success());
    assert!(!printed.contains(&first) && !printed.contains(&second));
    // A token that does not hold any more, one of another account, and one for somebody else.
    let check = async |why: &str| {
        let proxy = start();
        assert_eq!(get(&scene.world, &proxy, "app").await.0, 503, "{why}");
        until(why, async || {
            let records = proxy.records("credential", 1);
            let told = |record: &Value| {
                let detail = record["detail"].as_str().unwrap_or_default();
                detail.contains("auth/kubernetes/login") && detail.contains("answered 4")
            };
            records.iter().any(told)
        })
        .await;
        assert!(proxy.stop().success());
    };
    cluster.issued.lock().unwrap().clear();
    check("the token is gone").await;
    project("else", "vault", 3);
    check("another account").await;
    project("claviger", "else", 4);
    check("another audience").await;
    assert_eq!(*cluster.wrong.lock().unwrap(), [""; 0], "the reviews themselves were as the API wants them");
}
