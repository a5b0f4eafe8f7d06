use std::sync::Arc;

use claviger_contract::Secretless;
use claviger_contract::outbound::OutboundFailure;

use crate::error::SourceError;
use crate::fixture::{Answer, CANARY, START_MS, World, caller, caller_named, settle};
use crate::source::{Ask, Mint, Source};
use crate::vault::tests::{Tokens, logged_in, put_pair, refused, take, world};
use crate::{CredentialError, Credentials, Lease};

const APPROLE: &str = "auth = { approle = { role_id = \"r\", secret_id = \"secret://sealed/approle\" } }";
const ISSUER: &str =
    "auth = { jwt = { role = \"r\", token = \"issuer\", subject = \"spiffe://acme.internal/claviger\" } }";
const DATABASE: &str = "path = \"database/creds/app\"\nfields = { user = \"username\", password = \"password\" }";

fn text(auth: &str, keys: &str) -> String {
    format!(
        "[store.vault]\nkind = \"vault\"\naddress = \"https://vault.test:8200\"\n{auth}\n\
         [credential.app]\nkind = \"vault\"\nstore = \"vault\"\nhosts = [\"api.test\"]\n{keys}\n"
    )
}

fn load(world: &World, auth: &str, keys: &str) -> (Credentials, Arc<Tokens>) {
    let (mut env, tokens) = (world.env(), Arc::new(Tokens::default()));
    env.tokens = tokens.clone();
    let (credentials, found) = take(world, &env, &text(auth, keys));
    assert!(found.is_empty(), "{found:?}");
    (credentials, tokens)
}

/// A database user with a lease of so many seconds.
fn made(id: u32, seconds: u64, renewable: bool) -> Answer {
    Answer::json(
        200,
        &format!(
            r#"{{"lease_id":"database/creds/app/{id}","lease_duration":{seconds},"renewable":{renewable},"data":{{"username":"v-app-{id}","password":"{CANARY}"}}}}"#
        ),
    )
}

fn renewed(seconds: u64) -> Answer {
    Answer::json(200, &format!(r#"{{"lease_id":"database/creds/app/1","lease_duration":{seconds},"renewable":true}}"#))
}

async fn mint(credentials: &Credentials) -> Result<Arc<Lease>, CredentialError> {
    settle(credentials.lease_for("app", &caller(None), true)).await.1
}

/// `path token body` of the calls since the last time.
fn calls(world: &World) -> Vec<String> {
    let seen = std::mem::take(&mut *world.issuer.seen.lock().unwrap());
    let shown = |seen: crate::fixture::Seen| {
        let path = seen.url.strip_prefix("https://vault.test:8200/v1/").unwrap().to_owned();
        let token = seen.headers.get("x-vault-token").map_or("-", |token| token.to_str().unwrap()).to_owned();
        format!("{path} {token} {}", seen.body).trim_end().to_owned()
    };
    seen.into_iter().map(shown).collect()
}

fn source(world: &World, auth: &str, keys: &str) -> Arc<dyn Source> {
    let (credentials, _) = load(world, auth, keys);
    credentials.source("app")
}

#[tokio::test]
async fn a_database_user_is_leased_as_named_fields() {
    let world = world();
    world.issuer.will([logged_in("s.1", 0), made(1, 3_600, true)]);
    let (credentials, _) = load(&world, APPROLE, DATABASE);
    assert_eq!(credentials.fields("app").unwrap().len(), 2);
    let lease = mint(&credentials).await.unwrap();
    let field = |name| crate::fixture::text(lease.field(Some(name)).unwrap());
    assert_eq!((field("user").as_str(), field("password").as_str()), ("v-app-1", CANARY));
    assert_eq!(lease.expires_at(), Some(START_MS / 1_000 + 3_600));
    assert!(lease.is_renewable());
    assert_eq!(calls(&world)[1..], ["database/creds/app s.1"]);
}

#[tokio::test]
async fn a_value_ends_when_it_says_and_no_later_than_what_it_hangs_on() {
    let check = async |ttl: u64, answer: Answer, keys: &str, seconds: Option<i64>| {
        let world = world();
        world.issuer.will([logged_in("s.1", ttl), answer]);
        let minted = source(&world, APPROLE, keys).mint(Mint { ask: None, refused: None }).await.unwrap();
        let expected = seconds.map(|seconds| START_MS + seconds * 1_000);
        assert_eq!(minted.expires_at_ms, expected, "{keys}");
    };
    let answer = |data: &str| Answer::json(200, &format!(r#"{{"data":{data}}}"#));
    check(0, made(1, 3_600, true), DATABASE, Some(3_600)).await;
    check(0, made(1, 0, true), DATABASE, None).await;
    // A lease ends with its token, which ends five seconds early.
    check(600, made(1, 3_600, true), DATABASE, Some(595)).await;
    // What is not leased does not hang on the token.
    let certificate = format!(r#"{{"certificate":"a-certificate","expiration":{}}}"#, START_MS / 1_000 + 7_200);
    check(600, answer(&certificate), "path = \"pki/issue/web\"\nfields = \"certificate\"", Some(7_200)).await;
    check(
        600,
        answer(r#"{"token":"an-oidc-token","ttl":900}"#),
        "path = \"identity/oidc/token/x\"\nfields = \"token\"",
        Some(900),
    )
    .await;
    check(600, answer(r#"{"token":"a-token"}"#), "path = \"x/y\"\nfields = \"token\"", Some(300)).await;
    check(600, answer(r#"{"token":"a-token"}"#), "path = \"x/y\"\nfields = \"token\"\nlifetime = \"20m\"", Some(1_200))
        .await;
}

#[tokio::test]
async fn what_is_asked_of_an_engine_is_a_query_or_a_body() {
    let check = async |keys: &str, url: &str, body: &str| {
        let world = world();
        world.issuer.will([logged_in("s.1", 0), Answer::json(200, r#"{"data":{"a":"a-value"}}"#)]);
        let keys = format!("fields = \"a\"\npath = \"e/x\"\n{keys}");
        source(&world, APPROLE, &keys).mint(Mint { ask: None, refused: None }).await.unwrap();
        let seen = world.issuer.seen.lock().unwrap()[1].clone();
        assert_eq!((seen.url.as_str(), seen.body.as_str()), (&*format!("https://vault.test:8200/v1/{url}"), body));
        assert_eq!(seen.headers.contains_key("content-type"), !body.is_empty());
    };
    check("", "e/x", "").await;
    check("method = \"POST\"", "e/x", "{}").await;
    let parameters = "parameters = { ttl = \"15m\", n = 3, on = true, names = [\"a b\", \"c\"] }";
    check(parameters, "e/x", r#"{"n":3,"names":["a b","c"],"on":true,"ttl":"15m"}"#).await;
    check(&format!("{parameters}\nmethod = \"GET\""), "e/x?ttl=15m&n=3&on=true&names=a+b%2Cc", "").await;
}

#[tokio::test]
async fn a_lease_is_renewed_until_it_fades_and_then_revoked() {
    let world = world();
    world.issuer.will([logged_in("s.1", 0), made(1, 600, true)]);
    let minted = source(&world, APPROLE, DATABASE).mint(Mint { ask: None, refused: None }).await.unwrap();
    let issued = minted.issued.unwrap();
    calls(&world);
    let check = async |answers: Vec<Answer>, expected: Result<Option<i64>, &str>| {
        let now = START_MS + 400_000;
        world.issuer.will(answers);
        match (issued.renew().await, expected) {
            (Ok(end), Ok(wanted)) => assert_eq!(end, wanted.map(|seconds| now + seconds * 1_000)),
            (Err(error), Err(code)) => assert_eq!(error.code(), code),
            (renewed, _) => panic!("{renewed:?}, {expected:?}"),
        }
        let renewal = "sys/leases/renew s.1 {\"increment\":600,\"lease_id\":\"database/creds/app/1\"}";
        assert_eq!(calls(&world), [renewal]);
    };
    world.clock.advance_ms(400_000);
    check(vec![renewed(600)], Ok(Some(600))).await;
    check(vec![renewed(300)], Ok(Some(300))).await;
    // Near the longest life that the server allows.
    check(vec![renewed(299)], Ok(None)).await;
    check(vec![refused(400, "lease not found")], Ok(None)).await;
    check(vec![refused(403, "permission denied")], Ok(None)).await;
    check(vec![refused(503, "Vault is sealed")], Err("issuer_refused")).await;
    check(vec![Answer::Fails(OutboundFailure::Timeout)], Err("issuer_timeout")).await;
    world.issuer.will([Answer::json(204, "")]);
    issued.revoke().await.unwrap();
    assert_eq!(calls(&world), ["sys/leases/revoke s.1 {\"lease_id\":\"database/creds/app/1\",\"sync\":true}"]);
    world.issuer.will([refused(500, "canary")]);
    assert!(matches!(issued.revoke().await, Err(SourceError::Refused { status: 500, code: None, .. })));
}

#[tokio::test]
async fn a_lease_that_cannot_be_renewed_is_not() {
    let world = world();
    world.issuer.will([logged_in("s.1", 0), made(1, 600, false)]);
    let minted = source(&world, APPROLE, DATABASE).mint(Mint { ask: None, refused: None }).await.unwrap();
    calls(&world);
    assert!(minted.issued.unwrap().renew().await.unwrap().is_none());
    assert!(calls(&world).is_empty());
}

#[tokio::test]
async fn a_lease_ends_with_the_token_that_it_was_had_with() {
    let world = world();
    world.issuer.will([logged_in("s.1", 300), made(1, 3_600, true)]);
    let source = source(&world, APPROLE, DATABASE);
    let issued = source.mint(Mint { ask: None, refused: None }).await.unwrap().issued.unwrap();
    calls(&world);
    // Its token is prolonged on the way, and so is what hangs on it.
    world.clock.advance_ms(100_000);
    world.issuer.will([logged_in("s.1", 300), renewed(3_600)]);
    assert_eq!(issued.renew().await.unwrap(), Some(START_MS + 100_000 + 295_000));
    assert_eq!(calls(&world).len(), 2);
    // The token cannot be prolonged: there is another, and the lease of the former one goes.
    world.clock.advance_ms(100_000);
    world.issuer.will([refused(400, "x"), logged_in("s.2", 300)]);
    assert_eq!(issued.renew().await.unwrap(), None);
    let expected = ["auth/token/renew-self s.1 {}", "auth/approle/login - "];
    calls(&world).iter().zip(expected).for_each(|(call, start)| assert!(call.starts_with(start), "{call}"));
}

#[tokio::test]
async fn what_cannot_be_used_is_taken_back() {
    let world = world();
    world.issuer.will([logged_in("s.1", 0), made(1, 600, true), Answer::json(204, "")]);
    let keys = "path = \"database/creds/app\"\nfields = \"token\"";
    let error = source(&world, APPROLE, keys).mint(Mint { ask: None, refused: None }).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the answer of `https://vault.test:8200/v1/database/creds/app` cannot be used: a member that `fields` names is not in it"
    );
    assert!(calls(&world)[2].starts_with("sys/leases/revoke s.1"));
}

#[tokio::test]
async fn a_caller_has_a_login_of_its_own_which_ends_with_its_value() {
    let world = world();
    let keys = format!("{DATABASE}\nper = \"caller\"");
    let (credentials, tokens) = load(&world, ISSUER, &keys);
    let source = credentials.source("app");
    let (a, again, b) = (caller_named("a", None), caller_named("a", Some(5)), caller_named("b", None));
    let key = |name: &str| match name {
        "a" => source.key(Ask { caller: &a }),
        "again" => source.key(Ask { caller: &again }),
        _ => source.key(Ask { caller: &b }),
    };
    assert!(key("a") == key("again") && key("a") != key("b"));
    world.issuer.will([logged_in("s.a", 600), made(1, 600, true)]);
    let minted = source.mint(Mint { ask: Some(Ask { caller: &a }), refused: None }).await.unwrap();
    assert_eq!(*tokens.0.lock().unwrap(), ["for spiffe://acme.internal/a to https://vault.test:8200"]);
    assert_eq!(calls(&world)[1..], ["database/creds/app s.a"]);
    let issued = minted.issued.unwrap();
    world.clock.advance_ms(300_000);
    world.issuer.will([logged_in("s.a", 600), renewed(600)]);
    assert_eq!(issued.renew().await.unwrap(), Some(START_MS + 300_000 + 595_000));
    assert_eq!(calls(&world)[0], "auth/token/renew-self s.a {}");
    world.issuer.will([Answer::json(204, "")]);
    issued.revoke().await.unwrap();
    assert_eq!(calls(&world), ["auth/token/revoke-self s.a"]);
}

#[tokio::test]
async fn a_callers_login_without_a_lease_ends_at_once() {
    let check = async |answer: Answer, works: bool| {
        let world = world();
        let keys = "path = \"kv/data/app\"\nfields = \"data.key\"\nper = \"caller\"";
        let source = source(&world, ISSUER, keys);
        world.issuer.will([logged_in("s.a", 600), answer, Answer::json(204, "")]);
        let caller = caller_named("a", None);
        let minted = source.mint(Mint { ask: Some(Ask { caller: &caller }), refused: None }).await;
        assert_eq!(minted.is_ok(), works);
        assert_eq!(calls(&world)[1..], ["kv/data/app s.a", "auth/token/revoke-self s.a"]);
    };
    check(Answer::json(200, r#"{"data":{"data":{"key":"a-value"},"metadata":{}}}"#), true).await;
    check(refused(403, "permission denied"), false).await;
    check(Answer::Fails(OutboundFailure::Timeout), false).await;
}

#[tokio::test]
async fn it_is_told_whether_a_stored_secret_is_behind_it() {
    let check = |auth: &str, keys: &str, expected: Secretless| {
        let world = world();
        put_pair(&world);
        assert_eq!(source(&world, auth, keys).secretless(), expected, "{auth} {keys}");
    };
    check(ISSUER, DATABASE, Secretless::EndToEnd);
    check("auth = { kubernetes = { role = \"r\" } }", DATABASE, Secretless::EndToEnd);
    check(APPROLE, DATABASE, Secretless::ProxyHeld);
    check("auth = { cert = { certificate = \"c.pem\", key = \"c.key\" } }", DATABASE, Secretless::ProxyHeld);
    check(ISSUER, "path = \"kv/data/app\"\nfields = \"data.key\"", Secretless::ProxyHeld);
    // The first version answers as an engine that makes things does.
    check(ISSUER, "path = \"kv/app\"\nfields = \"key\"", Secretless::ProxyHeld);
    check(ISSUER, "path = \"creds/app\"\nfields = \"key\"", Secretless::ProxyHeld);
    check(ISSUER, "path = \"kv/data/creds/app\"\nfields = \"data.key\"", Secretless::ProxyHeld);
    check(ISSUER, "path = \"pki/issue/web\"\nfields = \"certificate\"", Secretless::EndToEnd);
}

/// A KV engine takes any path, also one that is called as those of other engines.
#[tokio::test]
async fn an_answer_that_is_a_stored_secrets_counts_for_more_than_its_path() {
    let check = async |path: &str, answer: &str, expected: Secretless| {
        let world = world();
        world.issuer.will([logged_in("s.1", 0), Answer::json(200, answer)]);
        let source = source(&world, ISSUER, &format!("path = \"{path}\"\nfields = {{ a = \"key\" }}"));
        assert_eq!(source.secretless(), Secretless::EndToEnd, "{path}: nothing is known yet");
        let _ = source.mint(Mint { ask: None, refused: None }).await;
        assert_eq!(source.secretless(), expected, "{answer}");
    };
    let key = r#""data":{"key":"a-value"}"#;
    check("kv/creds/app", &format!(r#"{{"lease_id":"","lease_duration":2764800,{key}}}"#), Secretless::ProxyHeld).await;
    let versioned = r#"{"lease_id":"","data":{"data":{"key":"x"},"metadata":{"version":1}}}"#;
    check("kv/creds/app", versioned, Secretless::ProxyHeld).await;
    let leased = format!(r#"{{"lease_id":"aws/creds/app/1","lease_duration":60,{key}}}"#);
    check("aws/creds/app", &leased, Secretless::EndToEnd).await;
    check("ssh/sign/app", &format!(r#"{{"lease_id":"","lease_duration":0,{key}}}"#), Secretless::EndToEnd).await;
}

#[tokio::test]
async fn settings_are_judged_at_load() {
    let check = |auth: &str, keys: &str, expected: &[&str]| {
        let world = world();
        let mut env = world.env();
        env.tokens = Arc::new(Tokens::default());
        let (_, found) = take(&world, &env, &text(auth, keys));
        assert_eq!(found.len(), expected.len(), "{found:?}");
        found.iter().zip(expected).for_each(|(found, part)| assert!(found.contains(part), "{found}"));
    };
    check(APPROLE, DATABASE, &[]);
    check(
        APPROLE,
        "",
        &["`credential.app.path`: this key is required", "`credential.app.fields`: this key is required"],
    );
    let path = |path: &str| format!("path = \"{path}\"\nfields = \"x\"");
    check(APPROLE, &path("/database/creds/app"), &["is not a path below `/v1/`"]);
    check(APPROLE, &path("database//app"), &["is not a path below `/v1/`"]);
    check(APPROLE, &path("a/../sys"), &["is not a path below `/v1/`"]);
    check(APPROLE, &path("a?b"), &["is not a path below `/v1/`"]);
    check(APPROLE, &path("auth/token/create"), &["is the server's own"]);
    check(APPROLE, &format!("{DATABASE}\nper = \"caller\""), &["the store's login shows nothing of the caller"]);
    check(ISSUER, &format!("{DATABASE}\nper = \"caller\""), &[]);
    check(APPROLE, "path = \"x/y\"\nfields = {}", &["expected the name of a member"]);
    check(APPROLE, "path = \"x/y\"\nfields = 3", &["expected the name of a member"]);
    check(APPROLE, "path = \"x/y\"\nfields = { a = \"\" }", &["the name of a member is empty"]);
    check(APPROLE, "path = \"x/y\"\nfields = \"a\"\nparameters = { x = 1.5 }", &["expected a text, an integer"]);
}
