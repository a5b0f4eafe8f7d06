//! An API behind Envoy's JWT check, with access tokens that Claviger gets from npm's oidc-provider; the clients are
//! Python's HTTP libraries and curl, and have neither those tokens nor the client secret.

use claviger_tests::{
    World,
    peers::{Client, JwtApi, OidcProvider, SecretIn, Sees},
};
use serde_json::Value;

use crate::stage::{MODES, Mode, Stage, answer, at, code, curl};

const AUDIENCE: &str = "https://api.test";
const LIBRARIES: [&str; 3] = ["requests", "httpx", "httpx_h2"];
/// What a form and basic auth must encode, each in its own way.
const AWKWARD: &str = "%+& =:/~";

struct Setting {
    oidc: OidcProvider,
    api: JwtApi,
    stage: Stage,
}

/// The service `api`; `app` gets tokens for the client `reports` (basic), `reader` for `audits` (post).
async fn setting() -> Setting {
    let world = World::new();
    let secret = format!("{}{AWKWARD}", world.canary);
    let clients = [("reports", &*secret), ("audits", &*secret)];
    let oidc = OidcProvider::start(&world.ca, "login.test", AUDIENCE, 300, &clients).await;
    let api = JwtApi::start(&world.ca, "api.test", &oidc).await;
    let token_host = oidc.endpoint().addr.to_string();
    world.seal("client", &secret, &[&token_host]);
    let credential = |id: &str, auth: &str| {
        format!(
            r#"[credential.{id}]
kind = "oauth2"
grant = "client_credentials"
token_url = "https://{token_host}/token"
client_id = "{id}"
client_secret = "secret://sealed/client"
auth = "{auth}"
scope = ["read"]
hosts = ["api.test"]
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
"#
        )
    };
    let rule = |who: &str, id: &str| {
        format!(
            "[allow.{id}]\nwho = \"{who}\"\nto = \"api\"\nops = [\"GET /v1/**\", \"GET /reflect\"]\nuse = \"{id}\"\n"
        )
    };
    let services = [
        format!("[service.api]\n{}\ninject = [\"bearer\"]\n", at(api.endpoint())),
        credential("reports", "client_secret_basic"),
        credential("audits", "client_secret_post"),
        rule("app", "reports"),
        rule("reader", "audits"),
    ];
    let stage = Stage::start(world, &services.concat());
    Setting { oidc, api, stage }
}

impl Setting {
    /// The access tokens that arrived at the API in this many requests: Envoy let them all pass, and no request had
    /// anything of the client's.
    async fn arrived(&self, count: usize, own: &[&str]) -> Vec<String> {
        let seen = self.api.seen_in_all(&self.stage.world.ca, count).await;
        assert_eq!(seen.len(), count, "the allowed ones and no others: {seen:#?}");
        let mut tokens = Vec::new();
        for request in seen {
            assert_eq!((request.status, &*request.host, &*request.proxy_authorization), (200, "api.test", ""));
            let token = request.authorization.strip_prefix("Bearer ").unwrap_or_else(|| panic!("{request:#?}"));
            assert!(own.iter().all(|own| !format!("{request:?}").contains(own)), "{request:#?}");
            tokens.push(token.to_owned());
        }
        tokens.dedup();
        tokens
    }

    /// All of Python's libraries, one GET each.
    async fn python(&self, mode: Mode, token: Option<&str>, path: &str) -> (Value, String) {
        let (client, key) = self.stage.reach(mode, Client::python("http_get.py"), token);
        let client = client.env("TOKEN", key).arg(self.stage.base(mode, "api", "api.test") + path);
        let ran = self.stage.run(client).await.ok();
        (ran.json(), ran.stdout)
    }
}

/// The version that a library gets: there is no h2 without TLS.
fn version(mode: Mode, library: &str) -> &'static str {
    if library == "httpx_h2" && mode != Mode::Gateway { "HTTP/2" } else { "HTTP/1.1" }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_libraries_with_minted_tokens() {
    let setting = setting().await;
    let stage = &setting.stage;
    let workloads = [("app", "reports", stage.token("app")), ("reader", "audits", stage.token("reader"))];
    let mut outputs = String::new();
    for (_, id, token) in &workloads {
        for mode in MODES {
            let (result, output) = setting.python(mode, Some(token), "/v1/things?limit=3").await;
            for library in LIBRARIES {
                let one = &result[library];
                assert_eq!(one["status"], 200, "{mode:?} {library}: {result}");
                assert_eq!(one["version"], version(mode, library), "{mode:?} {library}: {result}");
                let body: Value = serde_json::from_str(one["body"].as_str().unwrap()).unwrap();
                assert_eq!(body["client"], *id, "{mode:?} {library}: {body}");
                assert_eq!(body["path"], "/v1/things?limit=3", "{mode:?} {library}: {body}");
            }
            outputs.push_str(&output);
        }
    }
    // Each client secret was shown once, in its own way; what it bought was used for all that followed.
    assert_eq!(setting.oidc.granted("reports", SecretIn::Basic), 1, "{}", setting.oidc.log());
    assert_eq!(setting.oidc.granted("audits", SecretIn::Post), 1, "{}", setting.oidc.log());
    let own: Vec<&str> = workloads.iter().map(|(_, _, token)| token.as_str()).collect();
    let arrived = setting.arrived(2 * MODES.len() * LIBRARIES.len(), &own).await;
    assert_eq!(arrived.len(), 2, "one token each");
    for token in &arrived {
        claviger_tests::canary::assert_absent(token, "what the clients were told", outputs.as_bytes());
    }
    setting.stage.end(&[&arrived[0], &arrived[1]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn python_libraries_that_policy_refuses() {
    let setting = setting().await;
    let (app, other) = (setting.stage.token("app"), setting.stage.token("other"));
    for mode in MODES {
        for (what, token, path, status, refusal) in [
            ("another workload", Some(&other), "/v1/things", 403, "denied"),
            ("another path", Some(&app), "/v2/things", 403, "denied"),
            ("no proof", None, "/v1/things", 401, "no_identity"),
        ] {
            let (result, _) = setting.python(mode, token.map(String::as_str), path).await;
            for library in LIBRARIES {
                let one = &result[library];
                if mode == Mode::Forward && token.is_none() {
                    assert!(one["message"].as_str().unwrap().contains("407"), "{library}, {what}: {result}");
                    continue;
                }
                assert_eq!(one["status"], status, "{mode:?} {library}, {what}: {result}");
                assert_eq!(code(one["body"].as_str().unwrap()), refusal, "{mode:?} {library}, {what}: {result}");
            }
        }
    }
    setting.arrived(0, &[]).await;
    // Who may not is not worth a token either.
    assert!(!setting.oidc.log().contains("granted"), "{}", setting.oidc.log());
    setting.stage.end(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_reflects_the_token_does_not_tell_it() {
    let setting = setting().await;
    let stage = &setting.stage;
    let app = stage.token("app");
    let mut reflected = Vec::new();
    for (mode, flag, shown) in [
        (Mode::Gateway, "--http1.1", "200 1.1"),
        (Mode::SecureGateway, "--http2", "200 2"),
        (Mode::Forward, "--http1.1", "200 1.1"),
        (Mode::Forward, "--http2", "200 2"),
    ] {
        let (client, key) = stage.reach(mode, curl(), Some(&app));
        let client = client.args([flag, "-H", &format!("authorization: Bearer {key}")]);
        let ran = stage.run(client.arg(stage.base(mode, "api", "api.test") + "/reflect")).await.ok();
        let (body, status) = answer(&ran);
        assert_eq!(status, shown, "{mode:?} {flag}: {body}");
        reflected.push(body.to_owned());
    }
    let arrived = setting.arrived(reflected.len(), &[&app]).await;
    let [token] = &*arrived else { panic!("one token for all: {}", arrived.len()) };
    for body in reflected {
        claviger_tests::canary::assert_absent(token, "what the API reflected", body.as_bytes());
        assert_eq!(body, format!("you sent Bearer {}\n", "*".repeat(token.len())), "masked at the same length");
    }
    setting.stage.end(&[token]);
}
