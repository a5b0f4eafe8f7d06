use std::sync::{Arc, Mutex};

use claviger_contract::outbound::OutboundFailure;
use claviger_contract::{Secret, SubjectToken, SubjectTokenError, SubjectTokens, TokenAsk};
use claviger_policy::document::Diagnostics;

use crate::fixture::{Answer, CANARY, Seen, World, caller, settle, value};
use crate::{CredentialEnv, CredentialError, Credentials, Lease, SealedStore};

const APPROLE: &str = "auth = { approle = { role_id = \"r\", secret_id = \"secret://sealed/approle\" } }";

/// What a login answers; `ttl` of zero: the token has no end.
pub(crate) fn logged_in(token: &str, ttl: u64) -> Answer {
    let renewable = ttl > 0;
    Answer::json(
        200,
        &format!(r#"{{"auth":{{"client_token":"{token}","lease_duration":{ttl},"renewable":{renewable}}}}}"#),
    )
}

/// A secret of version 2.
fn secret(fields: &str, version: u64) -> Answer {
    Answer::json(
        200,
        &format!(
            r#"{{"lease_id":"","lease_duration":0,"renewable":false,"data":{{"data":{fields},"metadata":{{"created_time":"t","deletion_time":"","destroyed":false,"version":{version}}}}}}}"#
        ),
    )
}

pub(crate) fn refused(status: u16, error: &str) -> Answer {
    Answer::json(status, &format!(r#"{{"errors":["{error}"]}}"#))
}

/// A world in which the AppRole's secret id is sealed for the server.
pub(crate) fn world() -> World {
    let world = World::new();
    let sealed = SealedStore::open(&world.path().join("state"));
    sealed.set("approle", Secret::from(CANARY.to_owned()), vec!["vault.test:8200".to_owned()], None).unwrap();
    world
}

pub(crate) fn take(world: &World, env: &CredentialEnv, text: &str) -> (Credentials, Vec<String>) {
    let (mut out, mut root) = (Diagnostics::default(), world.document(text));
    let credentials = Credentials::take(&mut root, Vec::new(), env, None, &mut out);
    root.finish(&mut out);
    (credentials, world.found(&out))
}

/// One credential, `app`, that reads `reference`.
fn load(world: &World, auth: &str, reference: &str) -> Credentials {
    load_with(world, &world.env(), auth, reference)
}

fn load_with(world: &World, env: &CredentialEnv, auth: &str, reference: &str) -> Credentials {
    let text = format!(
        "[store.vault]\nkind = \"vault\"\naddress = \"https://vault.test:8200\"\n{auth}\n\
         [credential.app]\nkind = \"static\"\nvalue = \"{reference}\"\nhosts = [\"api.test\"]\n"
    );
    let (credentials, found) = take(world, env, &text);
    assert!(found.is_empty(), "{found:?}");
    credentials
}

async fn mint(credentials: &Credentials) -> Result<Arc<Lease>, CredentialError> {
    settle(credentials.lease_for("app", &caller(None), true)).await.1
}

/// The requests that were made, as `METHOD-less path` with the token that they showed.
fn calls(world: &World) -> Vec<String> {
    let shown = |seen: &Seen| {
        let path = seen.url.strip_prefix("https://vault.test:8200/v1/").unwrap_or(&seen.url).to_owned();
        match seen.headers.get("x-vault-token") {
            Some(token) => format!("{path} {}", token.to_str().unwrap()),
            None => path,
        }
    };
    std::mem::take(&mut *world.issuer.seen.lock().unwrap()).iter().map(shown).collect()
}

#[tokio::test]
async fn a_login_is_made_once_and_says_whom_it_is_for() {
    let world = world();
    world.issuer.will([logged_in("s.1", 3600), secret(r#"{"field":"value-of-the-field"}"#, 3)]);
    let auth = format!("{APPROLE}\nnamespace = \"team/app\"");
    let credentials = load(&world, &auth, "secret://vault/kv/data/app#field");
    assert_eq!(world.issuer.calls(), 0, "loading asks nobody");
    let lease = mint(&credentials).await.unwrap();
    assert_eq!((value(&lease).as_str(), &*lease.stamp().version), ("value-of-the-field", "3"));
    let seen = world.issuer.seen.lock().unwrap().clone();
    let [login, read] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(login.url, "https://vault.test:8200/v1/auth/approle/login");
    assert_eq!(login.body, format!(r#"{{"role_id":"r","secret_id":"{CANARY}"}}"#));
    assert!(login.headers.get("x-vault-token").is_none());
    assert_eq!(read.url, "https://vault.test:8200/v1/kv/data/app");
    assert!(read.headers.get("x-vault-token").unwrap().is_sensitive());
    for request in [login, read] {
        assert_eq!(request.headers.get("x-vault-request").unwrap(), "true");
        assert_eq!(request.headers.get("x-vault-namespace").unwrap(), "team/app");
    }
}

#[tokio::test]
async fn every_way_to_log_in_shows_what_the_server_wants() {
    let check = async |auth: &str, path: &str, body: &str| {
        let world = world();
        put(&world, "token", "the.jwt.it-is\n", 0o600);
        put_pair(&world);
        world.issuer.will([logged_in("s.1", 60), secret(r#"{"a":"value-of-a"}"#, 1)]);
        let mut env = world.env();
        env.tokens = Arc::new(Tokens::default());
        let lease = mint(&load_with(&world, &env, auth, "secret://vault/kv/data/app#a")).await;
        assert_eq!(value(&lease.unwrap()), "value-of-a", "{auth}");
        let login = world.issuer.seen.lock().unwrap()[0].clone();
        assert_eq!(
            (login.url.strip_prefix("https://vault.test:8200/v1/").unwrap(), &*login.body),
            (path, body),
            "{auth}"
        );
    };
    check(
        "auth = { jwt = { role = \"r\", token = \"secret://file/token\" } }",
        "auth/jwt/login",
        r#"{"role":"r","jwt":"the.jwt.it-is"}"#,
    )
    .await;
    check(
        "auth = { jwt = { role = \"r\", mount = \"ci/jwt\", token = \"issuer\", subject = \"spiffe://acme.internal/claviger\" } }",
        "auth/ci/jwt/login",
        r#"{"role":"r","jwt":"for spiffe://acme.internal/claviger to https://vault.test:8200"}"#,
    )
    .await;
    check(
        "auth = { jwt = { role = \"r\", token = \"issuer\", subject = \"spiffe://a.b/c\", audience = [\"x\", \"y\"] } }",
        "auth/jwt/login",
        r#"{"role":"r","jwt":"for spiffe://a.b/c to x y"}"#,
    )
    .await;
    check(
        "auth = { kubernetes = { role = \"r\", token_file = \"token\" } }",
        "auth/kubernetes/login",
        r#"{"role":"r","jwt":"the.jwt.it-is"}"#,
    )
    .await;
    check(
        "auth = { approle = { role_id = \"secret://file/token\", mount = \"x\" } }",
        "auth/x/login",
        r#"{"role_id":"the.jwt.it-is"}"#,
    )
    .await;
    check(
        "auth = { cert = { certificate = \"c.pem\", key = \"c.key\", name = \"web\" } }",
        "auth/cert/login",
        r#"{"name":"web"}"#,
    )
    .await;
    check("auth = { cert = { certificate = \"c.pem\", key = \"c.key\" } }", "auth/cert/login", "{}").await;
}

/// A certificate with its key: `c.pem` and `c.key`, for its owner alone.
pub(crate) fn put_pair(world: &World) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["claviger.test".to_owned()]).unwrap().self_signed(&key);
    for (name, text) in [("c.pem", certificate.unwrap().pem()), ("c.key", key.serialize_pem())] {
        put(world, name, &text, 0o600);
    }
}

fn put(world: &World, name: &str, text: &str, mode: u32) {
    std::fs::write(world.path().join(name), text).unwrap();
    chmod(world, name, mode);
}

fn chmod(world: &World, name: &str, mode: u32) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(world.path().join(name), mode).unwrap();
}

/// What a login shows is judged at load as any other secret is.
#[tokio::test]
async fn keys_and_secrets_of_a_login_are_judged_at_load() {
    let world = world();
    put_pair(&world);
    put(&world, "token", "the.jwt.it-is", 0o604);
    let check = |auth: &str, expected: &[&str]| {
        let text = format!(
            "[store.vault]\nkind = \"vault\"\naddress = \"https://vault.test:8200\"\n{auth}\n\
             [store.other]\nkind = \"vault\"\naddress = \"https://other.test:8200\"\nauth = {{ approle = {{ role_id = \"r\" }} }}\n"
        );
        let (_, found) = take(&world, &world.env(), &text);
        assert_eq!(found.len(), expected.len(), "{auth}: {found:?}");
        found.iter().zip(expected).for_each(|(found, part)| assert!(found.contains(part), "{auth}: {found}"));
    };
    let cert = |certificate: &str, key: &str| {
        format!("auth = {{ cert = {{ certificate = \"{certificate}\", key = \"{key}\" }} }}")
    };
    check(&cert("c.pem", "c.key"), &[]);
    check(&cert("c.pem", "secret://file/c.key"), &[]);
    chmod(&world, "c.key", 0o644);
    let open = "may be read by everyone on this machine (mode 0644)";
    check(&cert("c.pem", "c.key"), &[open]);
    chmod(&world, "c.key", 0o600);
    chmod(&world, "c.pem", 0o644);
    check(&cert("c.pem", "c.key"), &[]);
    check(&cert("c.pem", "absent.key"), &["absent.key"]);
    check(&cert("c.key", "c.key"), &["it holds no certificate in PEM"]);
    check(&cert("secret://other/kv/data/x#c", "c.key"), &["stands in a store that needs no login"]);
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    put(&world, "other.key", &other, 0o600);
    check(&cert("c.pem", "other.key"), &["it is not the key of the certificate"]);
    let jwt = "auth = { jwt = { role = \"r\", token = \"secret://file/token\" } }";
    check(jwt, &["(mode 0604)"]);
}

#[tokio::test]
async fn a_given_token_is_looked_up() {
    let world = world();
    put(&world, "token", "s.given", 0o600);
    let known = |ttl: u64| Answer::json(200, &format!(r#"{{"data":{{"id":"s.given","ttl":{ttl},"renewable":true}}}}"#));
    world.issuer.will([known(0), secret(r#"{"a":"value-of-a"}"#, 1)]);
    let auth = "auth = { token = \"secret://file/token\" }";
    assert!(mint(&load(&world, auth, "secret://vault/kv/data/app#a")).await.is_ok());
    assert_eq!(calls(&world), ["auth/token/lookup-self s.given", "kv/data/app s.given"]);
}

#[tokio::test]
async fn a_wrapped_secret_id_is_unwrapped_once() {
    let world = world();
    let unwrapped = Answer::json(200, r#"{"data":{"secret_id":"the-real-id"}}"#);
    world.issuer.will([unwrapped, logged_in("s.1", 60), secret(r#"{"a":"value-of-a"}"#, 1)]);
    let auth = "auth = { approle = { role_id = \"r\", secret_id = \"secret://sealed/approle\", wrapped = true } }";
    let credentials = load(&world, auth, "secret://vault/kv/data/app#a");
    mint(&credentials).await.unwrap();
    assert_eq!(world.issuer.seen.lock().unwrap()[1].body, r#"{"role_id":"r","secret_id":"the-real-id"}"#);
    assert_eq!(
        calls(&world),
        [format!("sys/wrapping/unwrap {CANARY}"), "auth/approle/login".to_owned(), "kv/data/app s.1".to_owned()]
    );
    // The token ends; the wrapping token cannot be used again.
    world.clock.advance_ms(61_000);
    world.issuer.will([logged_in("s.2", 60), secret(r#"{"a":"value-of-a"}"#, 2)]);
    credentials.reread("app").await.unwrap();
    assert_eq!(calls(&world), ["auth/approle/login", "kv/data/app s.2"]);
}

#[tokio::test]
async fn a_token_is_renewed_after_a_third_of_its_life_and_replaced_when_it_fades() {
    let world = world();
    let read = || secret(r#"{"a":"value-of-a"}"#, 1);
    world.issuer.will([logged_in("s.1", 300), read()]);
    let credentials = load(&world, APPROLE, "secret://vault/kv/data/app#a");
    mint(&credentials).await.unwrap();
    calls(&world);
    let check = async |after_s: i64, answers: Vec<Answer>, expected: &[&str]| {
        world.clock.advance_ms(after_s * 1_000);
        world.issuer.will(answers);
        credentials.reread("app").await.unwrap();
        assert_eq!(calls(&world), expected);
    };
    check(99, vec![read()], &["kv/data/app s.1"]).await;
    check(1, vec![logged_in("s.1", 300), read()], &["auth/token/renew-self s.1", "kv/data/app s.1"]).await;
    check(99, vec![read()], &["kv/data/app s.1"]).await;
    // Near its longest life it is given less; the next time it is had anew.
    check(1, vec![logged_in("s.1", 90), read()], &["auth/token/renew-self s.1", "kv/data/app s.1"]).await;
    check(30, vec![logged_in("s.2", 300), read()], &["auth/approle/login", "kv/data/app s.2"]).await;
    // A server that cannot be reached is no harm while the token lasts, and is not asked again at once.
    let away = Answer::Fails(OutboundFailure::Connect);
    check(100, vec![away, read()], &["auth/token/renew-self s.2", "kv/data/app s.2"]).await;
    check(0, vec![read()], &["kv/data/app s.2"]).await;
    // A token that is not prolonged is replaced.
    check(
        31,
        vec![refused(403, "permission denied"), logged_in("s.3", 300), read()],
        &["auth/token/renew-self s.2", "auth/approle/login", "kv/data/app s.3"],
    )
    .await;
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let denied = || refused(403, "permission denied");
    let check = async |age_ms: i64, answers: Vec<Answer>, expected: &[&str], works: bool| {
        let world = world();
        let read = secret(r#"{"a":"value-of-a"}"#, 1);
        world.issuer.will([logged_in("s.1", 0), read]);
        let credentials = load(&world, APPROLE, "secret://vault/kv/data/app#a");
        mint(&credentials).await.unwrap();
        calls(&world);
        world.clock.advance_ms(age_ms);
        world.issuer.will(answers);
        assert_eq!(credentials.reread("app").await.is_ok(), works, "{expected:?}");
        assert_eq!(calls(&world), expected);
    };
    let (path, look) = ("kv/data/app s.1", "auth/token/lookup-self s.1");
    let read = || secret(r#"{"a":"value-of-a"}"#, 2);
    // The server has forgotten the token.
    check(
        10_000,
        vec![denied(), denied(), logged_in("s.2", 0), read()],
        &[path, look, "auth/approle/login", "kv/data/app s.2"],
        true,
    )
    .await;
    // It knows the token, and refuses the path.
    check(10_000, vec![denied(), Answer::json(200, "{}")], &[path, look], false).await;
    // A new token is refused too: no third login.
    check(
        10_000,
        vec![denied(), denied(), logged_in("s.2", 0), denied()],
        &[path, look, "auth/approle/login", "kv/data/app s.2"],
        false,
    )
    .await;
    // A fresh token is not doubted.
    check(9_999, vec![denied()], &[path], false).await;
    // Whether it is known cannot be said: the refusal stands.
    check(10_000, vec![denied(), Answer::Fails(OutboundFailure::Timeout)], &[path, look], false).await;
}

#[tokio::test]
async fn a_login_that_fails_is_one_cause_for_all_and_backs_off() {
    let world = world();
    let text = format!(
        "[store.vault]\nkind = \"openbao\"\naddress = \"https://vault.test:8200/\"\n{APPROLE}\n\
         [credential.app]\nkind = \"static\"\nvalue = \"secret://vault/kv/app#a\"\nhosts = [\"api.test\"]\n\
         [credential.other]\nkind = \"static\"\nvalue = \"secret://vault/kv/other#a\"\nhosts = [\"api.test\"]\n"
    );
    let (credentials, found) = take(&world, &world.env(), &text);
    assert!(found.is_empty(), "{found:?}");
    world.issuer.will([refused(503, "Vault is sealed")]);
    let expected =
        "the login failed: `https://vault.test:8200/v1/auth/approle/login` answered 503 with `the server is sealed`";
    for name in ["app", "other"] {
        let error = settle(credentials.lease_for(name, &caller(None), true)).await.1.unwrap_err();
        assert_eq!(error.code(), "issuer_refused");
        let expected = format!("credential `{name}`: failed to read `secret://vault/kv/{name}#a`: {expected}");
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(calls(&world), ["auth/approle/login"]);
    // It is over within a second.
    world.clock.advance_ms(1_000);
    world.issuer.will([logged_in("s.1", 60), Answer::json(200, r#"{"data":{"a":"value-of-a"}}"#)]);
    assert!(mint(&credentials).await.is_ok());
    assert_eq!(calls(&world), ["auth/approle/login", "kv/app s.1"]);
}

#[tokio::test]
async fn secrets_of_both_versions_are_read() {
    let check = async |reference: &str, answer: Answer, expected: Result<(&str, Option<&str>), &str>| {
        let world = world();
        world.issuer.will([logged_in("s.1", 60), answer]);
        let read = mint(&load(&world, APPROLE, reference)).await;
        match (read, expected) {
            (Ok(lease), Ok((wanted, version))) => {
                assert_eq!(value(&lease), wanted, "{reference}");
                assert!(version.is_none_or(|version| version == &*lease.stamp().version), "{:?}", lease.stamp());
            }
            (Err(error), Err(why)) => {
                assert!(error.to_string().ends_with(why), "{error}");
                assert!(!error.to_string().contains("canary"), "{error}");
            }
            (read, _) => panic!("{reference}: {read:?}"),
        }
    };
    let v2 = "secret://vault/kv/data/app";
    let v1 = "secret://vault/kv/app#a";
    let answer = |data: &str| Answer::json(200, &format!(r#"{{"data":{data}}}"#));
    check(&format!("{v2}#a"), secret(r#"{"a":"one-value"}"#, 7), Ok(("one-value", Some("7")))).await;
    check(v2, secret(r#"{"a": "x", "b": 2}"#, 7), Ok((r#"{"a": "x", "b": 2}"#, None))).await;
    check(v1, answer(r#"{"a":"one-value"}"#), Ok(("one-value", None))).await;
    // What looks like version 2 and is none.
    let like =
        r#"{"data":{"a":"inner"},"metadata":{"version":1,"destroyed":false,"created_time":"t"},"a":"outer-value"}"#;
    check(v1, answer(like), Ok(("outer-value", None))).await;
    check("secret://vault/kv/data/app#a", answer(r#"{"a":"one-value"}"#), Ok(("one-value", None))).await;
    let nothing = "there is no secret `kv/data/app`";
    check(v2, Answer::json(404, r#"{"errors":[]}"#), Err(nothing)).await;
    let gone = r#"{"data":{"data":null,"metadata":{"created_time":"t","destroyed":false,"version":1}}}"#;
    check(v2, Answer::json(404, gone), Err(nothing)).await;
    check(v2, Answer::json(200, gone), Err(nothing)).await;
    let destroyed = r#"{"data":{"data":{"a":"b"},"metadata":{"created_time":"t","destroyed":true,"version":1}}}"#;
    check(v2, Answer::json(200, destroyed), Err(nothing)).await;
    let warning = r#"{"data":null,"warnings":["Invalid path for a versioned K/V secrets engine. See …"]}"#;
    check(v1, Answer::json(404, warning), Err("write `data/` behind its mount, as `kv/data/app`")).await;
    check(
        v2,
        refused(404, "no handler for route \\\"kv/data/app\\\""),
        Err("answered 404 with `no engine is mounted there`"),
    )
    .await;
    check(v2, refused(500, "canary"), Err("answered 500")).await;
    check(v1, answer("\"canary\""), Err("there is no object in it")).await;
    check(v1, Answer::json(200, "canary"), Err("it is not a JSON object as Vault's API has it")).await;
    check(v1, answer(r#"{"a":3}"#), Err("is not a JSON object with a string `a`")).await;
    check(v1, Answer::json(302, ""), Err("name the active node, or what balances")).await;
}

#[tokio::test]
async fn a_removed_secret_is_let_go_and_one_that_cannot_be_asked_for_serves_on() {
    let check = async |answer: Answer, kept: bool| {
        let world = world();
        world.issuer.will([logged_in("s.1", 0), secret(r#"{"a":"value-of-a"}"#, 1), answer]);
        let credentials = load(&world, APPROLE, "secret://vault/kv/data/app#a");
        mint(&credentials).await.unwrap();
        assert!(credentials.reread("app").await.is_err());
        assert_eq!(mint(&credentials).await.is_ok(), kept);
    };
    check(Answer::json(404, r#"{"errors":[]}"#), false).await;
    for answer in [
        refused(503, "Vault is sealed"),
        refused(403, "permission denied"),
        refused(404, "no handler for route \\\"kv/data/app\\\""),
        refused(429, "rate limit quota exceeded"),
        Answer::Fails(OutboundFailure::Connect),
        Answer::json(200, "{}"),
    ] {
        check(answer, true).await;
    }
}

#[tokio::test]
async fn what_a_dynamic_path_made_by_mistake_is_taken_back() {
    let world = world();
    let made = r#"{"lease_id":"database/creds/app/1","lease_duration":60,"data":{"password":"canary-made"}}"#;
    world.issuer.will([logged_in("s.1", 0), Answer::json(200, made), Answer::json(204, "")]);
    let error = mint(&load(&world, APPROLE, "secret://vault/database/creds/app#password")).await.unwrap_err();
    assert!(error.to_string().contains("use a credential of kind `vault`"), "{error}");
    let last = world.issuer.seen.lock().unwrap()[2].clone();
    assert_eq!(last.body, r#"{"lease_id":"database/creds/app/1"}"#);
}

#[tokio::test]
async fn several_fields_of_a_secret_are_read_at_once() {
    let world = world();
    world.issuer.will([logged_in("s.1", 0), secret(r#"{"a":"value-of-a","b":"value-of-b"}"#, 4)]);
    let text = format!(
        "[store.vault]\nkind = \"vault\"\naddress = \"https://vault.test:8200\"\n{APPROLE}\n\
         [credential.app]\nkind = \"static\"\nhosts = [\"api.test\"]\n\
         value = {{ a = \"secret://vault/kv/data/app#a\", b = \"secret://vault/kv/data/app#b\" }}\n"
    );
    let (credentials, found) = take(&world, &world.env(), &text);
    assert!(found.is_empty(), "{found:?}");
    let lease = mint(&credentials).await.unwrap();
    let field = |name| crate::fixture::text(lease.field(Some(name)).unwrap());
    assert_eq!((field("a"), field("b")), ("value-of-a".to_owned(), "value-of-b".to_owned()));
    assert_eq!(calls(&world), ["auth/approle/login", "kv/data/app s.1"]);
}

#[tokio::test]
async fn a_reload_keeps_the_login_unless_its_table_changes() {
    let world = world();
    let text = |more: &str| {
        format!(
            "[store.vault]\nkind = \"vault\"\naddress = \"https://vault.test:8200\"\n{APPROLE}\n{more}\n\
             [credential.app]\nkind = \"static\"\nvalue = \"secret://vault/kv/data/app#a\"\nhosts = [\"api.test\"]\n"
        )
    };
    world.issuer.will([logged_in("s.1", 0), secret(r#"{"a":"value-of-a"}"#, 1)]);
    let (first, _) = take(&world, &world.env(), &text(""));
    mint(&first).await.unwrap();
    calls(&world);
    let reload = async |previous: &Credentials, more: &str, answers: Vec<Answer>| {
        let (mut out, mut root) = (Diagnostics::default(), world.document(&text(more)));
        let next = Credentials::take(&mut root, Vec::new(), &world.env(), Some(previous), &mut out);
        assert!(out.is_empty(), "{out:?}");
        world.issuer.will(answers);
        next.reread("app").await.unwrap();
        next
    };
    let second = reload(&first, "", vec![secret(r#"{"a":"value-of-a"}"#, 1)]).await;
    assert_eq!(calls(&world), ["kv/data/app s.1"]);
    drop(first);
    let again = vec![logged_in("s.2", 0), secret(r#"{"a":"value-of-a"}"#, 1)];
    reload(&second, "refresh = \"1m\"", again).await;
    assert_eq!(calls(&world), ["auth/approle/login", "kv/data/app s.2"]);
}

#[tokio::test]
async fn bindings_and_names_are_judged_at_load() {
    let check = |more: &str, reference: &str, hosts: &str, expected: &[&str]| {
        let world = world();
        let text = format!(
            "[store.vault]\nkind = \"vault\"\naddress = \"https://vault.test:8200\"\n{APPROLE}\n{more}\n\
             [credential.app]\nkind = \"static\"\nvalue = \"{reference}\"\n{hosts}\n"
        );
        let (_, found) = take(&world, &world.env(), &text);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        found.iter().zip(expected).for_each(|(found, part)| assert!(found.contains(part), "{found}"));
    };
    let bound = "bindings = { \"kv/data/app\" = [\"api.test\"] }";
    check(bound, "secret://vault/kv/data/app#a", "", &[]);
    check(bound, "secret://vault/kv/data/other#a", "", &["is bound to no host"]);
    check(bound, "secret://vault/kv/data/app#a", "hosts = [\"else.test\"]", &["may go to `api.test:443` only"]);
    check("", "secret://vault/kv/data/app#a", "", &["no host is named that the credential may go to"]);
    let hosts = "hosts = [\"api.test\"]";
    check("", "secret://vault/auth/token/lookup-self#id", hosts, &["what stands there is the server's own"]);
    check("", "secret://vault/sys/x", hosts, &["what stands there is the server's own"]);
    check("", "secret://vault/app", hosts, &["write a mount and a path"]);
    check("", "secret://vault//kv/app", hosts, &["write the mount first"]);
}

/// Says whom a token is for, instead of signing it.
#[derive(Debug, Default)]
pub(crate) struct Tokens(pub(crate) Mutex<Vec<String>>);

#[async_trait::async_trait]
impl SubjectTokens for Tokens {
    fn issuer(&self) -> Option<&str> {
        Some("https://claviger.test")
    }

    async fn mint(&self, ask: TokenAsk<'_>) -> Result<SubjectToken, SubjectTokenError> {
        let text = format!("for {} to {}", ask.principal.id, ask.audience.join(" "));
        self.0.lock().unwrap().push(text.clone());
        Ok(SubjectToken { token: Secret::from(text), expires_at: 0 })
    }
}
