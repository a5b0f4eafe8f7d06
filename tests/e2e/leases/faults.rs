//! What an issuer can do wrong; for each, what requests are answered, what the cache does and what the ledger says: where
//! there is no value yet, and where one serves.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_tests::PATIENCE;
use futures_util::future::join_all;

use crate::scene::{Answer, Scene};

/// How the issuer fails.
#[derive(Clone)]
enum Fault {
    Answers(Answer),
    /// Its certificate is from somebody else.
    Untrusted,
    /// Nobody listens there.
    Down,
}

/// The name of a fault, the fault, and words of the records' detail.
fn faults() -> Vec<(&'static str, Fault, &'static str)> {
    let token = |token: &str, kind: &str, lasts: &str| {
        Answer::json(200, format!(r#"{{"access_token":{token},"token_type":"{kind}","expires_in":{lasts}}}"#))
    };
    let says = |status, name: &'static str, value: &str| Answer::Says {
        status,
        headers: vec![(name, value.to_owned())],
        body: r#"{"error":"temporarily_unavailable","error_description":"CANARY"}"#.to_owned(),
    };
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let ended = format!("\"{}.{}.c2ln\"", part(r#"{"alg":"ES256"}"#), part(r#"{"exp":1000000000}"#));
    let told: Vec<(&'static str, Answer, &'static str)> = vec![
        ("slow", Answer::Never, "timed out"),
        ("429", says(429, "retry-after", "120"), "answered 429 with `temporarily_unavailable`"),
        ("500", Answer::json(500, "CANARY"), "answered 500"),
        ("malformed JSON", Answer::json(200, "{\"access_token\":\"CANARY\""), "cannot be used"),
        ("no object", Answer::json(200, "[\"CANARY\"]"), "cannot be used"),
        ("wrong token type", token("\"CANARY\"", "mac", "60"), "cannot be used"),
        ("a token that is a number", token("17", "Bearer", "60"), "cannot be used"),
        ("a lifetime in words", token("\"CANARY\"", "Bearer", "\"soon\""), "cannot be used"),
        ("a token with a line end", token("\"CANARY\\r\\nx: y\"", "Bearer", "60"), "cannot be used"),
        ("an empty token", token("\"\"", "Bearer", "60"), "cannot be used"),
        ("an ended token", token(&ended, "Bearer", "3600"), "had expired when it arrived"),
        ("no lifetime", token("\"CANARY\"", "Bearer", "0"), "cannot be used"),
        ("a negative lifetime", token("\"CANARY\"", "Bearer", "-5"), "cannot be used"),
        ("huge answer", Answer::json(200, " ".repeat(200_000)), "too large"),
        ("redirect", says(302, "location", "https://api.test/v1/elsewhere"), "redirect"),
    ];
    let told = told.into_iter().map(|(name, answer, detail)| (name, Fault::Answers(answer), detail));
    told.chain([("TLS", Fault::Untrusted, "TLS failed"), ("down", Fault::Down, "cannot connect")]).collect()
}

impl Fault {
    /// A scene in which the issuer fails from the start.
    async fn scene(&self) -> Scene {
        match self {
            Self::Answers(answer) => Scene::new(answer.clone(), "", "ca.pem").await,
            Self::Untrusted => Scene::new(Answer::Token(60), "", "other-ca.pem").await,
            Self::Down => Scene::new(Answer::Token(60), "", "ca.pem").await.without_issuer(),
        }
    }
}

/// No value, no request: nothing goes upstream, and the issuer is not asked once per request.
async fn without_a_value((name, fault, detail): (&'static str, Fault, &'static str)) {
    let scene = fault.scene().await;
    for _ in 0..3 {
        assert_eq!(scene.ask().await, (503, "credential_unavailable".to_owned()), "{name}");
    }
    assert_eq!(scene.origin.seen().len(), 0, "{name}");
    let events = scene.events(1);
    assert!(events.iter().all(|(kind, said)| kind == "failed" && said.contains(detail)), "{name}: {events:?}");
    if name == "429" {
        let asked = scene.issuer.asked.load(std::sync::atomic::Ordering::SeqCst);
        assert_eq!((asked, events.len()), (1, 1), "it asked to be left alone");
    }
    let codes = scene.proxy.records("decided", 3);
    assert!(codes.iter().all(|record| record["decision"] == "deny"), "{name}: {codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_value_nothing_is_sent() {
    let mut faults = faults().into_iter();
    loop {
        // A few at a time: each has a proxy of its own.
        let some: Vec<_> = faults.by_ref().take(6).collect();
        if some.is_empty() {
            return;
        }
        join_all(some.into_iter().map(without_a_value)).await;
    }
}

/// The last good value serves to its end, and not beyond; then the failure is what requests are told.
async fn with_a_value((name, fault, detail): (&'static str, Fault, &'static str)) {
    let Fault::Answers(answer) = fault else { return };
    let scene = Scene::new(Answer::Token(40), "", "ca.pem").await;
    assert_eq!(scene.ask().await, (200, "token-1".to_owned()), "{name}");
    scene.issuer.will(answer);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, said) = scene.ask().await;
        if status != 200 {
            assert_eq!((status, &*said), (503, "credential_unavailable"), "{name}");
            break;
        }
        assert_eq!(said, "token-1", "{name}");
        assert!(Instant::now() < deadline, "{name}: it serves on and on");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let events = scene.events(2);
    assert_eq!(events[0].0, "minted", "{name}: {events:?}");
    let failed: Vec<_> = events.iter().filter(|(kind, _)| kind == "failed").collect();
    assert!(!failed.is_empty() && failed.iter().all(|(_, said)| said.contains(detail)), "{name}: {events:?}");
    let stale = events.iter().filter(|(kind, _)| kind == "served_stale").count();
    assert_eq!(stale, 1, "{name}: {events:?}");
    // It is back, and so are requests: the wait that it asked for is not over in one case.
    if name != "429" {
        scene.issuer.will(Answer::Token(60));
        let answer = scene.ask_until(name, |(status, _)| *status == 200).await;
        assert_eq!(answer.1, "token-2", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_serves_to_its_end_and_not_beyond() {
    let some = ["429", "500", "malformed JSON", "an ended token", "huge answer", "redirect"];
    let faults = faults().into_iter().filter(|(name, ..)| some.contains(name));
    join_all(faults.map(with_a_value)).await;
}

/// What the issuer's clock says is not asked; how long a token lasts is counted from when it was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_does_no_harm() {
    for date in ["Fri, 01 Jan 2100 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"] {
        let body =
            r#"{"access_token":"CANARY-1","token_type":"Bearer","expires_in":60,"iat":4102444800,"expires_at":1}"#;
        let headers = vec![("date", date.to_owned())];
        let answer = Answer::Says { status: 200, headers, body: body.to_owned() };
        let scene = Scene::new(answer, "", "ca.pem").await;
        assert_eq!(scene.ask().await, (200, "token-1".to_owned()));
    }
    // A lifetime beyond all measure is a year.
    let body = r#"{"access_token":"CANARY-1","token_type":"Bearer","expires_in":1e300}"#;
    let scene = Scene::new(Answer::json(200, body), "", "ca.pem").await;
    assert_eq!(scene.ask().await, (200, "token-1".to_owned()));
}
