//! Ways in which a client or an upstream could try to get at a credential, or in the way of others.

use claviger_tests::origin::{echo, full, handler};
use claviger_tests::{Origin, PATIENCE, Proxy, World};
use http::Response;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::client;
use crate::raw::Raw;

/// A world whose upstream is whatever `answer` writes onto the wire after one request.
async fn world_with_raw_answer(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> (World, Proxy) {
    let world = World::new();
    let files = world.ca.issue(&["api.test"]);
    let acceptor = claviger_tests::origin::acceptor(&files, &["http/1.1"]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = std::sync::Arc::new(answer);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    let mut some = [0; 4096];
                    let size = stream.read(&mut some).await.unwrap_or(0);
                    if size == 0 {
                        return;
                    }
                    head.extend_from_slice(&some[..size]);
                }
                let _ = stream.write_all(&answer(&String::from_utf8_lossy(&head))).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    world.seal("api", &world.canary, &["api.test"]);
    world.configure(&world.usual(port, ""));
    let proxy = world.start();
    (world, proxy)
}

/// The value that stands behind `Bearer` in a request's head.
fn key_in(head: &str) -> String {
    let line = head.lines().find(|line| line.to_lowercase().starts_with("authorization:")).unwrap();
    line.split_whitespace().last().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_1_a_reason_phrase_does_not_pass() {
    let (world, proxy) = world_with_raw_answer(|head| {
        format!("HTTP/1.1 403 bad key {}\r\nContent-Length: 0\r\n\r\n", key_in(head)).into_bytes()
    })
    .await;
    let mut connection = Raw::connect(proxy.address("gateway")).await;
    let head = format!("GET /api/v1/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", world.token("app"));
    let answer = connection.exchange(&head).await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    claviger_tests::canary::assert_absent(&world.canary, "the answer", answer.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_1_codings_that_cannot_be_searched_are_refused() {
    for headers in [
        "Content-Encoding: gzip",
        "Content-Encoding: identity\r\nContent-Encoding: gzip",
        "Content-Encoding: identity, gzip",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
    ] {
        let (world, proxy) = world_with_raw_answer(move |head| {
            assert!(!head.to_lowercase().contains("gzip"), "compression was asked for: {head}");
            format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n4\r\nabcd\r\n0\r\n\r\n").into_bytes()
        })
        .await;
        let mut connection = Raw::connect(proxy.address("gateway")).await;
        let auth = format!("Authorization: Bearer {}", world.token("app"));
        let asks = "TE: trailers\r\nTE: gzip\r\nAccept-Encoding: gzip";
        let answer =
            connection.exchange(&format!("GET /api/v1/x HTTP/1.1\r\nHost: x\r\n{auth}\r\n{asks}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{headers}: {answer}");
    }
}

/// An upstream that answers early leaves a connection whose request is not written to its end. Nobody
/// else waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn promise_9_an_unfinished_request_blocks_nobody() {
    let world = World::new();
    let early = handler(|_| async { Response::new(full("early")) });
    let origin = Origin::start(&world.ca, &["api.test"], &["http/1.1"], early).await;
    world.seal("api", &world.canary, &["api.test"]);
    world.configure(&world.usual(origin.port(), ""));
    let proxy = world.start_with(&["--cores", "1"]);
    let token = world.token("app");
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(proxy.address("gateway")).await.unwrap();
        let head = format!(
            "POST /api/v1/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000\r\n\r\nabc"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut some = [0; 1024];
        assert!(stream.read(&mut some).await.unwrap() > 0, "the early answer");
        held.push(stream);
    }
    for _ in 0..8 {
        let answer = client().get(proxy.gateway("/api/v1/x")).bearer_auth(&token).send();
        assert_eq!(tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap().status(), 200);
    }
}

/// A client that stops reading is cut off, and does not stall others that share its upstream connection.
#[tokio::test(flavor = "multi_thread")]
async fn promise_9_a_client_that_does_not_read_stalls_itself_only() {
    let world = World::new();
    let large = handler(|request: http::Request<hyper::body::Incoming>| async move {
        let size = if request.uri().path() == "/v1/large" { 64 << 20 } else { 10 };
        Response::new(full(vec![b'x'; size]))
    });
    let origin = Origin::start(&world.ca, &["api.test"], &["h2"], large).await;
    world.seal("api", &world.canary, &["api.test"]);
    world.configure(&world.usual(origin.port(), "[limits]\nbody_idle_timeout = \"2s\"\n"));
    let proxy = world.start_with(&["--cores", "1"]);
    let token = world.token("app");
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(proxy.address("gateway")).await.unwrap();
        let head = format!("GET /api/v1/large HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut some = [0; 1024];
        assert!(stream.read(&mut some).await.unwrap() > 0);
        stalled.push(stream);
    }
    for _ in 0..10 {
        let answer = client().get(proxy.gateway("/api/v1/small")).bearer_auth(&token).send();
        assert_eq!(tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap().bytes().await.unwrap().len(), 10);
    }
    let finished = proxy.records("finished", 13);
    assert_eq!(finished.iter().filter(|record| record["code"] == "aborted").count(), 3, "{finished:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_override_the_judged_request_is_refused() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    for name in ["X-HTTP-Method-Override", "x_http_method_override", "X-HTTP-Method", "X-Original-URL", "X-Rewrite-URL"]
    {
        let request = client().post(proxy.gateway("/api/v1/x")).bearer_auth(world.token("app"));
        let answer = request.header(name, "DELETE").send().await.unwrap();
        assert_eq!(answer.status(), 501, "{name}");
    }
    let mut connection = Raw::connect(proxy.address("gateway")).await;
    let auth = format!("Authorization: Bearer {}", world.token("app"));
    let answer =
        connection.exchange(&format!("CONNECT api.test:443 HTTP/1.1\r\nHost: api.test\r\n{auth}\r\n\r\n")).await;
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    assert_eq!(origin.connections(), 0);
}

/// Promise 4: the client's own proof is never forwarded, wherever it stands.
#[tokio::test(flavor = "multi_thread")]
async fn promise_4_the_proof_does_not_pass_in_another_place() {
    let world = World::new();
    let origin =
        Origin::start(&world.ca, &["api.test"], &["http/1.1"], handler(|_| async { Response::new(full("")) })).await;
    world.seal("api", &world.canary, &["api.test"]);
    let text = world.usual(origin.port(), "").replace("inject = [\"bearer\"]", "inject = [{ header = \"api-key\" }]");
    world.configure(&text);
    let proxy = world.start();
    let token = world.token("app");
    let request = client()
        .get(proxy.gateway("/api/v1/x"))
        .header("api-key", &token)
        .header("cookie", format!("a=b; session={token}"))
        .header("x-other", format!("prefix {token}"))
        .bearer_auth(&token);
    assert_eq!(request.send().await.unwrap().status(), 200);
    let seen = origin.only();
    assert_eq!(seen.header("api-key"), Some(world.canary.as_str()));
    assert!(!format!("{seen:?}").contains(&token), "{seen:?}");
}

/// Present but unreadable is not absent (DESIGN §4: no downgrade).
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_cannot_be_read_is_refused() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    for proof in ["Negotiate abc", "Bearer", "Basic !!!", "Basic bm9jb2xvbg==", ""] {
        let request = client().get(proxy.gateway("/api/v1/x")).bearer_auth(world.token("app"));
        let answer = request.header("proxy-authorization", proof).send().await.unwrap();
        assert_eq!(answer.status(), 401, "`{proof}`");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "invalid_identity", "`{proof}`");
    }
    let two = client()
        .get(proxy.gateway("/api/v1/x"))
        .header("proxy-authorization", format!("Bearer {}", world.token("app")));
    let answer = two.header("proxy-authorization", "Bearer x").send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(origin.connections(), 0);
}

/// A listener that was removed takes no more requests on the connections that it still has.
#[tokio::test(flavor = "multi_thread")]
async fn promise_7_a_removed_listener_ends_its_connections() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let mut connection = Raw::connect(proxy.address("gateway")).await;
    let head = format!("GET /api/v1/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", world.token("app"));
    assert!(connection.exchange(&head).await.starts_with("HTTP/1.1 200 "));
    let text = world.usual(origin.port(), "");
    let (before, after) = text.split_once("[listener.gateway]").unwrap();
    let (_, after) = after.split_once("[listener.forward]").unwrap();
    world.configure(&format!("{before}[listener.forward]{after}"));
    proxy.wait_for_line("generation 2 is in force");
    let answer = connection.exchange(&head).await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    assert_eq!(origin.seen().len(), 1);
}

/// Slow bodies that must be read whole end at a deadline, and what was allowed is judged again.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_too_late_is_not_sent() {
    let world = World::new();
    let origin = Origin::start(&world.ca, &["api.test"], &["http/1.1"], echo(&world.canary)).await;
    world.seal("api", &world.canary, &["api.test"]);
    let rule = "ops = [\"GET,HEAD,POST,PUT /v1/**\"]\nwhen = [\"body.model == \\\"small\\\"\"]";
    let text = world.usual(origin.port(), "[limits]\nbody_idle_timeout = \"1s\"\n");
    world.configure(&text.replace("ops = [\"GET,HEAD,POST,PUT /v1/**\"]", rule));
    let proxy = world.start();
    let post = async |body: &str| {
        let request = client().post(proxy.gateway("/api/v1/chat")).bearer_auth(world.token("app"));
        let answer = request.header("content-type", "application/json").body(body.to_owned()).send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(post(r#"{"model":"small"}"#).await, 200);
    assert_eq!(post(r#"{"model":"large"}"#).await, 403);
    assert_eq!(post(r#"{"model":"small","Model":"large"}"#).await, 403);
    assert_eq!(origin.seen().len(), 1);
    let mut stream = TcpStream::connect(proxy.address("gateway")).await.unwrap();
    let head = format!(
        "POST /api/v1/chat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n{{\"model\"",
        world.token("app")
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let size = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..size]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("body_broken"), "{answer}");
    assert_eq!(origin.seen().len(), 1);
}

/// Services behind path prefixes share one origin in the client's eyes: a cookie of one would go to the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_passes_only_where_the_service_has_an_origin_of_its_own() {
    let world = World::new();
    let answer = handler(|_| async {
        let mut response = Response::new(full("x"));
        response.headers_mut().insert("set-cookie", "sid=1; Path=/".parse().unwrap());
        response
    });
    let origin = Origin::start(&world.ca, &["api.test"], &["http/1.1"], answer).await;
    world.seal("api", &world.canary, &["api.test"]);
    world.configure(&world.usual(origin.port(), ""));
    let proxy = world.start();
    let token = world.token("app");
    let prefixed = client().get(proxy.gateway("/api/v1/x")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(prefixed.headers().get("set-cookie"), None);
    let own = client().get(proxy.gateway("/v1/x")).header("host", "api.test").bearer_auth(&token).send().await.unwrap();
    assert_eq!(own.headers()["set-cookie"], "sid=1; Path=/");
}
