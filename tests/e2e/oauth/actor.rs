//! Token exchange with an actor (RFC 8693 §1.1): who asks, beside whom it is asked for. oidc-provider, with a grant that
//! verifies both tokens.

use claviger_tests::origin::{full, handler};
use claviger_tests::peers::{Endpoint, OidcProvider};
use claviger_tests::{Origin, World};
use http::Response;
use serde_json::{Value, json};

use crate::scene::{arrived, configure, credential, failure, get};

pub(crate) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const AUDIENCE: &str = "https://api.test";
pub(crate) const ISSUER: &str = "https://tokens.acme.test";

/// A provider that trusts the issuer of workloads and Claviger's own, and an API that takes every token.
pub(crate) struct Setting {
    pub(crate) world: World,
    pub(crate) oidc: OidcProvider,
    pub(crate) api: Origin,
    pub(crate) secret: String,
}

impl Setting {
    pub(crate) async fn new() -> Self {
        let world = World::new();
        let secret = format!("{}-of-the-client", world.canary);
        // The keys are made when they are first asked for.
        configure(&world, "https://ci.test", 1, &issuer());
        let keys = world.run(&["issuer", "jwks", "--config", "claviger.toml"]);
        assert!(keys.status.success(), "{}", String::from_utf8_lossy(&keys.stderr));
        let parsed = |text: &[u8]| serde_json::from_slice::<Value>(text).unwrap();
        let trusted =
            json!({ "https://ci.test": parsed(world.issuer.jwks().as_bytes()), ISSUER: parsed(&keys.stdout) });
        let clients = [
            json!({ "id": "exchanger", "secret": secret, "metadata": { "grant_types": [EXCHANGE] } }),
            json!({ "id": "plain", "secret": secret }),
            json!({ "id": "public", "metadata": { "grant_types": [EXCHANGE], "token_endpoint_auth_method": "none" } }),
        ];
        let endpoint = Endpoint::reserve("localhost");
        let oidc = OidcProvider::start_at(&world.ca, endpoint, AUDIENCE, 300, &clients, &trusted).await;
        world.seal("secret", &secret, &[&oidc.endpoint().authority()]);
        let api = handler(|_| async { Response::new(full("{}")) });
        let api = Origin::start(&world.ca, &["api.test"], &["http/1.1"], api).await;
        Self { world, oidc, api, secret }
    }

    /// The keys of a credential of this client; tokens are such that the server keeps account of them.
    pub(crate) fn keys(&self, client: &str, more: &str) -> String {
        format!(
            "issuer = \"{}\"\nclient_id = \"{client}\"\nclient_secret = \"secret://sealed/secret\"\n\
             resource = \"{AUDIENCE}/opaque\"\nscope = \"read\"\n{more}\n",
            self.oidc.issuer()
        )
    }

    pub(crate) fn configure(&self, credentials: &[(&str, String)]) {
        let all: String = credentials.iter().map(|(name, keys)| credential(name, keys)).collect();
        configure(&self.world, "https://ci.test", self.api.port(), &format!("{}{all}", issuer()));
    }

    /// A workload's own token, which is for the server too.
    pub(crate) fn proof(&self, who: &str) -> String {
        self.world.issuer.token_with(who, json!({ "aud": ["claviger", self.oidc.issuer()] }))
    }

    /// What the server says of a token to the client that it was issued to.
    pub(crate) async fn introspect(&self, client: &str, token: &str) -> Value {
        self.oidc.introspect(&self.world.ca, token, (client, &self.secret)).await
    }
}

pub(crate) fn issuer() -> String {
    format!("[issuer]\nurl = \"{ISSUER}\"\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_stands_beside_the_subject() {
    let setting = Setting::new().await;
    let exchange = |tokens: &str| setting.keys("exchanger", &format!("grant = \"token_exchange\"\n{tokens}"));
    let proxy_s = "from = \"minted\", claims = { sub = \"spiffe://acme.test/claviger\" }";
    let all = [
        // For the workload, by Claviger; for a service by the workload; and for the workload alone.
        ("by-claviger", format!("subject_token = {{ from = \"proof\" }}\nactor_token = {{ {proxy_s} }}")),
        (
            "by-workload",
            format!("subject_token = {{ {proxy_s} }}\nactor_token = {{ from = \"proof\", type = \"jwt\" }}"),
        ),
        ("both-minted", format!("subject_token = {{ from = \"minted\" }}\nactor_token = {{ {proxy_s} }}")),
        ("alone", "subject_token = { from = \"proof\" }\nrequested_token_type = \"access_token\"".to_owned()),
    ];
    setting.configure(&all.each_ref().map(|(name, tokens)| (*name, exchange(tokens))));
    let proxy = setting.world.start();
    let (claviger, app) = ("spiffe://acme.test/claviger", "spiffe://acme.test/ci/app");
    for (name, subject, act) in [
        ("by-claviger", "app", json!({ "sub": claviger, "iss": ISSUER })),
        ("by-workload", claviger, json!({ "sub": "app", "iss": "https://ci.test" })),
        ("both-minted", app, json!({ "sub": claviger, "iss": ISSUER })),
        ("alone", "app", Value::Null),
    ] {
        let proof = setting.proof("app");
        for _ in 0..2 {
            let (status, body) = get(&proxy, &proof, name).await;
            assert_eq!(status, 200, "{name}: {body}\n{}\n{}", proxy.output(), setting.oidc.log());
        }
        let tokens = arrived(&setting.api, name);
        let [token] = &tokens[..] else { panic!("{name}: one, kept: {}", tokens.len()) };
        let said = setting.introspect("exchanger", token).await;
        assert_eq!(
            (&said["active"], &said["sub"], &said["act"]),
            (&json!(true), &subject.into(), &act),
            "{name}: {said}"
        );
        assert_eq!((&said["client_id"], &said["scope"]), (&"exchanger".into(), &"read".into()), "{name}: {said}");
        claviger_tests::canary::assert_absent(token, "what the proxy printed", proxy.output().as_bytes());
        claviger_tests::canary::assert_absent_below(token, setting.world.path());
    }
    assert!(proxy.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_server_does_not_trust_is_refused() {
    let setting = Setting::new().await;
    let exchange = |tokens: &str| setting.keys("exchanger", &format!("grant = \"token_exchange\"\n{tokens}"));
    let all = [
        (
            "actor-for-another",
            "subject_token = { from = \"proof\" }\nactor_token = { from = \"minted\", audience = \"https://b.test\" }",
        ),
        ("subject-for-another", "subject_token = { from = \"minted\", audience = \"https://b.test\" }"),
        ("wrong-type", "subject_token = { from = \"proof\", type = \"id_token\" }"),
        (
            "wrong-actor-type",
            "subject_token = { from = \"proof\" }\nactor_token = { from = \"minted\", type = \"access_token\" }",
        ),
    ];
    setting.configure(&all.map(|(name, tokens)| (name, exchange(tokens))));
    let proxy = setting.world.start();
    for (name, code) in [
        ("actor-for-another", "invalid_grant"),
        ("subject-for-another", "invalid_grant"),
        ("wrong-type", "invalid_request"),
        ("wrong-actor-type", "invalid_request"),
    ] {
        assert_eq!(get(&proxy, &setting.proof("app"), name).await.0, 503, "{name}");
        let expected = format!("`{}` answered 400 with `{code}`", setting.oidc.token_url());
        assert_eq!(failure(&proxy, name), expected, "{name}\n{}", setting.oidc.log());
    }
    assert_eq!(setting.api.seen().len(), 0, "nothing went upstream");
    assert!(proxy.stop().success());
}
