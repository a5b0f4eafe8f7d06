//! Credentials that are minted: one mint for all, ahead of their end, anew when upstream refuses.

use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use claviger_tests::origin::{full, handler};
use claviger_tests::{Origin, Proxy, World};
use futures_util::stream;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::json;

use crate::wire::{client, until};

const CLIENT_SECRET: &str = "the-client-secret-of-this-test";

/// A token endpoint, and an API that takes the newest token only.
struct Issuing {
    world: World,
    endpoint: Origin,
    api: Origin,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    minted: AtomicUsize,
    /// The status that the endpoint answers with.
    status: AtomicU16,
    lifetime: AtomicU64,
    /// What the API takes; empty takes every token that was minted.
    taken: Mutex<String>,
    location: Mutex<String>,
}

impl State {
    fn set_status(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn minted(&self) -> usize {
        self.minted.load(Ordering::SeqCst)
    }
}

async fn issuing(lifetime: u64) -> Issuing {
    let world = World::new();
    let state = Arc::new(State::default());
    state.set_status(200);
    state.lifetime.store(lifetime, Ordering::SeqCst);
    let (mints, base) = (state.clone(), world.canary.clone());
    let endpoint = handler(move |request: Request<Incoming>| {
        let (mints, base) = (mints.clone(), base.clone());
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            assert!(String::from_utf8_lossy(&body).contains("grant_type=client_credentials"));
            let number = mints.minted.fetch_add(1, Ordering::SeqCst) + 1;
            let token = json!({"access_token": format!("{base}.{number}"), "token_type": "Bearer",
                               "expires_in": mints.lifetime.load(Ordering::SeqCst)});
            let mut response = Response::new(full(token.to_string()));
            *response.status_mut() = StatusCode::from_u16(mints.status.load(Ordering::SeqCst)).unwrap();
            let location = mints.location.lock().unwrap().clone();
            if !location.is_empty() {
                response.headers_mut().insert("location", location.parse().unwrap());
            }
            response.headers_mut().insert("content-type", "application/json".parse().unwrap());
            response
        }
    });
    let endpoint = Origin::start(&world.ca, &["localhost"], &["http/1.1"], endpoint).await;
    let (checks, base) = (state.clone(), world.canary.clone());
    let api = handler(move |request: Request<Incoming>| {
        let (checks, base) = (checks.clone(), base.clone());
        async move {
            let shown = request.headers()["authorization"].to_str().unwrap().to_owned();
            let _ = request.into_body().collect().await;
            let taken = checks.taken.lock().unwrap().clone();
            let good = match taken.as_str() {
                "" => shown.starts_with(&format!("Bearer {base}.")),
                taken => shown == format!("Bearer {base}.{taken}"),
            };
            let mut response = Response::new(full(""));
            *response.status_mut() = if good { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            response
        }
    });
    let api = Origin::start(&world.ca, &["api.test"], &["h2", "http/1.1"], api).await;
    world.seal("client", CLIENT_SECRET, &[&format!("localhost:{}", endpoint.port())]);
    let issuing = Issuing { world, endpoint, api, state };
    issuing.world.configure(&issuing.configuration());
    issuing
}

impl Issuing {
    fn configuration(&self) -> String {
        let minted = format!(
            "[credential.minted]\nkind = \"oauth2\"\ntoken_url = \"https://localhost:{}/token\"\nclient_id = \"claviger\"\n\
             client_secret = \"secret://sealed/client\"\nallow_addresses = [\"127.0.0.1\", \"::1\"]\nca = \"ca.pem\"\n\
             hosts = [\"api.test\"]\n",
            self.endpoint.port()
        );
        let text = self.world.usual(self.api.port(), &minted).replace("secret = \"secret://sealed/api\"\n", "");
        text.replace("to = \"api\"\n", "to = \"api\"\nuse = \"minted\"\n")
    }

    async fn get(&self, proxy: &Proxy) -> (u16, String) {
        let request = client().get(proxy.gateway("/api/v1/x")).bearer_auth(self.world.token("app"));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Searches what was written for the client secret too, which never leaves but for its endpoint.
    fn end(self, proxy: Proxy) {
        let written = proxy.output();
        claviger_tests::canary::assert_absent(CLIENT_SECRET, "what the proxy printed", written.as_bytes());
        assert!(proxy.stop().success());
        claviger_tests::canary::assert_absent_below(CLIENT_SECRET, self.world.path());
        assert!(self.api.seen().iter().all(|seen| !format!("{seen:?}").contains(CLIENT_SECRET)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_first_requests_mint_once() {
    let issuing = issuing(600).await;
    let proxy = issuing.world.start();
    let answers = futures_util::future::join_all((0..200).map(|_| issuing.get(&proxy))).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    assert_eq!(issuing.endpoint.seen().len(), 1);
    let seen = issuing.endpoint.only();
    assert!(seen.header("authorization").unwrap().starts_with("Basic "), "{seen:?}");
    assert_eq!(proxy.records("finished", 200).len(), 200);
    let credential = proxy.records("credential", 1);
    assert_eq!((credential.len(), &credential[0]["kind"]), (1, &"minted".into()));
    issuing.end(proxy);
}

/// Requests never wait for a refresh, and never fail while the issuer works.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_refreshed_ahead_of_its_end() {
    let issuing = issuing(4).await;
    let proxy = issuing.world.start();
    until("three leases", async || {
        assert_eq!(issuing.get(&proxy).await.0, 200);
        (issuing.state.minted() >= 3).then_some(())
    })
    .await;
    let kinds: Vec<_> = proxy.records("credential", 3).iter().map(|record| record["kind"].clone()).collect();
    assert_eq!(kinds[..3], ["minted", "refreshed", "refreshed"]);
    let versions: std::collections::HashSet<String> =
        proxy.records("decided", 1).iter().map(|record| record["credential"]["version"].to_string()).collect();
    assert!(versions.len() >= 2, "{versions:?}");
    issuing.end(proxy);
}

/// Never after its end: then 503, nothing upstream, and back as soon as the issuer is.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_down_fails_closed_and_recovers() {
    let issuing = issuing(2).await;
    let proxy = issuing.world.start();
    assert_eq!(issuing.get(&proxy).await.0, 200);
    issuing.state.set_status(500);
    let (before, refused) = until("the lease has ended", async || {
        let before = issuing.api.seen().len();
        let (status, body) = issuing.get(&proxy).await;
        assert!([200, 503].contains(&status), "{status} {body}");
        (status == 503).then_some((before, body))
    })
    .await;
    assert!(refused.contains("credential_unavailable"), "{refused}");
    for _ in 0..20 {
        assert_eq!(issuing.get(&proxy).await.0, 503);
    }
    assert_eq!(issuing.api.seen().len(), before, "nothing goes upstream without a credential");
    assert!(issuing.state.minted() < 10, "failures back off: {} calls", issuing.state.minted());
    issuing.state.set_status(200);
    until("recovery", async || (issuing.get(&proxy).await.0 == 200).then_some(())).await;
    let kinds: Vec<_> = proxy.records("credential", 3).iter().map(|record| record["kind"].clone()).collect();
    assert!(kinds.contains(&"failed".into()), "{kinds:?}");
    issuing.end(proxy);
}

/// A 401 mints anew and repeats the request once, if it can be repeated.
#[tokio::test(flavor = "multi_thread")]
async fn promise_3_a_401_is_replayed_once_and_recorded() {
    let issuing = issuing(600).await;
    *issuing.state.taken.lock().unwrap() = "2".to_owned();
    let proxy = issuing.world.start();
    assert_eq!(issuing.get(&proxy).await.0, 200, "the second token is taken");
    assert_eq!((issuing.state.minted(), issuing.api.seen().len()), (2, 2));
    let finished = proxy.records("finished", 1).pop().unwrap();
    assert_eq!((&finished["replayed"], &finished["status"]), (&true.into(), &200.into()));
    let kinds: Vec<_> = proxy.records("credential", 3).iter().map(|record| record["kind"].clone()).collect();
    assert!(kinds.contains(&"invalidated".into()), "{kinds:?}");
    // An upstream that refuses everything costs no mint and no second request per request.
    *issuing.state.taken.lock().unwrap() = "none".to_owned();
    for number in 1..=5 {
        assert_eq!(issuing.get(&proxy).await.0, 401);
        assert_eq!((issuing.state.minted(), issuing.api.seen().len()), (2, 2 + number));
    }
    let finished = proxy.records("finished", 6);
    assert!(finished[1..].iter().all(|record| record["replayed"] == false), "not repeated: {finished:?}");
    issuing.end(proxy);
}

/// What streamed through is gone: it is not sent twice, but the next request has another token.
#[tokio::test(flavor = "multi_thread")]
async fn promise_3_a_streaming_upload_is_never_replayed() {
    let issuing = issuing(600).await;
    *issuing.state.taken.lock().unwrap() = "2".to_owned();
    let proxy = issuing.world.start();
    let chunks =
        stream::iter(["one", "two"].map(|text| Ok::<_, std::io::Error>(Frame::data(bytes::Bytes::from(text)))));
    let upload = client().post(proxy.gateway("/api/v1/x")).bearer_auth(issuing.world.token("app"));
    let answer = upload.body(reqwest::Body::wrap(StreamBody::new(chunks))).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(issuing.api.seen().len(), 1);
    assert_eq!(proxy.records("finished", 1)[0]["replayed"], false);
    assert_eq!(issuing.get(&proxy).await.0, 200);
    assert_eq!(
        (issuing.state.minted(), issuing.api.seen().len()),
        (2, 2),
        "the token that was refused is not used again"
    );
    issuing.end(proxy);
}

/// The client secret goes to its endpoint and not along a redirect.
#[tokio::test(flavor = "multi_thread")]
async fn promise_5_a_token_endpoints_redirect_is_not_followed() {
    let issuing = issuing(600).await;
    let elsewhere =
        Origin::start(&issuing.world.ca, &["localhost"], &["http/1.1"], handler(|_| async { Response::new(full("")) }))
            .await;
    *issuing.state.location.lock().unwrap() = format!("https://localhost:{}/token", elsewhere.port());
    let proxy = issuing.world.start();
    for status in [301, 302, 303, 307, 308] {
        issuing.state.set_status(status);
        let (status, body) = issuing.get(&proxy).await;
        assert!(status == 503 && body.contains("credential_unavailable"), "{status} {body}");
    }
    assert_eq!(elsewhere.connections(), 0);
    assert_eq!(issuing.api.connections(), 0);
    issuing.end(proxy);
}

/// What was sealed for one endpoint goes to no other, whatever the configuration says.
#[tokio::test(flavor = "multi_thread")]
async fn promise_5_a_client_secret_is_bound_to_its_endpoint() {
    let issuing = issuing(600).await;
    issuing.world.seal("elsewhere", CLIENT_SECRET, &["login.test"]);
    let text = issuing.configuration().replace("secret://sealed/client", "secret://sealed/elsewhere");
    issuing.world.configure(&text);
    let output = issuing.world.run(&["run", "--config", "claviger.toml"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("login.test"), "{said}");
    assert!(said.contains("`credential.minted.client_secret`"), "{said}");
    assert_eq!(issuing.endpoint.connections(), 0);
}
