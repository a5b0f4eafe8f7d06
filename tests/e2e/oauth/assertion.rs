//! The assertion grant (RFC 7523 §2.1) at authgent-server, which verifies assertions by the keys of the issuers that it trusts
//! and takes each `jti` once.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_tests::issuer::TokenIssuer;
use claviger_tests::origin::{full, handler};
use claviger_tests::peers::{Authgent, Endpoint};
use claviger_tests::{Origin, Proxy, World};
use http::Response;
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::scene::{arrived, configure, credential, failure, get};

const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// A cleartext server of key sets, by path.
async fn key_sets(sets: Vec<(&'static str, String)>) -> Origin {
    Origin::start_cleartext(handler(move |request| {
        let found = sets.iter().find(|(path, _)| request.uri().path() == *path).map(|(_, keys)| keys.clone());
        async move { Response::builder().header("content-type", "application/json").body(full(found.unwrap())).unwrap() }
    }))
    .await
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

struct Setting {
    world: World,
    /// The issuer of the workloads' own tokens, and its name.
    ci: TokenIssuer,
    ci_url: String,
    /// The name of the client that signs with a key of its own.
    bot_url: String,
    /// Where Claviger's own issuer is.
    own: Endpoint,
    authgent: Authgent,
    client: (String, String),
    api: Origin,
}

/// A server that trusts the issuer of the workloads' tokens, Claviger's, and a client with a key of its own.
async fn setting() -> Setting {
    let world = World::new();
    let bot = KeyPair::generate().unwrap();
    let raw = bot.public_key_raw();
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let bot_set = json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "bot-1", "x": part(&raw[1..33]), "y": part(&raw[33..65]),
    }]});
    let ci = TokenIssuer::new("http://ci.invalid");
    let sets = vec![("/ci/.well-known/jwks.json", ci.jwks()), ("/bot/.well-known/jwks.json", bot_set.to_string())];
    let keys = key_sets(sets).await;
    let at = |path: &str| format!("http://127.0.0.1:{}/{path}", keys.port());
    let (ci_url, bot_url, own) = (at("ci"), at("bot"), Endpoint::reserve("localhost"));
    let files = world.ca.issue(&["localhost"]);
    world.write("tokens.pem", std::fs::read(&files.cert).unwrap());
    world.write("tokens.key", std::fs::read(&files.key).unwrap());
    world.write("jwks.json", ci.jwks());
    let trusted = [ci_url.as_str(), bot_url.as_str(), &own.url("")];
    let address = Endpoint::reserve("authgent").addr;
    let authgent = Authgent::start_at(address, &ci_url, "claviger", &trusted, Some(&world.ca.path())).await;
    let client = authgent.register("claviger", &[BEARER]).await;
    world.seal("secret", &client.1, &[&authgent.url()]);
    world.seal("bot", &bot.serialize_pem(), &[&authgent.url()]);
    let api = handler(|_| async { Response::new(full("{}")) });
    let api = Origin::start(&world.ca, &["api.test"], &["http/1.1"], api).await;
    Setting { world, ci, ci_url, bot_url, own, authgent, client, api }
}

impl Setting {
    fn start(&self) -> Proxy {
        let (server, id) = (self.authgent.url(), &self.client.0);
        let grant = |assertion: &str| {
            format!(
                "grant = \"jwt_bearer\"\nissuer = \"{server}\"\nclient_id = \"{id}\"\nauth = \"client_secret_post\"\n\
                 client_secret = \"secret://sealed/secret\"\nresource = \"https://api.test\"\nscope = \"read\"\n\
                 assertion = {{ {assertion} }}\n",
            )
        };
        let signed = |by: &str| {
            format!(
                "key = \"secret://sealed/bot\", alg = \"ES256\", kid = \"bot-1\", issuer = \"{by}\", subject = \"bot@acme.test\""
            )
        };
        let all = [
            ("minted", grant("from = \"minted\"")),
            ("minted-again", grant("from = \"minted\", claims = { email = \"app@acme.test\" }")),
            ("proof", grant("from = \"proof\"")),
            ("proof-again", grant("from = \"proof\"")),
            ("signed", grant(&signed(&self.bot_url))),
            ("signed-again", grant(&signed(&self.bot_url))),
            ("for-another", grant("from = \"minted\", audience = \"https://b.test\"")),
            ("by-another", grant(&signed("https://nobody.test"))),
        ];
        let credentials: String = all.iter().map(|(name, keys)| credential(name, keys)).collect();
        let issuer = format!(
            "[issuer]\nurl = \"{}\"\nbind = \"{}\"\ntls = {{ certificate = \"tokens.pem\", key = \"tokens.key\" }}\n",
            self.own.url(""),
            self.own.addr
        );
        configure(&self.world, &self.ci_url, self.api.port(), &format!("{issuer}{credentials}"));
        self.world.start()
    }

    /// A workload's own token, which is an assertion for the server too, and as such for one use.
    fn proof(&self) -> String {
        let audience = ["claviger", &self.authgent.url()];
        self.ci.token_with("app", json!({ "iss": self.ci_url, "aud": audience, "jti": "a-jti-of-its-own" }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn assertions_of_each_kind_are_grants() {
    let setting = setting().await;
    let (authgent, api, minted_by) = (&setting.authgent, &setting.api, setting.own.url(""));
    let (proxy, proof) = (setting.start(), setting.proof());
    for (name, subject, by) in [
        ("minted", "spiffe://acme.test/ci/app", &minted_by),
        ("minted-again", "spiffe://acme.test/ci/app", &minted_by),
        ("proof", "app", &setting.ci_url),
        ("signed", "bot@acme.test", &setting.bot_url),
        ("signed-again", "bot@acme.test", &setting.bot_url),
    ] {
        for _ in 0..2 {
            let (status, body) = get(&proxy, &proof, name).await;
            assert_eq!(status, 200, "{name}: {body}\n{}\n{}", proxy.output(), authgent.log());
        }
        let tokens = arrived(api, name);
        let [token] = &tokens[..] else { panic!("{name}: one, kept") };
        let (claims, id) = (claims(token), setting.client.0.as_str());
        assert_eq!((&claims["iss"], &claims["sub"]), (&authgent.url().into(), &subject.into()), "{name}: {claims}");
        assert_eq!((&claims["chained_from"], &claims["scope"]), (&(**by).into(), &"read".into()), "{name}: {claims}");
        assert_eq!(
            (&claims["aud"], &claims["client_id"]),
            (&"https://api.test".into(), &id.into()),
            "{name}: {claims}"
        );
        let said = authgent.introspect(token, &setting.client).await;
        assert_eq!((&said["active"], &said["sub"]), (&json!(true), &subject.into()), "{name}: {said}");
        claviger_tests::canary::assert_absent(token, "what the proxy printed", proxy.output().as_bytes());
    }
    assert_eq!(claims(&arrived(api, "minted-again")[0])["email"], "app@acme.test", "claims are the grant's own");
    // The server is strict: each assertion is for one use, for itself, and by whom it trusts.
    for name in ["proof-again", "for-another", "by-another"] {
        assert_eq!(get(&proxy, &proof, name).await.0, 503, "{name}");
        let expected = format!("`{}/token` answered 400 with `invalid_grant`", authgent.url());
        assert_eq!(failure(&proxy, name), expected, "{name}\n{}", authgent.log());
        assert_eq!(arrived(api, name).len(), 0, "{name}: nothing went upstream");
    }
    assert!(proxy.stop().success());
}
