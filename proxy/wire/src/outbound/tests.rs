mod origin;

use std::process::Command;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use self::origin::Origin;
use super::*;
use crate::resolve::Lookup;

fn outbound() -> ReqwestOutbound {
    ReqwestOutbound::new(Resolver::new())
}

/// Knows no name.
struct NoNames;

impl Lookup for NoNames {
    fn addresses(&self, _name: &str) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        Box::pin(std::future::ready(Err(std::io::Error::other("no such name"))))
    }
}

fn get(url: &str) -> OutboundRequest {
    OutboundRequest {
        method: Method::GET,
        url: url.parse().unwrap(),
        headers: HeaderMap::new(),
        body: None,
        timeout: Duration::from_secs(20),
        max_response: 1 << 20,
    }
}

#[allow(clippy::disallowed_methods, reason = "a test looks at what came back")]
fn text(response: &OutboundResponse) -> &str {
    std::str::from_utf8(response.body.expose()).unwrap()
}

async fn failure(reach: &Reach, request: OutboundRequest) -> OutboundFailure {
    outbound().send(reach, request).await.unwrap_err().kind
}

/// Also run by [`proxies_of_the_environment_are_ignored`] under a hostile environment.
#[tokio::test]
async fn a_call_goes_through() {
    for alpn in [b"h2".as_slice(), b"http/1.1"] {
        let origin = Origin::start(alpn).await;
        let mut request = get(&origin.url("/echo?q=1"));
        request.method = Method::POST;
        request.body = Some(Secret::from("client_secret=canary".to_owned()));
        request.headers.insert("x-asked", HeaderValue::from_static("yes"));
        let response = outbound().send(&origin.reach(), request).await.unwrap();
        assert_eq!(response.status, StatusCode::OK);
        let version = if alpn == b"h2" { "HTTP/2.0" } else { "HTTP/1.1" };
        let expected = format!("{version} POST /echo?q=1 {USER_AGENT} yes client_secret=canary");
        assert_eq!(text(&response), expected);
    }
}

#[test]
fn proxies_of_the_environment_are_ignored() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "outbound::tests::a_call_goes_through",
        "outbound::tests::a_listed_loopback_address_may_be_cleartext",
    ]);
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"] {
        child.env(name, "http://127.0.0.1:1");
    }
    let output = child.env_remove("NO_PROXY").env_remove("no_proxy").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("2 passed"), "{said}");
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let origin = Origin::start(b"http/1.1").await;
    let (outbound, reach) = (outbound(), origin.reach());
    for _ in 0..3 {
        outbound.send(&reach, get(&origin.url("/echo"))).await.unwrap();
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(outbound.clients.len(), 1);
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let origin = Origin::start(b"http/1.1").await;
    let response = outbound().send(&origin.reach(), get(&origin.url("/redirect"))).await.unwrap();
    assert_eq!(response.status, StatusCode::FOUND);
    assert_eq!(response.headers["location"], "/echo");
    assert_eq!(origin.requests(), ["/redirect"]);
}

#[tokio::test]
async fn an_error_status_is_an_answer() {
    let origin = Origin::start(b"http/1.1").await;
    let response = outbound().send(&origin.reach(), get(&origin.url("/refuse"))).await.unwrap();
    assert_eq!((response.status, text(&response)), (StatusCode::UNAUTHORIZED, "no"));
}

#[tokio::test]
async fn the_certificate_must_be_trusted_and_for_the_name() {
    let origin = Origin::start(b"http/1.1").await;
    let other = Origin::start(b"http/1.1").await;
    let (trusted, url) = (origin.reach(), origin.url("/echo"));
    assert!(outbound().send(&trusted, get(&url)).await.is_ok());

    let wrong_name = url.replace("localhost", "127.0.0.1");
    assert_eq!(failure(&trusted, get(&wrong_name)).await, OutboundFailure::Tls);
    assert_eq!(failure(&other.reach(), get(&url)).await, OutboundFailure::Tls);
    let bundled = Reach { ca_pem: None, ..trusted.clone() };
    assert_eq!(failure(&bundled, get(&url)).await, OutboundFailure::Tls);
    let unreadable = Reach { ca_pem: Some(b"no pem".as_slice().into()), ..trusted };
    assert_eq!(failure(&unreadable, get(&url)).await, OutboundFailure::Tls);
    assert_eq!(origin.requests(), ["/echo"]);
}

#[tokio::test]
async fn private_addresses_are_refused_by_default() {
    let origin = Origin::start(b"http/1.1").await;
    let reach = Reach { allow_addresses: Vec::new(), ..origin.reach() };
    let port = origin.port();
    for host in ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1", "0", "10.0.0.1", "169.254.169.254"]
    {
        let request = get(&format!("https://{host}:{port}/echo"));
        assert_eq!(failure(&reach, request).await, OutboundFailure::AddressRefused, "{host}");
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn only_https_but_for_a_listed_loopback_address() {
    let loopback = Reach { allow_addresses: vec!["127.0.0.0/8".parse().unwrap()], ..Reach::default() };
    let table = [
        (&loopback, "http://api.test/", OutboundFailure::Cleartext),
        (&loopback, "http://localhost:1/", OutboundFailure::Cleartext),
        (&loopback, "http://8.8.8.8/", OutboundFailure::Cleartext),
        (&loopback, "ftp://127.0.0.1/", OutboundFailure::Cleartext),
        (&loopback, "file:///etc/passwd", OutboundFailure::Cleartext),
        (&loopback, "http://[::1]:1/", OutboundFailure::AddressRefused),
        (&Reach::default(), "http://127.0.0.1:1/", OutboundFailure::AddressRefused),
    ];
    for (reach, url, expected) in table {
        assert_eq!(failure(reach, get(url)).await, expected, "{url}");
    }
}

#[tokio::test]
async fn a_listed_loopback_address_may_be_cleartext() {
    let origin = Origin::start_cleartext().await;
    let response = outbound().send(&origin.reach(), get(&origin.url("/echo"))).await.unwrap();
    assert!(text(&response).starts_with("HTTP/1.1 GET /echo "));
}

#[tokio::test]
async fn an_answer_may_not_be_larger_than_allowed() {
    let origin = Origin::start(b"http/1.1").await;
    for (path, max, fits) in [
        ("/sized", 10_000, true),
        ("/sized", 9_999, false),
        ("/chunked", 10_000, true),
        ("/chunked", 9_999, false),
        ("/endless", 100_000, false),
    ] {
        let request = OutboundRequest { max_response: max, ..get(&origin.url(path)) };
        match outbound().send(&origin.reach(), request).await {
            Ok(response) => assert!(fits && response.body.len() == 10_000, "{path} {max}"),
            Err(error) => assert!(!fits && error.kind == OutboundFailure::TooLarge, "{path} {max}: {error}"),
        }
    }
}

#[tokio::test]
async fn the_timeout_is_for_the_whole_call() {
    let origin = Origin::start(b"http/1.1").await;
    let (outbound, reach) = (outbound(), origin.reach());
    let call = |path| {
        let request = OutboundRequest { timeout: Duration::from_secs(1), ..get(&origin.url(path)) };
        outbound.send(&reach, request)
    };
    let (silent, stalled) = tokio::join!(call("/silent"), call("/stalled"));
    assert_eq!(silent.unwrap_err().kind, OutboundFailure::Timeout);
    assert_eq!(stalled.unwrap_err().kind, OutboundFailure::Timeout);
    assert_eq!(origin.requests().len(), 2);
}

#[tokio::test]
async fn who_is_not_there_and_who_speaks_no_http() {
    let origin = Origin::start(b"http/1.1").await;
    let reach = origin.reach();
    let url = origin.url("/echo");
    origin.into_closed().await;
    assert_eq!(failure(&reach, get(&url)).await, OutboundFailure::Connect);
    let nowhere = ReqwestOutbound::new(Resolver::with(Box::new(NoNames), CONNECT_TIMEOUT, CONNECT_TIMEOUT));
    let error = nowhere.send(&reach, get("https://api.test/")).await.unwrap_err();
    assert_eq!(error.kind, OutboundFailure::Connect);
    assert_eq!(failure(&reach, get("https://localhost.:1/")).await, OutboundFailure::Connect);

    let rude = Origin::start(b"http/1.1").await;
    assert_eq!(failure(&rude.reach(), get(&rude.url("/cut"))).await, OutboundFailure::Broken);
    let cleartext = Origin::start_cleartext().await;
    let https = cleartext.url("/echo").replace("http:", "https:");
    assert_eq!(failure(&cleartext.reach(), get(&https)).await, OutboundFailure::Tls);
}

#[tokio::test]
async fn an_error_names_the_endpoint_without_its_secrets() {
    let request = get("http://user:canary@api.test:8080/token?key=canary#canary");
    let error = outbound().send(&Reach::default(), request).await.unwrap_err();
    assert_eq!(error.to_string(), "call to `http://api.test:8080/token` failed: only https:// is allowed");
    let seen = format!("{error:?} {:?}", get("https://api.test/").body);
    assert!(!seen.contains("canary"), "{seen}");
}

#[test]
fn the_cache_of_clients_is_bounded() {
    let outbound = outbound();
    for n in 0..=CLIENTS_MAX {
        let net = format!("10.0.0.{n}/32").parse().unwrap();
        outbound.client(&Reach { allow_addresses: vec![net], ..Reach::default() }).unwrap();
    }
    assert_eq!(outbound.clients.len(), 1);
}

#[test]
fn a_growing_body_keeps_its_bytes() {
    let mut body = Vec::new();
    for chunk in [b"ab".as_slice(), b"", b"cdefghijkl", b"m"] {
        append(&mut body, chunk);
    }
    assert_eq!(body, b"abcdefghijklm");
}
