//! The MUSTs for a validator of JWT-SVIDs, by their numbers in SPIFFE's order.

use serde_json::{Value, json};

use crate::support::{NOW, TokenKey, World, attest_token, chain, told, vector};

const TEXT: &str = "[attestor.svid]\nkind = \"jwt-svid\"\naudience = \"claviger\"\n\
    bundle = { \"acme.internal\" = \"acme.json\", \"other.internal\" = \"other.json\" }\n";
const API: &str = "spiffe://acme.internal/api";
const MALFORMED: &str = "identity_malformed";
const UNTRUSTED: &str = "identity_untrusted";

fn claims() -> Value {
    json!({ "sub": API, "aud": ["claviger"], "exp": NOW + 300 })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

#[test]
fn every_must_has_a_case() {
    let world = World::new();
    let (key, other) = (TokenKey::new("k1"), TokenKey::new("k1"));
    let bundle = |jwk: Value| json!({ "keys": [jwk], "spiffe_sequence": 1, "unknown": {} }).to_string();
    world.write("acme.json", bundle(key.jwk_for("jwt-svid"))).write("other.json", bundle(other.jwk_for("jwt-svid")));
    let attestors = world.attestors(TEXT);
    let svid = chain(&attestors, &["svid"]);
    let check = |must: &str, token: &str, expected: &str| {
        let outcome = world.run(attest_token(&svid, token));
        assert_eq!(told(&outcome), expected, "{must}: {outcome:?}");
    };
    let header = |name: &str, value: Value| {
        let mut header = json!({ "alg": "ES256", "kid": "k1" });
        header[name] = value;
        key.sign_with(&header, &claims())
    };
    check("a right JWT-SVID", &key.sign(&claims()), API);
    let parts: Vec<String> = key.sign(&claims()).split('.').map(str::to_owned).collect();
    let flattened = json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] });
    check("39 JSON serialisation", &flattened.to_string(), MALFORMED);
    check("40 another header parameter", &header("x5t", json!("x")), MALFORMED);
    check("40 jku", &header("jku", json!("https://evil.test")), MALFORMED);
    check("40 cty", &header("cty", json!("JWT")), MALFORMED);
    check("41, 42 EdDSA", &header("alg", json!("EdDSA")), UNTRUSTED);
    check("41, 42 HS256", &header("alg", json!("HS256")), UNTRUSTED);
    check("41, 42 none", &header("alg", json!("none")), UNTRUSTED);
    check("43 typ JOSE", &header("typ", json!("JOSE")), API);
    check("43 typ JWT", &header("typ", json!("JWT")), API);
    check("43 another typ", &header("typ", json!("at+jwt")), MALFORMED);
    check("84 a WIT-SVID is no bearer token", &header("typ", json!("wit+jwt")), MALFORMED);
    check("44 no SPIFFE ID", &key.sign(&with("sub", json!("api"))), "identity_unknown_issuer");
    check("44 no path", &key.sign(&with("sub", json!("spiffe://acme.internal"))), MALFORMED);
    check("45 no audience", &key.sign(&with("aud", Value::Null)), MALFORMED);
    check("45 another audience", &key.sign(&with("aud", json!(["other"]))), "identity_audience");
    check("45 near: one text", &key.sign(&with("aud", json!("claviger"))), API);
    check("46 no end", &key.sign(&json!({ "sub": API, "aud": "claviger" })), MALFORMED);
    check("46 ended", &key.sign(&with("exp", json!(NOW - 30))), "identity_expired");
    let foreign = "spiffe://other.internal/api";
    check("57, 79 each key vouches for its own domain", &other.sign(&with("sub", json!(foreign))), foreign);
    check("57, 79 another domain's key", &other.sign(&claims()), UNTRUSTED);
    check("57, 79 for another domain's name", &key.sign(&with("sub", json!(foreign))), UNTRUSTED);
    let third = with("sub", json!("spiffe://third.internal/api"));
    check("79 a domain without a bundle", &key.sign(&third), "identity_unknown_issuer");

    for (must, jwk, expected) in [
        ("48 use=sig", key.jwk_for("sig"), UNTRUSTED),
        ("48, 76 use=x509-svid", key.jwk_for("x509-svid"), UNTRUSTED),
        ("54 use in another case", key.jwk_for("JWT-SVID"), UNTRUSTED),
        (
            "47 a key without kid",
            {
                let mut jwk = key.jwk_for("jwt-svid");
                jwk.as_object_mut().unwrap().remove("kid");
                jwk
            },
            UNTRUSTED,
        ),
        ("53 an unknown kty", json!({ "kty": "XYZ", "use": "jwt-svid", "kid": "k1" }), UNTRUSTED),
        ("48 near: use=jwt-svid", key.jwk_for("jwt-svid"), API),
    ] {
        world.write("acme.json", bundle(jwk));
        attestors.look_at_files();
        check(must, &key.sign(&claims()), expected);
    }
    world.write("acme.json", "{\"keys\":[]}");
    attestors.look_at_files();
    check("55 an empty bundle", &key.sign(&claims()), UNTRUSTED);
}

#[test]
fn the_vectors_of_go_spiffe() {
    for (file, loads, is_usable) in [
        ("jwtbundle/testdata/jwks_valid_1.json", true, false),
        ("jwtbundle/testdata/jwks_missing_kid.json", true, false),
        ("spiffebundle/testdata/spiffebundle_valid_1.json", true, true),
        ("spiffebundle/testdata/spiffebundle_valid_2.json", true, true),
        ("spiffebundle/testdata/spiffebundle_missing_kid.json", true, false),
        ("spiffebundle/testdata/spiffebundle_no_keys.json", false, false),
    ] {
        let world = World::new();
        let text = std::fs::read(vector(&format!("go-spiffe/bundle/{file}"))).unwrap();
        world.write("acme.json", &text).write("other.json", &text);
        let (attestors, out) = world.take(TEXT);
        assert_eq!(!out.has_errors(), loads, "{file}: {out:?}");
        if loads {
            assert_eq!(attestors.health().is_empty(), is_usable, "{file}: {out:?}");
        }
    }
}
