//! How the client proves itself.

use crate::fixture::{Answer, CANARY, START_MS, caller, caller_named, text, value};

use super::keys::{Key, pem};
use super::stage::{Stage, form, lease};

const AT: &str = "token_url = \"https://login.test/token\"\nclient_id = \"claviger\"\n";
const LOGIN: &[&str] = &["login.test"];

/// Signs with the key, and verifies what arrived.
async fn check(key: &Key, algorithm: &str) {
    let stage = Stage::new();
    stage.seal("key", &key.pem, LOGIN);
    let assertion = format!(
        "client_assertion = {{ key = \"secret://sealed/key\", alg = \"{algorithm}\", kid = \"k1\", claims = {{ tenant = \"t\", level = 3 }} }}\n"
    );
    let credentials = stage.load(&format!("{AT}auth = \"private_key_jwt\"\n{assertion}"));
    stage.world.issuer.will([Answer::token("t1", 60), Answer::token("t2", 60)]);
    let mut ids = Vec::new();
    for token in ["t1", "t2"] {
        assert_eq!(value(&lease(&credentials, &caller(None)).await.unwrap()), token);
        let form = form(&stage.seen()[0]);
        let names: Vec<_> = form.keys().map(String::as_str).collect();
        assert_eq!(names, ["client_assertion", "client_assertion_type", "client_id", "grant_type"]);
        assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        assert_eq!(form["client_id"], "claviger");
        let (header, mut claims) = key.verify(algorithm, &form["client_assertion"]);
        assert_eq!(header, serde_json::json!({ "alg": algorithm, "typ": "JWT", "kid": "k1" }));
        ids.push(claims["jti"].take());
        let now = claims["iat"].as_i64().unwrap();
        let expected = serde_json::json!({
            "iss": "claviger", "sub": "claviger", "aud": "https://login.test/token", "jti": null,
            "iat": now, "exp": now + 60, "tenant": "t", "level": 3,
        });
        assert_eq!(claims, expected);
        stage.world.clock.advance_ms(60_000);
    }
    assert_ne!(ids[0], ids[1], "a server refuses a `jti` that it has seen");
    assert_eq!(ids[0].as_str().unwrap().len(), 32);
    assert!(!format!("{credentials:?}").contains(key.pem.lines().nth(1).unwrap()));
}

#[tokio::test]
async fn a_signed_assertion_verifies_with_every_algorithm() {
    check(&Key::p256(), "ES256").await;
    check(&Key::p384(), "ES384").await;
    check(&Key::ed25519(), "EdDSA").await;
    let rsa = Key::rsa();
    check(&rsa, "RS256").await;
    check(&rsa, "PS256").await;
    check(&rsa.as_pkcs1(), "RS256").await;
}

#[tokio::test]
async fn the_audience_of_an_assertion_is_configured() {
    let key = Key::p256();
    let check = async |keys: &str, audience: &str, expected: serde_json::Value| {
        let stage = Stage::new();
        stage.seal("key", &key.pem, LOGIN);
        let assertion = format!(
            "client_assertion = {{ key = \"secret://sealed/key\", alg = \"ES256\", lifetime = \"5m\"{audience} }}\n"
        );
        let credentials = stage.load(&format!("{AT}{keys}{assertion}"));
        stage.world.issuer.will([Answer::token("t", 60)]);
        lease(&credentials, &caller(None)).await.unwrap();
        let (_, claims) = key.verify("ES256", &form(&stage.seen()[0])["client_assertion"]);
        assert_eq!(claims["aud"], expected, "{keys} {audience}");
        assert_eq!(claims["exp"], START_MS / 1_000 + 300);
    };
    let issuer = "issuer = \"https://login.test/tenant\"\n";
    check("", "", "https://login.test/token".into()).await;
    check(issuer, "", "https://login.test/tenant".into()).await;
    check(issuer, ", audience = \"token_url\"", "https://login.test/token".into()).await;
    check(issuer, ", audience = \"urn:x\"", "urn:x".into()).await;
    let both = serde_json::json!(["https://login.test/tenant", "https://login.test/token"]);
    check(issuer, ", audience = [\"issuer\", \"token_url\"]", both).await;
}

/// A key that was replaced by another kind, or bound elsewhere, after the load.
#[tokio::test]
async fn a_key_that_cannot_sign_any_more() {
    let stage = Stage::new();
    stage.seal("key", &Key::p256().pem, LOGIN);
    let assertion = "client_assertion = { key = \"secret://sealed/key\", alg = \"ES256\" }\n";
    let credentials = stage.load(&format!("{AT}{assertion}"));
    for (value, hosts, code, expected) in [
        (
            Key::ed25519().pem,
            LOGIN,
            "secret_unusable",
            "cannot be used: `ES256` signs with a P-256 key, which it does not hold",
        ),
        (CANARY.to_owned(), LOGIN, "secret_unusable", "cannot be used: it holds no private key in PEM"),
        (
            Key::p256().pem,
            &["other.test"],
            "secret_binding",
            "may go to `other.test:443` only, not to `login.test:443`",
        ),
    ] {
        stage.seal("key", &value, hosts);
        let error = lease(&credentials, &caller(None)).await.unwrap_err();
        assert_eq!(error.to_string(), format!("credential `x`: `secret://sealed/key` {expected}"));
        assert_eq!((error.code(), stage.world.issuer.calls()), (code, 0));
        stage.world.clock.advance_ms(60_000);
    }
}

/// A token of the workload's as the client's proof: what Entra calls a federated credential.
#[tokio::test]
async fn the_workload_s_own_token_proves_the_client() {
    let stage = Stage::new();
    let credentials =
        stage.load(&format!("{AT}client_assertion = {{ from = \"minted\", claims = {{ sub = \"crm\" }} }}\n"));
    stage.world.issuer.will([Answer::token("one", 60), Answer::token("two", 60)]);
    let (one, two) = (caller_named("one", None), caller_named("two", None));
    assert_eq!(value(&lease(&credentials, &one).await.unwrap()), "one");
    assert_eq!(value(&lease(&credentials, &two).await.unwrap()), "two");
    assert_eq!(value(&lease(&credentials, &one).await.unwrap()), "one", "kept by principal");
    let seen = stage.seen();
    assert_eq!(form(&seen[0])["client_assertion"], "minted.3.24.1");
    assert_eq!(seen.len(), 2);
    assert_eq!(
        stage.asked(),
        [
            r#"spiffe://acme.internal/one https://login.test/token 300s {"sub":"crm"}"#,
            r#"spiffe://acme.internal/two https://login.test/token 300s {"sub":"crm"}"#
        ]
    );
}

#[tokio::test]
async fn a_public_client_says_who_it_is() {
    let stage = Stage::new();
    let credentials = stage.load(&format!("{AT}auth = \"none\"\n"));
    stage.world.issuer.will([Answer::token("t", 60)]);
    lease(&credentials, &caller(None)).await.unwrap();
    let seen = &stage.seen()[0];
    assert_eq!(seen.body, "grant_type=client_credentials&client_id=claviger");
    assert!(seen.headers.get("authorization").is_none());
}

/// A certificate for a key, in PEM, and the key.
fn certificate(name: &str) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let made = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    (made.pem(), key.serialize_pem())
}

#[tokio::test]
async fn a_certificate_is_shown_in_tls_and_rotates() {
    let stage = Stage::new();
    let path = stage.world.path();
    let write = |(certificate, key): &(String, String)| {
        std::fs::write(path.join("client.pem"), certificate).unwrap();
        stage.seal("key", key, LOGIN);
    };
    let (first, second) = (certificate("one"), certificate("two"));
    for auth in ["tls_client_auth", "self_signed_tls_client_auth"] {
        write(&first);
        let credentials = stage.load(&format!(
            "{AT}auth = \"{auth}\"\nclient_certificate = {{ certificate = \"client.pem\", key = \"secret://sealed/key\" }}\n"
        ));
        stage.world.issuer.will([Answer::token("t", 60), Answer::token("t", 60), Answer::token("t", 60)]);
        let mut digests = Vec::new();
        for shown in [&first, &first, &second] {
            write(shown);
            lease(&credentials, &caller(None)).await.unwrap();
            let seen = &stage.seen()[0];
            assert_eq!(seen.body, "grant_type=client_credentials&client_id=claviger");
            let in_tls = seen.reach.client_certificate.as_ref().unwrap();
            assert_eq!(in_tls.chain_pem, shown.0.trim_end().as_bytes());
            assert_eq!(text(&in_tls.key_pem), shown.1);
            digests.push(in_tls.digest);
            stage.world.clock.advance_ms(60_000);
        }
        assert!(digests[0] == digests[1] && digests[1] != digests[2]);
        // Half of a rotation: what does not belong together is not shown.
        std::fs::write(path.join("client.pem"), &first.0).unwrap();
        let error = lease(&credentials, &caller(None)).await.unwrap_err();
        let expected = "credential `x`: `secret://sealed/key` cannot be used: it is not the key of the certificate";
        assert_eq!((error.to_string().as_str(), stage.seen().len()), (expected, 0));
    }
}

/// What is said of a credential that does not load.
fn wrong(stage: &Stage, keys: &str, expected: &[&str]) {
    let found = stage.load_in(&format!("{AT}{keys}\n"), &stage.env()).expect_err(keys);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{keys}\n{found}\nis not about\n{expected}");
        assert!(!found.contains("canary"), "{found}");
    }
}

#[tokio::test]
async fn what_does_not_load() {
    let stage = Stage::new();
    stage.seal("key", &Key::p256().pem, LOGIN);
    stage.seal("other", &Key::p256().pem, &["other.test"]);
    stage.seal("text", CANARY, LOGIN);
    stage.seal("short", &pem("PRIVATE KEY", b"canary"), LOGIN);
    let (one, two) = (certificate("one"), certificate("two"));
    stage.seal("certificate", &one.0, LOGIN);
    stage.seal("its-key", &one.1, LOGIN);
    stage.seal("another-key", &two.1, LOGIN);
    let wrong = |keys: &str, expected: &[&str]| wrong(&stage, keys, expected);
    let signed = |rest: &str| format!("client_assertion = {{ key = \"secret://sealed/key\"{rest} }}");
    wrong("", &["credential.x.client_secret"]);
    wrong(&signed(""), &["credential.x.client_assertion.alg"]);
    wrong(&signed(", alg = \"HS256\""), &["`HS256` is not a value of this key"]);
    wrong(&signed(", alg = \"none\""), &["`none` is not a value of this key"]);
    wrong(&signed(", alg = \"RS256\""), &["`RS256` and `PS256` sign with an RSA key, which it does not hold"]);
    wrong(&signed(", alg = \"ES256\", audience = \"issuer\""), &["there is no `issuer` whose name it could be"]);
    wrong(&signed(", alg = \"ES256\", lifetime = \"2h\""), &["lasts from `10s` to `1h`"]);
    wrong(&signed(", alg = \"ES256\", claims = { jti = \"x\" }"), &["this claim is set by whoever signs the token"]);
    wrong(&signed(", alg = \"ES256\", claims = { sub = \"x\" }"), &["a client speaks for itself"]);
    wrong(&signed(", alg = \"ES256\", claims = { x = 1.5 }"), &["a claim is a text"]);
    wrong(&signed(", alg = \"ES256\", kidd = \"x\""), &["unknown key"]);
    wrong(
        "client_assertion = { key = \"secret://sealed/other\", alg = \"ES256\" }",
        &["may go to `other.test:443` only"],
    );
    wrong(
        "client_assertion = { key = \"secret://sealed/text\", alg = \"ES256\" }",
        &["it holds no private key in PEM"],
    );
    wrong("client_assertion = { key = \"secret://sealed/short\", alg = \"ES256\" }", &["its key is none of"]);
    wrong("client_assertion = { key = \"secret://sealed/none\", alg = \"ES256\" }", &["there is no secret `none`"]);
    wrong("client_assertion = {}", &["credential.x.client_assertion.key"]);
    wrong("client_assertion = { from = \"proofs\" }", &["did you mean `proof`?"]);
    wrong("client_assertion = { from = \"proof\", lifetime = \"1m\" }", &["the workload's own token says already"]);
    let secret = "client_secret = \"secret://sealed/text\"\n";
    let both = format!("auth = \"private_key_jwt\"\n{secret}{}", signed(", alg = \"ES256\""));
    wrong(&both, &["`auth = \"private_key_jwt\"` has no use for it"]);
    wrong("auth = \"tls_client_auth\"", &["credential.x.client_certificate"]);
    let pair = |certificate: &str, key: &str| {
        format!(
            "client_certificate = {{ certificate = \"secret://sealed/{certificate}\", key = \"secret://sealed/{key}\" }}"
        )
    };
    wrong(&pair("certificate", "another-key"), &["it is not the key of the certificate"]);
    wrong(&pair("its-key", "its-key"), &["it holds no certificate in PEM"]);
    wrong(&pair("certificate", "certificate"), &["it holds no private key in PEM"]);
    wrong(&pair("certificate", "none"), &["there is no secret `none`"]);
    wrong("client_certificate = { certificate = \"absent.pem\", key = \"secret://sealed/its-key\" }", &["absent.pem"]);
    assert!(stage.load_in(&format!("{AT}{}\n", pair("certificate", "its-key")), &stage.env()).is_ok());
    // Without an `[issuer]` nothing is minted.
    let minted = format!("{AT}client_assertion = {{ from = \"minted\" }}\n");
    let found = stage.load_in(&minted, &stage.world.env()).unwrap_err();
    assert!(found.len() == 1 && found[0].contains("there is no `[issuer]` that would mint it"), "{found:#?}");
}
