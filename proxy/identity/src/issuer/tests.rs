use std::sync::atomic::AtomicU64;

use claviger_contract::ManualClock;
use claviger_policy::document::{Diagnostics, SourceFile, parse};
use claviger_policy::{Attributes, Principal, SpiffeId};

use super::*;
use crate::token::algorithm::Algorithm;
use crate::token::jws::{self, Profile};
use crate::token::key::KeyUse;
use crate::token::key_set::{Found, KeySet};

const START_MS: i64 = 1_700_000_000_000;
const HOUR_MS: i64 = 3_600_000;

/// Keys that several issuers share, as processes share a state folder.
#[derive(Debug, Default)]
struct Memory {
    sealed: Mutex<Option<Vec<u8>>>,
    revision: AtomicU64,
    broken: std::sync::atomic::AtomicBool,
}

impl Memory {
    fn secret(&self) -> Option<Secret> {
        self.sealed.lock().unwrap().clone().map(Secret::new)
    }
}

impl IssuerKeys for Memory {
    fn revision(&self) -> u64 {
        self.revision.load(Ordering::SeqCst)
    }

    fn read(&self) -> Result<Option<Secret>, String> {
        if self.broken.load(Ordering::SeqCst) { Err("the disk is gone".to_owned()) } else { Ok(self.secret()) }
    }

    #[allow(clippy::disallowed_methods, reason = "a test keeps keys in memory")]
    fn change(&self, change: &mut dyn FnMut(Option<Secret>) -> Result<Option<Secret>, String>) -> Result<(), String> {
        if let Some(secret) = change(self.read()?)? {
            *self.sealed.lock().unwrap() = Some(secret.expose().to_vec());
            self.revision.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Told(Mutex<Vec<(&'static str, String)>>);

impl EventSink for Told {
    fn emit(&self, event: Event) {
        let Event::System(event) = event else { panic!("{event:?}") };
        let detail = event.detail.map(|detail| detail.to_string()).unwrap_or_default();
        self.0.lock().unwrap().push((event.kind, detail));
    }
}

impl Told {
    fn kinds(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.0.lock().unwrap()).into_iter().map(|(kind, _)| kind).collect()
    }
}

struct World {
    keys: Arc<Memory>,
    clock: Arc<ManualClock>,
    told: Arc<Told>,
}

impl World {
    fn new() -> Self {
        Self { keys: Arc::default(), clock: Arc::new(ManualClock::at_ms(START_MS)), told: Arc::default() }
    }

    fn issuer(&self, text: &str) -> Issuer {
        let settings = settings(text).0.unwrap();
        Issuer::new(settings, self.keys.clone(), self.clock.clone(), self.told.clone())
    }
}

fn settings(text: &str) -> (Option<IssuerSettings>, Vec<String>) {
    let mut out = Diagnostics::default();
    let mut table = parse(&SourceFile::new("c.toml", text), &mut out).unwrap();
    let settings = IssuerSettings::take(&mut table, &mut out);
    table.finish(&mut out);
    (settings, out.iter().map(|one| one.to_string().lines().next().unwrap().to_owned()).collect())
}

const PLAIN: &str = "url = \"https://tokens.acme.test\"\n";

fn principal() -> Principal {
    Principal {
        id: SpiffeId::parse("spiffe://acme.internal/docs").unwrap(),
        attributes: Attributes::default(),
        attested_by: "mesh".into(),
    }
}

async fn mint(issuer: &Issuer, audience: &[&str], lifetime_s: u64) -> SubjectToken {
    let audience: Vec<String> = audience.iter().map(|one| (*one).to_owned()).collect();
    let lifetime = Duration::from_secs(lifetime_s);
    let principal = principal();
    let ask = TokenAsk { principal: &principal, audience: &audience, lifetime, claims: Map::new() };
    issuer.mint(ask).await.unwrap()
}

/// Verifies with the code that judges other issuers' tokens.
#[allow(clippy::disallowed_methods, reason = "a test reads what was minted")]
fn verify(token: &SubjectToken, documents: &Documents) -> Result<Map<String, Value>, Found> {
    let set = KeySet::parse(&documents.keys, KeyUse::Signature).unwrap();
    let jws = jws::parse(token.token.expose(), Profile::JwtSvid).unwrap();
    match set.verify(&jws, &Algorithm::all()) {
        Found::Verified => Ok(jws.claims().unwrap()),
        found => Err(found),
    }
}

#[tokio::test]
async fn a_token_says_who_for_whom_and_how_long_and_its_key_verifies_it() {
    for algorithm in ["ES256", "RS256", "EdDSA"] {
        let world = World::new();
        let issuer = world.issuer(&format!("{PLAIN}algorithm = \"{algorithm}\"\nlifetime = \"10m\"\n"));
        issuer.refresh().unwrap();
        let token = mint(&issuer, &["https://api.test"], 300).await;
        assert_eq!(token.expires_at, START_MS / 1_000 + 300);
        let documents = issuer.documents().unwrap();
        // A JWT-SVID's header has these members only, and EdDSA is none of its algorithms.
        let claims = if algorithm == "EdDSA" {
            let set = KeySet::parse(&documents.keys, KeyUse::Signature).unwrap();
            #[allow(clippy::disallowed_methods, reason = "a test reads what was minted")]
            let jws = jws::parse(token.token.expose(), Profile::Jwt).unwrap();
            assert_eq!(set.verify(&jws, &Algorithm::all()), Found::Verified);
            jws.claims().unwrap()
        } else {
            verify(&token, &documents).unwrap()
        };
        let now = START_MS / 1_000;
        assert_eq!(claims["iss"], "https://tokens.acme.test");
        assert_eq!(claims["sub"], "spiffe://acme.internal/docs");
        assert_eq!(claims["aud"], "https://api.test");
        assert_eq!((&claims["iat"], &claims["nbf"]), (&now.into(), &(now - 30).into()));
        assert_eq!(claims["exp"], now + 300);
        assert_eq!(claims.len(), 7, "{claims:?}");
        // Asked for longer than the issuer allows; for several.
        let token = mint(&issuer, &["a", "b"], 86_400).await;
        assert_eq!(token.expires_at, now + 600);
        #[allow(clippy::disallowed_methods, reason = "a test reads what was minted")]
        let more = jws::peek_claims(token.token.expose()).unwrap();
        assert_eq!(more["aud"], serde_json::json!(["a", "b"]));
        assert_ne!(more["jti"], claims["jti"], "every token has a name of its own");
    }
}

#[tokio::test]
async fn claims_are_free_but_for_the_issuers_own() {
    let world = World::new();
    let issuer = world.issuer(PLAIN);
    let (principal, audience) = (principal(), ["a".to_owned()]);
    let ask = |claims: Value| TokenAsk {
        principal: &principal,
        audience: &audience,
        lifetime: Duration::from_secs(60),
        claims: claims.as_object().unwrap().clone(),
    };
    let token = issuer.mint(ask(serde_json::json!({"sub": "repo:acme/docs", "groups": ["a"]}))).await.unwrap();
    let claims = verify(&token, &issuer.documents().unwrap()).unwrap();
    assert_eq!((&claims["sub"], &claims["groups"]), (&"repo:acme/docs".into(), &serde_json::json!(["a"])));
    for own in OWN_CLAIMS {
        let refused = issuer.mint(ask(serde_json::json!({own: "x"}))).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("the claim `{own}` is the issuer's own"));
    }
}

#[tokio::test]
async fn two_processes_share_keys_and_no_token_is_refused_while_they_rotate() {
    let world = World::new();
    let text = format!("{PLAIN}lifetime = \"1h\"\nrotate_every = \"10d\"\noverlap = \"12h\"\n");
    let (one, other) = (world.issuer(&text), world.issuer(&text));
    one.refresh().unwrap();
    other.refresh().unwrap();
    assert_eq!(world.told.kinds(), ["issuer_key_published"], "the other one found it");
    let mut copy = (START_MS, other.documents().unwrap());
    let (mut living, mut kids) = (Vec::<(i64, SubjectToken)>::new(), std::collections::BTreeSet::new());
    for hour in 0..24 * 45 {
        let now = START_MS + hour * HOUR_MS;
        // Each looks when it does: one every hour, the other every three.
        for issuer in [Some(&one), (hour % 3 == 0).then_some(&other)].into_iter().flatten() {
            if issuer.is_behind() {
                issuer.refresh().unwrap();
            }
        }
        // A verifier whose copy is older than it may be.
        if now - copy.0 >= 6 * HOUR_MS {
            copy = (now, if hour % 2 == 0 { one.documents() } else { other.documents() }.unwrap());
        }
        for issuer in [&one, &other] {
            living.push((now + HOUR_MS, mint(issuer, &["a"], 3_600).await));
        }
        living.retain(|(end, _)| now < *end);
        for (_, token) in &living {
            assert!(verify(token, &copy.1).is_ok(), "hour {hour}");
        }
        kids.extend(one.key_facts().into_iter().map(|key| key.kid));
        world.clock.advance_ms(HOUR_MS);
    }
    assert_eq!(kids.len(), 5, "45 days of keys that sign for ten each");
    let kinds = world.told.kinds();
    for kind in ["issuer_key_published", "issuer_key_in_use", "issuer_key_withdrawn"] {
        // Each process has a ledger of its own, and says in it what it sees.
        assert_eq!(kinds.iter().filter(|told| **told == kind).count(), 8, "{kind}: {kinds:?}");
    }
}

#[tokio::test]
async fn what_is_rotated_elsewhere_is_taken_up_and_recorded() {
    let world = World::new();
    let (running, command) = (world.issuer(PLAIN), world.issuer(PLAIN));
    running.refresh().unwrap();
    // Its own change is looked at once more: somebody else's may have come right behind it.
    running.refresh().unwrap();
    assert!(!running.is_behind());
    world.told.kinds();
    command.refresh().unwrap();
    assert!(command.rotate().unwrap());
    assert!(!command.rotate().unwrap());
    world.told.kinds();
    assert!(running.is_behind());
    running.refresh().unwrap();
    let told = std::mem::take(&mut *world.told.0.lock().unwrap());
    let next = running.key_facts()[1].kid.clone();
    assert_eq!(told, [("issuer_key_published", format!("ES256 key `{next}`, by hand"))]);
    // All of them are taken back: the old token is refused by whoever reads the set again.
    let token = mint(&running, &["a"], 60).await;
    command.replace_all().unwrap();
    world.told.kinds();
    running.refresh().unwrap();
    let kinds = world.told.kinds();
    let withdrawn = ["issuer_key_withdrawn"; 2];
    assert_eq!(kinds, [&["issuer_key_published", "issuer_key_in_use"][..], &withdrawn[..]].concat());
    assert_eq!(verify(&token, &running.documents().unwrap()), Err(Found::UnknownKey));
    let token = mint(&running, &["a"], 60).await;
    assert!(verify(&token, &running.documents().unwrap()).is_ok());
}

#[tokio::test]
async fn without_its_keys_nothing_is_minted_and_with_old_ones_everything_is() {
    let world = World::new();
    world.keys.broken.store(true, Ordering::SeqCst);
    let issuer = world.issuer(PLAIN);
    assert_eq!(issuer.refresh().unwrap_err().to_string(), "the issuer cannot sign: the disk is gone");
    let (principal, audience) = (principal(), ["a".to_owned()]);
    let lifetime = Duration::from_secs(60);
    let ask = || TokenAsk { principal: &principal, audience: &audience, lifetime, claims: Map::new() };
    assert!(issuer.mint(ask()).await.is_err());
    assert_eq!(world.told.kinds(), ["issuer_failed"]);
    assert!(!issuer.is_behind(), "it is left alone for a while");
    world.clock.advance_ms(AGAIN_MS);
    assert!(issuer.is_behind());
    world.keys.broken.store(false, Ordering::SeqCst);
    issuer.refresh().unwrap();
    assert_eq!(world.told.kinds(), ["issuer_key_published", "issuer_recovered"]);
    // Months later the keys cannot be read: those at hand serve on.
    world.keys.broken.store(true, Ordering::SeqCst);
    world.clock.advance_ms(100 * 24 * HOUR_MS);
    assert!(issuer.is_behind() && issuer.refresh().is_err());
    issuer.mint(ask()).await.unwrap();
    // What is no ring of keys is no reason to make another.
    world.keys.broken.store(false, Ordering::SeqCst);
    *world.keys.sealed.lock().unwrap() = Some(b"{}x".to_vec());
    assert!(issuer.refresh().is_err());
    assert_eq!(world.keys.sealed.lock().unwrap().as_deref(), Some(&b"{}x"[..]));
}

#[test]
fn documents_stand_where_the_standards_have_them() {
    for (url, discovery, keys, jwks_uri) in [
        (
            "https://tokens.acme.test",
            "/.well-known/openid-configuration",
            "/.well-known/jwks.json",
            "https://tokens.acme.test/.well-known/jwks.json",
        ),
        (
            "https://acme.test:8443/claviger/prod/",
            "/claviger/prod/.well-known/openid-configuration",
            "/claviger/prod/.well-known/jwks.json",
            "https://acme.test:8443/claviger/prod/.well-known/jwks.json",
        ),
    ] {
        let world = World::new();
        let issuer = world.issuer(&format!("url = \"{url}\"\n"));
        issuer.refresh().unwrap();
        let documents = issuer.documents().unwrap();
        assert_eq!((&*documents.discovery_path, &*documents.keys_path), (discovery, keys));
        let metadata: Value = serde_json::from_slice(&documents.discovery).unwrap();
        assert_eq!(metadata["issuer"], url.trim_end_matches('/'), "OpenID Connect Discovery §4.3: as in the tokens");
        assert_eq!(issuer.issuer(), metadata["issuer"].as_str());
        assert_eq!(metadata["jwks_uri"], jwks_uri);
        assert_eq!(metadata["id_token_signing_alg_values_supported"], serde_json::json!(["ES256"]));
        assert_eq!(metadata["subject_types_supported"], serde_json::json!(["public"]));
        assert_eq!(metadata["response_types_supported"], serde_json::json!(["id_token"]));
        let set: Value = serde_json::from_slice(&documents.keys).unwrap();
        assert_eq!(set["keys"].as_array().unwrap().len(), 1);
        assert_eq!(set["keys"][0]["kid"], issuer.key_facts()[0].kid);
        assert_eq!(set.as_object().unwrap().len(), 1);
    }
}

#[test]
fn a_copy_is_never_older_than_the_overlap_allows() {
    for (overlap, expected) in [
        ("24h", "public, max-age=900"),
        ("40s", "public, max-age=10"),
        ("3s", "no-cache"),
        ("20m", "public, max-age=300"),
    ] {
        let world = World::new();
        let issuer = world.issuer(&format!("{PLAIN}overlap = \"{overlap}\"\n"));
        issuer.refresh().unwrap();
        assert_eq!(issuer.documents().unwrap().cache_control(), expected, "{overlap}");
    }
}

#[test]
fn settings_that_are_wrong() {
    for (text, expected) in [
        ("", "c.toml:1:1: error: `url`: this key is required"),
        ("url = \"tokens\"", "c.toml:1:7: error: `url`: this is not a URL: relative URL without a base"),
        (
            "url = \"http://tokens.acme.test\"",
            "c.toml:1:7: error: `url`: an issuer is an https:// URL (OpenID Connect Discovery §3)",
        ),
        (
            "url = \"https://a.test/?x=1\"",
            "c.toml:1:7: error: `url`: an issuer's URL has no query, fragment, user or password",
        ),
        (
            "url = \"https://u@a.test\"",
            "c.toml:1:7: error: `url`: an issuer's URL has no query, fragment, user or password",
        ),
        (
            "url = \"https://A.test\"",
            "c.toml:1:7: error: `url`: an issuer's URL is written as verifiers compare it: `https://a.test`",
        ),
        (
            "url = \"https://a.test:443\"",
            "c.toml:1:7: error: `url`: an issuer's URL is written as verifiers compare it: `https://a.test`",
        ),
        (
            "url = \"https://a.test\"\nalgorithm = \"HS256\"",
            "c.toml:2:13: error: `algorithm`: `HS256` is not a value of this key",
        ),
        ("url = \"https://a.test\"\nlifetime = \"0s\"", "c.toml:2:12: error: `lifetime`: this is not from 1s to 1d"),
        ("url = \"https://a.test\"\nlifetime = \"2d\"", "c.toml:2:12: error: `lifetime`: this is not from 1s to 1d"),
        (
            "url = \"https://a.test\"\nrotate_every = \"30h\"",
            "c.toml:1:1: error: `overlap`: a key is published for longer before it signs than half of the time for which it signs",
        ),
        (
            "url = \"https://a.test\"\noverlap = \"1m\"",
            "c.toml:2:11: warning: `overlap`: verifiers that keep a copy of the keys for longer than this refuse tokens of the next key",
        ),
        ("url = \"https://a.test\"\noverlapp = \"1m\"", "c.toml:2:1: error: `overlapp`: unknown key"),
    ] {
        assert_eq!(settings(text).1, [expected], "{text}");
    }
    let (settings, found) = settings("url = \"http://127.0.0.1:7072\"");
    assert!(found.is_empty());
    let settings = settings.unwrap();
    assert_eq!(settings.algorithm, SigningAlgorithm::Es256);
    assert_eq!(
        (settings.lifetime, settings.rotate_every, settings.overlap),
        (Duration::from_secs(3_600), Duration::from_secs(30 * 86_400), Duration::from_secs(86_400))
    );
}
