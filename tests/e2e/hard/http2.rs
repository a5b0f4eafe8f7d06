//! HTTP/2 on both sides: many streams, hostile frames, and what upstream negotiates.

use std::sync::Arc;

use claviger_tests::origin::{OriginBody, echo, full, handler};
use claviger_tests::svid::tls_client;
use claviger_tests::{Origin, Proxy, World};
use futures_util::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::wire::{Outer, Session, Stream, connect, memory_kib, root, tcp, tls};

async fn world_with(alpn: &[&str], answer: claviger_tests::origin::Handler) -> (World, Origin, Proxy) {
    let world = World::new();
    let origin = Origin::start(&world.ca, &["api.test"], alpn, answer).await;
    world.seal("api", &world.canary, &["api.test"]);
    world.configure(&world.usual(origin.port(), ""));
    let proxy = world.start();
    (world, origin, proxy)
}

fn proof(world: &World) -> String {
    format!("Proxy-Authorization: Bearer {}\r\n", world.token("app"))
}

/// Fifty allowed requests meet at the origin, which answers none before all are there; fifty that policy
/// refuses run between them on the same connection.
#[tokio::test(flavor = "multi_thread")]
async fn promise_7_a_hundred_streams_at_once_are_each_judged() {
    for alpn in ["h2", "http/1.1"] {
        let all_here = Arc::new(tokio::sync::Barrier::new(50));
        let answer = handler(move |request: Request<hyper::body::Incoming>| {
            let all_here = all_here.clone();
            async move {
                all_here.wait().await;
                Response::new(full(request.uri().path().to_owned()))
            }
        });
        let (world, origin, proxy) = world_with(&[alpn], answer).await;
        let session = Session::forward(&world, &proxy, Outer::Cleartext, &proof(&world), true).await;
        let calls = (0..100_usize).map(|number| {
            let session = session.clone();
            async move {
                let path = format!("/v{}/{number}", 1 + number % 2);
                let (status, body) = session.call("GET", &path, &[]).await.unwrap();
                match number % 2 {
                    0 => assert_eq!((status, body), (200, path)),
                    _ => assert!(status == 403 && body.contains("denied"), "{path}: {status} {body}"),
                }
            }
        });
        futures_util::future::join_all(calls).await;
        assert_eq!(origin.seen().len(), 50);
        if alpn == "h2" {
            // Streams of one core share a connection; those that found none yet each began one.
            assert!(origin.connections() <= 50, "{}", origin.connections());
        }
        proxy.records("finished", 100);
        let denied = proxy.records("decided", 100).iter().filter(|record| record["decision"] == "deny").count();
        assert_eq!(denied, 50);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_speaks_h2_unless_the_service_says_no() {
    let version = handler(|request: Request<hyper::body::Incoming>| async move {
        Response::new(full(format!("{:?}", request.version())))
    });
    for (http2, alpn, expected) in [
        ("http2 = true\n", vec!["h2", "http/1.1"], "HTTP/2.0"),
        ("http2 = false\n", vec!["h2", "http/1.1"], "HTTP/1.1"),
        ("", vec!["http/1.1"], "HTTP/1.1"),
        ("", vec!["h2"], "HTTP/2.0"),
        // Without ALPN there is HTTP/1.1 only.
        ("", vec![], "HTTP/1.1"),
    ] {
        let (world, origin, proxy) = world_with(&alpn, version.clone()).await;
        world.configure(&world.usual(origin.port(), "").replace("inject = ", &format!("{http2}inject = ")));
        if !http2.is_empty() {
            proxy.wait_for_line("generation 2 is in force");
        }
        for h2 in [false, true] {
            let session = Session::forward(&world, &proxy, Outer::Cleartext, &proof(&world), h2).await;
            let (status, body) = session.call("GET", "/v1/x", &[]).await.unwrap();
            assert_eq!((status, body.as_str()), (200, expected), "{http2}{alpn:?}");
        }
        let seen = origin.seen();
        assert!(seen.iter().all(|seen| seen.header("host").unwrap_or("api.test") == "api.test"), "{seen:?}");
    }
}

/// Trailers of an answer pass, masked; those of a request end here: a server might merge them into the
/// headers, which policy and injection have seen already.
#[tokio::test(flavor = "multi_thread")]
async fn promise_1_trailers_of_answers_are_masked_and_those_of_requests_dropped() {
    let answer = handler(|request: Request<hyper::body::Incoming>| async move {
        let key = request.headers()["authorization"].clone();
        let body = request.into_body().collect().await.unwrap();
        assert!(body.trailers().is_none(), "{:?}", body.trailers());
        let size = body.to_bytes().len();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-echo", key);
        trailers.insert("grpc-status", "0".parse().unwrap());
        let frames = [Ok(Frame::data(size.to_string().into())), Ok(Frame::trailers(trailers))];
        Response::new(BodyExt::boxed(StreamBody::new(stream::iter(frames))))
    });
    let (world, _origin, proxy) = world_with(&["h2"], answer).await;
    let session = Session::forward(&world, &proxy, Outer::Cleartext, &proof(&world), true).await;
    let mut trailers = http::HeaderMap::new();
    trailers.insert("authorization", "Bearer own".parse().unwrap());
    let frames = [Ok(Frame::data("hello".into())), Ok(Frame::trailers(trailers))];
    let body: OriginBody = BodyExt::boxed(StreamBody::new(stream::iter(frames)));
    let request = Request::post("/v1/x").header("te", "trailers").body(body).unwrap();
    let answer = session.send(request).await.unwrap().into_body().collect().await.unwrap();
    let trailers = answer.trailers().unwrap().clone();
    assert_eq!(answer.to_bytes(), "5");
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["x-echo"], format!("Bearer {}", "*".repeat(world.canary.len())));
    assert_eq!(proxy.records("finished", 1)[0]["masked"], 1);

    // The same over HTTP/1.1, where trailers stand behind the last chunk.
    let (mut stream, _) = inside(&world, &proxy, "http/1.1").await;
    let text = "POST /v1/x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: close\r\n\r\n\
                5\r\nhello\r\n0\r\nAuthorization: Bearer own\r\n\r\n";
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    claviger_tests::canary::assert_absent(&world.canary, "the answer", answer.as_bytes());
}

/// A byte stream inside CONNECT and the intercepted TLS.
async fn inside(world: &World, proxy: &Proxy, alpn: &str) -> (Stream, Option<Vec<u8>>) {
    let stream = connect(tcp(proxy.address("forward")).await, "api.test:443", &proof(world)).await.unwrap();
    tls(stream, "api.test", tls_client(&root(world), None, &[alpn])).await.unwrap()
}

// ── Frames by hand ───────────────────────────────────────────────────────────────────────────────

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// RFC 9113 §4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A field of RFC 7541 §6.2, its form chosen by the first byte: 0x00 literal, 0x40 with indexing.
fn field(form: u8, name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![form];
    for text in [name, value] {
        let mut left = text.len();
        if left < 127 {
            field.push(u8::try_from(left).unwrap());
        } else {
            field.push(127);
            left -= 127;
            while left >= 128 {
                field.push(u8::try_from(left % 128).unwrap() | 128);
                left /= 128;
            }
            field.push(u8::try_from(left).unwrap());
        }
        field.extend(text.as_bytes());
    }
    field
}

fn request_fields() -> Vec<u8> {
    [(":method", "GET"), (":scheme", "https"), (":authority", "api.test"), (":path", "/v1/x")]
        .iter()
        .flat_map(|(name, value)| field(0, name, value))
        .collect()
}

/// Writes as much as the peer takes, while what it says is read and dropped.
async fn pour(stream: Stream, frames: impl Iterator<Item = Vec<u8>>) -> usize {
    let (mut reading, mut writing) = tokio::io::split(stream);
    let drain = tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while reading.read(&mut buffer).await.is_ok_and(|size| size > 0) {}
    });
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
    let mut written = 0;
    if writing.write_all(&preface).await.is_ok() {
        for frame in frames {
            if writing.write_all(&frame).await.is_err() {
                break;
            }
            written += 1;
        }
    }
    let _ = writing.shutdown().await;
    drain.abort();
    written
}

/// RFC 9113 §10.5 and CVE-2023-44487, -2024-27316 and kin: none of them stops others, crashes or costs memory.
#[tokio::test(flavor = "multi_thread")]
async fn promise_9_floods_of_frames_cost_no_memory_and_stop_nobody() {
    type Flood = fn() -> Box<dyn Iterator<Item = Vec<u8>> + Send>;
    let floods: [(&str, Flood); 7] = [
        ("rapid reset", || {
            Box::new((0..20_000_u32).map(|number| {
                let id = 2 * number + 1;
                let open = frame(HEADERS, END_HEADERS | END_STREAM, id, &request_fields());
                [open, frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())].concat()
            }))
        }),
        ("streams that never end", || {
            Box::new((0..20_000_u32).map(|number| frame(HEADERS, END_HEADERS, 2 * number + 1, &request_fields())))
        }),
        ("continuation without end", || {
            let first = frame(HEADERS, END_STREAM, 1, &request_fields());
            let more = frame(CONTINUATION, 0, 1, &field(0, "x-bomb", &"y".repeat(16_000)));
            Box::new(std::iter::once(first).chain(std::iter::repeat_n(more, 10_000)))
        }),
        ("empty continuations", || {
            let first = frame(HEADERS, END_STREAM, 1, &request_fields());
            Box::new(std::iter::once(first).chain(std::iter::repeat_n(frame(CONTINUATION, 0, 1, &[]), 200_000)))
        }),
        ("a compressed bomb", || {
            // One entry of 3.9 KB in the dynamic table, and 12,000 references of one byte.
            let mut block = request_fields();
            block.extend(field(0x40, "x-bomb", &"y".repeat(3_900)));
            block.extend(std::iter::repeat_n(0x80_u8 | 62, 12_000));
            Box::new((0..200_u32).map(move |number| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &block)))
        }),
        ("pings", || Box::new(std::iter::repeat_n(frame(PING, 0, 0, &[0; 8]), 100_000))),
        ("settings", || Box::new(std::iter::repeat_n(frame(SETTINGS, 0, 0, &[]), 100_000))),
    ];
    let world = World::new();
    let origin = Origin::keyed(&world.ca, &world.canary).await;
    world.seal("api", &world.canary, &["api.test"]);
    world.configure(&world.usual(origin.port(), ""));
    let proxy = world.start();
    let other = Session::forward(&world, &proxy, Outer::Cleartext, &proof(&world), true).await;
    assert_eq!(other.get("/v1/before").await.unwrap(), 200);
    let before = memory_kib(proxy.pid(), "VmRSS:");
    for (what, flood) in floods {
        let mut pouring = Vec::new();
        for _ in 0..4 {
            let (stream, _) = inside(&world, &proxy, "h2").await;
            pouring.push(tokio::spawn(pour(stream, flood())));
        }
        let mut served = 0;
        while pouring.iter().any(|one| !one.is_finished()) || served < 20 {
            assert_eq!(other.get("/v1/other").await.unwrap(), 200, "{what}");
            served += 1;
        }
        let mut written = Vec::new();
        for one in pouring {
            written.push(one.await.unwrap());
        }
        let grown = memory_kib(proxy.pid(), "VmHWM:") - before;
        println!("{what}: {written:?} frames taken, {served} requests served beside it, peak +{grown} KiB");
        assert!(grown < 96 * 1024, "{what}: memory grew by {grown} KiB");
    }
    let fresh = Session::forward(&world, &proxy, Outer::Cleartext, &proof(&world), true).await;
    assert_eq!(fresh.get("/v1/after").await.unwrap(), 200);
    assert!(!proxy.output().contains("panicked"), "{}", proxy.output());
    // Each request that was begun has its end on record.
    drop((fresh, other));
    let status = proxy.stop();
    assert!(status.success());
    let verified = world.run(&["ledger", "--config", "claviger.toml", "verify"]);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success() && said.contains(" 0 open"), "{said}");
}

/// A head that is over the limits is refused alone: its neighbours on the connection live on.
#[tokio::test(flavor = "multi_thread")]
async fn promise_9_an_oversized_h2_head_is_refused_alone() {
    let world = World::new();
    let origin = Origin::start(&world.ca, &["api.test"], &["h2"], echo(&world.canary)).await;
    world.seal("api", &world.canary, &["api.test"]);
    world.configure(&world.usual(origin.port(), ""));
    let proxy = world.start();
    let session = Session::forward(&world, &proxy, Outer::Cleartext, &proof(&world), true).await;
    let many: Vec<String> = (0..2_000).map(|number| format!("x-{number}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "some value of a header")).collect();
    let long = "y".repeat(100_000);
    for headers in [many, vec![("x-long", long.as_str())]] {
        let refused = session.call("GET", "/v1/x", &headers).await;
        assert!(refused.as_ref().is_err() || refused.as_ref().is_ok_and(|answer| answer.0 == 431), "{refused:?}");
        assert_eq!(session.get("/v1/neighbour").await.unwrap(), 200);
    }
    assert!(origin.seen().iter().all(|seen| seen.uri.path() == "/v1/neighbour"));
}
