//! The admin listener: read-only, and nothing secret to read.

use claviger_tests::World;
use tokio::io::AsyncWriteExt;

use crate::wire::client;

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_tells_how_it_goes_and_nothing_else() {
    let (world, origin) = World::with_keyed_origin().await;
    world.configure(&world.usual(origin.port(), "[admin]\nbind = \"127.0.0.1:0\"\n"));
    let proxy = world.start();
    let token = world.token("app");
    for path in ["/api/v1/a-path?a-query=1", "/api/v2/denied", "/elsewhere/x"] {
        let _ = client().get(proxy.gateway(path)).bearer_auth(&token).send().await.unwrap().bytes().await;
    }
    proxy.records("finished", 3);
    let url = |path: &str| format!("http://{}{path}", proxy.address("admin"));
    let get = async |path: &str| {
        let answer = client().get(url(path)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get("/livez").await, (200, "ok\n".into()));
    assert_eq!(get("/readyz").await, (200, "ok\n".into()));
    let (status, version) = get("/version").await;
    let version: serde_json::Value = serde_json::from_str(&version).unwrap();
    assert_eq!((status, &version["name"]), (200, &"claviger".into()));
    for path in ["/", "/livez/", "/config", "/debug/pprof", "/metrics/../secret"] {
        assert_eq!(get(path).await.0, 404, "{path}");
    }
    for path in ["/livez", "/readyz", "/metrics", "/version"] {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let request = client().request(method.parse().unwrap(), url(path)).body("x");
            assert_eq!(request.send().await.unwrap().status(), 405, "{method} {path}");
        }
    }
    let (_, metrics) = get("/metrics").await;
    for series in [
        "claviger_requests_total{code=\"ok\"} 1",
        "claviger_requests_total{code=\"denied\"} 1",
        "claviger_refusals_total{code=\"unknown_service\"} 1",
        "claviger_request_duration_seconds_count 3",
        "claviger_first_byte_seconds_count 1",
        "claviger_connections ",
    ] {
        assert!(metrics.contains(series), "{series}: {metrics}");
    }
    for name in metrics.lines().filter(|line| !line.starts_with('#')) {
        assert!(name.starts_with("claviger_") || name.starts_with("process_"), "{name}");
        // Labels come from closed sets: codes, bucket bounds, names in the configuration.
        for label in name.split_once('{').map_or("", |(_, rest)| rest).split("\",").filter(|text| !text.is_empty()) {
            assert!(
                ["code=", "le=", "credential=", "event=", "suspended="].iter().any(|known| label.starts_with(known)),
                "{name}"
            );
        }
    }
    for word in ["acme", "spiffe", "api.test", "a-path", "a-query", "app", "127.0.0.1", &token, &world.canary] {
        assert!(!metrics.contains(word), "{word}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_proxy_is_alive_and_not_ready() {
    let (world, origin) = World::with_keyed_origin().await;
    world.configure(&world.usual(origin.port(), "[admin]\nbind = \"127.0.0.1:0\"\n"));
    let proxy = world.start();
    let mut upload = tokio::net::TcpStream::connect(proxy.address("gateway")).await.unwrap();
    let head = format!(
        "POST /api/v1/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 2\r\n\r\na",
        world.token("app")
    );
    upload.write_all(head.as_bytes()).await.unwrap();
    while origin.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    proxy.signal(rustix::process::Signal::TERM);
    proxy.wait_for_line("draining");
    let status = async |path: &str| {
        client().get(format!("http://{}{path}", proxy.address("admin"))).send().await.unwrap().status().as_u16()
    };
    assert_eq!(status("/readyz").await, 503);
    assert_eq!(status("/livez").await, 200);
    assert!(tokio::net::TcpStream::connect(proxy.address("gateway")).await.is_err(), "nobody new is taken");
    upload.write_all(b"b").await.unwrap();
    let mut answer = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut upload, &mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
}
