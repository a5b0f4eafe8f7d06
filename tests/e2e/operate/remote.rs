//! `[admin.remote]`: attested principals, by their roles.

use claviger_tests::svid::{TrustDomain, tls_client};
use claviger_tests::{Proxy, World};
use serde_json::{Value, json};

use crate::scene::{claviger, client, configuration, ok, passes, prepared, said, system};

const ROLES: &str = r#"
[workload.on-call]
spiffe = "spiffe://acme.test/ci/on-call"
match = { "ci.ref" = "refs/heads/main" }

[workload.boss]
spiffe = "spiffe://acme.test/ci/boss"

[role.operator]
who = ["on-call"]

[role.admin]
who = ["boss"]

[admin.remote]
bind = "127.0.0.1:0"
authenticate = ["ci"]
"#;

/// The usual attestor, with an attribute.
fn text(world: &World, origin: &claviger_tests::Origin, more: &str) -> String {
    let plain = configuration(world, origin, more);
    plain.replacen("audience = \"claviger\"", "audience = \"claviger\"\nattributes = { \"ci.ref\" = \"ref\" }", 1)
}

async fn started(more: &str) -> (World, claviger_tests::Origin, Proxy) {
    let (world, origin) = prepared("").await;
    world.configure(&text(&world, &origin, more));
    let proxy = world.start();
    (world, origin, proxy)
}

async fn call(proxy: &Proxy, method: &str, path: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
    let url = format!("http://{}{path}", proxy.address("admin.remote"));
    let mut request = client().request(method.parse().unwrap(), url).json(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_role_may_and_nobody_else() {
    let (world, _origin, proxy) = started(ROLES).await;
    let on_call = |git_ref: &str| world.issuer.token_with("on-call", json!({ "ref": git_ref }));
    let (main, branch) = (on_call("refs/heads/main"), on_call("refs/heads/mine"));
    let wanted = json!({ "kind": "service", "name": "api" });
    let check = async |who: &str, token: Option<&str>, expected: (u16, &str)| {
        for (method, path) in [
            ("POST", "/v1/suspensions"),
            ("DELETE", "/v1/suspensions?kind=service&name=api"),
            ("POST", "/v1/reload"),
            ("GET", "/v1/status"),
            ("GET", "/v1/suspensions"),
        ] {
            let (status, answer) = call(&proxy, method, path, token, &wanted).await;
            let code = answer["error"]["code"].as_str().unwrap_or_default();
            assert_eq!((status, code), expected, "{who}: {method} {path}: {answer}");
            let is_suspended = !passes(&world, &proxy, "app", "/api/v1/x").await;
            assert_eq!(is_suspended, status == 200 && method == "POST" && path == "/v1/suspensions", "{who}");
        }
    };
    check("the role", Some(&main), (200, "")).await;
    check("the higher role", Some(&world.token("boss")), (200, "")).await;
    // Near misses: another branch, another workload, nobody, a token that is not signed for this.
    check("another branch", Some(&branch), (403, "forbidden")).await;
    check("a workload without a role", Some(&world.token("app")), (403, "forbidden")).await;
    check("nobody", None, (401, "no_identity")).await;
    let elsewhere = world.issuer.token_with("boss", json!({ "aud": "elsewhere" }));
    check("a token for somebody else", Some(&elsewhere), (401, "no_identity")).await;
    check("no token", Some("x"), (401, "no_identity")).await;
    // Changes that were refused are on record with who tried, and what.
    let refused = system(&proxy, "change_refused", 6);
    assert_eq!(refused.len(), 6);
    let told: Vec<(&str, &str)> =
        refused.iter().map(|one| (one["actor"].as_str().unwrap(), one["detail"].as_str().unwrap())).collect();
    assert_eq!(told[0].0, "spiffe://acme.test/ci/on-call");
    assert!(told[0].1.starts_with("suspend `{\"kind\":\"service\",\"name\":\"api\"}`: refused, for it takes the role"));
    assert_eq!(told[3].0, "spiffe://acme.test/ci/app");
    assert!(told.iter().any(|(_, detail)| *detail == "reload: refused, for it takes the role `operator`"), "{told:?}");
    let made = system(&proxy, "suspended", 2);
    assert_eq!(made[0]["actor"], "spiffe://acme.test/ci/on-call");
    let loaded = system(&proxy, "generation_loaded", 2);
    assert_eq!(loaded[1]["actor"], "spiffe://acme.test/ci/boss");
}

/// A stolen operator is stopped like everybody else, and cannot free itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_operator_does_nothing() {
    let (world, _origin, proxy) = started(ROLES).await;
    ok(&world, &["suspend", "principal", "spiffe://acme.test/ci/boss"]);
    let path = "/v1/suspensions?kind=principal&name=spiffe%3A%2F%2Facme.test%2Fci%2Fboss";
    let (status, answer) = call(&proxy, "DELETE", path, Some(&world.token("boss")), &json!({})).await;
    assert_eq!((status, &answer["error"]["code"]), (403, &json!("suspended")));
    ok(&world, &["resume", "principal", "spiffe://acme.test/ci/boss"]);
    let (status, _) = call(&proxy, "GET", "/v1/status", Some(&world.token("boss")), &json!({})).await;
    assert_eq!(status, 200);
}

/// Roles are configuration: a reload gives and takes them, also on a connection that is open.
#[tokio::test(flavor = "multi_thread")]
async fn roles_follow_a_reload() {
    let (world, origin, proxy) = started(ROLES).await;
    let token = world.token("app");
    assert_eq!(call(&proxy, "GET", "/v1/status", Some(&token), &json!({})).await.0, 403);
    world.configure(&text(&world, &origin, &ROLES.replace("who = [\"boss\"]", "who = [\"app\"]")));
    ok(&world, &["reload"]);
    assert_eq!(call(&proxy, "GET", "/v1/status", Some(&token), &json!({})).await.0, 200);
    assert_eq!(call(&proxy, "GET", "/v1/status", Some(&world.token("boss")), &json!({})).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_svid_is_as_good_as_a_token() {
    let (world, origin) = prepared("").await;
    let domain = TrustDomain::new("acme.test");
    world.write("bundle.pem", domain.bundle());
    let files = world.ca.issue(&["localhost"]);
    world.write("gw.pem", std::fs::read(&files.cert).unwrap());
    world.write("gw.key", std::fs::read(&files.key).unwrap());
    let remote = r#"
[attestor.mesh]
kind = "x509-svid"
bundle = { "acme.test" = "bundle.pem" }

[workload.on-call]
spiffe = "spiffe://acme.test/on-call"

[role.operator]
who = ["on-call"]

[admin.remote]
bind = "127.0.0.1:0"
authenticate = ["mesh"]
tls = { certificate = "gw.pem", key = "gw.key" }
"#;
    world.configure(&configuration(&world, &origin, remote));
    let proxy = world.start();
    let port = proxy.address("admin.remote").rsplit(':').next().unwrap().to_owned();
    let status = async |path: Option<&str>| {
        let svid = path.map(|path| domain.svid(path));
        let config = tls_client(world.ca.pem(), svid.as_ref(), &["http/1.1"]);
        let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(config).build().unwrap();
        let answer = client.get(format!("https://localhost:{port}/v1/status")).send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(status(Some("/on-call")).await, 200);
    assert_eq!(status(Some("/somebody")).await, 403);
    assert_eq!(status(None).await, 401);
}

/// What must not be opened is not opened.
#[tokio::test(flavor = "multi_thread")]
async fn doors_that_are_wrong_do_not_open() {
    let (world, origin) = prepared("").await;
    let check = |from: &str, to: &str, expected: &str| {
        assert!(ROLES.contains(from));
        world.configure(&text(&world, &origin, &ROLES.replace(from, to)));
        let output = claviger(&world, &["check"]);
        let (out, err) = said(&output);
        assert_eq!(output.status.code(), Some(2), "{to}: {out}{err}");
        assert!(err.contains(expected), "{expected}: {err}");
    };
    check(
        "127.0.0.1:0",
        "0.0.0.0:7999",
        "`admin.remote.authenticate`: a bearer proof would cross the network in clear text",
    );
    check("[\"ci\"]", "[\"cj\"]", "did you mean `ci`?");
    check("authenticate = [\"ci\"]", "authenticate = []", "a listener must name at least one attestor");
    check("[role.admin]", "[role.adnim]", "there is no role `adnim`");
    check("[\"boss\"]", "[\"bos\"]", "did you mean `boss`?");
    check("[\"boss\"]", "[\"payments/boss\"]", "is a workload of a team, which decides who it is");
    check("who = [\"boss\"]", "whom = [\"boss\"]", "did you mean `who`?");
    check("bind = \"127.0.0.1:0\"", "mode = \"gateway\"\nbind = \"127.0.0.1:0\"", "`admin.remote.mode`: unknown key");
    check("bind = \"127.0.0.1:0\"\n", "", "`admin.remote.bind`: this key is required");
}
