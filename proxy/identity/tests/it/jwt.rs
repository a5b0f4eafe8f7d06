//! Tokens of an issuer (RFC 7515, RFC 7519).

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{NOW, TokenKey, World, attest_token, attested, chain, told};

const ISSUER: &str = "https://issuer.test";
const TEXT: &str = "[attestor.ci]\nkind = \"jwt\"\nissuer = \"https://issuer.test\"\naudience = [\"claviger\", \"also\"]\n\
    jwks = \"keys.json\"\nidentity = \"spiffe://acme.internal/ci/{sub}\"\n";

const MALFORMED: &str = "identity_malformed";
const UNTRUSTED: &str = "identity_untrusted";
const ALICE: &str = "spiffe://acme.internal/ci/alice";

fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": "claviger", "sub": "alice", "exp": NOW + 300, "iat": NOW })
}

/// The claims with one changed; null removes it.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

struct Bench {
    world: World,
    key: TokenKey,
    chain: std::sync::Arc<claviger_identity::Chain>,
    _attestors: claviger_identity::Attestors,
}

impl Bench {
    fn new(more: &str) -> Self {
        let world = World::new();
        let key = TokenKey::new("k1");
        world.write("keys.json", key.set());
        let attestors = world.attestors(&format!("{TEXT}{more}"));
        let chain = chain(&attestors, &["ci"]);
        Self { world, key, chain, _attestors: attestors }
    }

    fn check(&self, about: &str, token: &str, expected: &str) {
        let outcome = self.world.run(attest_token(&self.chain, token));
        assert_eq!(told(&outcome), expected, "{about}: {outcome:?}");
    }
}

#[test]
fn claims_that_a_token_must_have() {
    let bench = Bench::new("");
    for (about, claims, expected) in [
        ("a right token", claims(), ALICE),
        ("no issuer", with("iss", Value::Null), "identity_unknown_issuer"),
        ("another issuer", with("iss", json!("https://issuer.test.evil")), "identity_unknown_issuer"),
        ("an issuer with a slash", with("iss", json!("https://issuer.test/")), "identity_unknown_issuer"),
        ("an issuer that is a list", with("iss", json!([ISSUER])), "identity_unknown_issuer"),
        ("no audience", with("aud", Value::Null), MALFORMED),
        ("another audience", with("aud", json!("other")), "identity_audience"),
        ("ours in a list", with("aud", json!(["other", "also"])), ALICE),
        ("a list without ours", with("aud", json!(["other"])), "identity_audience"),
        ("an empty list", with("aud", json!([])), "identity_audience"),
        ("a list that is not of texts", with("aud", json!(["claviger", 1])), MALFORMED),
        ("no end", with("exp", Value::Null), MALFORMED),
        ("ended", with("exp", json!(NOW - 30)), "identity_expired"),
        ("near: within the leeway", with("exp", json!(NOW - 29)), ALICE),
        ("an end in milliseconds", with("exp", json!(NOW * 1_000)), MALFORMED),
        ("an end that is a text", with("exp", json!((NOW + 300).to_string())), MALFORMED),
        ("not yet", with("nbf", json!(NOW + 31)), "identity_not_yet_valid"),
        ("near: within the leeway", with("nbf", json!(NOW + 30)), ALICE),
        ("no subject, which the identity needs", with("sub", Value::Null), "identity_refused"),
        ("a subject that SPIFFE forbids", with("sub", json!("alice smith")), "identity_refused"),
        ("a subject that climbs", with("sub", json!("../admin")), "identity_refused"),
        ("a subject that is a list", with("sub", json!(["alice"])), "identity_refused"),
        ("a subject of two segments", with("sub", json!("a/b")), "spiffe://acme.internal/ci/a/b"),
        ("a subject that is a number", with("sub", json!(7)), "spiffe://acme.internal/ci/7"),
    ] {
        bench.check(about, &bench.key.sign(&claims), expected);
    }
}

#[test]
fn headers() {
    let bench = Bench::new("");
    let check = |about: &str, header: Value, expected: &str| {
        bench.check(about, &bench.key.sign_with(&header, &claims()), expected);
    };
    check("the least", json!({ "alg": "ES256" }), ALICE);
    check(
        "what is not understood is ignored",
        json!({ "alg": "ES256", "kid": "k1", "x": 1, "jku": "https://evil" }),
        ALICE,
    );
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt", "JOSE"] {
        check(typ, json!({ "alg": "ES256", "typ": typ }), ALICE);
    }
    for typ in [json!("secevent+jwt"), json!("wit+jwt"), json!("JWE"), json!(""), json!(1)] {
        check("another typ", json!({ "alg": "ES256", "typ": typ }), MALFORMED);
    }
    check("crit", json!({ "alg": "ES256", "crit": ["exp"], "exp": 1 }), MALFORMED);
    check("crit, empty", json!({ "alg": "ES256", "crit": [] }), MALFORMED);
    check("b64", json!({ "alg": "ES256", "b64": true }), MALFORMED);
    check("no alg", json!({ "kid": "k1" }), MALFORMED);
    check("alg that is a list", json!({ "alg": ["ES256"] }), MALFORMED);
    check("kid that is a number", json!({ "alg": "ES256", "kid": 1 }), MALFORMED);
    check("an unknown kid", json!({ "alg": "ES256", "kid": "k2" }), UNTRUSTED);
    check("a kid that is a path", json!({ "alg": "ES256", "kid": "../../keys.json" }), UNTRUSTED);
    check("a kid that is a query", json!({ "alg": "ES256", "kid": "k1' OR '1'='1" }), UNTRUSTED);
    check("an empty kid", json!({ "alg": "ES256", "kid": "" }), UNTRUSTED);
    check("an algorithm of another key type", json!({ "alg": "RS256", "kid": "k1" }), UNTRUSTED);
    check("an algorithm of another curve", json!({ "alg": "ES384", "kid": "k1" }), UNTRUSTED);
    let stranger = TokenKey::new("k1");
    let own = json!({ "alg": "ES256", "kid": "k1", "jwk": stranger.jwk() });
    bench.check("a key that the token brings along", &stranger.sign_with(&own, &claims()), UNTRUSTED);
}

#[test]
fn no_key_is_a_secret_and_none_is_no_algorithm() {
    let bench = Bench::new("");
    let jwks = std::fs::read(bench.world.path("keys.json")).unwrap();
    let x = URL_SAFE_NO_PAD.decode(bench.key.jwk()["x"].as_str().unwrap()).unwrap();
    for secret in [bench.key.public_bytes(), jwks, x, Vec::new()] {
        for (name, algorithm) in
            [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
        {
            let header = json!({ "alg": name, "kid": "k1" }).to_string();
            let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims().to_string()));
            let tag = hmac::sign(&hmac::Key::new(algorithm, &secret), signed.as_bytes());
            bench.check(name, &format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag)), UNTRUSTED);
        }
    }
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let signed = bench.key.sign_with(&json!({ "alg": none }), &claims());
        bench.check(none, &signed, UNTRUSTED);
        let (unsigned, _) = signed.rsplit_once('.').unwrap();
        bench.check(none, &format!("{unsigned}."), UNTRUSTED);
    }
}

#[test]
fn one_token_has_one_spelling() {
    let bench = Bench::new("");
    let token = bench.key.sign(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    bench.check("as it is", &token, ALICE);
    for (about, text) in [
        ("empty", String::new()),
        ("one part", header.to_owned()),
        ("two parts", format!("{header}.{payload}")),
        ("no signature", format!("{header}.{payload}.")),
        ("four parts", format!("{token}.x")),
        ("five parts", format!("{token}.x.y")),
        ("padding", format!("{token}=")),
        ("space before it", format!(" {token}")),
        ("a newline after it", format!("{token}\n")),
        ("standard base64", format!("{header}.{payload}.+{}", &signature[1..])),
        ("JSON serialisation", json!({ "protected": header, "payload": payload, "signature": signature }).to_string()),
        (
            "general JSON serialisation",
            json!({ "payload": payload, "signatures": [{ "protected": header, "signature": signature }] }).to_string(),
        ),
        ("too long", format!("{header}.{payload}.{}", "A".repeat(16 * 1024))),
        (
            "claims twice",
            bench.key.sign_text(r#"{"alg":"ES256"}"#, &claims().to_string().replacen('{', r#"{"sub":"bob","#, 1)),
        ),
        (
            "claims twice by escape",
            bench.key.sign_text(r#"{"alg":"ES256"}"#, &claims().to_string().replacen('{', r#"{"\u0073ub":"bob","#, 1)),
        ),
        ("a header twice", bench.key.sign_text(r#"{"alg":"none","alg":"ES256"}"#, &claims().to_string())),
        ("claims that are a list", bench.key.sign_text(r#"{"alg":"ES256"}"#, "[]")),
    ] {
        let outcome = bench.world.run(attest_token(&bench.chain, &text));
        let code = told(&outcome);
        assert!([MALFORMED, UNTRUSTED].contains(&code.as_str()), "{about}: {outcome:?}");
    }
    // Stray bits at the end of the signature would be a second spelling of it.
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = token.split_at(token.len() - 1);
    let value = alphabet.iter().position(|c| *c == last.as_bytes()[0]).unwrap();
    let sibling = char::from(alphabet[value ^ 1]);
    bench.check("stray bits", &format!("{rest}{sibling}"), MALFORMED);
    // A changed claim.
    let other = URL_SAFE_NO_PAD.encode(with("sub", json!("bob")).to_string());
    bench.check("other claims", &format!("{header}.{other}.{signature}"), UNTRUSTED);
}

#[test]
fn conditions() {
    let bench = Bench::new(
        "attributes = { \"github.ref\" = \"ref\", \"k8s.ns\" = '\"kubernetes.io\".namespace', \"groups\" = \"groups\" }\n\
         require = { owner = \"1234567\", run = [1, 2], groups = [\"a\", \"b\"] }\n",
    );
    let full = || {
        let mut claims = claims();
        claims["owner"] = json!("1234567");
        claims["run"] = json!(2);
        claims["groups"] = json!(["x", "b"]);
        claims["ref"] = json!("refs/heads/main");
        claims["kubernetes.io"] = json!({ "namespace": "prod" });
        claims
    };
    let changed = |name: &str, value: Value| {
        let mut claims = full();
        claims[name] = value;
        bench.key.sign(&claims)
    };
    let found = attested(bench.world.run(attest_token(&bench.chain, &bench.key.sign(&full()))));
    let attributes: Vec<_> = found.principal.attributes.iter().map(|(name, value)| (name, value.clone())).collect();
    assert_eq!(attributes[0].0, "github.ref");
    assert_eq!(attributes[0].1, "refs/heads/main".into());
    assert_eq!(attributes[2], ("k8s.ns", "prod".into()));
    assert_eq!(&*found.principal.attested_by, "ci");
    assert_eq!(found.proof.expires_at, Some(NOW + 330));
    assert!(found.proof.token.is_some());
    let shown = format!("{found:?}");
    assert!(!shown.contains("eyJ"), "{shown}");
    for (name, value) in [
        ("owner", json!(1_234_567)),
        ("owner", json!("1234567 ")),
        ("owner", json!(null)),
        ("run", json!("2")),
        ("run", json!(3)),
        ("groups", json!(["x"])),
        ("groups", json!([])),
        ("groups", json!({ "a": 1 })),
    ] {
        bench.check(&format!("{name} {value}"), &changed(name, value), "identity_refused");
    }
}

#[test]
fn lifetimes() {
    let bench = Bench::new("leeway = \"0s\"\nmax_lifetime = \"5m\"\n");
    bench.check("five minutes", &bench.key.sign(&claims()), ALICE);
    bench.check("a second more", &bench.key.sign(&with("exp", json!(NOW + 301))), UNTRUSTED);
    bench.check("no beginning", &bench.key.sign(&with("iat", Value::Null)), MALFORMED);
    bench.check("no leeway", &bench.key.sign(&with("exp", json!(NOW))), "identity_expired");
}

#[test]
fn a_verified_token_ends_in_time_and_with_its_key() {
    let bench = Bench::new("");
    let token = bench.key.sign(&claims());
    for _ in 0..3 {
        bench.check("verified before", &token, ALICE);
    }
    bench.world.clock.advance_ms((300 + 30) * 1_000 - 1);
    bench.check("the last moment", &token, ALICE);
    bench.world.clock.advance_ms(1);
    bench.check("the end", &token, "identity_expired");

    let fresh = bench.key.sign(&with("exp", json!(NOW + 10_000)));
    bench.check("a fresh one", &fresh, ALICE);
    bench.world.write("keys.json", TokenKey::new("k1").set());
    bench._attestors.look_at_files();
    bench.check("its key is gone", &fresh, UNTRUSTED);
    bench.world.write("keys.json", "{\"keys\":[]}");
    bench._attestors.look_at_files();
    bench.check("no keys", &fresh, UNTRUSTED);
    bench.world.write("keys.json", bench.key.set());
    bench._attestors.look_at_files();
    bench.check("its key is back", &fresh, ALICE);
}

#[test]
fn keys_of_a_set() {
    let world = World::new();
    let (one, two) = (TokenKey::new("k1"), TokenKey::new("k2"));
    world.write("keys.json", "{\"keys\":[]}");
    let attestors = world.attestors(TEXT);
    let ci = chain(&attestors, &["ci"]);
    let changed = |key: &TokenKey, name: &str, value: Value| {
        let mut jwk = key.jwk();
        jwk[name] = value;
        jwk
    };
    let without_kid = |key: &TokenKey| {
        let mut jwk = key.jwk();
        jwk.as_object_mut().unwrap().remove("kid");
        jwk
    };
    let named = one.sign(&claims());
    let unnamed = one.sign_with(&json!({ "alg": "ES256" }), &claims());
    for (about, keys, token, expected) in [
        ("two keys, named", vec![one.jwk(), two.jwk()], &named, ALICE),
        ("two keys that fit, unnamed", vec![one.jwk(), two.jwk()], &unnamed, UNTRUSTED),
        ("one key that fits, unnamed", vec![one.jwk(), changed(&two, "use", json!("enc"))], &unnamed, ALICE),
        ("two keys of one name", vec![one.jwk(), changed(&two, "kid", json!("k1"))], &named, UNTRUSTED),
        ("for encryption", vec![changed(&one, "use", json!("enc"))], &named, UNTRUSTED),
        ("for another algorithm", vec![changed(&one, "alg", json!("ES384"))], &named, UNTRUSTED),
        ("for other operations", vec![changed(&one, "key_ops", json!(["sign"]))], &named, UNTRUSTED),
        ("for verification", vec![changed(&one, "key_ops", json!(["verify"]))], &named, ALICE),
        ("with its private part", vec![changed(&one, "d", json!("AAAA"))], &named, UNTRUSTED),
        ("without a name, and the token has one", vec![without_kid(&one)], &named, UNTRUSTED),
        ("without names", vec![without_kid(&one)], &unnamed, ALICE),
        ("of an unknown type beside it", vec![json!({ "kty": "XYZ" }), one.jwk()], &named, ALICE),
        ("a point that is not on the curve", vec![changed(&one, "x", two.jwk()["x"].clone())], &named, UNTRUSTED),
        ("a short coordinate", vec![changed(&one, "x", json!("AAAA"))], &named, UNTRUSTED),
        ("symmetric", vec![json!({ "kty": "oct", "kid": "k1", "k": "AAAA" })], &named, UNTRUSTED),
    ] {
        world.write("keys.json", json!({ "keys": keys }).to_string());
        attestors.look_at_files();
        let outcome = world.run(attest_token(&ci, token));
        assert_eq!(told(&outcome), expected, "{about}: {outcome:?}");
    }
}

#[test]
fn algorithms_come_from_the_configuration() {
    let bench = Bench::new("algorithms = [\"RS256\"]\n");
    bench.check("ES256 is not listed", &bench.key.sign(&claims()), UNTRUSTED);
    let bench = Bench::new("algorithms = [\"RS256\", \"ES256\"]\n");
    bench.check("near: it is", &bench.key.sign(&claims()), ALICE);
}
