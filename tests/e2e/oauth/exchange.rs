//! authgent-server, which takes the identity tokens of workloads and gives out tokens of its own (RFC 8693).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_tests::issuer::TokenIssuer;
use claviger_tests::origin::{Origin, full, handler};
use claviger_tests::peers::Authgent;
use claviger_tests::{Proxy, World};
use http::Response;
use serde_json::{Value, json};

use crate::scene::{configure, credential, failure, get};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

struct Setting {
    world: World,
    issuer: TokenIssuer,
    /// Where the issuer's keys are.
    issuer_url: String,
    authgent: Authgent,
    api: Origin,
    client: (String, String),
}

/// An issuer of workloads whose keys are on the network, and a server that trusts it.
async fn setting() -> Setting {
    let world = World::new();
    let jwks: Arc<std::sync::Mutex<String>> = Arc::default();
    let served = jwks.clone();
    let keys = Origin::start_cleartext(handler(move |_| {
        let body = served.lock().unwrap().clone();
        async move { Response::builder().header("content-type", "application/json").body(full(body)).unwrap() }
    }))
    .await;
    let issuer_url = format!("http://127.0.0.1:{}", keys.port());
    let issuer = TokenIssuer::new(&issuer_url);
    *jwks.lock().unwrap() = issuer.jwks();
    world.write("jwks.json", issuer.jwks());
    let authgent = Authgent::start(&issuer_url, "claviger").await;
    let client = authgent.register("claviger", &[EXCHANGE]).await;
    let at = authgent.url();
    world.seal("secret", &client.1, &[&at]);
    let api =
        Origin::start(&world.ca, &["api.test"], &["http/1.1"], handler(|_| async { Response::new(full("{}")) })).await;
    Setting { world, issuer, issuer_url, authgent, api, client }
}

impl Setting {
    fn start(&self, credentials: &[(&str, String)]) -> Proxy {
        let all: String = credentials.iter().map(|(name, keys)| credential(name, keys)).collect();
        configure(&self.world, &self.issuer_url, self.api.port(), &all);
        self.world.start()
    }

    fn keys(&self, more: &str) -> String {
        format!(
            "grant = \"token_exchange\"\nissuer = \"{}\"\nclient_id = \"{}\"\nclient_secret = \"secret://sealed/secret\"\n\
             auth = \"client_secret_post\"\n{more}\n",
            self.authgent.url(),
            self.client.0
        )
    }

    /// The tokens that arrived at the API, each once, in order.
    fn arrived(&self) -> Vec<String> {
        let seen = self.api.seen();
        let tokens = seen.iter().map(|one| one.header("authorization").unwrap().strip_prefix("Bearer ").unwrap());
        let mut tokens: Vec<_> = tokens.map(str::to_owned).collect();
        tokens.dedup();
        tokens
    }
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

/// The API gets a token about the workload that the server signed, and never the workload's own.
#[tokio::test(flavor = "multi_thread")]
async fn the_workload_s_own_token_is_exchanged() {
    let setting = setting().await;
    let exchange = "subject_token = { from = \"proof\", type = \"id_token\" }\nrequested_token_type = \"access_token\"\n\
                    audience = \"https://api.test\"\nscope = \"read\"";
    let proxy = setting.start(&[("things", setting.keys(exchange))]);
    let (app, job) = (setting.issuer.token("app"), setting.issuer.token("job"));
    for proof in [&app, &app, &job] {
        let (status, body) = get(&proxy, proof, "things").await;
        assert_eq!(status, 200, "{body}\n{}\n{}", proxy.output(), setting.authgent.log());
    }
    let [for_app, for_job] = &setting.arrived()[..] else { panic!("one for each: {:?}", setting.api.seen()) };
    for (token, proof, subject) in [(for_app, &app, "user:app"), (for_job, &job, "user:job")] {
        assert_ne!(token, proof);
        let claims = claims(token);
        assert_eq!((&claims["iss"], &claims["sub"]), (&setting.authgent.url().into(), &subject.into()), "{claims}");
        assert_eq!((&claims["aud"], &claims["scope"]), (&"https://api.test".into(), &"read".into()), "{claims}");
        // Its server takes it for one of its own.
        let said = setting.authgent.introspect(token, &setting.client).await;
        assert_eq!((&said["active"], &said["sub"]), (&json!(true), &subject.into()), "{said}");
        claviger_tests::canary::assert_absent(token, "what the proxy printed", proxy.output().as_bytes());
    }
    assert!(proxy.stop().success());
}

/// A token that is a grant for another domain: of the type that was requested, and of no other.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_requested_is_what_is_taken() {
    let setting = setting().await;
    let with = |requested: &str| {
        let subject = "subject_token = { from = \"proof\", type = \"id_token\" }\naudience = \"https://b.test\"";
        setting.keys(&format!("{subject}\n{requested}"))
    };
    let proxy = setting.start(&[
        ("grant", with("requested_token_type = \"jwt\"")),
        ("any", with("")),
        ("other", with("requested_token_type = \"id_token\"")),
    ]);
    let app = setting.issuer.token("app");
    for name in ["grant", "any"] {
        let (status, body) = get(&proxy, &app, name).await;
        assert_eq!(status, 200, "{name}: {body}\n{}\n{}", proxy.output(), setting.authgent.log());
    }
    assert_eq!(claims(&setting.arrived()[0])["aud"], "https://b.test");
    // It gives out an access token though another type was asked for.
    assert_eq!(get(&proxy, &app, "other").await.0, 503);
    let expected = format!(
        "the answer of `{}/token` cannot be used: its `issued_token_type` is not the one that was requested",
        setting.authgent.url()
    );
    assert_eq!(failure(&proxy, "other"), expected);
    assert!(proxy.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_the_server_refuses() {
    let setting = setting().await;
    let subject = "subject_token = { from = \"proof\", type = \"id_token\" }";
    let proxy = setting.start(&[
        ("wrong-type", setting.keys("subject_token = { from = \"proof\" }\naudience = \"https://api.test\"")),
        ("no-audience", setting.keys(subject)),
        ("beyond", setting.keys(&format!("{subject}\naudience = \"https://api.test\"\nscope = \"admin\""))),
    ]);
    let app = setting.issuer.token("app");
    let at = format!("`{}/token` answered", setting.authgent.url());
    for (name, code) in [
        ("wrong-type", "400 with `invalid_request`"),
        ("no-audience", "400 with `invalid_request`"),
        ("beyond", "403 with `insufficient_scope`"),
    ] {
        assert_eq!(get(&proxy, &app, name).await.0, 503, "{name}");
        assert_eq!(failure(&proxy, name), format!("{at} {code}"), "{name}\n{}", setting.authgent.log());
    }
    assert_eq!(setting.api.seen().len(), 0, "nothing went upstream");
    assert!(proxy.stop().success());
}
