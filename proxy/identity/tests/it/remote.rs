//! Keys that are fetched.

use std::sync::Arc;

use claviger_identity::{Attestors, Chain};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::support::{Answer, NOW, TokenKey, World, attest_token, chain, told};

const DOCUMENT: &str = "https://issuer.test/tenant/.well-known/openid-configuration";
const KEYS: &str = "https://keys.issuer.test/jwks";
const DISCOVERY: &str = "[attestor.ci]\nkind = \"jwt\"\nissuer = \"https://issuer.test/tenant\"\naudience = \"claviger\"\n\
    identity = \"spiffe://acme.internal/ci/{sub}\"\n";
const ALICE: &str = "spiffe://acme.internal/ci/alice";

fn claims() -> Value {
    json!({ "iss": "https://issuer.test/tenant", "aud": "claviger", "sub": "alice", "exp": NOW + 400_000 })
}

fn document() -> String {
    json!({ "issuer": "https://issuer.test/tenant", "jwks_uri": KEYS }).to_string()
}

fn bench(key: &TokenKey) -> (World, Attestors, Arc<Chain>) {
    let world = World::new();
    world.outbound.json(DOCUMENT, document());
    world.outbound.json(KEYS, key.set());
    let attestors = world.attestors(DISCOVERY);
    let ci = chain(&attestors, &["ci"]);
    (world, attestors, ci)
}

#[test]
fn discovery_names_the_issuer_to_the_letter() {
    let key = TokenKey::new("k1");
    let answer = |body: &str| Answer { status: 200, headers: HeaderMap::new(), body: body.to_owned() };
    for (about, document, keys, expected) in [
        ("right", Some(answer(&document())), Some(answer(&key.set())), ALICE),
        (
            "another issuer",
            Some(answer(&document().replace("/tenant\"", "/other\""))),
            Some(answer(&key.set())),
            UNAVAILABLE,
        ),
        (
            "a slash more",
            Some(answer(&document().replace("/tenant\"", "/tenant/\""))),
            Some(answer(&key.set())),
            UNAVAILABLE,
        ),
        (
            "no jwks_uri",
            Some(answer("{\"issuer\":\"https://issuer.test/tenant\"}")),
            Some(answer(&key.set())),
            UNAVAILABLE,
        ),
        ("no JSON", Some(answer("<html>")), Some(answer(&key.set())), UNAVAILABLE),
        ("a redirect", Some(Answer { status: 302, ..answer(&document()) }), Some(answer(&key.set())), UNAVAILABLE),
        ("nothing there", None, Some(answer(&key.set())), UNAVAILABLE),
        ("no keys there", Some(answer(&document())), None, UNAVAILABLE),
        ("keys that are none", Some(answer(&document())), Some(answer("{}")), UNAVAILABLE),
        ("an empty set", Some(answer(&document())), Some(answer("{\"keys\":[]}")), "identity_untrusted"),
    ] {
        let world = World::new();
        world.outbound.answer(DOCUMENT, document);
        world.outbound.answer(KEYS, keys);
        let attestors = world.attestors(DISCOVERY);
        let outcome = world.run(attest_token(&chain(&attestors, &["ci"]), &key.sign(&claims())));
        assert_eq!(told(&outcome), expected, "{about}: {outcome:?}");
        assert_eq!(attestors.health().is_empty(), expected != UNAVAILABLE, "{about}");
    }
}

const UNAVAILABLE: &str = "identity_unavailable";

#[test]
fn a_key_set_without_discovery() {
    let (world, key) = (World::new(), TokenKey::new("k1"));
    world.outbound.json(KEYS, key.set());
    let attestors = world.attestors(&format!("{DISCOVERY}jwks_url = \"{KEYS}\"\n"));
    let ci = chain(&attestors, &["ci"]);
    assert_eq!(told(&world.run(attest_token(&ci, &key.sign(&claims())))), ALICE);
    assert_eq!(world.outbound.calls(), 1);
}

#[test]
fn bad_tokens_make_nobody_fetch() {
    let key = TokenKey::new("k1");
    let (world, _attestors, ci) = bench(&key);
    let changed = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        key.sign(&claims)
    };
    for token in [
        "x.y.z".to_owned(),
        changed("iss", json!("https://other.test")),
        changed("exp", json!(NOW - 3_600)),
        changed("aud", json!("other")),
        key.sign_with(&json!({ "alg": "HS256" }), &claims()),
    ] {
        assert_ne!(told(&world.run(attest_token(&ci, &token))), ALICE);
    }
    assert_eq!(world.outbound.calls(), 0);
}

#[test]
fn a_thousand_at_once_make_one_flight() {
    let key = TokenKey::new("k1");
    let (world, _attestors, ci) = bench(&key);
    assert_eq!(told(&world.run(attest_token(&ci, &key.sign(&claims())))), ALICE);
    assert_eq!(world.outbound.calls(), 2, "document and keys");

    // Within ten seconds of the last attempt nobody's unknown kid makes a call.
    let stranger = TokenKey::new("unknown");
    assert_eq!(told(&world.run(attest_token(&ci, &stranger.sign(&claims())))), "identity_untrusted");
    assert_eq!(world.outbound.calls(), 2);

    // After them: one flight, which all wait for, also those whose key comes with it.
    world.clock.advance_ms(10_000);
    let new = TokenKey::new("k2");
    world.outbound.json(KEYS, json!({ "keys": [key.jwk(), new.jwk()] }).to_string());
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    *world.outbound.gate.lock().unwrap() = Some(gate.clone());
    let outcomes = world.run(async {
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..1_000 {
            let ci = ci.clone();
            let token = if n % 2 == 0 { new.sign(&claims()) } else { TokenKey::new(&format!("x{n}")).sign(&claims()) };
            tasks.spawn(async move { told(&attest_token(&ci, &token).await) });
        }
        // The first call is in the air; nobody is told anything before it lands.
        while world.outbound.calls() < 3 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1_000);
        tasks.join_all().await
    });
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == ALICE).count(), 500);
    assert_eq!(world.outbound.calls(), 4, "document and keys once more");
}

#[test]
fn a_client_that_goes_away_does_not_stop_the_flight() {
    let key = TokenKey::new("k1");
    let (world, _attestors, ci) = bench(&key);
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    *world.outbound.gate.lock().unwrap() = Some(gate.clone());
    world.run(async {
        let (first, token) = (ci.clone(), key.sign(&claims()));
        let gone = tokio::spawn(async move { told(&attest_token(&first, &token).await) });
        while world.outbound.calls() < 1 {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        gate.add_permits(10);
        assert_eq!(told(&attest_token(&ci, &key.sign(&claims())).await), ALICE);
    });
    assert_eq!(world.outbound.calls(), 2);
}

/// Lets the background task look until the calls are made.
fn wait_for_calls(world: &World, calls: usize) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    world.run(async {
        while world.outbound.calls() < calls && std::time::Instant::now() < deadline {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
    assert_eq!(world.outbound.calls(), calls);
}

#[test]
fn keys_are_fetched_ahead_and_outlive_an_outage_for_a_day() {
    let key = TokenKey::new("k1");
    let (world, attestors, ci) = bench(&key);
    let hour = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"))]);
    world.outbound.answer(KEYS, Some(Answer { status: 200, headers: hour, body: key.set() }));
    attestors.start(None);
    wait_for_calls(&world, 2);
    let ask = || told(&world.run(attest_token(&ci, &key.sign(&claims()))));
    assert_eq!(ask(), ALICE);

    // Four fifths of the hour later the keys are fetched although nobody asks.
    world.clock.advance_ms(48 * 60_000);
    wait_for_calls(&world, 4);

    // The issuer goes down: keys serve for a day after their last fetch, and not longer.
    world.outbound.answer(DOCUMENT, None);
    world.clock.advance_ms(86_400_000 - 1);
    assert_eq!(ask(), ALICE);
    wait_for_calls(&world, 5);
    assert!(!attestors.health().is_empty());
    world.clock.advance_ms(1);
    assert_eq!(ask(), UNAVAILABLE);

    world.outbound.json(DOCUMENT, document());
    world.clock.advance_ms(300_000);
    assert_eq!(ask(), ALICE);
    assert!(attestors.health().is_empty());
}

#[test]
fn a_reload_keeps_what_was_fetched() {
    let key = TokenKey::new("k1");
    let (world, attestors, ci) = bench(&key);
    assert_eq!(told(&world.run(attest_token(&ci, &key.sign(&claims())))), ALICE);
    world.outbound.answer(DOCUMENT, None);
    for (text, expected) in [
        (DISCOVERY.to_owned(), ALICE),
        // Other settings, other keys.
        (format!("{DISCOVERY}jwks_url = \"https://elsewhere.test/\"\n"), UNAVAILABLE),
    ] {
        let next = world.attestors(&text);
        next.start(Some(&attestors));
        let outcome = world.run(attest_token(&chain(&next, &["ci"]), &key.sign(&claims())));
        assert_eq!(told(&outcome), expected, "{outcome:?}");
    }
}

#[test]
fn a_key_that_the_issuer_took_back_ends_its_tokens() {
    let (old, new) = (TokenKey::new("k1"), TokenKey::new("k2"));
    let (world, _attestors, ci) = bench(&old);
    let token = old.sign(&claims());
    assert_eq!(told(&world.run(attest_token(&ci, &token))), ALICE);
    world.outbound.json(KEYS, new.set());
    world.clock.advance_ms(10_000);
    assert_eq!(told(&world.run(attest_token(&ci, &token))), ALICE, "nobody knows yet");
    assert_eq!(told(&world.run(attest_token(&ci, &new.sign(&claims())))), ALICE);
    assert_eq!(told(&world.run(attest_token(&ci, &token))), "identity_untrusted");
}
