//! What a server can do wrong: for each what requests get, how the cache stands and what is on record, where there is no
//! value yet and where one serves. `tests/e2e/leases` asks the same of the binary.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_contract::outbound::OutboundFailure;
use http::HeaderMap;

use super::stage::{Stage, lease};
use crate::fixture::{Answer, CANARY, START_MS, caller, value};
use crate::{Credentials, LeaseState};

const KEYS: &str = "token_url = \"https://login.test/token\"\nclient_id = \"claviger\"\nauth = \"none\"\n";

struct Fault {
    name: &'static str,
    answer: fn() -> Answer,
    code: &'static str,
}

fn says(status: u16, name: &'static str, value: &str) -> Answer {
    let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
    Answer::Says { status, headers, body: CANARY.as_bytes().to_vec() }
}

fn token(token: &str, kind: &str, expires_in: &str) -> Answer {
    Answer::json(200, &format!(r#"{{"access_token":{token},"token_type":"{kind}","expires_in":{expires_in}}}"#))
}

/// A JWT that has ended an hour ago by our clock, as an issuer whose own is behind gives it out.
fn behind() -> Answer {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"exp":{}}}"#, START_MS / 1_000 - 3_600);
    token(&format!("\"{}.{}.c2ln\"", part(r#"{"alg":"ES256"}"#), part(&claims)), "Bearer", "600")
}

const FAULTS: &[Fault] = &[
    Fault { name: "down", answer: || Answer::Fails(OutboundFailure::Connect), code: "issuer_unreachable" },
    Fault { name: "TLS", answer: || Answer::Fails(OutboundFailure::Tls), code: "issuer_unreachable" },
    Fault { name: "cut", answer: || Answer::Fails(OutboundFailure::Broken), code: "issuer_unreachable" },
    Fault { name: "slow", answer: || Answer::Fails(OutboundFailure::Timeout), code: "issuer_timeout" },
    Fault { name: "429", answer: || says(429, "retry-after", "120"), code: "issuer_refused" },
    Fault { name: "500", answer: || Answer::json(500, CANARY), code: "issuer_refused" },
    Fault { name: "malformed", answer: || Answer::json(200, "{\"access_token\":"), code: "issuer_answer_invalid" },
    Fault { name: "ended", answer: behind, code: "value_expired" },
    Fault { name: "token type", answer: || token("\"canary\"", "mac", "60"), code: "issuer_answer_invalid" },
    Fault { name: "a number", answer: || token("17", "Bearer", "60"), code: "issuer_answer_invalid" },
    Fault { name: "a line end", answer: || token("\"ca\\r\\nx: y\"", "Bearer", "60"), code: "issuer_answer_invalid" },
    Fault { name: "empty", answer: || token("\"\"", "Bearer", "60"), code: "issuer_answer_invalid" },
    Fault { name: "no life", answer: || token("\"canary\"", "Bearer", "0"), code: "issuer_answer_invalid" },
    Fault { name: "huge", answer: || Answer::json(200, &" ".repeat(70_000)), code: "issuer_answer_invalid" },
    Fault { name: "redirect", answer: || says(302, "location", "https://x.test/"), code: "issuer_answer_invalid" },
];

fn state(credentials: &Credentials) -> LeaseState {
    credentials.inventory().remove(0).state
}

async fn idle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

// Time stands, so that the look of each second does not come between.
#[tokio::test(start_paused = true)]
async fn without_a_value_requests_are_refused() {
    for Fault { name, answer, code } in FAULTS {
        let stage = Stage::new();
        let credentials = stage.load(KEYS);
        stage.world.issuer.will([answer()]);
        for _ in 0..3 {
            assert_eq!(lease(&credentials, &caller(None)).await.unwrap_err().code(), *code, "{name}");
        }
        assert_eq!(stage.world.issuer.calls(), 1, "{name}: not once per request");
        let expected = LeaseState { failing_since_ms: Some(START_MS), failure: Some(code), ..LeaseState::default() };
        assert_eq!(state(&credentials), expected, "{name}");
        assert_eq!(stage.world.events.take(), ["failed"], "{name}");
    }
}

/// To the value's expiry, or with `serve_until` to so long after it was minted; and not beyond.
// Time stands, so that the look of each second does not come between.
#[tokio::test(start_paused = true)]
async fn a_value_serves_until_its_end() {
    // How long it lasts, what is said of it, when it is being refreshed by all means, and when it ends; milliseconds.
    for (lasts, more, refreshing, ends) in [
        (100, "", 90_000, 95_000),
        (3_600, "serve_until = \"30s\"\n", 26_000, 30_000),
        // Never past its expiry.
        (100, "serve_until = \"1h\"\n", 90_000, 95_000),
    ] {
        for Fault { name, answer, code } in FAULTS {
            let stage = Stage::new();
            let credentials = stage.load(&format!("{KEYS}{more}"));
            // Who asks to be left alone is asked once.
            let fails = if *name == "429" { 1 } else { 2 };
            stage.world.issuer.will([Answer::token("good-token-1", lasts)]);
            stage.world.issuer.will((0..fails).map(|_| answer()));
            let serves = async || lease(&credentials, &caller(None)).await.map(|lease| value(&lease));
            serves().await.unwrap();
            stage.world.clock.advance_ms(refreshing);
            assert_eq!(serves().await.unwrap(), "good-token-1", "{name}: it serves while it is refreshed");
            idle().await;
            assert_eq!(serves().await.unwrap(), "good-token-1", "{name}: and when that failed");
            let expected = LeaseState {
                leases: 1,
                minted_at_ms: Some(START_MS),
                expires_at: Some(START_MS / 1_000 + lasts),
                failing_since_ms: Some(START_MS + refreshing),
                failure: Some(code),
                stale: true,
            };
            assert_eq!(state(&credentials), expected, "{name}");
            assert_eq!(stage.world.events.take(), ["minted", "failed", "served_stale"], "{name}");
            stage.world.clock.advance_ms(ends - refreshing - 1);
            assert_eq!(serves().await.unwrap(), "good-token-1", "{name}: to its last moment");
            idle().await;
            stage.world.clock.advance_ms(1);
            assert_eq!(serves().await.unwrap_err().code(), *code, "{name}: not beyond");
            assert_eq!((state(&credentials).leases, state(&credentials).stale), (0, false), "{name}");
            // No second word that the value was old.
            assert_eq!(stage.world.events.take(), vec!["failed"; fails - 1], "{name}");
            // And it is back.
            stage.world.clock.advance_ms(150_000);
            stage.world.issuer.will([Answer::token("good-token-2", lasts)]);
            assert_eq!(serves().await.unwrap(), "good-token-2", "{name}");
            assert_eq!((state(&credentials).failure, stage.world.events.take()), (None, vec!["refreshed"]), "{name}");
        }
    }
}
