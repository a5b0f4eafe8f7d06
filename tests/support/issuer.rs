//! An issuer of identity tokens, such as a CI system is.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};

/// Signs ES256 tokens; its key set goes into a file.
#[derive(Debug)]
pub struct TokenIssuer {
    pair: EcdsaKeyPair,
    kid: String,
    issuer: String,
}

impl TokenIssuer {
    /// A new key.
    pub fn new(issuer: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { pair, kid: "k1".to_owned(), issuer: issuer.to_owned() }
    }

    /// The JWK set (RFC 7517).
    pub fn jwks(&self) -> String {
        // Uncompressed point: 0x04, x, y.
        let point = self.pair.public_key().as_ref();
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid,
            "x": B64.encode(&point[1..33]), "y": B64.encode(&point[33..65]),
        }]})
        .to_string()
    }

    /// A token for `sub`, for audience `claviger`, that lasts ten minutes.
    pub fn token(&self, sub: &str) -> String {
        self.token_with(sub, json!({}))
    }

    /// A token whose claims are overridden; `null` removes one.
    pub fn token_with(&self, sub: &str, overrides: Value) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({"iss": self.issuer, "aud": "claviger", "sub": sub, "iat": now, "exp": now + 600});
        for (name, value) in overrides.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        self.sign(&json!({"alg": "ES256", "typ": "JWT", "kid": self.kid}), &claims)
    }

    /// Signs any header and claims.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
        let rng = aws_lc_rs::rand::SystemRandom::new();
        let signature = self.pair.sign(&rng, signed.as_bytes()).unwrap();
        format!("{signed}.{}", B64.encode(signature.as_ref()))
    }
}
