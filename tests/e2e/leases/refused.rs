//! An upstream that refuses a value: it is let go of, one is minted, and the request is sent once more if its body allows.

use std::sync::{Arc, Mutex};

use claviger_tests::World;
use claviger_tests::origin::{full, handler};
use futures_util::{StreamExt, stream};
use http::{Method, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use crate::scene::{Answer, Scene, Sort, shown};

/// What is sent.
#[derive(Clone, Copy)]
enum Body {
    None,
    /// Of so many bytes, which the client says.
    Sized(usize),
    /// Of so many bytes, in two parts whose lengths are not said before.
    Chunked(usize),
}

struct Case {
    name: &'static str,
    body: Body,
    /// What the API answers to the first token.
    status: u16,
    challenge: &'static str,
    invalidated: bool,
    replayed: bool,
}

const INVALID: &str = "Bearer realm=\"api\", error=\"invalid_token\"";
const SCOPE: &str = "Bearer realm=\"api\", error=\"insufficient_scope\"";
/// Up to this size a body is kept.
const KEPT: usize = 65_536;

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { name: "get",          body: Body::None,            status: 401, challenge: "",      invalidated: true,  replayed: true },
    Case { name: "get-bearer",   body: Body::None,            status: 401, challenge: INVALID, invalidated: true,  replayed: true },
    Case { name: "get-403",      body: Body::None,            status: 403, challenge: INVALID, invalidated: true,  replayed: true },
    Case { name: "get-400",      body: Body::None,            status: 400, challenge: INVALID, invalidated: true,  replayed: true },
    Case { name: "post-empty",   body: Body::Sized(0),        status: 401, challenge: "",      invalidated: true,  replayed: true },
    Case { name: "post-small",   body: Body::Sized(11),       status: 401, challenge: "",      invalidated: true,  replayed: true },
    Case { name: "post-403",     body: Body::Sized(11),       status: 403, challenge: INVALID, invalidated: true,  replayed: true },
    Case { name: "post-kept",    body: Body::Sized(KEPT),     status: 401, challenge: "",      invalidated: true,  replayed: true },
    // What streams by is gone: the client is told, and the next request has another value.
    Case { name: "post-large",   body: Body::Sized(KEPT + 1), status: 401, challenge: "",      invalidated: true,  replayed: false },
    Case { name: "post-chunked", body: Body::Chunked(12),     status: 401, challenge: "",      invalidated: true,  replayed: false },
    Case { name: "chunked-403",  body: Body::Chunked(12),     status: 403, challenge: INVALID, invalidated: true,  replayed: false },
    // It is not the value that is refused.
    Case { name: "scope-401",    body: Body::None,            status: 401, challenge: SCOPE,   invalidated: false, replayed: false },
    Case { name: "scope-403",    body: Body::Sized(11),       status: 403, challenge: SCOPE,   invalidated: false, replayed: false },
    Case { name: "plain-403",    body: Body::None,            status: 403, challenge: "",      invalidated: false, replayed: false },
];

/// What arrived at the API: the path, the number of the token, and the body.
type Arrived = Arc<Mutex<Vec<(String, String, Vec<u8>)>>>;

/// Refuses the first token of each credential, as its case says.
fn api(world: &World, arrived: Arrived) -> claviger_tests::origin::Handler {
    let canary = world.canary.clone();
    handler(move |request| {
        let (arrived, canary) = (arrived.clone(), canary.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes().to_vec();
            let name = head.uri.path().strip_prefix("/v1/").unwrap().to_owned();
            let number = shown(&http::Request::from_parts(head, ()), &canary).unwrap();
            arrived.lock().unwrap().push((name.clone(), number.clone(), body));
            let case = CASES.iter().find(|case| case.name == name).unwrap();
            let mut answer = Response::new(full(format!("token-{number}")));
            if number == "1" {
                *answer.status_mut() = case.status.try_into().unwrap();
                if !case.challenge.is_empty() {
                    answer.headers_mut().insert("www-authenticate", case.challenge.parse().unwrap());
                }
            }
            answer
        }
    })
}

fn bytes(body: Body) -> Vec<u8> {
    let length = match body {
        Body::None => 0,
        Body::Sized(length) | Body::Chunked(length) => length,
    };
    (0..length).map(|at| b'a' + u8::try_from(at % 26).unwrap()).collect()
}

async fn send(scene: &Scene, case: &Case) -> (u16, String) {
    let whole = bytes(case.body);
    let request = match case.body {
        Body::None => scene.request(Method::GET, case.name),
        Body::Sized(_) => scene.request(Method::POST, case.name).body(whole),
        Body::Chunked(length) => {
            let parts = [whole[..length / 2].to_vec(), whole[length / 2..].to_vec()];
            let parts = stream::iter(parts).map(|part| Ok::<_, std::io::Error>(Frame::data(bytes::Bytes::from(part))));
            scene.request(Method::POST, case.name).body(reqwest::Body::wrap(StreamBody::new(parts)))
        }
    };
    scene.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_value_is_replaced_and_the_request_sent_again_if_its_body_allows() {
    let (world, arrived) = (World::new(), Arrived::default());
    let api = api(&world, arrived.clone());
    let sorts: Vec<_> = CASES.iter().map(|case| Sort::new(case.name, Answer::Token(3_600), "")).collect();
    let scene = Scene::start(world, &sorts, api).await;
    let mut finished = 0;
    for (case, sort) in CASES.iter().zip(&sorts) {
        let Case { name, body, status, invalidated, replayed, .. } = case;
        let of_case = || {
            let all = arrived.lock().unwrap();
            all.iter().filter(|one| one.0 == *name).map(|one| (one.1.clone(), one.2.clone())).collect::<Vec<_>>()
        };
        let expected = if *replayed { (200, "token-2".to_owned()) } else { (*status, "token-1".to_owned()) };
        assert_eq!(send(&scene, case).await, expected, "{name}");
        let whole = bytes(*body);
        let once = |number: &str| (number.to_owned(), whole.clone());
        let arrivals = if *replayed { vec![once("1"), once("2")] } else { vec![once("1")] };
        assert!(of_case() == arrivals, "{name}: the same bytes, once for each token");
        assert_eq!(sort.desk.minted(), arrivals.len(), "{name}: one mint for it");
        finished += 1;
        let record = scene.proxy.records("finished", finished).pop().unwrap();
        assert_eq!((&record["replayed"], &record["status"]), (&(*replayed).into(), &expected.0.into()), "{name}");
        // The next request has another value if this one was let go of, and the same if it was not.
        let (next, number) = if *invalidated { (200, "2") } else { (*status, "1") };
        assert_eq!(send(&scene, case).await, (next, format!("token-{number}")), "{name}");
        finished += 1;
        let expected: &[&str] = if *invalidated { &["minted", "invalidated", "minted"] } else { &["minted"] };
        let kinds: Vec<_> = scene.events(name, expected.len()).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, expected, "{name}");
        assert_eq!(sort.desk.minted(), usize::from(*invalidated) + 1, "{name}: and no more mints than that");
    }
    assert!(scene.proxy.stop().success());
}

/// A mint that fails after a refusal: upstream's own answer stands, and the refused value is not used again.
#[tokio::test(flavor = "multi_thread")]
async fn where_no_other_value_is_to_be_had_the_refusal_stands() {
    let (world, sort) = (World::new(), Sort::new("tokens", Answer::Token(3_600), ""));
    let desk = sort.desk.clone();
    let api = handler(move |_| {
        // From the moment at which it refuses the value.
        desk.will(Answer::json(500, "{}"));
        async {
            let mut answer = Response::new(full("refused"));
            *answer.status_mut() = http::StatusCode::UNAUTHORIZED;
            answer
        }
    });
    let scene = Scene::start(world, &[sort], api).await;
    assert_eq!(scene.ask("tokens").await, (401, "refused".to_owned()));
    assert_eq!(scene.ask("tokens").await, (503, "credential_unavailable".to_owned()));
    assert_eq!(scene.arrived("tokens"), 1);
    let kinds: Vec<_> = scene.events("tokens", 3).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds[..3], ["minted", "invalidated", "failed"]);
    assert!(scene.proxy.stop().success());
}
