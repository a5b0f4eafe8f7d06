//! What one peer may cost: each limit is met, told, and frees what it held.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claviger_tests::origin::{Handler, full, handler};
use claviger_tests::{Origin, PATIENCE, Proxy, World};
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::wire::{client, until};

/// One data core, so that limits per core are exact.
async fn world_with(answer: Handler, service: &str, more: &str) -> (World, Origin, Proxy) {
    let world = World::new();
    let origin = Origin::start(&world.ca, &["api.test"], &["http/1.1"], answer).await;
    world.seal("api", &world.canary, &["api.test"]);
    let text = world.usual(origin.port(), more).replace("inject = ", &format!("{service}inject = "));
    world.configure(&text);
    let proxy = world.start_with(&["--cores", "1"]);
    (world, origin, proxy)
}

fn sizes() -> Handler {
    handler(|request: Request<Incoming>| async move {
        let size = request.into_body().collect().await.map(|body| body.to_bytes().len());
        Response::new(full(size.map_or("broken".to_owned(), |size| size.to_string())))
    })
}

/// Reads until the proxy closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    // A reset is an end as well.
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection stays open after {}", String::from_utf8_lossy(&rest));
    String::from_utf8_lossy(&rest).into_owned()
}

fn head(world: &World, method: &str, more: &str) -> String {
    format!("{method} /api/v1/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n{more}\r\n", world.token("app"))
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_maximum_are_closed_and_the_others_stay() {
    let (world, origin, _) = world_with(sizes(), "", "").await;
    world.configure(
        &world.usual(origin.port(), "").replace("mode = \"gateway\"", "mode = \"gateway\"\nconnections_max = 2"),
    );
    let proxy = world.start_with(&["--cores", "1"]);
    let get = head(&world, "GET", "");
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(proxy.address("gateway")).await.unwrap();
        stream.write_all(get.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        held.push(stream);
    }
    for _ in 0..5 {
        let mut third = TcpStream::connect(proxy.address("gateway")).await.unwrap();
        let _ = third.write_all(get.as_bytes()).await;
        assert_eq!(rest(&mut third).await, "");
    }
    held.pop();
    until("a place is free again", async || {
        let mut next = TcpStream::connect(proxy.address("gateway")).await.unwrap();
        let _ = next.write_all(get.replace("Host: x", "Host: x\r\nConnection: close").as_bytes()).await;
        rest(&mut next).await.starts_with("HTTP/1.1 200 ").then_some(())
    })
    .await;
    held[0].write_all(get.as_bytes()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_over_the_maximum_are_refused() {
    let (world, origin, proxy) = world_with(sizes(), "body_max = \"64KiB\"\n", "").await;
    let post = || client().post(proxy.gateway("/api/v1/x")).bearer_auth(world.token("app"));
    // Its length says so: nothing goes upstream.
    let answer = post().body(vec![b'x'; 65_537]).send().await.unwrap();
    assert_eq!(answer.status(), 413);
    assert!(answer.text().await.unwrap().contains("body_too_large"));
    assert_eq!(origin.connections(), 0);
    // It turns out on the way: upstream never sees a whole request.
    let chunks = stream::iter((0..9).map(|_| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![b'y'; 8_192])))));
    let answer = post().body(reqwest::Body::wrap(StreamBody::new(chunks))).send().await.unwrap();
    assert_eq!(answer.status(), 413);
    let finished = proxy.records("finished", 2);
    assert!(finished.iter().all(|record| record["code"] == "body_too_large"), "{finished:?}");
    assert!(finished[1]["request_bytes"].as_u64().unwrap() <= 65_536, "{finished:?}");
    // As much as is allowed passes, with a length or without.
    let answer = post().body(vec![b'x'; 65_536]).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "65536");
    let chunks = stream::iter((0..8).map(|_| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![b'y'; 8_192])))));
    let answer = post().body(reqwest::Body::wrap(StreamBody::new(chunks))).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "65536");
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_connections_beyond_the_maximum_are_refused_at_once() {
    let gate = Arc::new(Semaphore::new(0));
    let opens = gate.clone();
    let answer = handler(move |_| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            Response::new(full("ok"))
        }
    });
    let (world, origin, proxy) = world_with(answer, "", "[limits]\nupstream_max = 2\n").await;
    let get = async || {
        let answer = client().get(proxy.gateway("/api/v1/x")).bearer_auth(world.token("app")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let held = async { futures_util::future::join(get(), get()).await };
    let more = async {
        while origin.seen().len() < 2 {
            tokio::task::yield_now().await;
        }
        for _ in 0..5 {
            let (status, body) = get().await;
            assert!(status == 503 && body.contains("overloaded"), "{status} {body}");
        }
        assert_eq!(origin.connections(), 2);
        opens.add_permits(100);
    };
    let ((first, second), ()) = futures_util::future::join(held, more).await;
    assert_eq!((first.0, second.0), (200, 200));
    assert_eq!(get().await.0, 200);
    assert_eq!(origin.connections(), 2, "what was given back is used again");
}

/// Slow heads, slow handshakes and idle connections end; whoever keeps asking stays.
#[tokio::test(flavor = "multi_thread")]
async fn promise_9_slow_heads_are_cut_off() {
    let (world, origin, proxy) = world_with(sizes(), "", "[limits]\nheader_timeout = \"1s\"\n").await;
    let own = world.ca.issue(&["localhost"]);
    std::fs::copy(own.cert, world.path().join("gw.pem")).unwrap();
    std::fs::copy(own.key, world.path().join("gw.key")).unwrap();
    let tls = "[listener.tls]\nmode = \"gateway\"\nbind = \"127.0.0.1:0\"\nauthenticate = [\"ci\"]\n\
               tls = { certificate = \"gw.pem\", key = \"gw.key\" }\n";
    drop(proxy);
    world.configure(&world.usual(origin.port(), &format!("{tls}[limits]\nheader_timeout = \"1s\"\n")));
    let proxy = world.start_with(&["--cores", "1"]);
    let whole = head(&world, "GET", "");
    let ending = whole.trim_end().to_owned() + "\r\n";
    for (what, listener, text) in [
        ("nothing", "gateway", ""),
        ("half a head", "gateway", ending.as_str()),
        ("a whole request and half a head", "gateway", &format!("{whole}{ending}")),
        ("half a request line", "forward", "CONNECT api.t"),
        ("no handshake", "tls", ""),
        ("half a handshake", "tls", "\x16\x03\x01\x00\x10\x01"),
    ] {
        let begun = std::time::Instant::now();
        let mut stream = TcpStream::connect(proxy.address(listener)).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let (mut reading, mut writing) = stream.split();
        // A byte now and then does not buy time.
        let drip = async {
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                if what != "nothing" && what != "no handshake" && writing.write_all(b"x").await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let mut answer = Vec::new();
        tokio::select! {
            ended = tokio::time::timeout(PATIENCE, reading.read_to_end(&mut answer)) => drop(ended.expect(what)),
            () = drip => {}
        }
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(900) && took < PATIENCE, "{what}: {took:?}");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(answer.matches("HTTP/1.1 200 ").count(), usize::from(what.contains("whole")), "{what}: {answer}");
    }
    assert_eq!(origin.seen().len(), 1);
}

/// Bodies that stop moving end, in both directions; a head that does not come as well.
#[tokio::test(flavor = "multi_thread")]
async fn promise_9_stalled_bodies_and_answers_end() {
    let answer = handler(|request: Request<Incoming>| async move {
        let (head, body) = request.into_parts();
        if head.method == http::Method::POST {
            let _ = body.collect().await;
        }
        if head.uri.path().ends_with("never") {
            std::future::pending::<()>().await;
        }
        let begun = stream::iter([Ok(Frame::data(Bytes::from_static(b"begun")))]);
        Response::new(BodyExt::boxed(StreamBody::new(begun.chain(stream::pending()))))
    });
    // What an early answer leaves of an upload is read on for `header_timeout`.
    let limits = "[limits]\nbody_idle_timeout = \"1s\"\nheader_timeout = \"2s\"\n";
    let (world, _origin, proxy) = world_with(answer, "response_timeout = \"2s\"\n", limits).await;
    // The answer stops.
    let request = client().get(proxy.gateway("/api/v1/x")).bearer_auth(world.token("app"));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err(), "an answer that was cut must not look whole");
    assert_eq!(proxy.records("finished", 1)[0]["code"], "idle_timeout");
    // The head never comes.
    let request = client().get(proxy.gateway("/api/v1/never")).bearer_auth(world.token("app"));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 504);
    assert!(answer.text().await.unwrap().contains("upstream_timeout"));
    // The upload stops.
    let mut stream = TcpStream::connect(proxy.address("gateway")).await.unwrap();
    stream.write_all((head(&world, "POST", "Content-Length: 10\r\n") + "half").as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 4") && answer.contains("body_broken"), "{answer}");
    let finished = proxy.records("finished", 3).pop().unwrap();
    assert_eq!((&finished["code"], &finished["request_bytes"]), (&"idle_timeout".into(), &4.into()));
}

/// Long waits are looked at once a second instead of having a timer each: who waits is told all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_for_long_is_answered_for() {
    let answer = handler(|_: Request<Incoming>| std::future::pending::<Response<_>>());
    let (world, _origin, proxy) = world_with(answer, "response_timeout = \"10s\"\n", "").await;
    let asks: Vec<_> = (0..8)
        .map(|_| client().get(proxy.gateway("/api/v1/never")).bearer_auth(world.token("app")).send())
        .map(tokio::spawn)
        .collect();
    for ask in asks {
        let answer = ask.await.unwrap().unwrap();
        assert_eq!(answer.status(), 504);
        assert!(answer.text().await.unwrap().contains("upstream_timeout"));
    }
    for finished in proxy.records("finished", 8) {
        assert_eq!((&finished["code"], &finished["status"]), (&"upstream_timeout".into(), &504.into()));
    }
}

/// An answer that comes ahead of the request's end does not end the upload.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_behind_an_early_answer() {
    const HALF: usize = 100_000;
    let (came, mut coming) = tokio::sync::mpsc::unbounded_channel();
    let answer = handler(move |request: Request<Incoming>| {
        let came = came.clone();
        async move {
            tokio::spawn(async move {
                // Counted, not waited for to its end: of an upload that ends behind its answer the origin's hyper tells the
                // last byte, but the end only with the next request.
                let (mut body, mut bytes) = (request.into_body(), 0);
                while let Some(Ok(frame)) = body.frame().await {
                    bytes += frame.data_ref().map_or(0, Bytes::len);
                    if bytes == 2 * HALF {
                        break;
                    }
                }
                came.send(bytes).unwrap();
            });
            let mut answer = Response::new(full(""));
            *answer.status_mut() = http::StatusCode::ACCEPTED;
            answer
        }
    });
    let (world, _origin, proxy) = world_with(answer, "", "").await;
    let mut stream = TcpStream::connect(proxy.address("gateway")).await.unwrap();
    let length = format!("Content-Length: {}\r\n", 2 * HALF);
    stream.write_all((head(&world, "POST", &length) + &"x".repeat(HALF)).as_bytes()).await.unwrap();
    let mut begun = [0; 12];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut begun)).await.unwrap().unwrap();
    assert_eq!(&begun, b"HTTP/1.1 202");
    stream.write_all("y".repeat(HALF).as_bytes()).await.unwrap();
    let all = tokio::time::timeout(PATIENCE, coming.recv()).await.unwrap();
    assert_eq!(all, Some(2 * HALF));
}

/// What moves is not idle, however long it takes: an upload that drips, and an answer that lets the client wait.
#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_and_answers_that_move_are_left_alone() {
    let answer = handler(|request: Request<Incoming>| async move {
        let size = request.into_body().collect().await.unwrap().to_bytes().len();
        tokio::time::sleep(Duration::from_secs(5)).await;
        Response::new(full(size.to_string()))
    });
    let (world, _origin, proxy) = world_with(answer, "", "[limits]\nbody_idle_timeout = \"3s\"\n").await;
    let drip = stream::unfold(0, |count| async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        (count < 20).then(|| (Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"x"))), count + 1))
    });
    let request = client().post(proxy.gateway("/api/v1/x")).bearer_auth(world.token("app"));
    let answer = request.body(reqwest::Body::wrap(StreamBody::new(drip))).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text().await.unwrap(), "20");
    assert_eq!(proxy.records("finished", 1)[0]["code"], "ok");
}

/// An upstream that takes connections and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn promise_9_an_upstream_that_does_not_shake_hands_ends() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let world = World::new();
    world.seal("api", &world.canary, &["api.test"]);
    world.configure(&world.usual(port, "[limits]\nconnect_timeout = \"1s\"\n"));
    let proxy = world.start();
    let answer = client().get(proxy.gateway("/api/v1/x")).bearer_auth(world.token("app")).send().await.unwrap();
    assert_eq!(answer.status(), 504);
    assert!(answer.text().await.unwrap().contains("upstream_timeout"));
}

/// One caller cannot take the places of another.
#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_caller_beyond_the_maximum_are_refused_and_others_pass() {
    let gate = Arc::new(Semaphore::new(0));
    let opens = gate.clone();
    let answer = handler(move |_| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            Response::new(full("ok"))
        }
    });
    let other = "[workload.other]\nspiffe = \"spiffe://acme.test/ci/other\"\n\
                 [allow.other-api]\nwho = \"other\"\nto = \"api\"\nops = [\"GET /v1/**\"]\n";
    let (world, origin, proxy) = world_with(answer, "", &format!("{other}[limits]\ncaller_requests_max = 2\n")).await;
    let get = async |who: &str| {
        let answer = client().get(proxy.gateway("/api/v1/x")).bearer_auth(world.token(who)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let held = futures_util::future::join3(get("app"), get("app"), get("other"));
    let more = async {
        until("three requests are under way", async || (origin.seen().len() == 3).then_some(())).await;
        for _ in 0..3 {
            let (status, body) = get("app").await;
            assert!(status == 503 && body.contains("overloaded"), "{status} {body}");
        }
        opens.add_permits(100);
    };
    let ((first, second, third), ()) = futures_util::future::join(held, more).await;
    assert_eq!((first.0, second.0, third.0), (200, 200, 200));
    assert_eq!(get("app").await.0, 200, "what was given back can be taken again");
}

/// Bodies that must be held whole have room for so many bytes together.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_held_have_a_maximum_together() {
    let (world, origin, _) = world_with(sizes(), "", "").await;
    let text = world.usual(origin.port(), "[limits]\nbuffer_max = \"100KiB\"\n").replace(
        "inject = [\"bearer\"]",
        "inject = [{ placeholder = \"CLAVIGER_KEY\", in = [\"body\"], body_limit = \"64KiB\" }]",
    );
    world.configure(&text);
    let proxy = world.start_with(&["--cores", "1"]);
    let body = "{\"key\":\"CLAVIGER_KEY\"}";
    let more = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    let begin = async || {
        let mut stream = TcpStream::connect(proxy.address("gateway")).await.unwrap();
        // The slot is in the body, so the proof has a header of its own.
        let head = head(&world, "POST", &more).replace("Authorization: ", "Proxy-Authorization: ");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body.as_bytes()[..5]).await.unwrap();
        stream
    };
    let status = async |stream: &mut TcpStream| {
        let mut first = [0; 12];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut first)).await.expect("an answer").unwrap();
        String::from_utf8_lossy(&first[9..]).into_owned()
    };
    // Both hold or would hold 64 KiB; whichever is second has no room.
    let mut streams = [begin().await, begin().await];
    let (one, two) = streams.split_at_mut(1);
    let refused = tokio::select! {
        status = status(&mut one[0]) => (0, status),
        status = status(&mut two[0]) => (1, status),
    };
    assert_eq!(refused.1, "503");
    let held = &mut streams[1 - refused.0];
    held.write_all(&body.as_bytes()[5..]).await.unwrap();
    assert_eq!(status(held).await, "200");
    let mut next = begin().await;
    next.write_all(&body.as_bytes()[5..]).await.unwrap();
    assert_eq!(status(&mut next).await, "200", "the room is given back");
    assert_eq!(origin.seen().len(), 2);
}
