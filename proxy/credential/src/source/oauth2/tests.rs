use std::sync::Arc;

use claviger_contract::Secret;
use claviger_contract::outbound::OutboundFailure;
use claviger_policy::document::Diagnostics;
use http::HeaderMap;

use crate::fixture::{Answer, CANARY, START_MS, Seen, World, caller, settle, value};
use crate::{CredentialError, Credentials, Lease, SealedStore};

/// A client secret with everything that form-encoding changes.
const CLIENT_SECRET: &str = "canary+/ %&=:ü";

fn load(world: &World, more: &str) -> Credentials {
    let sealed = SealedStore::open(&world.path().join("state"));
    sealed.set("crm", Secret::from(CLIENT_SECRET.to_owned()), vec!["login.crm.test".to_owned()], None).unwrap();
    let text = format!(
        "[credential.crm]\nkind = \"oauth2\"\ntoken_url = \"https://login.crm.test/token?tenant=canary\"\n\
         client_id = \"id:1 2\"\nclient_secret = \"secret://sealed/crm\"\nhosts = [\"api.crm.test\"]\n{more}"
    );
    let (mut out, mut root) = (Diagnostics::default(), world.document(&text));
    let credentials = Credentials::take(&mut root, Vec::new(), &world.env(), None, &mut out);
    root.finish(&mut out);
    assert!(out.is_empty(), "{out:?}");
    credentials
}

async fn mint(credentials: &Credentials) -> Result<Arc<Lease>, CredentialError> {
    settle(credentials.lease_for("crm", &caller(None), true)).await.1
}

async fn seen(more: &str) -> Seen {
    let world = World::new();
    world.issuer.will([Answer::token("t", 60)]);
    mint(&load(&world, more)).await.unwrap();
    let seen = world.issuer.seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 1);
    seen.into_iter().next().unwrap()
}

#[tokio::test]
async fn basic_encodes_id_and_secret_before_it_joins_them() {
    let seen = seen("").await;
    assert_eq!(seen.url, "https://login.crm.test/token?tenant=canary");
    // Base64 of `id%3A1+2:canary%2B%2F+%25%26%3D%3A%C3%BC`.
    let expected = "Basic aWQlM0ExKzI6Y2FuYXJ5JTJCJTJGKyUyNSUyNiUzRCUzQSVDMyVCQw==";
    let authorization = seen.headers.get("authorization").unwrap();
    assert_eq!(authorization, expected);
    assert!(authorization.is_sensitive());
    assert_eq!(seen.headers.get("content-type").unwrap(), "application/x-www-form-urlencoded");
    assert_eq!(seen.headers.get("accept").unwrap(), "application/json");
    assert_eq!(seen.body, "grant_type=client_credentials");
}

#[tokio::test]
async fn post_puts_both_into_the_body() {
    let seen = seen(
        "auth = \"client_secret_post\"\nscope = [\"read:all\", \"write\"]\naudience = \"https://api\"\nparameters = { tenant = \"r&s\" }\n",
    )
    .await;
    assert!(seen.headers.get("authorization").is_none());
    assert_eq!(
        seen.body,
        "grant_type=client_credentials&scope=read%3Aall+write&audience=https%3A%2F%2Fapi&tenant=r%26s\
         &client_id=id%3A1+2&client_secret=canary%2B%2F+%25%26%3D%3A%C3%BC"
    );
}

#[tokio::test]
async fn a_token_is_leased_for_its_lifetime_less_a_margin() {
    let check = async |answer: Answer, expires_in: i64, served_ms: i64| {
        let world = World::new();
        world.issuer.will([answer]);
        let credentials = load(&world, "");
        let lease = mint(&credentials).await.unwrap();
        assert_eq!(value(&lease), "tok.en~+/=");
        assert_eq!(lease.expires_at(), Some(START_MS / 1_000 + expires_in));
        assert_eq!(lease.ends_at_ms, START_MS + served_ms);
        assert!(lease.is_renewable());
        assert_eq!(world.events.take(), ["minted"]);
    };
    let json = |expires: &str| {
        Answer::json(200, &format!(r#"{{"access_token":"tok.en~+/=","token_type":"bEARER"{expires},"x":{{"y":[1]}}}}"#))
    };
    check(json(r#","expires_in":3600"#), 3_600, 3_595_000).await;
    check(json(r#","expires_in":10"#), 10, 9_000).await;
    check(json(r#","expires_in":3599.5"#), 3_599, 3_594_500).await;
    check(json(r#","expires_in":1e300"#), 31_536_000, 31_535_995_000).await;
    check(json(""), 300, 295_000).await;
}

/// Time that a slow issuer takes counts against the token.
#[tokio::test]
async fn a_lifetime_begins_when_the_token_was_asked_for() {
    let world = World::new();
    world.issuer.will([Answer::token("t", 60), Answer::token("t", 1)]);
    *world.issuer.slow.lock().unwrap() = Some((world.clock.clone(), 8_000));
    let credentials = load(&world, "");
    assert_eq!(mint(&credentials).await.unwrap().expires_at(), Some(START_MS / 1_000 + 60));
    world.clock.advance_ms(60_000);
    assert_eq!(mint(&credentials).await.unwrap_err().code(), "value_expired");
}

const ENDPOINT: &str = "https://login.crm.test/token";

/// What the operator is told for an answer, and that nothing of the answer is in it.
async fn check(answer: Answer, code: &str, expected: &str) {
    let world = World::new();
    let shown = format!("{answer:?}");
    world.issuer.will([answer]);
    let credentials = load(&world, "");
    let error = mint(&credentials).await.expect_err(&shown);
    assert_eq!(error.to_string(), format!("credential `crm`: {}", expected.replace("{}", ENDPOINT)), "{shown}");
    assert_eq!(error.code(), code, "{shown}");
    assert!(!format!("{error:?} {error} {credentials:?}").contains("canary"), "{error:?}");
    assert_eq!(world.events.take(), ["failed"]);
    // The next request is told the same, without another call.
    assert_eq!(mint(&credentials).await.unwrap_err().code(), code);
    assert_eq!(world.issuer.calls(), 1);
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached() {
    use OutboundFailure::{AddressRefused, Broken, Cleartext, Connect, Timeout, Tls, TooLarge};
    for (failure, code) in [
        (Connect, "issuer_unreachable"),
        (Tls, "issuer_unreachable"),
        (Broken, "issuer_unreachable"),
        (Timeout, "issuer_timeout"),
        (TooLarge, "issuer_answer_invalid"),
        (AddressRefused, "issuer_address_refused"),
        (Cleartext, "issuer_address_refused"),
    ] {
        check(Answer::Fails(failure), code, &format!("call to `{{}}` failed: {failure}")).await;
    }
    check(
        Answer::json(200, &" ".repeat(70_000)),
        "issuer_answer_invalid",
        "call to `{}` failed: the answer is too large",
    )
    .await;
}

#[tokio::test]
async fn an_issuer_that_refuses() {
    let refused = |status: u16, body: &str| Answer::json(status, body);
    let code = "issuer_refused";
    check(refused(500, CANARY), code, "`{}` answered 500").await;
    check(refused(401, r#"{"error":"invalid_client"}"#), code, "`{}` answered 401 with `invalid_client`").await;
    check(
        refused(400, &format!(r#"{{"error":"invalid_scope","error_description":"{CANARY}"}}"#)),
        code,
        "`{}` answered 400 with `invalid_scope`",
    )
    .await;
    // A code that could be anything, also what we sent.
    check(refused(400, &format!(r#"{{"error":"{CANARY}"}}"#)), code, "`{}` answered 400").await;
    check(refused(429, ""), code, "`{}` answered 429").await;
    check(refused(204, ""), code, "`{}` answered 204").await;
    check(refused(201, r#"{"access_token":"t","token_type":"Bearer","expires_in":60}"#), code, "`{}` answered 201")
        .await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let mut headers = HeaderMap::new();
    headers.insert("location", "https://evil.test/canary".parse().unwrap());
    let answer = Answer::Says { status: 307, headers, body: Vec::new() };
    let expected = "the answer of `{}` cannot be used: it is a redirect, and redirects are not followed";
    check(answer, "issuer_answer_invalid", expected).await;
}

#[tokio::test]
async fn an_answer_that_is_not_a_token() {
    let unusable = async |body: &str, why: &str| {
        let expected = format!("the answer of `{{}}` cannot be used: {why}");
        check(Answer::json(200, body), "issuer_answer_invalid", &expected).await;
    };
    let shape = "it is not a JSON object with `access_token`, `token_type` and a number `expires_in`";
    for body in [
        "",
        "canary",
        "<html>canary</html>",
        r#"["canary"]"#,
        r#"{"access_token":"canary"}"#,
        r#"{"token_type":"Bearer","expires_in":60}"#,
        r#"{"access_token":7,"token_type":"Bearer","expires_in":60}"#,
        r#"{"access_token":"canary","token_type":"Bearer","expires_in":"60"}"#,
        r#"{"access_token":"canary","token_type":"Bearer","expires_in":60} canary"#,
        r#"{"access_token":"canary","access_token":"canary","token_type":"Bearer"}"#,
        "{\"access_token\":\"canary\u{1}\",\"token_type\":\"Bearer\"}",
    ] {
        unusable(body, shape).await;
    }
    unusable(r#"{"error":"invalid_client"}"#, "it is an error with the status 200").await;
    let token = |token: &str, kind: &str, expires: &str| {
        format!(r#"{{"access_token":"{token}","token_type":"{kind}","expires_in":{expires}}}"#)
    };
    for kind in ["mac", "DPoP", "", "Bearer "] {
        unusable(&token(CANARY, kind, "60"), "its `token_type` is not `Bearer`").await;
    }
    let length = "its `access_token` is empty or has more than 16384 bytes";
    unusable(&token("", "Bearer", "60"), length).await;
    unusable(&token(&"a".repeat(16_385), "Bearer", "60"), length).await;
    for bad in ["canary\\r\\nx: y", "canary\\u0000", "can ary", "canary\\u007f", "canaryü", "canary\\t"] {
        unusable(&token(bad, "Bearer", "60"), "its `access_token` has a space or a byte that is not visible ASCII")
            .await;
    }
    for expires in ["0", "-1", "-1e300"] {
        unusable(&token(CANARY, "Bearer", expires), "its `expires_in` is not above zero").await;
    }
}

/// The binding is checked before the secret leaves, also when it changed after the load.
#[tokio::test]
async fn a_client_secret_that_is_bound_elsewhere_is_not_sent() {
    let world = World::new();
    let credentials = load(&world, "");
    let sealed = SealedStore::open(&world.path().join("state"));
    sealed.set("crm", Secret::from(CLIENT_SECRET.to_owned()), vec!["other.test".to_owned()], None).unwrap();
    let error = mint(&credentials).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "credential `crm`: `secret://sealed/crm` may go to `other.test:443` only, not to `login.crm.test:443`"
    );
    assert_eq!((error.code(), world.issuer.calls()), ("secret_binding", 0));
}

#[tokio::test]
async fn an_issuer_that_asks_for_time_gets_it() {
    let world = World::new();
    let mut headers = HeaderMap::new();
    headers.insert("retry-after", "20".parse().unwrap());
    world.issuer.will([Answer::Says { status: 429, headers, body: Vec::new() }, Answer::token("t", 60)]);
    let credentials = load(&world, "");
    assert!(mint(&credentials).await.is_err());
    world.clock.advance_ms(19_999);
    assert!(mint(&credentials).await.is_err());
    assert_eq!(world.issuer.calls(), 1);
    // And a little more, so that not everybody comes back at once.
    world.clock.advance_ms(2_001);
    assert!(mint(&credentials).await.is_ok());
}

mod client_auth;
mod discovery;
mod faults;
mod grants;
mod keys;
mod revocation;
mod stage;
