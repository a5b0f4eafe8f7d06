//! Promise 7 for what has begun already: a stream ends when its permission does, and no other.

use std::time::Duration;

use bytes::Bytes;
use claviger_tests::origin::{OriginBody, handler};
use claviger_tests::{Origin, PATIENCE, Proxy, World};
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::json;

use crate::wire::{Outer, Session};

const RULES: &str = "[workload.other]\nspiffe = \"spiffe://acme.test/ci/other\"\n\
                     [allow.other-api]\nwho = \"other\"\nto = \"api\"\nops = [\"GET /v1/**\"]\n";

/// `/v1/busy` sends events as fast as they are taken, `/v1/quiet` one and then nothing.
async fn events() -> (World, Origin, Proxy) {
    let world = World::new();
    let answer = handler(|request: Request<Incoming>| async move {
        let event = Bytes::from_static(b"data: x\n\n");
        let body: OriginBody = if request.uri().path().contains("busy") {
            let ticks = stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Some((Ok(Frame::data(Bytes::from_static(b"data: x\n\n"))), ()))
            });
            BodyExt::boxed(StreamBody::new(OnHeap(Box::pin(ticks))))
        } else {
            BodyExt::boxed(StreamBody::new(stream::iter([Ok(Frame::data(event))]).chain(stream::pending())))
        };
        Response::new(body)
    });
    let origin = Origin::start(&world.ca, &["api.test"], &["h2", "http/1.1"], answer).await;
    world.seal("api", &world.canary, &["api.test"]);
    world.configure(&configuration(&world, &origin));
    let proxy = world.start();
    (world, origin, proxy)
}

/// Clocks agree here, so that a token ends when it says.
fn configuration(world: &World, origin: &Origin) -> String {
    world.usual(origin.port(), RULES).replace("audience = ", "leeway = \"0s\"\naudience = ")
}

struct OnHeap<S>(std::pin::Pin<Box<S>>);

impl<S: futures_util::Stream> futures_util::Stream for OnHeap<S> {
    type Item = S::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// Begins a stream and takes its first event.
async fn begin(world: &World, proxy: &Proxy, token: &str, path: &str, h2: bool) -> Incoming {
    let proof = format!("Proxy-Authorization: Bearer {token}\r\n");
    let session = Session::forward(world, proxy, Outer::Cleartext, &proof, h2).await;
    let request = Request::get(path).body(claviger_tests::origin::full("")).unwrap();
    let answer = session.send(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    assert!(body.frame().await.unwrap().unwrap().is_data());
    body
}

/// Reads to the end; whether it was cut (an end that looks whole would be taken for the whole answer).
async fn is_cut(mut body: Incoming) -> bool {
    let ends = async {
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return true;
            }
        }
        false
    };
    tokio::time::timeout(PATIENCE, ends).await.expect("the stream goes on")
}

/// Four streams of `app` (busy or quiet, HTTP/1.1 or h2) end by what `end` does; that of `other` lives on.
async fn all_end(token: impl Fn(&World) -> String, end: impl Fn(&World, &Origin, &Proxy)) {
    let (world, origin, proxy) = events().await;
    let token = token(&world);
    let mut streams = Vec::new();
    for path in ["/v1/busy", "/v1/quiet"] {
        for h2 in [false, true] {
            streams.push(begin(&world, &proxy, &token, path, h2).await);
        }
    }
    let mut other = begin(&world, &proxy, &world.token("other"), "/v1/busy", true).await;
    end(&world, &origin, &proxy);
    for stream in streams {
        assert!(is_cut(stream).await);
    }
    let finished = proxy.records("finished", 4);
    assert!(finished.iter().all(|record| record["code"] == "revoked"), "{finished:?}");
    for _ in 0..50 {
        assert!(tokio::time::timeout(PATIENCE, other.frame()).await.unwrap().unwrap().unwrap().is_data());
    }
    assert_eq!(proxy.records("finished", 4).len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_7_a_stream_ends_when_a_reload_takes_its_rule_away() {
    all_end(
        |world| world.token("app"),
        |world, origin, proxy| {
            let text = configuration(world, origin);
            // A reload that changes nothing for them is no reason to end.
            world.configure(&format!("{text}# a comment\n"));
            proxy.wait_for_line("generation 2 is in force");
            assert!(proxy.records("finished", 0).is_empty());
            world.configure(&text.replace("who = \"app\"", "who = \"other\""));
            proxy.wait_for_line("generation 3 is in force");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_7_a_stream_ends_when_a_deny_comes() {
    let deny = "[deny.stop]\nwho = \"app\"\nto = \"api\"\nops = \"*\"\n";
    all_end(
        |world| world.token("app"),
        |world, origin, proxy| {
            world.configure(&(configuration(world, origin) + deny));
            proxy.wait_for_line("generation 2 is in force");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_7_a_stream_ends_with_the_token_that_began_it() {
    let token = |world: &World| {
        // Long enough for all streams to begin on a slow machine.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        world.issuer.token_with("app", json!({"exp": now + 10}))
    };
    all_end(token, |_, _, _| {}).await;
}

/// A rule's own time: nothing is reloaded, and no proof ends.
#[tokio::test(flavor = "multi_thread")]
async fn promise_7_a_stream_ends_with_the_time_of_its_rule() {
    let (world, origin, proxy) = events().await;
    let ends = time::OffsetDateTime::now_utc() + time::Duration::seconds(10);
    let until = format!(
        "{}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        ends.year(),
        u8::from(ends.month()),
        ends.day(),
        ends.hour(),
        ends.minute(),
        ends.second()
    );
    let text = configuration(&world, &origin);
    world.configure(&text.replace("who = \"app\"", &format!("until = \"{until}\"\nwho = \"app\"")));
    proxy.wait_for_line("generation 2 is in force");
    let quiet = begin(&world, &proxy, &world.token("app"), "/v1/quiet", false).await;
    assert!(is_cut(quiet).await);
    assert_eq!(proxy.records("finished", 1)[0]["code"], "revoked");
}
