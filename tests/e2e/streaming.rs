//! Bodies pass as they come: event by event, at flat memory, masked where they echo.

use bytes::Bytes;
use claviger_tests::origin::{OriginBody, handler};
use claviger_tests::{Origin, PATIENCE, Proxy, World};
use futures_util::{StreamExt, stream};
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use crate::gateway::client;

fn streamed(chunks: impl futures_util::Stream<Item = Bytes> + Send + Sync + 'static) -> OriginBody {
    BodyExt::boxed(StreamBody::new(chunks.map(|chunk| Ok(Frame::data(chunk)))))
}

async fn world_with(answer: claviger_tests::origin::Handler) -> (World, Origin, Proxy) {
    let world = World::new();
    let origin = Origin::start(&world.ca, &["api.test"], &["http/1.1"], answer).await;
    world.seal("api", &world.canary, &["api.test"]);
    world.configure(&world.usual(origin.port(), ""));
    let proxy = world.start();
    (world, origin, proxy)
}

/// Each event arrives before the next one is sent, though the echo guard looks at all of them.
#[tokio::test(flavor = "multi_thread")]
async fn sse_passes_event_by_event() {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
    let receiver = std::sync::Mutex::new(Some(receiver));
    let answer = handler(move |_| {
        let receiver = receiver.lock().unwrap().take().unwrap();
        let events =
            stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|event| (event, receiver)));
        async move {
            let mut response = Response::new(streamed(SyncStream(Box::pin(events))));
            response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
            response
        }
    });
    let (world, _origin, proxy) = world_with(answer).await;
    let request = client().get(proxy.gateway("/api/v1/stream")).bearer_auth(world.token("app"));
    let mut response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    for number in 0..50 {
        let event = format!("data: {{\"n\":{number}}}\n\n");
        // The next one is not sent before this one is there.
        sender.send(Bytes::from(event.clone())).unwrap();
        let got = tokio::time::timeout(PATIENCE, response.chunk()).await.unwrap().unwrap().unwrap();
        assert_eq!(got, event.as_bytes());
    }
    drop(sender);
    assert!(response.chunk().await.unwrap().is_none());
}

/// A stream with its state on the heap.
struct SyncStream<S>(std::pin::Pin<Box<S>>);

impl<S: futures_util::Stream> futures_util::Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// Promise 1: what upstream reflects of the injected value is masked at the same length, in every
/// listed form, in headers and bodies, also across chunks.
#[tokio::test(flavor = "multi_thread")]
async fn promise_1_echoes_are_masked() {
    let answer = handler(|request: http::Request<hyper::body::Incoming>| async move {
        let value = request.headers()["authorization"].to_str().unwrap().to_owned();
        let key = value.strip_prefix("Bearer ").unwrap().to_owned();
        let mut body = Vec::new();
        for text in claviger_tests::canary::reflections(&key) {
            body.extend_from_slice(format!("<{text}>\n").as_bytes());
        }
        let chunks: Vec<Bytes> = body.chunks(7).map(Bytes::copy_from_slice).collect();
        let mut response = Response::new(streamed(stream::iter(chunks)));
        response.headers_mut().insert("x-echo", value.parse().unwrap());
        response.headers_mut().insert("content-length", body.len().into());
        response
    });
    let (world, _origin, proxy) = world_with(answer).await;
    let request = client().get(proxy.gateway("/api/v1/echo")).bearer_auth(world.token("app"));
    let response = request.send().await.unwrap();
    let echoed = response.headers()["x-echo"].to_str().unwrap().to_owned();
    assert_eq!(echoed, format!("Bearer {}", "*".repeat(world.canary.len())));
    let length: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let body = response.bytes().await.unwrap();
    assert_eq!(body.len(), length, "masked at the same length");
    claviger_tests::canary::assert_absent(&world.canary, "the answer", &body);
    assert!(proxy.records("finished", 1)[0]["masked"].as_u64().unwrap() > 5);
}

/// A compressed answer cannot be scanned: identity is asked for, and what comes compressed all the same is refused.
#[tokio::test(flavor = "multi_thread")]
async fn promise_1_a_compressed_answer_is_refused() {
    let answer = handler(|request: http::Request<hyper::body::Incoming>| async move {
        assert_eq!(request.headers()["accept-encoding"], "identity");
        let mut response = Response::new(claviger_tests::origin::full(vec![0x1f, 0x8b, 8, 0]));
        response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        response
    });
    let (world, _origin, proxy) = world_with(answer).await;
    let request = client().get(proxy.gateway("/api/v1/zip")).header("accept-encoding", "gzip");
    let response = request.bearer_auth(world.token("app")).send().await.unwrap();
    assert_eq!(response.status(), 502);
    assert!(response.text().await.unwrap().contains("answer_encoded"));
}

/// A gibibyte each way, and the process does not grow with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_gibibyte_passes_at_flat_memory() {
    const SIZE: usize = 1 << 30;
    const CHUNK: usize = 1 << 16;
    let answer = handler(|request: http::Request<hyper::body::Incoming>| async move {
        if request.method() == http::Method::GET {
            let chunk = Bytes::from(vec![b'x'; CHUNK]);
            return Response::new(streamed(stream::iter(std::iter::repeat_n(chunk, SIZE / CHUNK))));
        }
        let mut body = request.into_body();
        let mut size = 0_usize;
        while let Some(frame) = body.frame().await {
            size += frame.unwrap().into_data().map_or(0, |data| data.len());
        }
        Response::new(claviger_tests::origin::full(size.to_string()))
    });
    let (world, _origin, proxy) = world_with(answer).await;
    let warm = client().put(proxy.gateway("/api/v1/up")).bearer_auth(world.token("app")).body("x");
    assert_eq!(warm.send().await.unwrap().text().await.unwrap(), "1");
    let before = peak_kib(proxy.pid());

    let mut response =
        client().get(proxy.gateway("/api/v1/down")).bearer_auth(world.token("app")).send().await.unwrap();
    let mut size = 0;
    while let Some(chunk) = response.chunk().await.unwrap() {
        size += chunk.len();
    }
    assert_eq!(size, SIZE);

    let chunk = Bytes::from(vec![b'y'; CHUNK]);
    let body = stream::iter(std::iter::repeat_n(chunk, SIZE / CHUNK).map(Ok::<_, std::io::Error>));
    let upload = client().put(proxy.gateway("/api/v1/up")).bearer_auth(world.token("app"));
    let upload = upload.body(reqwest::Body::wrap(StreamBody::new(body.map(|chunk| chunk.map(Frame::data)))));
    assert_eq!(upload.send().await.unwrap().text().await.unwrap(), SIZE.to_string());

    let grown = peak_kib(proxy.pid()) - before;
    println!("peak resident memory grew by {grown} KiB over 2 GiB");
    assert!(grown < 32 * 1024, "memory grew by {grown} KiB");
}

/// The highest resident size so far, from the kernel.
fn peak_kib(pid: u32) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
