use std::sync::Mutex;

use claviger_contract::{SubjectToken, SubjectTokenError};
use claviger_policy::document::Diagnostics;

use crate::fixture::{Answer, CANARY, START_MS, Seen, World, caller, settle, value};
use crate::{CredentialEnv, CredentialError, Credentials, Lease};

use super::*;

/// Mints `JWT-1 for SUB to AUD`, …, each of which lasts as long as it was asked for.
#[derive(Debug)]
struct Minter {
    clock: Arc<claviger_contract::ManualClock>,
    count: Mutex<usize>,
}

#[async_trait]
impl SubjectTokens for Minter {
    fn issuer(&self) -> Option<&str> {
        Some("https://claviger.test")
    }

    async fn mint(&self, ask: TokenAsk<'_>) -> Result<SubjectToken, SubjectTokenError> {
        let mut count = self.count.lock().unwrap();
        *count += 1;
        let token = format!("{CANARY}.{count}.{}.{}", ask.principal.id, ask.audience.join("+"));
        let expires_at = self.clock.now() + i64::try_from(ask.lifetime.as_secs()).unwrap();
        Ok(SubjectToken { token: Secret::from(token), expires_at })
    }
}

const ANTHROPIC: &str = "profile = \"anthropic\"\nparameters = { federation_rule_id = \"fdrl_1\", organization_id = \"org\", service_account_id = \"svac_1\" }\n";
const OPENAI: &str =
    "profile = \"openai\"\nparameters = { identity_provider_id = \"idp_1\", service_account_id = \"sa \\\" 1\" }\n";
const OPENROUTER: &str = "profile = \"openrouter\"\nparameters = { federation_policy_id = \"4b2f&1\" }\n";

fn env(world: &World) -> CredentialEnv {
    let minter = Minter { clock: world.clock.clone(), count: Mutex::default() };
    CredentialEnv { tokens: Arc::new(minter), ..world.env() }
}

fn take(env: &CredentialEnv, world: &World, keys: &str) -> (Credentials, Diagnostics) {
    let text = format!("[credential.x]\nkind = \"federation\"\n{keys}");
    let (mut out, mut root) = (Diagnostics::default(), world.document(&text));
    let credentials = Credentials::take(&mut root, Vec::new(), env, None, &mut out);
    root.finish(&mut out);
    (credentials, out)
}

fn load(world: &World, keys: &str) -> Credentials {
    let (credentials, out) = take(&env(world), world, keys);
    assert!(out.is_empty(), "{:?}", world.found(&out));
    credentials
}

async fn mint(credentials: &Credentials, caller: &Attested) -> Result<Arc<Lease>, CredentialError> {
    settle(credentials.lease_for("x", caller, true)).await.1
}

/// A caller with a token of its own, which ends after so many seconds.
fn with_proof(digest: u8, lasts: i64) -> Attested {
    let proof = claviger_contract::Proof {
        digest: ProofDigest([digest; 32]),
        expires_at: Some(START_MS / 1_000 + lasts),
        token: Some(Secret::from(format!("{CANARY}.own.{digest}"))),
    };
    Attested { proof: Arc::new(proof), ..caller(None) }
}

async fn seen(keys: &str, caller: &Attested) -> Seen {
    let world = World::new();
    world.issuer.will([Answer::token("t", 60)]);
    mint(&load(&world, keys), caller).await.unwrap();
    let seen = world.issuer.seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 1);
    seen.into_iter().next().unwrap()
}

#[tokio::test]
async fn each_provider_is_asked_as_its_documents_say() {
    let own = with_proof(1, 600);
    let id = own.principal.id.to_string();
    let check = async |keys: &str, url: &str, kind: &str, body: String| {
        let seen = seen(keys, &own).await;
        assert_eq!(seen.url, url);
        assert_eq!(seen.headers.get("content-type").unwrap(), kind);
        assert_eq!(seen.body, body);
        seen
    };
    let seen = check(
        &format!("{ANTHROPIC}subject = \"minted\"\n"),
        "https://api.anthropic.com/v1/oauth/token",
        "application/json",
        format!(
            "{{\"grant_type\":\"urn:ietf:params:oauth:grant-type:jwt-bearer\",\"assertion\":\"{CANARY}.1.{id}.https://api.anthropic.com\",\
             \"federation_rule_id\":\"fdrl_1\",\"organization_id\":\"org\",\"service_account_id\":\"svac_1\"}}"
        ),
    )
    .await;
    assert_eq!(seen.headers.get("anthropic-beta").unwrap(), "oauth-2025-04-20,oidc-federation-2026-04-01");
    let seen = check(
        &format!("{OPENAI}subject = \"proof\"\n"),
        "https://auth.openai.com/oauth/token",
        "application/json",
        format!(
            "{{\"grant_type\":\"urn:ietf:params:oauth:grant-type:token-exchange\",\"subject_token\":\"{CANARY}.own.1\",\
             \"subject_token_type\":\"urn:ietf:params:oauth:token-type:jwt\",\"identity_provider_id\":\"idp_1\",\
             \"service_account_id\":\"sa \\\" 1\"}}"
        ),
    )
    .await;
    assert!(seen.headers.get("anthropic-beta").is_none());
    check(
        &format!("{OPENROUTER}subject = \"minted\"\naudience = [\"a\", \"b\"]\n"),
        "https://openrouter.ai/api/v1/oauth/token",
        "application/x-www-form-urlencoded",
        format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token={CANARY}.1.{}.a%2Bb\
             &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt&federation_policy_id=4b2f%261",
            id.replace(':', "%3A").replace('/', "%2F")
        ),
    )
    .await;
    check(
        "profile = \"generic\"\ntoken_url = \"https://sts.test/t?x=1\"\ngrant = \"jwt-bearer\"\nbody = \"form\"\nsubject = \"proof\"\n\
         hosts = [\"api.test\"]\nparameters = { scope = \"a b\" }\n",
        "https://sts.test/t?x=1",
        "application/x-www-form-urlencoded",
        format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={CANARY}.own.1&scope=a+b"),
    )
    .await;
}

/// The token ends when the answer says, when the profile says, with the JWT where the provider holds it so, and with the proof.
#[tokio::test]
async fn a_token_ends_with_what_ends_first() {
    let check = async |keys: &str, proof: i64, expires_in: i64, expected: i64| {
        let world = World::new();
        world.issuer.will([Answer::token("t", expires_in)]);
        let lease = mint(&load(&world, keys), &with_proof(1, proof)).await.unwrap();
        assert_eq!(lease.expires_at(), Some(START_MS / 1_000 + expected), "{keys} {proof} {expires_in}");
        assert!(lease.ends_at_ms <= START_MS + proof.min(expected) * 1_000);
    };
    let with = |keys: &str, subject: &str| format!("{keys}subject = \"{subject}\"\n");
    check(&with(OPENAI, "minted"), 90_000, 300, 300).await;
    check(&with(OPENAI, "minted"), 90_000, 7_200, 3_600).await;
    check(&(with(OPENAI, "minted") + "lifetime = \"2m\"\n"), 90_000, 7_200, 120).await;
    check(&with(OPENAI, "proof"), 500, 7_200, 500).await;
    check(&with(OPENROUTER, "proof"), 90_000, 7_200, 900).await;
    // The lease ends with the proof all the same.
    check(&with(ANTHROPIC, "minted"), 100, 1_200, 1_200).await;
    check(&with(ANTHROPIC, "minted"), 90_000, 90_000, 86_400).await;
}

#[tokio::test]
async fn every_mint_has_a_token_of_its_own() {
    let world = World::new();
    world.issuer.will([Answer::token("one-0123456789", 60), Answer::token("two-0123456789", 60)]);
    let credentials = load(&world, &format!("{ANTHROPIC}subject = \"minted\"\n"));
    let own = with_proof(1, 9_000);
    assert_eq!(value(&mint(&credentials, &own).await.unwrap()), "one-0123456789");
    world.clock.advance_ms(60_000);
    assert_eq!(value(&mint(&credentials, &own).await.unwrap()), "two-0123456789");
    let seen = world.issuer.seen.lock().unwrap().clone();
    assert!(seen[0].body.contains(&format!("{CANARY}.1.")) && seen[1].body.contains(&format!("{CANARY}.2.")));
}

/// Where a token is taken once, the second exchange is not even tried, until the workload shows another.
#[tokio::test]
async fn a_proof_that_is_taken_once_is_sent_once() {
    let world = World::new();
    let keys = format!("{ANTHROPIC}subject = \"proof\"\n");
    world.issuer.will([
        Answer::json(500, ""),
        Answer::token("one-0123456789", 60),
        Answer::token("two-0123456789", 60),
    ]);
    let credentials = load(&world, &keys);
    // A failure has not used it up.
    assert_eq!(mint(&credentials, &with_proof(1, 9_000)).await.unwrap_err().code(), "issuer_refused");
    world.clock.advance_ms(1_000);
    let lease = mint(&credentials, &with_proof(1, 9_000)).await.unwrap();
    // Not tried again as long as the token is good, nor after.
    world.clock.advance_ms(50_000);
    assert_eq!(mint(&credentials, &with_proof(1, 9_000)).await.unwrap().stamp(), lease.stamp());
    world.clock.advance_ms(10_000);
    let error = mint(&credentials, &with_proof(1, 9_000)).await.unwrap_err();
    assert_eq!((error.code(), world.issuer.calls()), ("proof_used", 2));
    assert_eq!(value(&mint(&credentials, &with_proof(2, 9_000)).await.unwrap()), "two-0123456789");
}

#[tokio::test]
async fn a_proof_that_is_no_token_is_told() {
    let world = World::new();
    let credentials = load(&world, &format!("{OPENAI}subject = \"proof\"\n"));
    let error = mint(&credentials, &caller(None)).await.unwrap_err();
    assert_eq!((error.code(), world.issuer.calls()), ("proof_no_token", 0));
    assert!(!format!("{credentials:?}").contains("canary"));
}

/// What is wrong with a table, and what to write instead.
#[test]
fn what_is_missing_or_too_much_is_told() {
    let world = World::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let check = |keys: &str, expected: &[&str]| {
        let (_, out) = take(&env(&world), &world, keys);
        let found = world.found(&out).join("\n");
        for text in expected {
            assert!(found.contains(text), "{keys}\n{found}");
        }
        assert!(out.has_errors(), "{keys}");
    };
    check("", &["profile", "`anthropic`, `generic`, `openai`, `openrouter`"]);
    check("profile = \"antropic\"\nsubject = \"proof\"\n", &["no profile `antropic`", "did you mean `anthropic`?"]);
    check(
        "profile = \"anthropic\"\nsubject = \"proof\"\nparameters = { organization_id = \"o\" }\n",
        &["`anthropic` wants `federation_rule_id`", "`anthropic` wants `service_account_id`", "as `svac_…`"],
    );
    check(&format!("{OPENAI}\n"), &["subject", "`minted`"]);
    check(
        "profile = \"openai\"\nsubject = \"proof\"\nparameters = { identity_provider_ids = \"x\", service_account_id = \"s\" }\n",
        &["`openai` takes no `identity_provider_ids`", "did you mean `identity_provider_id`?"],
    );
    check(&format!("{OPENAI}subject = \"proof\"\naudience = [\"x\"]\n"), &["the workload brings its own"]);
    check(&format!("{OPENAI}subject = \"proof\"\ngrant = \"jwt-bearer\"\n"), &["the profile says this"]);
    check(&format!("{OPENAI}subject = \"minted\"\nlifetime = \"2d\"\n"), &["from one second to a day"]);
    check(
        &format!("{OPENAI}subject = \"proof\"\nhosts = [\"evil.test\"]\n"),
        &["the profile openai", "api.openai.com"],
    );
    check("profile = \"generic\"\nsubject = \"minted\"\n", &["token_url", "grant", "body", "audience"]);
    check(
        "profile = \"generic\"\nsubject = \"proof\"\ntoken_url = \"http://sts.test/\"\ngrant = \"jwt-bearer\"\nbody = \"json\"\n\
         parameters = { assertion = \"x\" }\n",
        &["over https:// only", "this parameter is not free"],
    );
    // Without an issuer nothing can be minted.
    let (_, out) = take(&world.env(), &world, &format!("{OPENAI}subject = \"minted\"\n"));
    assert!(world.found(&out).join("\n").contains("there is no `[issuer]`"));
}
