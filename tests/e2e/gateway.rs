//! The gateway listener, with the proof in every place where a client can put it.

use claviger_tests::World;
use serde_json::Value;

/// A client that ignores the environment.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_stands_in_the_api_keys_place_and_is_swapped() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let token = world.token("app");
    let answer = client().get(proxy.gateway("/api/v1/hello?x=1")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["path"], "/v1/hello?x=1");
    let seen = origin.only();
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {}", world.canary).as_str()));
    assert!(!format!("{seen:?}").contains(&token), "the workload's own proof went upstream");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_own_host_selects_it_without_a_prefix() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let request = client().get(proxy.gateway("/v1/hello")).header("host", "api.test").bearer_auth(world.token("app"));
    assert_eq!(request.send().await.unwrap().status(), 200);
    assert_eq!(origin.only().uri.path(), "/v1/hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_methods_pass_through() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let body = "x".repeat(100_000);
    let request = client().post(proxy.gateway("/api/v1/echo")).bearer_auth(world.token("app")).body(body.clone());
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["method"], "POST");
    assert_eq!(answer["body"], body);
    assert_eq!(origin.only().method, "POST");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_a_code_and_a_request_id_and_send_nothing() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let expired = world.issuer.token_with("app", serde_json::json!({"exp": 1}));
    for (what, path, method, token, status, code) in [
        ("no proof", "/api/v1/hello", "GET", None, 401, "no_identity"),
        ("an expired proof", "/api/v1/hello", "GET", Some(expired.as_str()), 401, "invalid_identity"),
        ("another workload", "/api/v1/hello", "GET", Some(&*world.token("other")), 403, "denied"),
        ("another method", "/api/v1/hello", "DELETE", Some(&*world.token("app")), 403, "denied"),
        ("another path", "/api/v2/hello", "GET", Some(&*world.token("app")), 403, "denied"),
        ("no such service", "/apj/v1/hello", "GET", Some(&*world.token("app")), 403, "unknown_service"),
        ("an ambiguous path", "/api/v1/a;b", "GET", Some(&*world.token("app")), 400, "bad_target"),
    ] {
        let mut request = client().request(method.parse().unwrap(), proxy.gateway(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{what}");
        let id = answer.headers()["claviger-request-id"].to_str().unwrap().to_owned();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], code, "{what}");
        assert_eq!(body["error"]["request_id"], id, "{what}");
        assert!(body["error"]["doc_url"].as_str().unwrap().ends_with(&format!("#{code}")), "{what}");
    }
    assert_eq!(origin.seen().len(), 0);
    assert_eq!(origin.connections(), 0, "not even a connection goes upstream");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_credential_that_the_client_sent_is_replaced() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let request = client()
        .get(proxy.gateway("/api/v1/hello"))
        .header("proxy-authorization", format!("Bearer {}", world.token("app")))
        .header("authorization", "Bearer smuggled-one")
        .header("authorization", "Basic c211Z2dsZWQtdHdv");
    assert_eq!(request.send().await.unwrap().status(), 200);
    let seen = origin.only();
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {}", world.canary).as_str()));
    assert_eq!(seen.header("proxy-authorization"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_needs_no_proof_but_the_kernels() {
    let world = World::new();
    let origin = claviger_tests::Origin::keyed(&world.ca, &world.canary).await;
    world.seal("api", &world.canary, &["api.test"]);
    let uid = rustix::process::getuid().as_raw();
    world.configure(&format!(
        r#"version = 1
trust_domain = "acme.test"
state_dir = "state"
[listener.local]
mode = "gateway"
bind = "unix:claviger.sock"
authenticate = ["kernel"]
[attestor.kernel]
kind = "unix-peer"
identity = "spiffe://acme.test/unix/{{uid}}"
[workload.me]
spiffe = "spiffe://acme.test/unix/{uid}"
[service.api]
hosts = ["api.test"]
connect = "127.0.0.1:{port}"
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
inject = ["bearer"]
secret = "secret://sealed/api"
[allow.mine]
who = "me"
to = "api"
ops = ["GET /v1/**"]
"#,
        port = origin.port()
    ));
    let proxy = world.start();
    let socket = world.path().join("claviger.sock");
    let output = std::process::Command::new("curl")
        .args(["--silent", "--show-error", "--unix-socket"])
        .arg(&socket)
        .arg("http://claviger/api/v1/hello")
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let body: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(body["path"], "/v1/hello");
    drop(proxy);
    assert!(!socket.exists(), "the socket is removed at the end");
}

/// A connection remembers where its last request went; what says otherwise in the next one is not overheard.
#[tokio::test(flavor = "multi_thread")]
async fn each_request_of_a_connection_goes_where_it_says_itself() {
    let (world, origin) = World::with_keyed_origin().await;
    world.configure(&world.usual(origin.port(), "[service.own]\nhosts = [\"own.test\"]\n"));
    let proxy = world.start();
    let mut connection = crate::raw::Raw::connect(proxy.address("gateway")).await;
    let token = world.token("app");
    for (path, host, also, status, went) in [
        ("/api/v1/a", "x", "", "200", Some("/v1/a")),
        ("/api/v1/a", "x", "", "200", Some("/v1/a")),
        ("/api/v1/b", "x", "", "200", Some("/v1/b")),
        ("/api/v1/a?b", "x", "", "200", Some("/v1/a?b")),
        // Its own host takes the whole path.
        ("/v1/a", "api.test", "", "200", Some("/v1/a")),
        ("/v1/a", "x", "", "403", None),
        ("/v1/a", "api.test", "", "200", Some("/v1/a")),
        // A service without a place for a key has none for a proof either.
        ("/v1/a", "own.test", "", "401", None),
        ("/v1/a", "api.test", "", "200", Some("/v1/a")),
        // The same words with something besides.
        ("/v1/a", "api.test", "X-HTTP-Method-Override: DELETE\r\n", "501", None),
    ] {
        let before = origin.seen().len();
        let asked = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{also}\r\n");
        let answer = connection.exchange(&asked).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path} of {host}: {answer}");
        let seen = origin.seen();
        let gone = seen.get(before).map(|seen| seen.uri.to_string());
        let expected = went.map(|path| format!("https://api.test{path}"));
        assert_eq!(gone, expected, "{path} of {host}");
    }
    let mut connection = crate::raw::Raw::connect(proxy.address("gateway")).await;
    let head = |host: &str| format!("GET /api/v1/a HTTP/1.1\r\n{host}Authorization: Bearer {token}\r\n\r\n");
    assert!(connection.exchange(&head("Host: x\r\n")).await.starts_with("HTTP/1.1 200"));
    assert!(connection.exchange(&head("Host: x\r\nHost: x\r\n")).await.starts_with("HTTP/1.1 400"));
}

/// Nor is what was remembered kept when the configuration says otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_moves_the_next_request_of_a_live_connection() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let mut connection = crate::raw::Raw::connect(proxy.address("gateway")).await;
    let asked = format!("GET /api/v1/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", world.token("app"));
    assert!(connection.exchange(&asked).await.starts_with("HTTP/1.1 200"));
    let usual = world.usual(origin.port(), "");
    world.configure(&usual.replace("[service.api]", "[service.other]").replace("to = \"api\"", "to = \"other\""));
    proxy.wait_for_line("generation 2 is in force");
    let answer = connection.exchange(&asked).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("unknown_service"), "{answer}");
    assert_eq!(origin.seen().len(), 1);
}
