//! Attestors of deployments over the real binary.

use std::time::Instant;

use bytes::Bytes;
use claviger_tests::issuer::TokenIssuer;
use claviger_tests::origin::{OriginBody, handler};
use claviger_tests::{Origin, PATIENCE, Proxy, World};
use futures_util::{StreamExt, stream};
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};

const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

/// The usual world, of which the gateway takes what `authenticate` says, with these attestors and rules.
fn configured(world: &World, port: u16, authenticate: &str, more: &str) {
    let text = world.usual(port, more);
    world.configure(&text.replacen("authenticate = [\"ci\"]", &format!("authenticate = {authenticate}"), 1));
}

async fn world() -> (World, Origin) {
    let world = World::new();
    let origin = Origin::keyed(&world.ca, &world.canary).await;
    world.seal("api", &world.canary, &["api.test"]);
    (world, origin)
}

/// A sidecar in a pod: its own token, the cluster's keys.
async fn sidecar() -> (World, Origin, TokenIssuer) {
    let (world, origin) = world().await;
    let cluster = TokenIssuer::new(CLUSTER);
    world.write("cluster.json", cluster.jwks());
    world.write("own.jwt", cluster.projected("shop", "checkout", json!({})));
    configured(
        &world,
        origin.port(),
        "[\"own\"]",
        &format!(
            "[attestor.own]\nkind = \"locality\"\ntoken = \"own.jwt\"\nverify = \"k8s\"\n\
             [attestor.k8s]\nkind = \"kubernetes\"\nissuer = \"{CLUSTER}\"\naudience = \"claviger\"\njwks = \"cluster.json\"\n\
             [workload.checkout]\nspiffe = \"spiffe://acme.test/ns/shop/sa/checkout\"\nattested_by = \"own\"\n\
             match = {{ \"k8s.namespace\" = \"shop\" }}\n\
             [allow.checkout-api]\nwho = \"checkout\"\nto = \"api\"\nops = [\"GET /v1/**\"]\n"
        ),
    );
    (world, origin, cluster)
}

async fn ask(proxy: &Proxy) -> (u16, Value) {
    let answer = client().get(proxy.gateway("/api/v1/a")).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

/// Asks until the answer has this status.
async fn ask_until(proxy: &Proxy, status: u16) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (found, body) = ask(proxy).await;
        if found == status {
            return body;
        }
        assert!(Instant::now() < deadline, "{found} and not {status}: {body}\n{}", proxy.output());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_is_the_sidecars_workload() {
    let (world, _origin, cluster) = sidecar().await;
    let proxy = world.start();
    assert_eq!(ask(&proxy).await.0, 200);
    let decided = proxy.records("decided", 1).remove(0);
    assert_eq!(decided["principal"], "spiffe://acme.test/ns/shop/sa/checkout", "{decided}");

    // It is renewed with another account: taken up by itself, without a generation.
    world.write("own.jwt", cluster.projected("shop", "other", json!({})));
    ask_until(&proxy, 403).await;
    // It ends: nobody is known, and nobody else is asked.
    world.write("own.jwt", cluster.projected("shop", "checkout", json!({"exp": 1_700_000_000})));
    let refused = ask_until(&proxy, 401).await;
    assert_eq!(refused["error"]["code"], "invalid_identity", "{refused}");
    world.write("own.jwt", TokenIssuer::new(CLUSTER).projected("shop", "checkout", json!({})));
    ask_until(&proxy, 401).await;
    world.write("own.jwt", cluster.projected("shop", "checkout", json!({})));
    ask_until(&proxy, 200).await;
    assert!(!proxy.output().contains("generation"), "{}", proxy.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_others_reach_has_no_neighbours() {
    let (world, _origin, _cluster) = sidecar().await;
    let text = std::fs::read_to_string(world.path().join("claviger.toml")).unwrap();
    // TLS is not what is missing.
    let leaf = world.ca.issue(&["gateway.test"]);
    world.write("gw.pem", std::fs::read(&leaf.cert).unwrap());
    world.write("gw.key", std::fs::read(&leaf.key).unwrap());
    let jwt = text.replace("kind = \"kubernetes\"", "kind = \"jwt\"\nidentity = \"spiffe://acme.test/ns/shop/sa/checkout\"\nattributes = { \"k8s.namespace\" = \"sub\" }");
    let bound = |text: &str, bind: &str| text.replacen("bind = \"127.0.0.1:0\"", &format!("bind = {bind}"), 1);
    for (text, code, expected) in [
        (text.clone(), 0, ""),
        (bound(&text, "\"[::1]:0\""), 0, ""),
        (bound(&text, "\"unix:own.sock\"\nsocket_mode = \"0666\""), 0, ""),
        (bound(&text, "\"0.0.0.0:0\""), 2, "whoever reaches this listener is the workload itself"),
        (
            bound(&text, "\"10.0.0.7:0\"\ntls = { certificate = \"gw.pem\", key = \"gw.key\" }"),
            2,
            "whoever reaches this listener",
        ),
        (jwt.clone(), 1, "every process on this host is the workload itself here"),
        (bound(&jwt, "\"unix:own.sock\""), 0, ""),
        (bound(&jwt, "\"unix:own.sock\"\nsocket_mode = \"0660\""), 1, "every member of the socket's group is"),
        (bound(&jwt, "\"unix:own.sock\"\nsocket_mode = \"0606\""), 1, "every user of this host is"),
        (jwt.replace("verify =", "loopback = \"private\"\nverify ="), 0, ""),
    ] {
        world.configure(&text);
        let output = world.run(&["check", "--config", "claviger.toml", "--strict"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}\n{text}");
        assert!(said.contains(expected) && (code > 0 || said.is_empty()), "{said}");
    }
}

/// Rules ask for what CI systems say; each grant has near misses.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_ci_systems_meet_rules() {
    let (world, origin) = world().await;
    configured(
        &world,
        origin.port(),
        "[\"github\", \"gitlab\"]",
        "[attestor.github]\nkind = \"github-actions\"\naudience = \"claviger\"\njwks = \"jwks.json\"\nalgorithms = \"ES256\"\n\
         require = { repository_owner_id = \"1234567\" }\n\
         [attestor.gitlab]\nkind = \"gitlab-ci\"\naudience = \"claviger\"\njwks = \"jwks.json\"\nalgorithms = \"ES256\"\n\
         require = { namespace_id = \"72\" }\n\
         [workload.docs-ci]\nspiffe = \"spiffe://acme.test/github/acme/docs\"\nattested_by = \"github\"\n\
         match = { \"github.ref\" = [\"refs/heads/main\", \"refs/heads/release-*\"], \"github.event_name\" = \"push\" }\n\
         [workload.shop-ci]\nspiffe = \"spiffe://acme.test/gitlab/acme/**\"\nattested_by = \"gitlab\"\n\
         match = { \"gitlab.ref_protected\" = \"true\", \"gitlab.pipeline_source\" = [\"push\", \"schedule\"] }\n\
         [allow.ci-api]\nwho = [\"docs-ci\", \"shop-ci\"]\nto = \"api\"\nops = [\"GET /v1/**\"]\n",
    );
    let proxy = world.start();
    let github = |overrides| world.issuer.github_run("acme/docs", overrides);
    let gitlab = |overrides| world.issuer.gitlab_job("acme/web/shop", overrides);
    for (about, token, status) in [
        ("a push", github(json!({})), 200),
        ("a release", github(json!({"ref": "refs/heads/release-1.2"})), 200),
        ("another branch", github(json!({"ref": "refs/heads/feature"})), 403),
        ("a tag of that name", github(json!({"ref": "refs/tags/main"})), 403),
        ("a pull request", github(json!({"ref": "refs/pull/27/merge", "event_name": "pull_request"})), 403),
        ("a fork's pull request with the target's trust", github(json!({"event_name": "pull_request_target"})), 403),
        ("no event", github(json!({"event_name": null})), 403),
        ("another repository", world.issuer.github_run("acme/wiki", json!({})), 403),
        ("another owner", github(json!({"repository_owner_id": "1"})), 401),
        ("a push", gitlab(json!({})), 200),
        ("a branch that is not protected", gitlab(json!({"ref_protected": "false"})), 403),
        ("a merge request", gitlab(json!({"pipeline_source": "merge_request_event"})), 403),
        ("another group", gitlab(json!({"namespace_id": "73"})), 401),
        ("an issuer that is not asked", world.token("app"), 401),
    ] {
        let answer = client().get(proxy.gateway("/api/v1/a")).bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status(), status, "{about}: {}", answer.text().await.unwrap());
    }
}

/// An answer that never ends by itself.
fn endless() -> OriginBody {
    let events = stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(b"data: x\n\n")))).then(async |event| {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        event
    });
    BodyExt::boxed(StreamBody::new(SyncStream(Box::pin(events))))
}

struct SyncStream<S>(std::pin::Pin<Box<S>>);

impl<S: futures_util::Stream> futures_util::Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_key_of_its_token() {
    let world = World::new();
    let answer = handler(|_| async { Response::new(endless()) });
    let origin = Origin::start(&world.ca, &["api.test"], &["http/1.1"], answer).await;
    world.seal("api", &world.canary, &["api.test"]);
    world.configure(&world.usual(origin.port(), ""));
    let proxy = world.start();
    let mut running = client().get(proxy.gateway("/api/v1/a")).bearer_auth(world.token("app")).send().await.unwrap();
    assert!(running.chunk().await.unwrap().is_some());

    // Another key is added: what runs goes on, also under the new generation.
    let mut keys: Value = serde_json::from_str(&world.issuer.jwks()).unwrap();
    let mut other: Value = serde_json::from_str(&TokenIssuer::new("x").jwks()).unwrap();
    other["keys"][0]["kid"] = json!("k2");
    keys["keys"].as_array_mut().unwrap().push(other["keys"][0].clone());
    world.write("jwks.json", keys.to_string());
    proxy.wait_for_line("generation 2 is in force");
    for _ in 0..40 {
        assert!(running.chunk().await.unwrap().is_some());
    }
    // Its own is taken out.
    world.write("jwks.json", other.to_string());
    proxy.wait_for_line("generation 3 is in force");
    let ended = async { while let Ok(Some(_)) = running.chunk().await {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("the stream goes on");
    let finished = proxy.records("finished", 1).remove(0);
    assert_eq!(finished["code"], "revoked", "{finished}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_root_of_an_issuer_is_taken_up() {
    let (world, origin) = world().await;
    world.write("issuer-ca.pem", world.ca.pem());
    let more = "[attestor.remote]\nkind = \"jwt\"\nissuer = \"https://127.0.0.1:9\"\naudience = \"claviger\"\n\
        identity = \"spiffe://acme.test/remote/{sub}\"\nallow_addresses = [\"127.0.0.1\"]\nca = \"issuer-ca.pem\"\n";
    world.configure(&world.usual(origin.port(), more));
    let proxy = world.start();
    world.write("issuer-ca.pem", format!("{}\n", world.ca.pem()));
    proxy.wait_for_line("generation 2 is in force");
}
