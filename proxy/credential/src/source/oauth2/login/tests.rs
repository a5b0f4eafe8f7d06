use std::sync::Arc;
use std::time::Duration;

use claviger_contract::outbound::OutboundFailure;
use claviger_policy::document::Diagnostics;

use super::{DeviceCode, Granted, Login, LoginError, Polled};
use crate::fixture::{Answer, START_MS, World, text};
use crate::{Credentials, SealedStore};

fn login(world: &World, more: &str) -> Login {
    let config = format!(
        "[credential.crm]\nkind = \"oauth2\"\ngrant = \"refresh_token\"\ntoken_url = \"https://login.crm.test/token\"\n\
         authorization_url = \"https://login.crm.test/authorize?tenant=acme\"\n\
         device_url = \"https://login.crm.test/device\"\nclient_id = \"app\"\nauth = \"none\"\n\
         refresh_token = \"secret://sealed/crm\"\nscope = [\"read\", \"offline_access\"]\n\
         parameters = {{ access_type = \"offline\" }}\nhosts = [\"api.crm.test\"]\n{more}"
    );
    let (mut out, mut root) = (Diagnostics::default(), world.document(&config));
    let credentials = Credentials::take(&mut root, Vec::new(), &world.env(), None, &mut out);
    root.finish(&mut out);
    let expected = "claviger.toml:9:17: warning: `credential.crm.refresh_token`: failed to read `secret://sealed/crm`: there \
                    is no secret `crm`\n  help: run `claviger login crm`";
    assert_eq!(world.found(&out), [expected]);
    credentials.login("crm").unwrap()
}

fn tokens() -> Answer {
    Answer::json(
        200,
        r#"{"access_token":"canary-a1","token_type":"Bearer","expires_in":60,"refresh_token":"canary-r1","scope":"read"}"#,
    )
}

fn pairs(query: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

fn value(pairs: &[(String, String)], name: &str) -> String {
    let mut found = pairs.iter().filter(|(known, _)| known == name);
    let (_, value) = found.next().unwrap_or_else(|| panic!("no `{name}` in {pairs:?}"));
    assert!(found.next().is_none(), "`{name}` stands twice: {pairs:?}");
    value.clone()
}

/// RFC 7636, appendix B.
#[test]
fn a_challenge_is_the_digest_of_its_verifier() {
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    assert_eq!(super::browser::challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

#[tokio::test]
async fn a_code_is_redeemed_with_the_verifier_of_its_challenge() {
    let world = World::new();
    let login = login(&world, "");
    let (url, asked) = login.begin("http://127.0.0.1:7/callback", None).await.unwrap();
    let query = pairs(url.query().unwrap());
    let find = |name: &str| value(&query, name);
    assert_eq!(url.as_str().split('?').next(), Some("https://login.crm.test/authorize"));
    for (name, expected) in [
        ("tenant", "acme"),
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", "http://127.0.0.1:7/callback"),
        ("code_challenge_method", "S256"),
        ("scope", "read offline_access"),
        ("access_type", "offline"),
    ] {
        assert_eq!(find(name), expected);
    }
    world.issuer.will([tokens()]);
    let granted = login.redeem(&asked, &format!("code=c%201&state={}", find("state"))).await.unwrap();
    assert_eq!(granted.scope(), Some("read"));
    let body = pairs(&world.issuer.seen.lock().unwrap()[0].body);
    assert_eq!(super::browser::challenge(&value(&body, "code_verifier")), find("code_challenge"));
    for (name, expected) in [
        ("grant_type", "authorization_code"),
        ("code", "c 1"),
        ("redirect_uri", "http://127.0.0.1:7/callback"),
        ("client_id", "app"),
        ("access_type", "offline"),
    ] {
        assert_eq!(value(&body, name), expected);
    }
    let (again, _) = login.begin("http://127.0.0.1:7/callback", None).await.unwrap();
    assert_ne!(value(&pairs(again.query().unwrap()), "state"), find("state"), "each login has a state of its own");
    assert!(!format!("{login:?} {asked:?} {granted:?}").contains("canary"));
}

/// What comes back to the loopback port, from whomever.
#[tokio::test]
async fn only_the_answer_of_this_login_is_redeemed() {
    let world = World::new();
    let login = login(&world, "issuer = \"https://login.crm.test\"\n");
    let (url, asked) = login.begin("http://127.0.0.1:7/callback", Some("write")).await.unwrap();
    let query = pairs(url.query().unwrap());
    assert_eq!(value(&query, "scope"), "write");
    let state = value(&query, "state");
    for (query, expected) in [
        ("", "the answer does not belong to this login".to_owned()),
        ("code=c", "the answer does not belong to this login".to_owned()),
        ("code=c&state=", "the answer does not belong to this login".to_owned()),
        ("code=c&state=STATE&state=STATE", "the answer does not belong to this login".to_owned()),
        ("error=access_denied&state=x", "the answer does not belong to this login".to_owned()),
        ("state=STATE", "the login was refused".to_owned()),
        ("code=&state=STATE", "the login was refused".to_owned()),
        ("code=c&code=d&state=STATE", "the login was refused".to_owned()),
        ("error=access_denied&state=STATE", "the login was refused with `access_denied`".to_owned()),
        ("error=%1b[2Jcanary&state=STATE", "the login was refused".to_owned()),
        (
            "code=c&state=STATE&iss=https://evil.test",
            "the answer names another issuer than the configuration".to_owned(),
        ),
    ] {
        let error = login.redeem(&asked, &query.replace("STATE", &state)).await.unwrap_err();
        assert_eq!(error.to_string(), expected, "{query}");
    }
    assert_eq!(world.issuer.calls(), 0);
    world.issuer.will([tokens()]);
    let query = format!("code=c&state={state}&iss=https%3A%2F%2Flogin.crm.test");
    login.redeem(&asked, &query).await.unwrap();
}

#[tokio::test]
async fn what_was_granted_is_sealed_for_the_token_endpoint() {
    let world = World::new();
    let login = login(&world, "");
    let entry = login.seal(granted(&world, &login, tokens()).await.unwrap()).await.unwrap();
    assert_eq!(entry.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(), ["login.crm.test:443"]);
    let grant = SealedStore::open(&world.path().join("state")).grant("crm").unwrap();
    assert_eq!((text(&grant.refresh), grant.former.is_none()), ("canary-r1".to_owned(), true));
    assert_eq!((grant.note.credential.as_str(), grant.note.scope.as_deref()), ("crm", Some("read")));
    assert_eq!(grant.access.unwrap().expires_ms, START_MS + 60_000);
    let error = granted(&world, &login, Answer::token("canary-a2", 60)).await.unwrap_err();
    assert!(matches!(error, LoginError::NoRefreshToken), "{error}");
}

async fn granted(world: &World, login: &Login, answer: Answer) -> Result<Granted, LoginError> {
    world.issuer.will([answer]);
    let (url, asked) = login.begin("http://127.0.0.1:7/callback", None).await.unwrap();
    let state = value(&pairs(url.query().unwrap()), "state");
    login.redeem(&asked, &format!("code=c&state={state}")).await
}

const DEVICE: &str = r#"{"device_code":"canary-d1","user_code":"AB-CD","verification_uri":"https://login.crm.test/go",
    "verification_uri_complete":"https://login.crm.test/go?c=AB-CD","expires_in":60,"interval":3}"#;

async fn device(world: &World, login: &Login, answer: &str) -> Result<DeviceCode, LoginError> {
    world.issuer.will([Answer::json(200, answer)]);
    login.begin_device(None).await
}

/// How the interval grows, and what ends the wait (RFC 8628 §3.5).
#[tokio::test]
async fn a_device_code_is_polled_as_the_server_asks() {
    let world = World::new();
    let login = login(&world, "");
    let mut code = device(&world, &login, DEVICE).await.unwrap();
    assert_eq!((code.user_code.as_str(), code.interval), ("AB-CD", Duration::from_secs(3)));
    assert!(!format!("{code:?}").contains("canary"));
    let asked = pairs(&world.issuer.seen.lock().unwrap()[0].body);
    assert_eq!((value(&asked, "client_id"), value(&asked, "scope")), ("app".into(), "read offline_access".into()));
    let error = |code: &str| Answer::json(400, &format!(r#"{{"error":"{code}"}}"#));
    for (answer, interval) in [
        (error("authorization_pending"), 3),
        (error("slow_down"), 8),
        (Answer::Fails(OutboundFailure::Timeout), 16),
        (error("authorization_pending"), 16),
    ] {
        world.issuer.will([answer]);
        assert!(matches!(login.poll(&mut code).await, Ok(Polled::Pending)));
        assert_eq!(code.interval, Duration::from_secs(interval));
    }
    world.issuer.will([tokens()]);
    let Ok(Polled::Granted(granted)) = login.poll(&mut code).await else { panic!("not granted") };
    assert_eq!(granted.scope(), Some("read"));
    let polled = pairs(&world.issuer.seen.lock().unwrap()[1].body);
    assert_eq!(value(&polled, "grant_type"), "urn:ietf:params:oauth:grant-type:device_code");
    assert_eq!(value(&polled, "device_code"), "canary-d1");
    for (answer, expected) in [
        (error("expired_token"), "the code expired before anybody entered it"),
        (error("access_denied"), "the login was refused with `access_denied`"),
        (error("invalid_grant"), "`https://login.crm.test/token` answered 400 with `invalid_grant`"),
    ] {
        world.issuer.will([answer]);
        assert_eq!(login.poll(&mut code).await.unwrap_err().to_string(), expected);
    }
    world.clock.advance_ms(60_000);
    let calls = world.issuer.calls();
    assert!(matches!(login.poll(&mut code).await, Err(LoginError::Expired)));
    assert_eq!(world.issuer.calls(), calls);
}

#[tokio::test]
async fn a_device_answer_is_read_strictly() {
    let world = World::new();
    let login = login(&world, "");
    for (from, to) in [
        ("canary-d1", ""),
        ("AB-CD\",", "\","),
        ("AB-CD\",", "A\\u001bB\","),
        ("https://login.crm.test/go\"", "javascript:alert(1)\""),
        ("60", "\"60\""),
        ("{", "["),
    ] {
        let answer = DEVICE.replacen(from, to, 1);
        assert_ne!(answer, DEVICE, "{from}");
        let error = device(&world, &login, &answer).await.unwrap_err();
        assert!(
            error.to_string().starts_with("the answer of `https://login.crm.test/device` cannot be used"),
            "{error}"
        );
        assert!(!format!("{error:?}").contains("canary"));
    }
    world.issuer.will([Answer::json(400, r#"{"error":"invalid_scope"}"#)]);
    let error = login.begin_device(None).await.unwrap_err();
    assert_eq!(error.to_string(), "`https://login.crm.test/device` answered 400 with `invalid_scope`");
}

/// A renewal that is under way belongs to the former grant.
#[tokio::test(start_paused = true)]
async fn a_login_waits_for_a_renewal() {
    let world = World::new();
    let login = Arc::new(login(&world, ""));
    let granted = granted(&world, &login, tokens()).await.unwrap();
    let store = SealedStore::open(&world.path().join("state"));
    let lock = store.try_lock_grant("crm").unwrap().unwrap();
    let sealing = tokio::spawn({
        let login = login.clone();
        async move { login.seal(granted).await }
    });
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!sealing.is_finished());
    drop(lock);
    sealing.await.unwrap().unwrap();
}
