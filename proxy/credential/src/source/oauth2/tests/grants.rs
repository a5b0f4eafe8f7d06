//! What a token is asked for with.

use std::sync::Arc;

use claviger_contract::{Attested, Proof, ProofDigest, Secret};

use super::keys::Key;
use super::stage::{Stage, form, lease};
use crate::fixture::{Answer, CANARY, START_MS, caller, caller_named, value};

const AT: &str = "token_url = \"https://login.test/token\"\n";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// A workload that showed this token.
pub(super) fn with_token(name: &str, token: &str, ends: Option<i64>) -> Attested {
    let mut digest = [0; 32];
    digest[..token.len().min(32)].copy_from_slice(&token.as_bytes()[..token.len().min(32)]);
    let token = Some(Secret::from(token.to_owned()));
    let proof = Proof { digest: ProofDigest(digest), expires_at: ends, token };
    Attested { proof: Arc::new(proof), ..caller_named(name, None) }
}

fn exchanged(token: &str, issued: &str, token_type: &str) -> Answer {
    let body = format!(
        r#"{{"access_token":"{token}","issued_token_type":"{issued}","token_type":"{token_type}","expires_in":60}}"#
    );
    Answer::json(200, &body)
}

#[tokio::test]
async fn an_exchange_of_the_workload_s_own_token() {
    let stage = Stage::new();
    let credentials = stage.load(&format!(
        "{AT}grant = \"token_exchange\"\nsubject_token = {{ from = \"proof\" }}\nrequested_token_type = \"access_token\"\n\
         audience = [\"api\", \"log\"]\nresource = [\"https://api.test/a\", \"https://api.test/b\"]\nscope = [\"r\", \"w\"]\n"
    ));
    stage.world.issuer.will([exchanged("for-one", ACCESS, "Bearer"), exchanged("for-two", ACCESS, "bearer")]);
    let (one, two) = (with_token("app", "proof-one", None), with_token("app", "proof-two", None));
    assert_eq!(value(&lease(&credentials, &one).await.unwrap()), "for-one");
    let seen = stage.seen();
    // No client: nothing but what is exchanged.
    assert!(seen[0].headers.get("authorization").is_none());
    assert_eq!(
        seen[0].body,
        format!(
            "grant_type={}&subject_token=proof-one&subject_token_type={}&requested_token_type={}&scope=r+w&audience=api\
             &audience=log&resource=https%3A%2F%2Fapi.test%2Fa&resource=https%3A%2F%2Fapi.test%2Fb",
            EXCHANGE.replace(':', "%3A"),
            JWT.replace(':', "%3A"),
            ACCESS.replace(':', "%3A"),
        )
    );
    // Another proof of the same workload is another subject.
    assert_eq!(value(&lease(&credentials, &two).await.unwrap()), "for-two");
    assert_eq!(value(&lease(&credentials, &one).await.unwrap()), "for-one");
    assert_eq!(stage.seen().len(), 1);
}

#[tokio::test]
async fn a_lease_ends_with_the_proof_that_was_exchanged() {
    let stage = Stage::new();
    let credentials = stage.load(&format!("{AT}grant = \"token_exchange\"\nsubject_token = {{ from = \"proof\" }}\n"));
    stage.world.issuer.will([exchanged("t", ACCESS, "Bearer")]);
    let ends = START_MS / 1_000 + 20;
    let app = with_token("app", "proof", Some(ends));
    let held = lease(&credentials, &app).await.unwrap();
    assert_eq!((held.expires_at(), held.ends_at_ms), (Some(START_MS / 1_000 + 60), ends * 1_000));
    stage.world.clock.advance_ms(20_000);
    assert_eq!(lease(&credentials, &app).await.unwrap_err().code(), "proof_ended");
    assert_eq!(stage.seen().len(), 1);
}

#[tokio::test]
async fn an_exchange_of_minted_tokens_with_an_actor() {
    let stage = Stage::new();
    stage.seal("secret", CANARY, &["login.test"]);
    let credentials = stage.load(&format!(
        "{AT}client_id = \"claviger\"\nclient_secret = \"secret://sealed/secret\"\ngrant = \"token_exchange\"\n\
         subject_token = {{ from = \"minted\", audience = \"urn:sts\", lifetime = \"2m\", type = \"id_token\" }}\n\
         actor_token = {{ from = \"proof\", type = \"urn:example:token\" }}\nrequested_token_type = \"jwt\"\n"
    ));
    stage.world.issuer.will([exchanged("t", JWT, "N_A")]);
    assert_eq!(value(&lease(&credentials, &with_token("app", "proof", None)).await.unwrap()), "t");
    let seen = stage.seen();
    let form = form(&seen[0]);
    let names: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        names,
        [
            ("actor_token", "proof"),
            ("actor_token_type", "urn:example:token"),
            ("grant_type", EXCHANGE),
            ("requested_token_type", JWT),
            ("subject_token", "minted.26.7.1"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ]
    );
    assert!(seen[0].headers.get("authorization").is_some());
    assert_eq!(stage.asked(), ["spiffe://acme.internal/app urn:sts 120s {}"]);
}

#[tokio::test]
async fn what_was_issued_is_what_was_requested() {
    let check = async |requested: &str, answer: Answer, expected: Option<&str>| {
        let stage = Stage::new();
        let keys = format!("{AT}grant = \"token_exchange\"\nsubject_token = {{ from = \"minted\" }}\n{requested}\n");
        let credentials = stage.load(&keys);
        stage.world.issuer.will([answer]);
        let leased = lease(&credentials, &caller(None)).await;
        let found = leased.err().map(|error| error.to_string());
        let at = "credential `x`: the answer of `https://login.test/token` cannot be used: ";
        assert_eq!(found, expected.map(|why| format!("{at}{why}")), "{requested}");
    };
    let (any, access, jwt) =
        ("", "requested_token_type = \"access_token\"", format!("requested_token_type = \"{JWT}\""));
    let other = Some("its `issued_token_type` is not the one that was requested");
    let neither = Some("its `issued_token_type` is neither an access token nor a JWT");
    let bearer = Some("its `token_type` is not `Bearer`");
    let refresh = "urn:ietf:params:oauth:token-type:refresh_token";
    check(any, exchanged("t", ACCESS, "Bearer"), None).await;
    check(any, exchanged("t", JWT, "Bearer"), None).await;
    check(any, exchanged("t", refresh, "Bearer"), neither).await;
    check(any, exchanged("t", JWT, "N_A"), bearer).await;
    check(any, Answer::token("t", 60), Some("it has no `issued_token_type`")).await;
    check(access, exchanged("t", ACCESS, "Bearer"), None).await;
    check(access, exchanged("t", ACCESS, "N_A"), bearer).await;
    check(access, exchanged("t", ACCESS, "DPoP"), bearer).await;
    check(access, exchanged("t", JWT, "Bearer"), other).await;
    check(&jwt, exchanged("t", JWT, "n_a"), None).await;
    check(&jwt, exchanged("t", JWT, "Bearer"), None).await;
    check(&jwt, exchanged("t", ACCESS, "Bearer"), other).await;
    check(&jwt, exchanged("t", &JWT.to_uppercase(), "Bearer"), other).await;
}

#[tokio::test]
async fn a_proof_that_is_no_token_cannot_be_exchanged() {
    let stage = Stage::new();
    let credentials = stage.load(&format!("{AT}grant = \"token_exchange\"\nsubject_token = {{ from = \"proof\" }}\n"));
    let error = lease(&credentials, &caller(None)).await.unwrap_err();
    let expected = "credential `x`: the workload's proof is no token, and this credential is made of it";
    assert_eq!((error.to_string().as_str(), error.code(), stage.seen().len()), (expected, "proof_no_token", 0));
}

#[tokio::test]
async fn an_assertion_about_the_workload() {
    let stage = Stage::new();
    let minted = "assertion = { from = \"minted\", audience = [\"issuer\", \"urn:more\"] }\n";
    let credentials =
        stage.load(&format!("{AT}issuer = \"https://login.test\"\ngrant = \"jwt_bearer\"\nscope = \"r\"\n{minted}"));
    stage.world.issuer.will([Answer::token("one", 60), Answer::token("two", 60)]);
    assert_eq!(value(&lease(&credentials, &caller_named("one", None)).await.unwrap()), "one");
    assert_eq!(value(&lease(&credentials, &caller_named("two", None)).await.unwrap()), "two");
    let seen = stage.seen();
    let expected = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=minted.26.27.1&scope=r";
    assert_eq!(seen[0].body, expected);
    assert_eq!(stage.asked()[0], "spiffe://acme.internal/one https://login.test,urn:more 300s {}");

    let proof = stage.load(&format!("{AT}grant = \"jwt_bearer\"\nassertion = {{ from = \"proof\" }}\n"));
    stage.world.issuer.will([Answer::token("three", 60)]);
    assert_eq!(value(&lease(&proof, &with_token("app", "its-own", None)).await.unwrap()), "three");
    assert_eq!(form(&stage.seen()[0])["assertion"], "its-own");
}

/// As service accounts of Google and Salesforce do.
#[tokio::test]
async fn an_assertion_that_a_key_signs() {
    let (stage, key) = (Stage::new(), Key::rsa());
    stage.seal("key", &key.pem, &["login.test"]);
    let keys = |rest: &str| {
        let assertion = format!("assertion = {{ key = \"secret://sealed/key\", alg = \"RS256\"{rest} }}\n");
        format!("{AT}grant = \"jwt_bearer\"\n{assertion}")
    };
    let credentials =
        stage.load(&keys(", issuer = \"bot@x.test\", subject = \"ada@x.test\", claims = { scope = \"mail\" }"));
    stage.world.issuer.will([Answer::token("t", 60)]);
    // Shared: it says nothing of who asks.
    assert_eq!(value(&lease(&credentials, &caller_named("one", None)).await.unwrap()), "t");
    assert_eq!(value(&lease(&credentials, &caller_named("two", None)).await.unwrap()), "t");
    let seen = stage.seen();
    assert_eq!(seen.len(), 1);
    let (_, claims) = key.verify("RS256", &form(&seen[0])["assertion"]);
    assert_eq!((&claims["iss"], &claims["sub"]), (&"bot@x.test".into(), &"ada@x.test".into()));
    assert_eq!((&claims["aud"], &claims["scope"]), (&"https://login.test/token".into(), &"mail".into()));
    let found = stage.load_in(&keys(""), &stage.env()).unwrap_err();
    assert!(found.len() == 1 && found[0].contains("credential.x.assertion.issuer"), "{found:#?}");
}

#[tokio::test]
async fn what_does_not_load() {
    let stage = Stage::new();
    let check = |keys: &str, expected: &str| {
        let found = stage.load_in(&format!("{AT}{keys}\n"), &stage.env()).expect_err(keys);
        assert!(found.len() == 1 && found[0].contains(expected), "{keys}\n{found:#?}\nis not about\n{expected}");
    };
    let exchange = |rest: &str| format!("grant = \"token_exchange\"\nsubject_token = {{ from = \"proof\" }}\n{rest}");
    check("grant = \"token_exchange\"", "credential.x.subject_token");
    check("grant = \"token_exchange\"\nsubject_token = {}", "credential.x.subject_token.from");
    check("grant = \"token_exchange\"\nsubject_token = \"proof\"", "credential.x.subject_token");
    check(&exchange("actor_token = { from = \"nobody\" }"), "`nobody` is not a value of this key");
    check(&exchange("requested_token_type = \"saml\""), "`saml` is no type of token");
    check(&exchange("resource = \"api\""), "`api` is no absolute URI without a fragment");
    check(&exchange("resource = \"https://a/#b\""), "is no absolute URI without a fragment");
    check(&exchange("parameters = { subject_token = \"x\" }"), "this parameter is not free");
    check(&exchange("assertion = { from = \"proof\" }"), "unknown key");
    check(&exchange("client_secret = \"secret://env/PATH\""), "credential.x.client_id");
    check("grant = \"jwt_bearer\"", "credential.x.assertion");
    check("grant = \"jwt_bearer\"\nassertion = {}", "credential.x.assertion.key");
    check("grant = \"jwt-bearer\"", "did you mean `jwt_bearer`?");
    check("grant = \"password\"", "`password` is no grant");
}
