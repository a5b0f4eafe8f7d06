//! An issuer that does as it is told, an API that takes what it issued, and a proxy between.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use claviger_tests::origin::{Origin, full, handler};
use claviger_tests::{PATIENCE, Proxy, World};
use http::{Response, StatusCode};
use serde_json::Value;

/// What the issuer answers to whoever asks for a token.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A token that lasts for so many seconds.
    Token(i64),
    Says {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// Nothing, for as long as anybody waits.
    Never,
}

impl Answer {
    pub(crate) fn json(status: u16, body: impl Into<String>) -> Self {
        Self::Says { status, headers: Vec::new(), body: body.into() }
    }
}

/// `login.test`.
#[derive(Clone)]
pub(crate) struct Issuer {
    answer: Arc<Mutex<Answer>>,
    minted: Arc<AtomicUsize>,
    pub(crate) asked: Arc<AtomicUsize>,
    pub(crate) port: u16,
}

impl Issuer {
    pub(crate) async fn start(world: &World, answer: Answer) -> Self {
        let (answer, minted) = (Arc::new(Mutex::new(answer)), Arc::<AtomicUsize>::default());
        let asked = Arc::<AtomicUsize>::default();
        let own = (answer.clone(), minted.clone(), asked.clone());
        let canary = world.canary.clone();
        let answers = handler(move |request| {
            let (now, minted, asked) = own.clone();
            let canary = canary.clone();
            async move {
                // Whoever follows a redirect comes here.
                assert_eq!(request.uri().path(), "/token");
                asked.fetch_add(1, Ordering::SeqCst);
                let now = now.lock().unwrap().clone();
                let (status, headers, body) = match now {
                    Answer::Token(lasts) => {
                        let number = minted.fetch_add(1, Ordering::SeqCst) + 1;
                        let token = format!("{canary}-{number}");
                        let body =
                            serde_json::json!({ "access_token": token, "token_type": "Bearer", "expires_in": lasts });
                        (200, Vec::new(), body.to_string())
                    }
                    Answer::Says { status, headers, body } => (status, headers, body.replace("CANARY", &canary)),
                    Answer::Never => std::future::pending().await,
                };
                let mut response = Response::new(full(body));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                response.headers_mut().insert("content-type", "application/json".parse().unwrap());
                for (name, value) in headers {
                    response.headers_mut().insert(name, value.parse().unwrap());
                }
                response
            }
        });
        let origin = Origin::start(&world.ca, &["localhost"], &["http/1.1"], answers).await;
        Self { answer, minted, asked, port: origin.port() }
    }

    pub(crate) fn will(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(crate) fn minted(&self) -> usize {
        self.minted.load(Ordering::SeqCst)
    }
}

/// World, API, issuer and proxy.
pub(crate) struct Scene {
    pub(crate) proxy: Proxy,
    pub(crate) origin: Origin,
    pub(crate) issuer: Issuer,
    pub(crate) world: World,
    pub(crate) client: reqwest::Client,
}

impl Scene {
    /// `keys`: more of the credential; `ca`: what vouches for the issuer.
    pub(crate) async fn new(first: Answer, keys: &str, ca: &str) -> Self {
        let world = World::new();
        let issuer = Issuer::start(&world, first).await;
        // Takes every token that begins as those of the issuer do.
        let canary = world.canary.clone();
        let origin = Origin::start(
            &world.ca,
            &["api.test"],
            &["http/1.1"],
            handler(move |request| {
                let token =
                    request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
                let number = token.strip_prefix("Bearer ").and_then(|token| token.strip_prefix(&*canary));
                let answer = number.map_or_else(|| "refused".to_owned(), |number| format!("token{number}"));
                async move { Response::new(full(answer)) }
            }),
        )
        .await;
        world.write("client-secret", "a-client-secret-of-some-length");
        std::fs::set_permissions(
            world.path().join("client-secret"),
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )
        .unwrap();
        world.write("other-ca.pem", claviger_tests::peers::TestCa::new().pem());
        world.configure(&text(&world, &origin, issuer.port, keys, ca, true));
        let proxy = world.start();
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { proxy, origin, issuer, world, client }
    }

    /// The same, where nobody listens at the issuer's address.
    pub(crate) fn without_issuer(self) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        self.world.configure(&text(&self.world, &self.origin, port, "", "ca.pem", true));
        self.proxy.wait_for_line("generation 2 is in force");
        self
    }

    /// Status, body, and the code of a refusal.
    pub(crate) async fn ask(&self) -> (u16, String) {
        let request = self.client.get(self.proxy.gateway("/api/v1/a")).bearer_auth(self.world.token("app"));
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.text().await.unwrap();
        let code = serde_json::from_str::<Value>(&body).ok().and_then(|body| {
            let found = body.pointer("/error/code").or_else(|| body.get("code")).or_else(|| body.get("error"));
            found.and_then(Value::as_str).map(str::to_owned)
        });
        (status, code.unwrap_or(body))
    }

    /// The records of the credential as kind and detail, once there are so many.
    pub(crate) fn events(&self, count: usize) -> Vec<(String, String)> {
        let text = |record: &Value, name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let kind = |record: &Value| match text(record, "event") {
            none if none.is_empty() => text(record, "kind"),
            kind => kind,
        };
        self.proxy.records("credential", count).iter().map(|record| (kind(record), text(record, "detail"))).collect()
    }

    /// Waits until the records hold such an event, asking again and again.
    pub(crate) async fn ask_until(&self, what: &str, holds: impl Fn(&(u16, String)) -> bool) -> (u16, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask().await;
            if holds(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{what}: {answer:?}\n{}", self.proxy.output());
        }
    }
}

/// The configuration; `rule`: whether a rule names the credential.
pub(crate) fn text(world: &World, origin: &Origin, issuer: u16, keys: &str, ca: &str, rule: bool) -> String {
    let usual = world.usual(origin.port(), "").replace("secret = \"secret://sealed/api\"\n", "");
    let usual = match rule {
        true => usual.replace("to = \"api\"\n", "to = \"api\"\nuse = \"tokens\"\n"),
        false => usual.replace("to = \"api\"\n", "to = \"api\"\nuse = \"none\"\n"),
    };
    format!(
        r#"{usual}
[credential.tokens]
kind = "oauth2"
token_url = "https://localhost:{issuer}/token"
client_id = "claviger"
client_secret = "secret://file/client-secret"
allow_addresses = ["127.0.0.1", "::1"]
ca = "{ca}"
hosts = ["api.test"]
{keys}
"#
    )
}
