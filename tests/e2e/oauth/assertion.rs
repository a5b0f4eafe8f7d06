//! The assertion grant (RFC 7523 §2.1) at authgent-server, which verifies assertions by the keys of the issuers that it trusts
//! and takes each `jti` once.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_tests::issuer::TokenIssuer;
use claviger_tests::origin::{full, handler};
use claviger_tests::peers::{Authgent, Endpoint};
use claviger_tests::{Origin, World};
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

#[tokio::test(flavor = "multi_thread")]
async fn assertions_of_each_kind_are_grants() {
    let world = World::new();
    // A key that the client signs with itself, and the two issuers of workloads' tokens: their own, and Claviger.
    let bot = KeyPair::generate().unwrap();
    let raw = bot.public_key_raw();
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let bot_set = json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "bot-1", "x": part(&raw[1..33]), "y": part(&raw[33..65]),
    }]});
    let ci = TokenIssuer::new("http://ci.invalid");
    let keys =
        key_sets(vec![("/ci/.well-known/jwks.json", ci.jwks()), ("/bot/.well-known/jwks.json", bot_set.to_string())])
            .await;
    let (ci_url, bot_url) =
        (format!("http://127.0.0.1:{}/ci", keys.port()), format!("http://127.0.0.1:{}/bot", keys.port()));
    let own = Endpoint::reserve("localhost");
    let files = world.ca.issue(&["localhost"]);
    world.write("tokens.pem", std::fs::read(&files.cert).unwrap());
    world.write("tokens.key", std::fs::read(&files.key).unwrap());
    world.write("jwks.json", ci.jwks());
    let trusted = [ci_url.as_str(), bot_url.as_str(), &own.url("")];
    let address = Endpoint::reserve("authgent").addr;
    let authgent = Authgent::start_at(address, &ci_url, "claviger", &trusted, Some(&world.ca.path())).await;
    let (id, secret) = authgent.register("claviger", &[BEARER]).await;
    world.seal("secret", &secret, &[&authgent.url()]);
    world.seal("bot", &bot.serialize_pem(), &[&authgent.url()]);
    let api = handler(|_| async { Response::new(full("{}")) });
    let api = Origin::start(&world.ca, &["api.test"], &["http/1.1"], api).await;
    let grant = |assertion: &str| {
        format!(
            "grant = \"jwt_bearer\"\nissuer = \"{}\"\nclient_id = \"{id}\"\nclient_secret = \"secret://sealed/secret\"\n\
             auth = \"client_secret_post\"\nresource = \"https://api.test\"\nscope = \"read\"\nassertion = {{ {assertion} }}\n",
            authgent.url()
        )
    };
    let signed = format!(
        "key = \"secret://sealed/bot\", alg = \"ES256\", kid = \"bot-1\", issuer = \"{bot_url}\", subject = \"bot@acme.test\""
    );
    let all = [
        ("minted", grant("from = \"minted\"")),
        ("minted-again", grant("from = \"minted\", claims = { email = \"app@acme.test\" }")),
        ("proof", grant("from = \"proof\"")),
        ("proof-again", grant("from = \"proof\"")),
        ("signed", grant(&signed)),
        ("signed-again", grant(&signed)),
        ("for-another", grant("from = \"minted\", audience = \"https://b.test\"")),
        ("by-another", grant(&signed.replace(&bot_url, "https://nobody.test"))),
    ];
    let credentials: String = all.iter().map(|(name, keys)| credential(name, keys)).collect();
    let issuer = format!(
        "[issuer]\nurl = \"{}\"\nbind = \"{}\"\ntls = {{ certificate = \"tokens.pem\", key = \"tokens.key\" }}\n",
        own.url(""),
        own.addr
    );
    configure(&world, &ci_url, api.port(), &format!("{issuer}{credentials}"));
    let proxy = world.start();
    let proof =
        ci.token_with("app", json!({ "iss": ci_url, "aud": ["claviger", authgent.url()], "jti": "a-jti-of-its-own" }));
    let minted_by = own.url("");
    for (name, subject, by) in [
        ("minted", "spiffe://acme.test/ci/app", &minted_by),
        ("minted-again", "spiffe://acme.test/ci/app", &minted_by),
        ("proof", "app", &ci_url),
        ("signed", "bot@acme.test", &bot_url),
        ("signed-again", "bot@acme.test", &bot_url),
    ] {
        for _ in 0..2 {
            let (status, body) = get(&proxy, &proof, name).await;
            assert_eq!(status, 200, "{name}: {body}\n{}\n{}", proxy.output(), authgent.log());
        }
        let tokens = arrived(&api, name);
        let [token] = &tokens[..] else { panic!("{name}: one, kept") };
        let claims = claims(token);
        assert_eq!((&claims["iss"], &claims["sub"]), (&authgent.url().into(), &subject.into()), "{name}: {claims}");
        assert_eq!((&claims["chained_from"], &claims["scope"]), (&(**by).into(), &"read".into()), "{name}: {claims}");
        assert_eq!((&claims["aud"], &claims["client_id"]), (&"https://api.test".into(), &id.as_str().into()), "{name}");
        let said = authgent.introspect(token, &(id.clone(), secret.clone())).await;
        assert_eq!((&said["active"], &said["sub"]), (&json!(true), &subject.into()), "{name}: {said}");
        claviger_tests::canary::assert_absent(token, "what the proxy printed", proxy.output().as_bytes());
    }
    assert_eq!(claims(&arrived(&api, "minted-again")[0])["email"], "app@acme.test", "claims are the grant's own");
    // The server is strict: a workload's own token is one assertion, and one use.
    for name in ["proof-again", "for-another", "by-another"] {
        assert_eq!(get(&proxy, &proof, name).await.0, 503, "{name}");
        let expected = format!("`{}/token` answered 400 with `invalid_grant`", authgent.url());
        assert_eq!(failure(&proxy, name), expected, "{name}\n{}", authgent.log());
    }
    assert_eq!(
        arrived(&api, "proof-again").len() + arrived(&api, "for-another").len() + arrived(&api, "by-another").len(),
        0
    );
    assert!(proxy.stop().success());
}
