//! An issuer that does as it is told, an API that takes what it issued, and a proxy between.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use claviger_tests::origin::{Handler, Origin, OriginBody, full, handler};
use claviger_tests::peers::TestCa;
use claviger_tests::{CI, GATEWAY, PATIENCE, Proxy, World, app_and_api};
use futures_util::{StreamExt, stream};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::Value;
use tokio::sync::Semaphore;

/// What the issuer answers to whoever asks for a token.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A token that lasts for so many seconds.
    Token(i64),
    /// The same, once the test lets it.
    Gated(Arc<Semaphore>, i64),
    Says {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// Nothing, for as long as anybody waits.
    Never,
    /// The beginning of an answer, and no more of it.
    Drips,
    /// The beginning of an answer, and then the connection ends.
    Cut,
}

impl Answer {
    pub(crate) fn json(status: u16, body: impl Into<String>) -> Self {
        Self::Says { status, headers: Vec::new(), body: body.into() }
    }
}

/// Where the tokens of one credential are given out.
#[derive(Debug)]
pub(crate) struct Desk {
    answer: Mutex<Answer>,
    minted: AtomicUsize,
    asked: AtomicUsize,
}

impl Desk {
    pub(crate) fn new(answer: Answer) -> Arc<Self> {
        Arc::new(Self { answer: Mutex::new(answer), minted: AtomicUsize::new(0), asked: AtomicUsize::new(0) })
    }

    pub(crate) fn will(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// How many tokens it has given out.
    pub(crate) fn minted(&self) -> usize {
        self.minted.load(Ordering::SeqCst)
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Tokens are the canary and a number.
    async fn answer(&self, canary: &str) -> Response<OriginBody> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let now = self.answer.lock().unwrap().clone();
        let begun = || Ok(Frame::data(Bytes::from(format!("{{\"access_token\":\"{canary}-0\""))));
        let (status, headers, body) = match now {
            Answer::Token(lasts) => (200, Vec::new(), self.token(canary, lasts)),
            Answer::Gated(gate, lasts) => {
                gate.acquire().await.unwrap().forget();
                (200, Vec::new(), self.token(canary, lasts))
            }
            Answer::Says { status, headers, body } => (status, headers, body.replace("CANARY", canary)),
            Answer::Never => std::future::pending().await,
            Answer::Drips => {
                let body = StreamBody::new(stream::iter([begun()]).chain(stream::pending()));
                return Response::new(BodyExt::boxed(body));
            }
            Answer::Cut => {
                let body = StreamBody::new(stream::iter([begun(), Err(std::io::Error::other("cut"))]));
                return Response::new(BodyExt::boxed(body));
            }
        };
        let mut response = Response::new(full(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response.headers_mut().insert("content-type", "application/json".parse().unwrap());
        for (name, value) in headers {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    }

    fn token(&self, canary: &str, lasts: i64) -> String {
        let number = self.minted.fetch_add(1, Ordering::SeqCst) + 1;
        serde_json::json!({ "access_token": format!("{canary}-{number}"), "token_type": "Bearer", "expires_in": lasts })
            .to_string()
    }
}

/// The desks by their paths, behind one TLS endpoint of this authority.
pub(crate) struct Issuer {
    pub(crate) port: u16,
    /// Requests for what is no desk: whoever follows a redirect comes here.
    strays: Arc<AtomicUsize>,
}

impl Issuer {
    pub(crate) async fn start(world: &World, ca: &TestCa, desks: &[(String, Arc<Desk>)]) -> Self {
        let desks: Arc<HashMap<String, Arc<Desk>>> = Arc::new(desks.iter().cloned().collect());
        let (strays, canary) = (Arc::<AtomicUsize>::default(), world.canary.clone());
        let counted = strays.clone();
        let answers = handler(move |request| {
            let desk = desks.get(request.uri().path().trim_start_matches('/')).cloned();
            let (canary, counted) = (canary.clone(), counted.clone());
            async move {
                match desk {
                    Some(desk) => desk.answer(&canary).await,
                    None => {
                        counted.fetch_add(1, Ordering::SeqCst);
                        Response::new(full("{}"))
                    }
                }
            }
        });
        let origin = Origin::start(ca, &["127.0.0.1"], &["http/1.1"], answers).await;
        Self { port: origin.port(), strays }
    }

    pub(crate) fn strays(&self) -> usize {
        self.strays.load(Ordering::SeqCst)
    }
}

/// One credential: its name, where its tokens are given out, and more of its keys.
pub(crate) struct Sort {
    pub(crate) name: String,
    pub(crate) desk: Arc<Desk>,
    /// The port of its token endpoint, if it is not the issuer's own.
    pub(crate) port: Option<u16>,
    pub(crate) keys: &'static str,
}

impl Sort {
    pub(crate) fn new(name: &str, first: Answer, keys: &'static str) -> Self {
        Self { name: name.to_owned(), desk: Desk::new(first), port: None, keys }
    }
}

/// World, API, issuer and proxy; `GET /v1/NAME` goes with the credential of that name.
pub(crate) struct Scene {
    pub(crate) proxy: Proxy,
    pub(crate) origin: Origin,
    pub(crate) issuer: Issuer,
    pub(crate) world: World,
    client: reqwest::Client,
}

impl Scene {
    /// One credential, `tokens`, and an API that takes all of the issuer's tokens.
    pub(crate) async fn of_one(first: Answer, keys: &'static str) -> (Self, Arc<Desk>) {
        let (world, sort) = (World::new(), Sort::new("tokens", first, keys));
        let (api, desk) = (takes_all(&world), sort.desk.clone());
        (Self::start(world, &[sort], api).await, desk)
    }

    pub(crate) async fn start(world: World, sorts: &[Sort], api: Handler) -> Self {
        let desks: Vec<_> = sorts.iter().map(|sort| (sort.name.clone(), sort.desk.clone())).collect();
        let issuer = Issuer::start(&world, &world.ca, &desks).await;
        let origin = Origin::start(&world.ca, &["api.test"], &["http/1.1"], api).await;
        world.write("client-secret", "a-client-secret-of-some-length");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(world.path().join("client-secret"), mode).unwrap();
        world.configure(&text(&origin, &issuer, sorts, true));
        let proxy = world.start();
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { proxy, origin, issuer, world, client }
    }

    /// Status, and the body or the code of a refusal.
    pub(crate) async fn ask(&self, name: &str) -> (u16, String) {
        self.send(self.request(http::Method::GET, name)).await
    }

    /// A request of the workload for the path of a credential.
    pub(crate) fn request(&self, method: http::Method, name: &str) -> reqwest::RequestBuilder {
        let url = self.proxy.gateway(&format!("/api/v1/{name}"));
        self.client.request(method, url).bearer_auth(self.world.token("app"))
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> (u16, String) {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.text().await.unwrap();
        let code = serde_json::from_str::<Value>(&body).ok();
        let code = code.and_then(|body| body.pointer("/error/code").and_then(Value::as_str).map(str::to_owned));
        (status, code.unwrap_or(body))
    }

    /// The records of a credential as kind and detail, once there are so many.
    pub(crate) fn events(&self, name: &str, count: usize) -> Vec<(String, String)> {
        self.events_when(name, |events| events.len() >= count)
    }

    /// The same, once they are as they should be; or as they are when nobody waits any longer, for whoever asserts that.
    pub(crate) fn events_when(&self, name: &str, holds: impl Fn(&[(String, String)]) -> bool) -> Vec<(String, String)> {
        let text = |record: &Value, name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let all = self.proxy.records("credential", 0);
            let own = all.iter().filter(|record| record["credential"]["name"] == name);
            let events: Vec<_> = own.map(|record| (text(record, "kind"), text(record, "detail"))).collect();
            if holds(&events) || Instant::now() >= deadline {
                return events;
            }
            std::thread::yield_now();
        }
    }

    /// How many requests for the path of a credential reached the API.
    pub(crate) fn arrived(&self, name: &str) -> usize {
        let path = format!("/v1/{name}");
        self.origin.seen().iter().filter(|seen| seen.uri.path() == path).count()
    }

    /// Asks again and again, until the answer is as it should be.
    pub(crate) async fn ask_until(&self, name: &str, holds: impl Fn(&(u16, String)) -> bool) -> (u16, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(name).await;
            if holds(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{name}: {answer:?}\n{}", self.proxy.output());
        }
    }
}

/// Takes every token that begins as those of the issuer do, and says which it was.
pub(crate) fn takes_all(world: &World) -> Handler {
    let canary = world.canary.clone();
    handler(move |request| {
        let answer = shown(&request, &canary).map_or_else(|| "refused".to_owned(), |number| format!("token-{number}"));
        async move { Response::new(full(answer)) }
    })
}

/// The number of the token that a request came with.
pub(crate) fn shown<B>(request: &http::Request<B>, canary: &str) -> Option<String> {
    let shown = request.headers().get("authorization")?.to_str().ok()?;
    Some(shown.strip_prefix("Bearer ")?.strip_prefix(canary)?.strip_prefix('-')?.to_owned())
}

/// The configuration; `rules`: whether rules name the credentials.
pub(crate) fn text(origin: &Origin, issuer: &Issuer, sorts: &[Sort], rules: bool) -> String {
    let mut text = format!(
        r#"{GATEWAY}
{CI}
{}
inject = ["bearer"]
"#,
        app_and_api(origin.port())
    );
    for Sort { name, port, keys, .. } in sorts {
        let (port, used) = (port.unwrap_or(issuer.port), if rules { name } else { "none" });
        text += &format!(
            r#"
[credential.{name}]
kind = "oauth2"
token_url = "https://127.0.0.1:{port}/{name}"
client_id = "claviger"
client_secret = "secret://file/client-secret"
allow_addresses = ["127.0.0.1"]
ca = "ca.pem"
hosts = ["api.test"]
{keys}

[allow.{name}]
who = "app"
to = "api"
ops = ["GET,POST /v1/{name}"]
use = "{used}"
"#
        );
    }
    text
}
