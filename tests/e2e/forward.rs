//! The forward listener: `HTTPS_PROXY` clients, interception, and hosts that no service names.

use claviger_tests::{Origin, Proxy, World};
use serde_json::Value;

/// A client that goes through the forward listener and trusts the interception root.
fn client(world: &World, proxy: &Proxy, user: &str, token: &str) -> reqwest::Client {
    let ca = world.run(&["ca", "--config", "claviger.toml"]);
    assert!(ca.status.success());
    let root = reqwest::Certificate::from_pem(&ca.stdout).unwrap();
    let through = reqwest::Proxy::all(format!("http://{}", proxy.address("forward"))).unwrap().basic_auth(user, token);
    reqwest::Client::builder().proxy(through).tls_certs_only([root]).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unmodified_client_is_intercepted_and_gets_the_credential() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let client = client(&world, &proxy, "jwt", &world.token("app"));
    for _ in 0..3 {
        let answer = client.get("https://api.test/v1/hello?q=1").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["path"], "/v1/hello?q=1");
    }
    for seen in origin.seen() {
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {}", world.canary).as_str()));
    }
    assert_eq!(proxy.records("finished", 3).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_speaks_h1_and_h2_inside() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    world.write("root.pem", world.run(&["ca", "--config", "claviger.toml"]).stdout);
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let output = std::process::Command::new("curl")
            .args(["--silent", "--show-error", flag, "--write-out", "\n%{http_version} %{http_code}", "--cacert"])
            .arg(world.path().join("root.pem"))
            .args(["--proxy", &format!("http://jwt:{}@{}", world.token("app"), proxy.address("forward"))])
            .arg("https://api.test/v1/hello")
            .env_clear()
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.ends_with(&format!("\n{version} 200")), "{text}");
    }
    assert_eq!(origin.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_holds_for_each_request_inside_one_connection() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let client = client(&world, &proxy, "jwt", &world.token("app"));
    let status = async |method: &str, path: &str| {
        let url = format!("https://api.test{path}");
        client.request(method.parse().unwrap(), url).send().await.unwrap().status().as_u16()
    };
    assert_eq!(status("GET", "/v1/a").await, 200);
    assert_eq!(status("DELETE", "/v1/a").await, 403);
    assert_eq!(status("GET", "/v2/a").await, 403);
    assert_eq!(status("GET", "/v1/b").await, 200);
    assert_eq!(origin.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_without_a_proof_is_asked_for_one() {
    let (world, _origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let mut connection = crate::raw::Raw::connect(proxy.address("forward")).await;
    let answer = connection.exchange("CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 407 "), "{answer}");
    assert!(answer.to_lowercase().contains("proxy-authenticate: basic realm=\"claviger\""), "{answer}");
    assert!(answer.contains("no_identity"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_no_service_names_is_refused() {
    let (world, _origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let client = client(&world, &proxy, "jwt", &world.token("app"));
    assert!(client.get("https://elsewhere.test/").send().await.is_err());
    let records = proxy.records("decided", 1);
    assert_eq!(records[0]["decision"], "deny");
    assert_eq!(records[0]["code"], "unknown_service");
    assert_eq!(records[0]["host"], "elsewhere.test:443");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_passes_bytes_untouched_and_is_recorded() {
    let world = World::new();
    let origin = Origin::start(&world.ca, &["localhost"], &["http/1.1"], claviger_tests::origin::echo("own")).await;
    world.seal("api", &world.canary, &["api.test"]);
    let tunnel = "authenticate = [\"ci\"]\nunmatched = \"tunnel\"\nallow_addresses = [\"127.0.0.1\"]";
    let usual = world.usual(1, "");
    let (before, after) = usual.split_once("[listener.forward]").unwrap();
    world.configure(&format!("{before}[listener.forward]{}", after.replacen("authenticate = [\"ci\"]", tunnel, 1)));
    let proxy = world.start();
    let through = format!("http://{}", proxy.address("forward"));
    let through = reqwest::Proxy::all(through).unwrap().basic_auth("jwt", &world.token("anyone"));
    let root = reqwest::Certificate::from_pem(world.ca.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().proxy(through).tls_certs_only([root]).build().unwrap();
    let url = format!("https://localhost:{}/x", origin.port());
    let answer = client.get(&url).bearer_auth("own").send().await.unwrap();
    assert_eq!(answer.status(), 200, "the client's own TLS and key reach the host");
    drop(answer);
    drop(client);
    let decided = proxy.records("decided", 1);
    assert_eq!(decided[0]["method"], "CONNECT");
    assert_eq!(decided[0]["decision"], "allow");
    assert!(proxy.records("finished", 1)[0]["response_bytes"].as_u64().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proof_may_stand_inside_where_the_listener_says_so() {
    let world = World::new();
    let origin = Origin::keyed(&world.ca, &world.canary).await;
    world.seal("api", &world.canary, &["api.test"]);
    let usual = world.usual(origin.port(), "");
    let (before, after) = usual.split_once("[listener.forward]").unwrap();
    let inside = "authenticate = [\"ci\"]\nauthenticate_at = \"request\"";
    world.configure(&format!("{before}[listener.forward]{}", after.replacen("authenticate = [\"ci\"]", inside, 1)));
    let proxy = world.start();
    let root = reqwest::Certificate::from_pem(&world.run(&["ca", "--config", "claviger.toml"]).stdout).unwrap();
    let through = reqwest::Proxy::all(format!("http://{}", proxy.address("forward"))).unwrap();
    let client = reqwest::Client::builder().proxy(through).tls_certs_only([root]).build().unwrap();
    let with = client.get("https://api.test/v1/x").bearer_auth(world.token("app")).send().await.unwrap();
    assert_eq!(with.status(), 200);
    let without = client.get("https://api.test/v1/x").bearer_auth("sk-placeholder").send().await.unwrap();
    assert_eq!(without.status(), 401);
}
