//! The promises of DESIGN §8 that are not told better elsewhere in these tests, each by its number.

use claviger_tests::origin::{echo, full, handler};
use claviger_tests::{Origin, World};
use http::Response;

use crate::gateway::client;

/// 2: a credential that cannot be obtained is a refusal, and nothing goes upstream.
#[tokio::test(flavor = "multi_thread")]
async fn promise_2_a_failed_mint_sends_nothing() {
    let (world, origin) = World::with_keyed_origin().await;
    world.seal("client", "the-client-secret", &["127.0.0.1:1"]);
    world.configure(
        &world
            .usual(
                origin.port(),
                r#"
[credential.minted]
kind = "oauth2"
grant = "client_credentials"
token_url = "https://127.0.0.1:1/token"
client_id = "claviger"
client_secret = "secret://sealed/client"
allow_addresses = ["127.0.0.1"]
hosts = ["api.test"]
"#,
            )
            .replace("ops = [\"GET,HEAD,POST,PUT /v1/**\"]", "ops = [\"GET,HEAD,POST,PUT /v1/**\"]\nuse = \"minted\""),
    );
    let proxy = world.start();
    let answer = client().get(proxy.gateway("/api/v1/x")).bearer_auth(world.token("app")).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.text().await.unwrap().contains("credential_unavailable"));
    assert_eq!(origin.connections(), 0);
}

/// 5: a credential is not sent along a redirect; the client gets it and would need a grant of its own.
#[tokio::test(flavor = "multi_thread")]
async fn promise_5_redirects_are_not_followed() {
    let world = World::new();
    let answer = handler(|_| async {
        let mut response = Response::new(full(""));
        *response.status_mut() = http::StatusCode::TEMPORARY_REDIRECT;
        response.headers_mut().insert("location", "https://elsewhere.test/".parse().unwrap());
        response
    });
    let origin = Origin::start(&world.ca, &["api.test"], &["http/1.1"], answer).await;
    world.seal("api", &world.canary, &["api.test"]);
    world.configure(&world.usual(origin.port(), ""));
    let proxy = world.start();
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answer = client.get(proxy.gateway("/api/v1/x")).bearer_auth(world.token("app")).send().await.unwrap();
    assert_eq!(answer.status(), 307);
    assert_eq!(origin.seen().len(), 1);
}

/// 5: the hosts that were sealed with a secret hold, whatever configuration says.
#[tokio::test(flavor = "multi_thread")]
async fn promise_5_configuration_cannot_widen_a_binding() {
    let world = World::new();
    let origin = Origin::keyed(&world.ca, &world.canary).await;
    world.seal("api", &world.canary, &["other.test"]);
    world.configure(&world.usual(origin.port(), ""));
    let output = world.run(&["check", "--config", "claviger.toml"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("claviger.toml:"), "{said}");
    assert!(said.contains("api.test") || said.contains("other.test"), "{said}");
}

/// 6: private and reserved addresses are refused on the address that would be dialled.
#[tokio::test(flavor = "multi_thread")]
async fn promise_6_private_addresses_are_refused() {
    let (world, origin) = World::with_keyed_origin().await;
    world.configure(&world.usual(origin.port(), "").replace("allow_addresses = [\"127.0.0.1\"]\n", ""));
    let proxy = world.start();
    let answer = client().get(proxy.gateway("/api/v1/x")).bearer_auth(world.token("app")).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.unwrap().contains("address_refused"));
    assert_eq!(origin.connections(), 0);
}

/// 8: upstream TLS is verified: the wrong name, the wrong authority.
#[tokio::test(flavor = "multi_thread")]
async fn promise_8_upstream_certificates_are_verified() {
    for (what, names, trust) in [("another name", ["wrong.test"], true), ("another authority", ["api.test"], false)] {
        let world = World::new();
        let stranger = claviger_tests::peers::ca::TestCa::new();
        let ca = if trust { &world.ca } else { &stranger };
        let origin = Origin::start(ca, &names, &["http/1.1"], echo(&world.canary)).await;
        world.seal("api", &world.canary, &["api.test"]);
        world.configure(&world.usual(origin.port(), ""));
        let proxy = world.start();
        let answer = client().get(proxy.gateway("/api/v1/x")).bearer_auth(world.token("app")).send().await.unwrap();
        assert_eq!(answer.status(), 502, "{what}");
        assert!(answer.text().await.unwrap().contains("upstream_untrusted"), "{what}");
        assert!(origin.seen().is_empty(), "{what}");
    }
}

/// 9: a flood of slow and malformed clients does not stop the others.
#[tokio::test(flavor = "multi_thread")]
async fn promise_9_slow_and_malformed_clients_do_not_stop_others() {
    use tokio::io::AsyncWriteExt;
    let (world, _origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let mut slow = Vec::new();
    for number in 0..400_usize {
        let mut stream = tokio::net::TcpStream::connect(proxy.address("gateway")).await.unwrap();
        let text: &[u8] = match number % 4 {
            0 => b"GET /api/v1/x HTTP/1.1\r\nHost: ",
            1 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            2 => b"\x00\xff\xfe garbage \r\n\r\n",
            _ => b"POST /api/v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
        };
        let _ = stream.write_all(text).await;
        slow.push(stream);
    }
    for _ in 0..20 {
        let answer = client().get(proxy.gateway("/api/v1/x")).bearer_auth(world.token("app")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    assert!(!proxy.output().contains("panicked"), "{}", proxy.output());
}

/// 9: heads that are too large are refused, and memory does not follow them.
#[tokio::test(flavor = "multi_thread")]
async fn promise_9_oversized_heads_are_refused() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let many = (0..500).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    let long = format!("X: {}\r\n", "y".repeat(200_000));
    for rest in [many, long] {
        let mut connection = crate::raw::Raw::connect(proxy.address("gateway")).await;
        let answer = connection.exchange(&format!("GET /api/v1/x HTTP/1.1\r\nHost: x\r\n{rest}\r\n")).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert!(origin.seen().is_empty());
}

/// The process cannot be dumped, so that its secrets are out of reach of the same user.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn the_process_is_not_dumpable() {
    let (world, _origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    // What is not dumpable belongs to root in /proc, and its limits say that no core is written.
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", proxy.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(core.split_whitespace().filter(|word| *word == "0").count() >= 2, "{core}");
}
