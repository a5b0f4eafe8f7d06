use std::sync::Arc;

use claviger_contract::Secret;
use claviger_contract::outbound::OutboundFailure;
use claviger_policy::document::Diagnostics;

use crate::fixture::{Answer, START_MS, World, caller, settle, text, value};
use crate::{CredentialError, Credentials, Lease, SealedStore};

fn store(world: &World) -> SealedStore {
    SealedStore::open(&world.path().join("state"))
}

/// A grant whose refresh token was sealed by hand.
fn load(world: &World) -> Credentials {
    if store(world).entry("crm").is_err() {
        store(world).set("crm", Secret::from("canary-r0".to_owned()), vec!["login.crm.test".into()], None).unwrap();
    }
    take(world, "")
}

fn take(world: &World, more: &str) -> Credentials {
    take_after(world, more, None)
}

fn take_after(world: &World, more: &str, previous: Option<&Credentials>) -> Credentials {
    let text = format!(
        "[credential.crm]\nkind = \"oauth2\"\ngrant = \"refresh_token\"\ntoken_url = \"https://login.crm.test/token\"\n\
         client_id = \"app\"\nauth = \"none\"\nrefresh_token = \"secret://sealed/crm\"\nscope = [\"read\"]\n\
         audience = \"https://api.crm.test\"\nhosts = [\"api.crm.test\"]\n{more}"
    );
    let (mut out, mut root) = (Diagnostics::default(), world.document(&text));
    let credentials = Credentials::take(&mut root, Vec::new(), &world.env(), previous, &mut out);
    root.finish(&mut out);
    assert!(!out.has_errors(), "{out:?}");
    credentials
}

async fn mint(credentials: &Credentials) -> Result<Arc<Lease>, CredentialError> {
    settle(credentials.lease_for("crm", &caller(None), true)).await.1
}

fn renewed(access: &str, refresh: Option<&str>, expires_in: i64) -> Answer {
    let refresh = refresh.map_or_else(String::new, |token| format!(r#","refresh_token":"{token}""#));
    Answer::json(
        200,
        &format!(r#"{{"access_token":"{access}","token_type":"Bearer","expires_in":{expires_in}{refresh}}}"#),
    )
}

/// The refresh tokens that the server was sent, in order.
fn sent(world: &World) -> Vec<String> {
    let seen = world.issuer.seen.lock().unwrap();
    let token = |body: &str| {
        let found = url::form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == "refresh_token");
        found.map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    seen.iter().map(|seen| token(&seen.body)).collect()
}

/// The token in force and the one before it, as they are sealed.
fn sealed(world: &World) -> (String, Option<String>) {
    let grant = store(world).grant("crm").unwrap();
    (text(&grant.refresh), grant.former.as_ref().map(text))
}

fn pair(one: &str, former: Option<&str>) -> (String, Option<String>) {
    (one.to_owned(), former.map(str::to_owned))
}

#[tokio::test]
async fn a_new_token_is_kept_beside_the_old_one_until_it_has_worked() {
    let world = World::new();
    let credentials = load(&world);
    world.issuer.will([renewed("a1", Some("canary-r1"), 60), renewed("a2", None, 60)]);
    assert_eq!(value(&mint(&credentials).await.unwrap()), "a1");
    assert_eq!(sealed(&world), pair("canary-r1", Some("canary-r0")));
    world.clock.advance_ms(60_000);
    assert_eq!(value(&mint(&credentials).await.unwrap()), "a2");
    assert_eq!(sealed(&world), pair("canary-r1", None));
    assert_eq!(sent(&world), ["canary-r0", "canary-r1"]);
    let body = world.issuer.seen.lock().unwrap()[0].body.clone();
    // What was granted is not asked for again: it may be less than what the file says.
    assert_eq!(
        body,
        "grant_type=refresh_token&refresh_token=canary-r0&audience=https%3A%2F%2Fapi.crm.test&client_id=app"
    );
}

/// Two processes share a folder: the second uses what the first obtained.
#[tokio::test]
async fn what_another_process_obtained_is_used() {
    let world = World::new();
    let (one, other) = (load(&world), load(&world));
    world.issuer.will([renewed("a1", Some("canary-r1"), 100), renewed("a2", Some("canary-r2"), 100)]);
    assert_eq!(value(&mint(&one).await.unwrap()), "a1");
    assert_eq!(value(&mint(&other).await.unwrap()), "a1");
    assert_eq!(world.issuer.calls(), 1);
    // With less than a quarter of its life left, one of them renews it for both.
    world.clock.advance_ms(99_000);
    assert_eq!(value(&mint(&other).await.unwrap()), "a2");
    assert_eq!(value(&mint(&one).await.unwrap()), "a2");
    assert_eq!(sent(&world), ["canary-r0", "canary-r1"]);
}

/// A restart in the middle of a token's life asks nobody.
#[tokio::test]
async fn an_access_token_outlives_the_process() {
    let world = World::new();
    world.issuer.will([renewed("a1", Some("canary-r1"), 100)]);
    mint(&load(&world)).await.unwrap();
    world.clock.advance_ms(70_000);
    let lease = mint(&load(&world)).await.unwrap();
    assert_eq!((value(&lease), lease.expires_at()), ("a1".to_owned(), Some(START_MS / 1_000 + 100)));
    assert_eq!(world.issuer.calls(), 1);
}

/// While the server is down, a token that is sealed serves to its end.
#[tokio::test]
async fn a_sealed_token_serves_to_its_end_when_the_server_is_down() {
    let world = World::new();
    world.issuer.will([renewed("a1", Some("canary-r1"), 100)]);
    mint(&load(&world)).await.unwrap();
    world.clock.advance_ms(90_000);
    assert_eq!(value(&mint(&load(&world)).await.unwrap()), "a1");
    world.clock.advance_ms(10_000);
    assert_eq!(mint(&load(&world)).await.unwrap_err().code(), "issuer_unreachable");
}

/// A 401 of the upstream: the token that was handed out is not handed out again.
#[tokio::test]
async fn what_upstream_refused_is_renewed() {
    let world = World::new();
    let credentials = load(&world);
    world.issuer.will([renewed("a1", Some("canary-r1"), 100), renewed("a2", Some("canary-r2"), 100)]);
    let lease = mint(&credentials).await.unwrap();
    credentials.invalidate(&lease);
    assert_eq!(value(&mint(&credentials).await.unwrap()), "a2");
}

/// Also if the configuration was read anew in between, by which the source is another one.
#[tokio::test]
async fn what_upstream_refused_is_renewed_after_a_reload() {
    let world = World::new();
    let credentials = load(&world);
    world.issuer.will([renewed("a1", Some("canary-r1"), 100), renewed("a2", Some("canary-r2"), 100)]);
    let lease = mint(&credentials).await.unwrap();
    let reloaded = take_after(&world, "", Some(&credentials));
    reloaded.invalidate(&lease);
    assert_eq!(value(&mint(&reloaded).await.unwrap()), "a2");
}

#[tokio::test]
async fn a_refused_grant_asks_for_a_login_and_is_left_alone() {
    let world = World::new();
    let credentials = load(&world);
    let refused = || Answer::json(400, r#"{"error":"invalid_grant","error_description":"canary"}"#);
    world.issuer.will([refused()]);
    let error = mint(&credentials).await.unwrap_err();
    assert_eq!(error.code(), "login_needed");
    assert_eq!(
        error.to_string(),
        "credential `crm`: `https://login.crm.test/token` refuses the grant `secret://sealed/crm` with `invalid_grant`: \
         it has expired or was revoked; run `claviger login crm`"
    );
    world.clock.advance_ms(31_000);
    assert_eq!(mint(&credentials).await.unwrap_err().code(), "login_needed");
    assert_eq!(world.issuer.calls(), 1);
    // A server that was wrong about it is asked again some time.
    world.clock.advance_ms(300_000);
    world.issuer.will([renewed("a1", None, 60)]);
    assert_eq!(value(&mint(&credentials).await.unwrap()), "a1");
}

/// The server forgot the token that it gave out last. One that is only slow to tell its replicas is given a minute.
#[tokio::test]
async fn the_former_token_is_the_last_resort() {
    let refused = || Answer::json(400, r#"{"error":"invalid_grant"}"#);
    for (life, expected) in [(30, vec!["canary-r0", "canary-r1"]), (90, vec!["canary-r0", "canary-r1", "canary-r0"])] {
        let world = World::new();
        let credentials = load(&world);
        world.issuer.will([renewed("a1", Some("canary-r1"), life), refused(), renewed("a2", Some("canary-r2"), 60)]);
        mint(&credentials).await.unwrap();
        world.clock.advance_ms(life * 1_000);
        let minted = mint(&credentials).await;
        assert_eq!(sent(&world), expected);
        assert_eq!(minted.is_ok(), life == 90, "{minted:?}");
        if minted.is_ok() {
            assert_eq!(sealed(&world), pair("canary-r2", Some("canary-r0")));
        }
    }
}

/// A token that worked is the only one that is tried.
#[tokio::test]
async fn no_token_is_tried_after_one_that_replaced_it_has_worked() {
    let world = World::new();
    let credentials = load(&world);
    let refused = Answer::json(400, r#"{"error":"invalid_grant"}"#);
    world.issuer.will([renewed("a1", Some("canary-r1"), 90), renewed("a2", None, 90), refused]);
    for _ in 0..2 {
        mint(&credentials).await.unwrap();
        world.clock.advance_ms(90_000);
    }
    assert_eq!(mint(&credentials).await.unwrap_err().code(), "login_needed");
    assert_eq!(sent(&world), ["canary-r0", "canary-r1", "canary-r1"]);
}

/// What is known of the grant after each way in which a call can end.
#[tokio::test]
async fn what_an_answer_says_of_the_grant_is_kept() {
    let check = async |answer: Answer, unanswered: bool, refused: bool, code: &str| {
        let (world, shown) = (World::new(), format!("{answer:?}"));
        let credentials = load(&world);
        world.issuer.will([answer]);
        assert_eq!(mint(&credentials).await.unwrap_err().code(), code, "{shown}");
        let note = store(&world).grant("crm").unwrap().note;
        assert_eq!((note.unanswered.is_some(), note.refused.is_some()), (unanswered, refused), "{shown}");
        assert_eq!(note.sent, None, "{shown}");
        assert_eq!(sealed(&world), pair("canary-r0", None), "{shown}");
    };
    check(Answer::Fails(OutboundFailure::Connect), false, false, "issuer_unreachable").await;
    check(Answer::Fails(OutboundFailure::Tls), false, false, "issuer_unreachable").await;
    check(Answer::Fails(OutboundFailure::Timeout), true, false, "issuer_timeout").await;
    check(Answer::Fails(OutboundFailure::Broken), true, false, "issuer_unreachable").await;
    check(Answer::Fails(OutboundFailure::TooLarge), true, false, "issuer_answer_invalid").await;
    check(Answer::json(500, "{}"), true, false, "issuer_refused").await;
    check(Answer::json(429, "{}"), false, false, "issuer_refused").await;
    check(Answer::json(401, r#"{"error":"invalid_client"}"#), false, false, "issuer_refused").await;
    check(Answer::json(400, r#"{"error":"invalid_grant"}"#), false, true, "login_needed").await;
    check(Answer::json(302, ""), false, false, "issuer_answer_invalid").await;
    check(Answer::json(200, "<html>"), true, false, "issuer_answer_invalid").await;
}

/// The answer is no good, and the refresh token in it is all the same.
#[tokio::test]
async fn a_refresh_token_is_kept_whatever_came_with_it() {
    for body in [
        r#"{"access_token":"a b","token_type":"Bearer","refresh_token":"canary-r1"}"#,
        r#"{"access_token":"a1","token_type":"DPoP","refresh_token":"canary-r1"}"#,
        r#"{"refresh_token":"canary-r1"}"#,
    ] {
        let world = World::new();
        let credentials = load(&world);
        world.issuer.will([Answer::json(200, body), renewed("a2", None, 60)]);
        assert_eq!(mint(&credentials).await.unwrap_err().code(), "issuer_answer_invalid", "{body}");
        assert_eq!(sealed(&world), pair("canary-r1", Some("canary-r0")), "{body}");
        world.clock.advance_ms(30_000);
        assert_eq!(value(&mint(&credentials).await.unwrap()), "a2", "{body}");
        assert_eq!(sent(&world), ["canary-r0", "canary-r1"], "{body}");
    }
}

/// A lost answer is told where the server then refuses the token.
#[tokio::test]
async fn a_lost_answer_is_remembered() {
    let world = World::new();
    let refused = Answer::json(400, r#"{"error":"invalid_grant"}"#);
    world.issuer.will([Answer::Fails(OutboundFailure::Timeout), refused]);
    mint(&load(&world)).await.unwrap_err();
    let error = mint(&load(&world)).await.unwrap_err().to_string();
    assert!(error.contains("or the answer to an earlier use of it was lost"), "{error}");
    assert_eq!(sent(&world), ["canary-r0", "canary-r0"]);
}

/// A process that was killed after it announced: the token that is known is tried again.
#[tokio::test]
async fn an_announcement_that_nobody_carried_out_ends_nothing() {
    let world = World::new();
    let credentials = load(&world);
    store(&world).announce("crm", START_MS / 1_000).unwrap();
    world.issuer.will([renewed("a1", Some("canary-r1"), 60)]);
    assert_eq!(value(&mint(&credentials).await.unwrap()), "a1");
    assert_eq!(store(&world).grant("crm").unwrap().note.unanswered, None);
}

/// Nothing is sent that could not be sealed.
#[tokio::test]
async fn nothing_is_sent_where_nothing_can_be_written() {
    let world = World::new();
    let credentials = load(&world);
    let file = world.path().join("state/sealed/.crm.age.tmp");
    std::fs::create_dir(file).unwrap();
    assert_eq!(mint(&credentials).await.unwrap_err().code(), "secret_unreadable");
    assert_eq!(world.issuer.calls(), 0);
}

#[tokio::test]
async fn a_missing_grant_and_one_for_another_endpoint_are_refused() {
    let world = World::new();
    let credentials = take(&world, "");
    let error = mint(&credentials).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "credential `crm`: nobody has logged in: there is no grant `secret://sealed/crm`; run `claviger login crm`"
    );
    store(&world).set("crm", Secret::from("canary-r0".to_owned()), vec!["login.other.test".into()], None).unwrap();
    world.clock.advance_ms(31_000);
    assert_eq!(mint(&credentials).await.unwrap_err().code(), "secret_binding");
    assert_eq!(world.issuer.calls(), 0);
}

/// What this source wrote itself is no reason to read again; what others wrote is.
#[tokio::test]
async fn only_what_others_changed_is_news() {
    let world = World::new();
    let credentials = load(&world);
    world.issuer.will([renewed("a1", Some("canary-r1"), 100)]);
    mint(&credentials).await.unwrap();
    let login = credentials.login("crm").unwrap();
    assert_eq!(login.credential(), "crm");
    let again = credentials.reread("crm").await;
    assert!(again.is_err(), "nothing else is there to be read: {again:?}");
    assert_eq!(world.issuer.calls(), 2);
}

mod passed {
    use std::time::Duration;

    use claviger_contract::{ClientCertificate, OutboundRequest, OutboundResponse, Reach};
    use http::{HeaderMap, HeaderValue, Method, StatusCode};

    use super::super::{Outcome, Renewal};
    use super::*;

    fn renewal(world: &World, reach: Reach) -> Renewal {
        let store = store(world);
        store.set("crm", Secret::from("canary-r0".to_owned()), vec!["login.crm.test".into()], None).unwrap();
        let lock = store.try_lock_grant("crm").unwrap().unwrap();
        let request = OutboundRequest {
            method: Method::POST,
            url: "https://login.crm.test/token?x=y".parse().unwrap(),
            headers: HeaderMap::from_iter([
                (http::header::AUTHORIZATION, HeaderValue::from_static("Basic canary")),
                (http::header::ACCEPT, HeaderValue::from_static("application/json")),
            ]),
            body: Some(Secret::from("refresh_token=canary-r0".to_owned())),
            timeout: Duration::from_secs(1),
            max_response: 77,
        };
        Renewal::announce((&store, "crm"), lock, (reach, request), ("asked", true), 1).unwrap()
    }

    #[tokio::test]
    async fn a_renewal_arrives_as_it_was_sent() {
        let world = World::new();
        let certificate = ClientCertificate {
            chain_pem: b"chain".to_vec(),
            key_pem: Secret::from("canary-key".to_owned()),
            digest: [3; 32],
        };
        for reach in [
            Reach::default(),
            Reach {
                allow_addresses: vec!["127.0.0.1/32".parse().unwrap(), "fd00::/8".parse().unwrap()],
                ca_pem: Some(b"root".as_slice().into()),
                client_certificate: Some(Arc::new(certificate)),
            },
        ] {
            let sent = renewal(&world, reach);
            let bytes = sent.to_bytes();
            let came = Renewal::from_bytes(&bytes, sent.lock().unwrap()).unwrap();
            assert_eq!(came.to_bytes(), bytes);
            assert_eq!(
                (came.reach.clone(), came.request.url.as_str()),
                (sent.reach.clone(), sent.request.url.as_str())
            );
            assert_eq!((came.place.former, came.request.max_response), (true, 77));
            assert!(came.request.headers["authorization"].is_sensitive());
            // One that was cut, at whichever byte, is none: its sender was killed.
            for cut in 0..bytes.len() {
                assert!(Renewal::from_bytes(&bytes[..cut], sent.lock().unwrap()).is_none(), "{cut}");
            }
            drop((came, sent));
        }
    }

    #[test]
    fn an_outcome_arrives_as_it_was_sent() {
        let retry = HeaderMap::from_iter([(http::header::RETRY_AFTER, HeaderValue::from_static("7"))]);
        let body = Secret::from(r#"{"error":"invalid_grant"}"#.to_owned());
        let answered = OutboundResponse { status: StatusCode::BAD_REQUEST, headers: retry, body };
        for outcome in [
            Outcome::Sealed,
            Outcome::Answered(answered),
            Outcome::Failed(OutboundFailure::Broken),
            Outcome::Failed(OutboundFailure::Timeout),
            Outcome::Unsealed("the disk is full".to_owned()),
        ] {
            let bytes = outcome.to_bytes();
            let came = Outcome::from_bytes(&bytes).unwrap();
            assert_eq!(format!("{came:?}"), format!("{outcome:?}"));
            for cut in 0..bytes.len() {
                assert!(Outcome::from_bytes(&bytes[..cut]).is_none(), "{cut}");
            }
        }
    }
}
