//! Endpoints that an issuer names itself, and revocation.

use claviger_contract::outbound::OutboundFailure;

use super::stage::{Stage, lease};
use crate::fixture::{Answer, CANARY, caller, value};

const WELL_KNOWN: &str = "https://login.test/.well-known/oauth-authorization-server/tenant";
const OPENID: &str = "https://login.test/tenant/.well-known/openid-configuration";
const HOUR_MS: i64 = 3_600_000;

fn stage() -> Stage {
    let stage = Stage::new();
    stage.seal("secret", CANARY, &["login.test", "*.sts.test"]);
    stage
}

fn keys(more: &str) -> String {
    format!(
        "issuer = \"https://login.test/tenant\"\nclient_id = \"claviger\"\nclient_secret = \"secret://sealed/secret\"\n{more}"
    )
}

fn metadata(issuer: &str, endpoints: &str) -> Answer {
    Answer::json(200, &format!(r#"{{"issuer":"{issuer}","grant_types_supported":["x"]{endpoints}}}"#))
}

fn usual() -> Answer {
    metadata("https://login.test/tenant", r#","token_endpoint":"https://login.test/tenant/token""#)
}

fn urls(stage: &Stage) -> Vec<String> {
    stage.seen().into_iter().map(|seen| seen.url).collect()
}

#[tokio::test]
async fn metadata_are_fetched_once_and_kept_for_an_hour() {
    let stage = stage();
    let credentials = stage.load(&keys(""));
    let token = "https://login.test/tenant/token";
    stage.world.issuer.will([usual(), Answer::token("one", 60), Answer::token("two", 60)]);
    assert_eq!(value(&lease(&credentials, &caller(None)).await.unwrap()), "one");
    assert_eq!(urls(&stage), [WELL_KNOWN, token]);
    stage.world.clock.advance_ms(HOUR_MS - 1);
    assert_eq!(value(&lease(&credentials, &caller(None)).await.unwrap()), "two");
    assert_eq!(urls(&stage), [token]);
    // The second place, and from now on another endpoint.
    let moved = metadata("https://login.test/tenant", r#","token_endpoint":"https://login.test/new""#);
    stage.world.issuer.will([Answer::json(404, ""), moved, Answer::token("three", 60)]);
    stage.world.clock.advance_ms(60_001);
    assert_eq!(value(&lease(&credentials, &caller(None)).await.unwrap()), "three");
    assert_eq!(urls(&stage), [WELL_KNOWN, OPENID, "https://login.test/new"]);
    // What cannot be fetched anew serves on, for a day.
    stage.world.issuer.will([Answer::Fails(OutboundFailure::Connect), Answer::token("four", 60)]);
    stage.world.clock.advance_ms(HOUR_MS);
    assert_eq!(value(&lease(&credentials, &caller(None)).await.unwrap()), "four");
    assert_eq!(urls(&stage), [WELL_KNOWN, "https://login.test/new"]);
    stage.world.clock.advance_ms(24 * HOUR_MS);
    stage.world.issuer.will([Answer::Fails(OutboundFailure::Connect)]);
    let error = lease(&credentials, &caller(None)).await.unwrap_err();
    let expected = format!(
        "credential `x`: the endpoints of the issuer are not known: call to `{WELL_KNOWN}` failed: cannot connect"
    );
    assert_eq!((error.to_string(), error.code()), (expected, "issuer_unreachable"));
}

/// What the operator is told; the client secret was sent nowhere.
async fn check(answers: Vec<Answer>, code: &str, expected: &str) {
    let stage = stage();
    let credentials = stage.load(&keys("endpoint_hosts = [\"eu.sts.test\", \"us.else.test\"]\n"));
    stage.world.issuer.will(answers);
    let error = lease(&credentials, &caller(None)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("credential `x`: {expected}"));
    assert_eq!(error.code(), code, "{expected}");
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    assert!(stage.seen().iter().all(|seen| seen.body.is_empty() && seen.headers.get("authorization").is_none()));
}

#[tokio::test]
async fn metadata_that_cannot_be_trusted() {
    let invalid = "issuer_answer_invalid";
    let answer_of = |url: &str, why: &str| format!("the answer of `{url}` cannot be used: {why}");
    let unknown = |url: &str, why: &str| format!("the endpoints of the issuer are not known: {}", answer_of(url, why));
    let other = "its `issuer` is not the one that was asked";
    let token = r#","token_endpoint":"https://login.test/tenant/token""#;
    for issuer in
        ["https://login.test", "https://login.test/tenant/", "https://LOGIN.test/tenant", "https://evil.test/canary"]
    {
        check(vec![metadata(issuer, token)], invalid, &unknown(WELL_KNOWN, other)).await;
    }
    let shape = "it is not a JSON object with `issuer` and endpoints as RFC 8414 has them";
    for body in [
        "<html>canary</html>",
        "[]",
        "{}",
        r#"{"issuer":7}"#,
        r#"{"issuer":"https://login.test/tenant","token_endpoint":7}"#,
    ] {
        let answers = || vec![Answer::json(200, body), Answer::json(404, "canary")];
        check(answers(), invalid, &unknown(WELL_KNOWN, shape)).await;
    }
    let redirect = "it is a redirect, and redirects are not followed";
    check(vec![Answer::json(302, ""), Answer::json(404, "")], invalid, &unknown(WELL_KNOWN, redirect)).await;
    let answered = |status: u16| format!("the endpoints of the issuer are not known: `{WELL_KNOWN}` answered {status}");
    check(vec![Answer::json(404, CANARY), Answer::json(403, CANARY)], "issuer_refused", &answered(404)).await;
    // Who is unwell is not asked for something else.
    check(vec![Answer::json(503, ""), usual()], "issuer_refused", &answered(503)).await;
    check(vec![Answer::json(429, ""), usual()], "issuer_refused", &answered(429)).await;
    let at = |url: &str| metadata("https://login.test/tenant", &format!(r#","token_endpoint":"{url}""#));
    let cleartext = answer_of(WELL_KNOWN, "it names an endpoint that is no https:// URL");
    for url in ["http://login.test/token", "/token", "https://canary@login.test/token", "ftp://login.test/"] {
        check(vec![at(url)], invalid, &cleartext).await;
    }
    let elsewhere = answer_of(
        WELL_KNOWN,
        "it names an endpoint on another host than the issuer's, and `endpoint_hosts` does not list it",
    );
    for url in [
        "https://evil.test/token",
        "https://login.test:8443/token",
        "https://sub.login.test/token",
        "https://us.sts.test/",
    ] {
        check(vec![at(url)], invalid, &elsewhere).await;
    }
    let bound = "`secret://sealed/secret` may go to `login.test:443`, `*.sts.test:443` only, not to `us.else.test:443`";
    check(vec![at("https://us.else.test/token")], "secret_binding", bound).await;
    let none = metadata("https://login.test/tenant", "");
    let nameless = "the answer of `https://login.test/tenant` cannot be used: its metadata name no `token_endpoint`";
    check(vec![none], invalid, nameless).await;
}

#[tokio::test]
async fn an_endpoint_on_a_host_that_is_listed() {
    let stage = stage();
    let credentials = stage.load(&keys("endpoint_hosts = [\"eu.sts.test\"]\n"));
    let elsewhere = r#","token_endpoint":"https://eu.sts.test/token""#;
    stage.world.issuer.will([metadata("https://login.test/tenant", elsewhere), Answer::token("t", 60)]);
    assert_eq!(value(&lease(&credentials, &caller(None)).await.unwrap()), "t");
    assert_eq!(urls(&stage), [WELL_KNOWN, "https://eu.sts.test/token"]);
}

/// RFC 8705 §5: who shows a certificate calls where one is asked for.
#[tokio::test]
async fn a_client_with_a_certificate_uses_the_alias() {
    let stage = Stage::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let made = rcgen::CertificateParams::new(vec!["x".to_owned()]).unwrap().self_signed(&key).unwrap();
    let path = stage.world.path();
    std::fs::write(path.join("client.pem"), made.pem()).unwrap();
    stage.seal("key", &key.serialize_pem(), &["mtls.test"]);
    let aliases = r#","token_endpoint":"https://login.test/token",
        "mtls_endpoint_aliases":{"token_endpoint":"https://mtls.test/token"}"#;
    let check = async |auth: &str, expected: &str| {
        let keys = format!(
            "issuer = \"https://login.test\"\nendpoint_hosts = [\"mtls.test\"]\nclient_id = \"claviger\"\n{auth}\n"
        );
        let credentials = stage.load(&keys);
        stage.world.issuer.will([metadata("https://login.test", aliases), Answer::token("t", 60)]);
        lease(&credentials, &caller(None)).await.unwrap();
        assert_eq!(urls(&stage)[1], expected);
    };
    check(
        "client_certificate = { certificate = \"client.pem\", key = \"secret://sealed/key\" }",
        "https://mtls.test/token",
    )
    .await;
    check("auth = \"none\"", "https://login.test/token").await;
}

#[tokio::test]
async fn what_does_not_load() {
    let stage = stage();
    let check = |keys: &str, expected: &str| {
        let rest = "client_id = \"claviger\"\nclient_secret = \"secret://sealed/secret\"\n";
        let found = stage.load_in(&format!("{rest}{keys}\n"), &stage.env()).expect_err(keys);
        assert!(found.len() == 1 && found[0].contains(expected), "{keys}\n{found:#?}\nis not about\n{expected}");
    };
    check("", "credential.x.token_url");
    check("issuer = \"http://login.test\"", "an issuer is called over https:// only");
    check("issuer = \"https://login.test/?a=b\"", "an issuer has no query");
    check("issuer = \"https://login.test/#a\"", "an issuer has no fragment");
    check("issuer = \"login.test\"", "this is not a URL");
    check("issuer = \"https://login.test\"\nendpoint_hosts = [\"a b\"]", "is not a host");
    check("token_url = \"https://login.test/t\"\nendpoint_hosts = [\"a.test\"]", "no endpoint is discovered");
    check(
        "token_url = \"https://login.test/t\"\nrevocation_url = \"http://login.test/r\"",
        "a revocation endpoint is called over https:// only",
    );
    check(
        "issuer = \"https://other.test\"",
        "may go to `login.test:443`, `*.sts.test:443` only, not to `other.test:443`",
    );
}
