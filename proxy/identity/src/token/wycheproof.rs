//! Wycheproof's JWS and JWK cases through the verifier that tokens go through.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::algorithm::Algorithm;
use super::jws::{self, Profile};
use super::key::KeyUse;
use super::key_set::{Found, KeySet};

const SIGNATURE: &str = include_str!("../../tests/vectors/wycheproof/json_web_signature_test.json");
const KEY: &str = include_str!("../../tests/vectors/wycheproof/json_web_key_test.json");
const CRYPTO: &str = include_str!("../../tests/vectors/wycheproof/json_web_crypto_test.json");

/// Valid cases that are refused here on purpose, by what the key says of itself.
fn is_refused_on_purpose(keys: &[Map<String, Value>], token: &Value) -> Option<&'static str> {
    let all = |test: fn(&Map<String, Value>) -> bool| keys.iter().all(test);
    if all(|key| key.get("kty") == Some(&json!("oct"))) {
        return Some("symmetric: whoever verifies could also sign");
    }
    if all(|key| key.get("alg") == Some(&json!("ES521"))) {
        return Some("no registered algorithm: RFC 7518 calls it ES512");
    }
    let header = token.as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text.split('.').next()?).ok());
    let header: Option<Value> = header.and_then(|text| serde_json::from_slice(&text).ok());
    if header.is_some_and(|header| keys.iter().all(|key| key.get("alg") != header.get("alg"))) {
        return Some("the key's own `alg` is another");
    }
    None
}

/// The public keys of a group; the private half of a pair is dropped, as an issuer would.
fn public_keys(group: &Map<String, Value>) -> Vec<Map<String, Value>> {
    let keys = group.get("public").or_else(|| group.get("private")).unwrap();
    let keys = match keys.get("keys") {
        Some(keys) => keys.as_array().unwrap().clone(),
        None => vec![keys.clone()],
    };
    keys.iter()
        .map(|key| {
            let mut key = key.as_object().unwrap().clone();
            for private in ["d", "p", "q", "dp", "dq", "qi"] {
                key.remove(private);
            }
            key
        })
        .collect()
}

fn accepts(keys: &[Map<String, Value>], token: &Value) -> bool {
    let set = json!({ "keys": keys }).to_string();
    let set = KeySet::parse(set.as_bytes(), KeyUse::Signature).unwrap();
    let text = match token {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    jws::parse(text.as_bytes(), Profile::Jwt)
        .is_ok_and(|token| set.verify(&token, &Algorithm::all()) == Found::Verified)
}

/// Runs a file; yields how many valid cases were accepted, and refused on purpose.
fn check(file: &str) -> (usize, usize) {
    let file: Value = serde_json::from_str(file).unwrap();
    let (mut accepted, mut on_purpose) = (0, 0);
    for group in file["testGroups"].as_array().unwrap() {
        let group = group.as_object().unwrap();
        let keys = public_keys(group);
        for case in group["tests"].as_array().unwrap() {
            let Some(token) = case.get("jws") else {
                assert!(case.get("jwe").is_some(), "{case}");
                continue;
            };
            let about = format!("{} {}: {}", group["comment"], case["tcId"], case["comment"]);
            let is_accepted = accepts(&keys, token);
            match case["result"].as_str().unwrap() {
                "valid" if is_refused_on_purpose(&keys, token).is_some() => {
                    assert!(!is_accepted, "{about}");
                    on_purpose += 1;
                }
                "valid" => {
                    assert!(is_accepted, "{about}");
                    accepted += 1;
                }
                "invalid" => assert!(!is_accepted, "{about}"),
                other => panic!("{other}"),
            }
        }
    }
    (accepted, on_purpose)
}

#[test]
fn signatures() {
    assert_eq!(check(SIGNATURE), (32, 14));
}

#[test]
fn keys() {
    assert_eq!(check(KEY), (1, 4));
}

#[test]
fn mixed() {
    assert_eq!(check(CRYPTO), (2, 2));
}

#[test]
fn a_public_key_is_no_secret() {
    // RS256 confused with HS256: the public key's own bytes as the secret of an HMAC.
    let group: Value = serde_json::from_str(SIGNATURE).unwrap();
    let rsa = group["testGroups"].as_array().unwrap().iter().find(|group| {
        group.get("public").is_some_and(|key| key["kty"] == json!("RSA") && key["alg"] == json!("RS256"))
    });
    let keys = public_keys(rsa.unwrap().as_object().unwrap());
    let modulus = URL_SAFE_NO_PAD.decode(keys[0]["n"].as_str().unwrap()).unwrap();
    for name in ["HS256", "HS384", "HS512", "none", "None", "rs256", "RS256 "] {
        let header = json!({ "alg": name, "kid": keys[0].get("kid") }).to_string();
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode("{}"));
        let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &modulus);
        let tag = aws_lc_rs::hmac::sign(&secret, signed.as_bytes());
        for signature in [URL_SAFE_NO_PAD.encode(tag), String::new()] {
            let token = format!("{signed}.{signature}");
            let refused = jws::parse(token.as_bytes(), Profile::Jwt).map(|_| ()).unwrap_err();
            assert_eq!(refused.code(), "identity_untrusted", "{name}");
        }
    }
}
