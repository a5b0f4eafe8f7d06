//! What is said of an issuer's failure, whichever call it was: the endpoint, the HTTP status and the OAuth `error` code, and
//! never anything that was sent or answered. Each body and each request here holds the canary.

use claviger_contract::outbound::OutboundFailure;
use claviger_contract::{Attested, Proof, ProofDigest};
use http::HeaderMap;

use super::*;
use crate::fixture::START_MS;

/// What the issuer answers, and what is said of it; `{}` is the endpoint.
fn answers() -> Vec<(Answer, &'static str)> {
    let error = |status, code: &str| {
        let body =
            format!(r#"{{"error":"{code}","error_description":"{CANARY}","error_uri":"https://x.test/{CANARY}"}}"#);
        Answer::json(status, &body)
    };
    let redirect = |status| {
        let headers =
            HeaderMap::from_iter([("location".parse().unwrap(), format!("https://x.test/{CANARY}").parse().unwrap())]);
        Answer::Says { status, headers, body: CANARY.as_bytes().to_vec() }
    };
    vec![
        (error(401, "invalid_client"), "`{}` answered 401 with `invalid_client`"),
        (error(403, "insufficient_scope"), "`{}` answered 403 with `insufficient_scope`"),
        (error(429, "slow_down"), "`{}` answered 429 with `slow_down`"),
        (error(503, "temporarily_unavailable"), "`{}` answered 503 with `temporarily_unavailable`"),
        // No registered code: it could be anything, also what was sent.
        (error(400, CANARY), "`{}` answered 400"),
        (error(400, "INVALID_CLIENT"), "`{}` answered 400"),
        (Answer::json(500, CANARY), "`{}` answered 500"),
        (Answer::json(204, ""), "`{}` answered 204"),
        (redirect(302), "the answer of `{}` cannot be used: it is a redirect, and redirects are not followed"),
        (redirect(308), "the answer of `{}` cannot be used: it is a redirect, and redirects are not followed"),
        (Answer::json(200, CANARY), "the answer of `{}` cannot be used: it is not a JSON object with "),
        (
            Answer::json(200, &format!("[\"{CANARY}\"]")),
            "the answer of `{}` cannot be used: it is not a JSON object with ",
        ),
        (Answer::json(200, &CANARY.repeat(10_000)), "call to `{}` failed: the answer is too large"),
        (Answer::Fails(OutboundFailure::Connect), "call to `{}` failed: cannot connect"),
        (Answer::Fails(OutboundFailure::Timeout), "call to `{}` failed: timed out"),
        (
            Answer::Fails(OutboundFailure::Tls),
            "call to `{}` failed: TLS failed: the certificate is not trusted or not for this name",
        ),
        (Answer::Fails(OutboundFailure::Broken), "call to `{}` failed: the connection broke"),
    ]
}

/// One that asks for a token, and which endpoint it asks first. A query may hold what must not be shown.
#[rustfmt::skip]
const CALLS: &[(&str, &str, &str)] = &[
    ("https://login.test/token", "", "kind = \"oauth2\"\ntoken_url = \"https://login.test/token?key=canary\"\nclient_id = \"app\"\nclient_secret = \"secret://sealed/secret\""),
    ("https://login.test/token", "", "kind = \"oauth2\"\ntoken_url = \"https://login.test/token\"\nclient_id = \"app\"\nauth = \"client_secret_post\"\nclient_secret = \"secret://sealed/secret\""),
    ("https://login.test/token", "", "kind = \"oauth2\"\ngrant = \"jwt_bearer\"\ntoken_url = \"https://login.test/token\"\nassertion = { from = \"proof\" }"),
    ("https://login.test/token", "", "kind = \"oauth2\"\ngrant = \"token_exchange\"\ntoken_url = \"https://login.test/token\"\nsubject_token = { from = \"proof\" }\nactor_token = { from = \"proof\" }"),
    ("https://login.test/token", "", "kind = \"oauth2\"\ngrant = \"refresh_token\"\ntoken_url = \"https://login.test/token\"\nclient_id = \"app\"\nauth = \"none\"\nrefresh_token = \"secret://sealed/grant\""),
    ("https://login.test/.well-known/oauth-authorization-server/t", "the endpoints of the issuer are not known: ", "kind = \"oauth2\"\nissuer = \"https://login.test/t\"\nclient_id = \"app\"\nclient_secret = \"secret://sealed/secret\""),
    ("https://api.anthropic.com/v1/oauth/token", "", "kind = \"federation\"\nprofile = \"anthropic\"\nsubject = \"proof\"\nparameters = { federation_rule_id = \"canary\", organization_id = \"o\", service_account_id = \"s\" }"),
    ("https://auth.openai.com/oauth/token", "", "kind = \"federation\"\nprofile = \"openai\"\nsubject = \"proof\"\nparameters = { identity_provider_id = \"canary\", service_account_id = \"s\" }"),
    ("https://openrouter.ai/api/v1/oauth/token", "", "kind = \"federation\"\nprofile = \"openrouter\"\nsubject = \"proof\"\nparameters = { federation_policy_id = \"canary\" }"),
    ("https://login.test/token", "", "kind = \"federation\"\nprofile = \"generic\"\ntoken_url = \"https://login.test/token?key=canary\"\ngrant = \"token-exchange\"\nbody = \"form\"\nsubject = \"proof\"\nparameters = { secret = \"canary\" }"),
];

fn hosts(endpoint: &str) -> &'static str {
    match endpoint {
        anthropic if anthropic.contains("anthropic") => "api.anthropic.com",
        openai if openai.contains("openai") => "api.openai.com",
        openrouter if openrouter.contains("openrouter") => "openrouter.ai",
        _ => "api.test",
    }
}

#[tokio::test]
async fn a_call_that_fails_is_told_without_a_secret() {
    for (endpoint, before, keys) in CALLS {
        for (answer, said) in answers() {
            let shown = format!("{endpoint} {answer:?}");
            let world = World::new();
            for name in ["secret", "grant"].into_iter().filter(|name| keys.contains(&format!("sealed/{name}"))) {
                world.seal(name, CANARY, &["login.test"]);
            }
            let text = format!("[credential.x]\n{keys}\nhosts = [\"{}\"]\n", hosts(endpoint));
            let (mut out, mut root) = (Diagnostics::default(), world.document(&text));
            let credentials = Credentials::take(&mut root, Vec::new(), &world.env(), None, &mut out);
            root.finish(&mut out);
            assert!(out.is_empty(), "{:?}", world.found(&out));
            // Where there are two places to ask, the first one's word counts.
            let other = Answer::json(404, CANARY);
            world.issuer.will([answer, other]);
            let token = Some(Secret::from(format!("{CANARY}.of.workload")));
            let proof = Proof { digest: ProofDigest([1; 32]), expires_at: Some(START_MS / 1_000 + 600), token };
            let caller = Attested { proof: Arc::new(proof), ..caller(None) };
            let error = settle(credentials.lease_for("x", &caller, true)).await.1.expect_err(&shown);
            let expected = format!("credential `x`: {before}{}", said.replace("{}", endpoint));
            assert!(error.to_string().starts_with(&expected), "{shown}: {error}");
            assert!(!format!("{error} {error:?} {credentials:?}").contains("canary"), "{shown}: {error:?}");
            let told = world.events.told();
            let [("failed", detail)] = &told[..] else { panic!("{shown}: {told:?}") };
            assert_eq!(format!("credential `x`: {detail}"), error.to_string(), "the record says the same");
            assert!(!detail.contains("canary"), "{shown}: {detail}");
        }
    }
}

/// Somebody logs in: the redemption of the code, and the two calls of a device.
#[tokio::test]
async fn a_login_that_fails_is_told_without_a_secret() {
    for (answer, said) in answers() {
        for call in ["code", "device", "poll"] {
            let shown = format!("{call} {answer:?}");
            let world = World::new();
            let text = "[credential.x]\nkind = \"oauth2\"\ngrant = \"refresh_token\"\ntoken_url = \"https://login.test/token\"\n\
                        authorization_url = \"https://login.test/authorize\"\ndevice_url = \"https://login.test/device\"\n\
                        client_id = \"app\"\nauth = \"none\"\nrefresh_token = \"secret://sealed/grant\"\nhosts = [\"api.test\"]\n";
            let (mut out, mut root) = (Diagnostics::default(), world.document(text));
            let login = Credentials::take(&mut root, Vec::new(), &world.env(), None, &mut out).login("x").unwrap();
            let begun = r#"{"device_code":"canary","user_code":"A","verification_uri":"https://login.test/go","expires_in":60}"#;
            let again = match &answer {
                Answer::Fails(kind) => Answer::Fails(*kind),
                Answer::Says { status, headers, body } => {
                    Answer::Says { status: *status, headers: headers.clone(), body: body.clone() }
                }
            };
            let (endpoint, error) = match call {
                "code" => {
                    world.issuer.will([again]);
                    let (url, asked) = login.begin("http://127.0.0.1:7/callback", None).await.unwrap();
                    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
                    let error =
                        login.redeem(&asked, &format!("code=canary&state={state}")).await.map(|_| ()).unwrap_err();
                    ("https://login.test/token", error)
                }
                "device" => {
                    world.issuer.will([again]);
                    ("https://login.test/device", login.begin_device(None).await.map(|_| ()).unwrap_err())
                }
                _ => {
                    world.issuer.will([Answer::json(200, begun), again]);
                    let mut code = login.begin_device(None).await.unwrap();
                    match login.poll(&mut code).await {
                        // It is asked again, more slowly (RFC 8628 §3.5).
                        Ok(_) => continue,
                        Err(error) => ("https://login.test/token", error),
                    }
                }
            };
            let expected = said.replace("{}", endpoint);
            assert!(error.to_string().starts_with(&expected), "{shown}: {error}");
            assert!(!format!("{error} {error:?} {login:?}").contains("canary"), "{shown}: {error:?}");
        }
    }
}
