//! What is under way when something is suspended ends, and only that.

use claviger_tests::origin::full;
use claviger_tests::{PATIENCE, Proxy, World};
use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::scene::{get, ok, scene, until};
use crate::wire::{Outer, Session, connect, tcp};

/// A stream that has begun.
async fn begin(session: &Session, path: &str) -> Incoming {
    let request = Request::get(path).body(full("")).unwrap();
    let answer = session.send(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    assert!(body.frame().await.unwrap().unwrap().is_data());
    body
}

async fn session(world: &World, proxy: &Proxy, who: &str, h2: bool) -> Session {
    let proof = format!("Proxy-Authorization: Bearer {}\r\n", world.token(who));
    Session::forward(world, proxy, Outer::Cleartext, &proof, h2).await
}

/// Ends, and not as a body that is whole.
async fn is_cut(mut body: Incoming) {
    let end = tokio::time::timeout(PATIENCE, async {
        loop {
            match body.frame().await {
                Some(Ok(_)) => {}
                end => return end,
            }
        }
    });
    assert!(end.await.expect("the stream goes on").is_some_and(|end| end.is_err()), "it ended as if it were whole");
}

fn finished(proxy: &Proxy, code: &str, count: usize) {
    until(&format!("{count} `finished` with {code}"), || {
        (proxy.records("finished", count).iter().filter(|one| one["code"] == code).count() == count).then_some(())
    });
}

/// Quiet streams, and such whose client has stopped reading, over HTTP/1.1 and HTTP/2; another caller's go on.
#[tokio::test(flavor = "multi_thread")]
async fn streams_end() {
    let (world, _origin, proxy) = scene("").await;
    let mut ending = Vec::new();
    let mut others = Vec::new();
    // Kept: a connection whose handle is gone ends by itself.
    let mut sessions = Vec::new();
    for h2 in [false, true] {
        for path in ["/v1/stream", "/v1/flood"] {
            let app = session(&world, &proxy, "app", h2).await;
            ending.push(begin(&app, path).await);
            sessions.push(app);
        }
        let other = session(&world, &proxy, "other", h2).await;
        others.push(begin(&other, "/v1/stream").await);
        sessions.push(other);
    }
    ok(&world, &["suspend", "principal", "spiffe://acme.test/ci/app"]);
    finished(&proxy, "suspended", 4);
    for body in ending {
        is_cut(body).await;
    }
    // Those of the other caller end when they are dropped, and by nothing else.
    drop(others);
    finished(&proxy, "aborted", 2);
}

/// Two streams of one h2 connection, to two services: only the one that uses what is suspended ends.
#[tokio::test(flavor = "multi_thread")]
async fn one_stream_of_a_connection_ends_alone() {
    let (world, _origin, proxy) = scene("").await;
    let app = session(&world, &proxy, "app", true).await;
    let stream = begin(&app, "/v1/stream").await;
    ok(&world, &["suspend", "credential", "api"]);
    is_cut(stream).await;
    // The connection itself is there yet.
    assert_eq!(app.get("/v1/x").await.unwrap(), 403);
    ok(&world, &["resume", "credential", "api"]);
    assert_eq!(app.get("/v1/x").await.unwrap(), 200);
}

/// Upstream has the request and thinks about it: the client is told at once, and is told why.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_for_its_answer_is_refused() {
    let (world, origin, proxy) = scene("").await;
    let waiting = get(&world, &proxy, "app", "/api/v1/never");
    let suspending = async {
        claviger_tests::until("the request is upstream", async || !origin.seen().is_empty()).await;
        ok(&world, &["suspend", "service", "api"]);
    };
    let answered = tokio::time::timeout(PATIENCE, async { tokio::join!(waiting, suspending).0 }).await;
    assert_eq!(answered.expect("the request hangs"), (403, "suspended".to_owned()));
    finished(&proxy, "suspended", 1);
}

/// A tunnel has no service and no credential: it ends with its caller.
#[tokio::test(flavor = "multi_thread")]
async fn tunnels_end_with_their_caller_and_are_refused_after_that() {
    let (world, _origin, proxy) = scene("").await;
    let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = echo.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = echo.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    let proof = |who: &str| format!("Proxy-Authorization: Bearer {}\r\n", world.token(who));
    let open = async |who: &str| connect(tcp(proxy.address("forward")).await, &target, &proof(who)).await;
    let (mut app, mut other) = (open("app").await.unwrap(), open("other").await.unwrap());
    for tunnel in [&mut app, &mut other] {
        tunnel.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        tunnel.read_exact(&mut answer).await.unwrap();
    }
    // Neither concerns a tunnel.
    ok(&world, &["suspend", "service", "api"]);
    ok(&world, &["suspend", "principal", "spiffe://acme.test/ci/app"]);
    let end = tokio::time::timeout(PATIENCE, app.read(&mut [0; 8])).await.expect("the tunnel goes on");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    finished(&proxy, "suspended", 1);
    let Err(refused) = open("app").await else { panic!("a suspended caller opens a tunnel") };
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    other.write_all(b"pong").await.unwrap();
    let mut answer = [0; 4];
    other.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"pong");
}
