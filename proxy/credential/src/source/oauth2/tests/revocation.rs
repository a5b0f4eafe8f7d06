//! Ending tokens at their server (RFC 7009), and what is said when that fails.

use claviger_contract::outbound::OutboundFailure;

use super::grants::with_token;
use super::stage::{Stage, form, lease};
use crate::Credentials;
use crate::fixture::{Answer, CANARY, START_MS, caller};

const REVOKE: &str = "https://login.test/revoke";
const TOKEN: &str = "canary-3f9a1c77b2e4-token";

fn keys(more: &str) -> String {
    format!(
        "token_url = \"https://login.test/token\"\nrevocation_url = \"{REVOKE}\"\nclient_id = \"claviger\"\n{more}\n"
    )
}

/// An operator suspends the credential; yields the last record once there are so many since.
async fn suspend(stage: &Stage, credentials: &Credentials, count: usize) -> (&'static str, String) {
    credentials.drop_leases("x", &"suspended".into());
    let mut told = Vec::new();
    for _ in 0..10_000 {
        told.extend(stage.world.events.told());
        if told.len() >= count {
            assert!(!format!("{told:?}").contains("canary"), "{told:?}");
            return told.pop().unwrap();
        }
        tokio::task::yield_now().await;
    }
    panic!("{told:?}");
}

#[tokio::test]
async fn what_is_suspended_is_revoked_with_the_client_s_proof() {
    let stage = Stage::new();
    stage.seal("secret", CANARY, &["login.test"]);
    let credentials = stage.load(&keys("auth = \"client_secret_post\"\nclient_secret = \"secret://sealed/secret\""));
    stage.world.issuer.will([Answer::token(TOKEN, 3_600), Answer::json(200, "")]);
    lease(&credentials, &caller(None)).await.unwrap();
    assert_eq!(suspend(&stage, &credentials, 3).await, ("revoked", "suspended".to_owned()));
    let seen = stage.seen();
    assert_eq!((seen.len(), &*seen[1].url), (2, REVOKE));
    let form = form(&seen[1]);
    let expected =
        [("client_id", "claviger"), ("client_secret", CANARY), ("token", TOKEN), ("token_type_hint", "access_token")];
    assert_eq!(form.iter().map(|(name, value)| (&**name, &**value)).collect::<Vec<_>>(), expected);
}

/// Endpoint, status and registered code; never a body, nor what was sent.
#[tokio::test]
async fn a_revocation_that_fails_is_told_without_a_secret() {
    let body = |error: &str| format!(r#"{{"error":"{error}","error_description":"{TOKEN} {CANARY}"}}"#);
    let answered = |what: &str| format!("`{REVOKE}` answered {what}; ");
    let failed = |what: &str| format!("call to `{REVOKE}` failed: {what}; ");
    for (answer, said) in [
        (Answer::json(400, &body("unsupported_token_type")), answered("400 with `unsupported_token_type`")),
        (Answer::json(401, &body("invalid_client")), answered("401 with `invalid_client`")),
        (Answer::json(400, &body(TOKEN)), answered("400")),
        (Answer::json(503, TOKEN), answered("503")),
        (Answer::json(302, TOKEN), answered("302")),
        (Answer::json(500, &" ".repeat(70_000)), failed("the answer is too large")),
        (Answer::Fails(OutboundFailure::Connect), failed("cannot connect")),
        (
            Answer::Fails(OutboundFailure::Tls),
            failed("TLS failed: the certificate is not trusted or not for this name"),
        ),
        (Answer::Fails(OutboundFailure::Timeout), failed("timed out")),
        (Answer::Fails(OutboundFailure::Broken), failed("the connection broke")),
    ] {
        let stage = Stage::new();
        stage.seal("secret", CANARY, &["login.test"]);
        let credentials = stage.load(&keys("client_secret = \"secret://sealed/secret\""));
        stage.world.issuer.will([Answer::token(TOKEN, 3_600), answer]);
        lease(&credentials, &caller(None)).await.unwrap();
        let expected = format!("{said}attempt 1 of 8 (suspended)");
        assert_eq!(suspend(&stage, &credentials, 3).await, ("revocation_failed", expected));
    }
}

/// Where the client's proof is made of the workload's, nothing is shown in its name once that has ended: the token is left
/// to its expiry, and that is on record.
#[tokio::test]
async fn nothing_is_revoked_in_the_name_of_a_proof_that_has_ended() {
    for from in ["minted", "proof"] {
        for ended in [false, true] {
            let stage = Stage::new();
            let credentials = stage.load(&keys(&format!("client_assertion = {{ from = \"{from}\" }}")));
            stage.world.issuer.will([Answer::token(TOKEN, 3_600), Answer::json(200, "")]);
            let caller = with_token("app", "canary-own-proof", Some(START_MS / 1_000 + 100));
            lease(&credentials, &caller).await.unwrap();
            stage.world.clock.advance_ms(if ended { 100_000 } else { 99_000 });
            let told = suspend(&stage, &credentials, 3).await;
            let seen = stage.seen();
            if ended {
                let why = "the workload's proof has ended, of which the client's own would be made; it is given up and ends at \
                           its expiry (suspended)";
                assert_eq!((told, seen.len()), (("revocation_failed", why.to_owned()), 1), "{from}");
            } else {
                assert_eq!((told, seen.len()), (("revoked", "suspended".to_owned()), 2), "{from}");
                let own = if from == "proof" { "canary-own-proof" } else { "minted." };
                assert!(form(&seen[1])["client_assertion"].starts_with(own), "{from}");
            }
        }
    }
}
