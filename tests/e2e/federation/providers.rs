//! Each provider, by its official client where there is one. There is no secret anywhere: neither with the client nor with
//! Claviger.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::double::Wants;
use crate::stage::{ISSUER, Stage};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

pub(crate) fn anthropic() -> Wants {
    Wants {
        hosts: &["api.anthropic.com"],
        token_path: "/v1/oauth/token",
        content_type: "application/json",
        fields: &[
            ("grant_type", Some("urn:ietf:params:oauth:grant-type:jwt-bearer")),
            ("assertion", None),
            ("federation_rule_id", Some("fdrl_0123")),
            ("organization_id", Some("00000000-0000-0000-0000-000000000000")),
            ("service_account_id", Some("svac_0123")),
            ("workspace_id", Some("wrkspc_0123")),
        ],
        headers: &[("anthropic-beta", "oauth-2025-04-20,oidc-federation-2026-04-01")],
        audience: "https://api.anthropic.com",
        single_use: true,
        api: &[("anthropic-beta", "oauth-2025-04-20")],
        prefix: "sk-ant-oat01-",
        expires_in: 600,
        more: &[("scope", "workspace:developer")],
    }
}

const ANTHROPIC: &str = r#"profile = "anthropic"
parameters = { federation_rule_id = "fdrl_0123", organization_id = "00000000-0000-0000-0000-000000000000", service_account_id = "svac_0123", workspace_id = "wrkspc_0123" }
"#;
/// The token goes where a key does not.
const ANTHROPIC_SERVICE: &str = "preset = \"anthropic\"\ninject = [\"bearer\"]\nstrip = [\"x-api-key\"]";

pub(crate) fn openai() -> Wants {
    Wants {
        hosts: &["api.openai.com", "auth.openai.com"],
        token_path: "/oauth/token",
        content_type: "application/json",
        fields: &[
            ("grant_type", Some(EXCHANGE)),
            ("subject_token", None),
            ("subject_token_type", Some(JWT)),
            ("identity_provider_id", Some("idp_0123")),
            ("service_account_id", Some("sa_0123")),
        ],
        headers: &[],
        audience: "https://api.openai.com/v1",
        single_use: false,
        api: &[],
        prefix: "sk-svcacct-",
        expires_in: 3_600,
        more: &[("issued_token_type", "urn:ietf:params:oauth:token-type:access_token")],
    }
}

const OPENAI: &str =
    "profile = \"openai\"\nparameters = { identity_provider_id = \"idp_0123\", service_account_id = \"sa_0123\" }\n";

pub(crate) fn openrouter() -> Wants {
    Wants {
        hosts: &["openrouter.ai"],
        token_path: "/api/v1/oauth/token",
        content_type: "application/x-www-form-urlencoded",
        fields: &[
            ("grant_type", Some(EXCHANGE)),
            ("subject_token", None),
            ("subject_token_type", Some(JWT)),
            ("federation_policy_id", Some("4b2f7d1e")),
        ],
        headers: &[],
        audience: "https://openrouter.ai",
        single_use: false,
        api: &[],
        prefix: "sk-or-fed-",
        expires_in: 900,
        more: &[("issued_token_type", "urn:ietf:params:oauth:token-type:access_token"), ("scope", "inference")],
    }
}

fn out(ran: &claviger_tests::peers::Ran) -> String {
    assert!(ran.status.success(), "{} {}", ran.stdout, ran.stderr);
    ran.stdout.trim().to_owned()
}

/// The official client of Anthropic, with a token that is minted for the workload.
#[tokio::test(flavor = "multi_thread")]
async fn anthropic_without_a_secret() {
    let stage = Stage::start(anthropic(), ANTHROPIC_SERVICE, &format!("{ANTHROPIC}subject = \"minted\"\n")).await;
    let token = stage.world.token("app");
    assert_eq!(out(&stage.client("anthropic_turn.py", &token, "ANTHROPIC_API_KEY").await), "hello");
    assert_eq!(stage.double.refused(), [""; 0]);
    assert_eq!(stage.double.subjects(), ["spiffe://acme.test/ci/app"]);
    let given = stage.double.tokens();
    let call = &stage.double.calls()[0];
    assert_eq!(call["authorization"].to_str().unwrap(), format!("Bearer {}", given[0]));
    // Upstream takes it no longer: a fresh one, with a `jti` of its own, and the client notices nothing. What it says itself in
    // a header that such a token asks for stays.
    stage.double.forget();
    for beta in ["files-api-2025-04-14", "a, oauth-2025-04-20 ,b"] {
        let answer = stage.get(&token, "https://api.anthropic.com/v1/models", &[("anthropic-beta", beta)]).await;
        assert_eq!(answer.status(), 200);
        let seen = stage.double.calls().pop().unwrap();
        assert!(seen["anthropic-beta"].to_str().unwrap().starts_with(beta), "{seen:?}");
    }
    assert_eq!((stage.double.exchanges(), stage.double.refused().len()), (2, 1));
    // Another workload has a token of its own.
    assert_eq!(out(&stage.client("anthropic_turn.py", &stage.world.token("job"), "ANTHROPIC_API_KEY").await), "hello");
    assert_eq!(stage.double.subjects(), ["spiffe://acme.test/ci/app", "spiffe://acme.test/ci/job"]);
    let minted = stage.proxy.records("credential", 3);
    assert!(minted.iter().all(|record| record["secretless"] == "end-to-end"), "{minted:?}");
    listed(&stage);
    for token in given.iter().chain(&stage.double.tokens()) {
        claviger_tests::canary::assert_absent_below(token, &stage.world.path().join("state"));
    }
    assert!(stage.proxy.stop().success());
}

/// What `check` and `credential list` say of it, beside a running process.
fn listed(stage: &Stage) {
    let run = |args: &[&str]| {
        let output = stage.world.run(&[args, &["--config", "claviger.toml"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(run(&["check"]).contains("credential `llm`: end-to-end"));
    let checked: Value = serde_json::from_str(&run(&["check", "-o", "json"])).unwrap();
    let is_note = |one: &&Value| one["key"] == "credential.llm" && one["severity"] == "note";
    assert_eq!(checked.as_array().unwrap().iter().find(is_note).unwrap()["message"], "end-to-end");
    let all: Value = serde_json::from_str(&run(&["credential", "list", "-o", "json"])).unwrap();
    assert_eq!(all["secretless"], json!({"end_to_end": 1, "of": 1}));
    let one = &all["credentials"][0];
    assert_eq!(
        (&one["name"], &one["kind"], &one["secretless"]),
        (&json!("llm"), &json!("federation"), &json!("end-to-end"))
    );
    assert_eq!(one["hosts"], json!(["api.anthropic.com:443"]));
    assert_eq!((&one["state"]["leases"], &one["state"]["failing_since"]), (&json!(2), &Value::Null));
    assert!(one["state"]["minted_at"].is_string() && one["state"]["expires_at"].is_string(), "{one}");
    let text = run(&["credential", "list"]);
    assert!(
        text.contains("end-to-end") && text.contains("1 of 1 credential without a stored secret (100 %)"),
        "{text}"
    );
}

/// The official client of OpenAI, whose workload's own token is exchanged.
#[tokio::test(flavor = "multi_thread")]
async fn openai_for_the_workloads_own_token() {
    let stage = Stage::start(openai(), "preset = \"openai\"", &format!("{OPENAI}subject = \"proof\"\n")).await;
    // The provider trusts the issuer of the workload's tokens.
    stage.double.trust("https://ci.test", &stage.world.issuer.jwks());
    let token = stage.world.issuer.token_with("app", json!({"aud": ["claviger", "https://api.openai.com/v1"]}));
    assert_eq!(out(&stage.client("openai_turn.py", &token, "OPENAI_API_KEY").await), "hello");
    assert_eq!((stage.double.refused(), stage.double.subjects()), (Vec::new(), vec!["app".to_owned()]));
    // The lease ends with the JWT, ten minutes from now, though the answer said an hour.
    let minted = &stage.proxy.records("credential", 1)[0];
    let claims = token.split('.').nth(1).map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let ends = serde_json::from_slice::<Value>(&claims).unwrap()["exp"].as_i64().unwrap();
    assert_eq!(minted["expires_at"], OffsetDateTime::from_unix_timestamp(ends).unwrap().format(&Rfc3339).unwrap());
    // One that is for somebody else: refused there, and neither the token nor the text of the answer is told.
    let wrong = stage.world.token("job");
    let answer = stage.get(&wrong, "https://api.openai.com/v1/models", &[]).await;
    assert_eq!(answer.headers()["claviger-refused"], "credential_unavailable");
    assert_eq!(stage.double.refused(), ["invalid_grant: aud \"claviger\""]);
    let failed = stage.proxy.records("credential", 2);
    let detail = failed[1]["detail"].as_str().unwrap();
    assert!(detail.ends_with("/oauth/token` answered 401 with `invalid_grant`"), "{detail}");
    assert!(stage.proxy.stop().success());
}

/// A provider that takes a `jti` once is not shown a workload's token twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_taken_once_is_shown_once() {
    let stage = Stage::start(anthropic(), ANTHROPIC_SERVICE, &format!("{ANTHROPIC}subject = \"proof\"\n")).await;
    stage.double.trust("https://ci.test", &stage.world.issuer.jwks());
    let token = |jti: &str| {
        stage.world.issuer.token_with("app", json!({"aud": ["claviger", "https://api.anthropic.com"], "jti": jti}))
    };
    let (first, second) = (token("1"), token("2"));
    let models = "https://api.anthropic.com/v1/models";
    for _ in 0..2 {
        assert_eq!(stage.get(&first, models, &[]).await.status(), 200);
    }
    assert_eq!(stage.double.exchanges(), 1);
    stage.double.forget();
    // Refused upstream, and not to be had anew for this token; for the next one it is.
    assert_eq!(stage.get(&first, models, &[]).await.status(), 401);
    assert_eq!(stage.get(&first, models, &[]).await.headers()["claviger-refused"], "credential_unavailable");
    assert_eq!(stage.double.exchanges(), 1);
    assert_eq!(stage.get(&second, models, &[]).await.status(), 200);
    let of_a_jti = stage.double.refused().iter().filter(|why| why.contains("jti")).count();
    assert_eq!((stage.double.exchanges(), of_a_jti), (2, 0), "none came twice");
    assert!(stage.proxy.stop().success());
}

/// OpenRouter's, which takes forms; an issuer that it does not know is refused, and named in no answer.
#[tokio::test(flavor = "multi_thread")]
async fn openrouter_takes_a_form() {
    let credential =
        "profile = \"openrouter\"\nsubject = \"minted\"\nparameters = { federation_policy_id = \"4b2f7d1e\" }\n";
    let stage = Stage::start(openrouter(), "preset = \"openrouter\"", credential).await;
    let models = "https://openrouter.ai/api/v1/models";
    assert_eq!(stage.get(&stage.world.token("app"), models, &[]).await.status(), 200);
    assert_eq!((stage.double.refused(), stage.double.exchanges()), (Vec::new(), 1));
    stage.double.trust(ISSUER, &stage.world.issuer.jwks());
    let answer = stage.get(&stage.world.token("job"), models, &[]).await;
    assert_eq!(answer.headers()["claviger-refused"], "credential_unavailable");
    assert_eq!(stage.double.refused(), ["invalid_grant: the key is not known"]);
    assert!(!answer.text().await.unwrap().contains("openrouter.ai/api"));
    assert!(stage.proxy.stop().success());
}
