//! A key that tokens are signed with: made, kept as PKCS #8, published as a JWK (RFC 7517), named by its thumbprint.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;
use zeroize::Zeroizing;

/// What tokens are signed with (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, and a key of 2,048 bits: what the oldest verifiers know.
    Rs256,
    /// Ed25519.
    EdDsa,
}

impl SigningAlgorithm {
    /// All of them, by their registered names.
    pub const ALL: [(&str, Self); 3] = [("ES256", Self::Es256), ("RS256", Self::Rs256), ("EdDSA", Self::EdDsa)];

    /// Its registered name: `alg` of tokens and keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The cryptographic library refused a key, or has no randomness. Says no more: it knows no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library refuses the key")]
pub(super) struct KeyRefused;

/// A private key, ready to sign.
pub(super) struct SigningKey {
    pair: Pair,
    /// Its members in the order that a thumbprint wants (RFC 7638 §3.2): by name.
    public: Vec<(&'static str, String)>,
    kid: String,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
    Ed(Ed25519KeyPair),
}

impl SigningKey {
    /// Makes a key, as PKCS #8.
    pub(super) fn generate(algorithm: SigningAlgorithm) -> Result<Zeroizing<Vec<u8>>, KeyRefused> {
        let random = SystemRandom::new();
        let pkcs8 = match algorithm {
            SigningAlgorithm::Es256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                .map(|made| made.as_ref().to_vec()),
            SigningAlgorithm::EdDsa => Ed25519KeyPair::generate_pkcs8(&random).map(|made| made.as_ref().to_vec()),
            SigningAlgorithm::Rs256 => RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048)
                .and_then(|pair| AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair))
                .map(|made| made.as_ref().to_vec()),
        };
        pkcs8.map(Zeroizing::new).map_err(|_| KeyRefused)
    }

    /// Reads a key that was made here.
    pub(super) fn from_pkcs8(algorithm: SigningAlgorithm, pkcs8: &[u8]) -> Result<Self, KeyRefused> {
        let pair = match algorithm {
            SigningAlgorithm::Es256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map(Pair::Ec),
            SigningAlgorithm::Rs256 => RsaKeyPair::from_pkcs8(pkcs8).map(|pair| Pair::Rsa(Box::new(pair))),
            SigningAlgorithm::EdDsa => Ed25519KeyPair::from_pkcs8(pkcs8).map(Pair::Ed),
        };
        let pair = pair.map_err(|_| KeyRefused)?;
        let public = pair.public().ok_or(KeyRefused)?;
        let kid = thumbprint(&public);
        Ok(Self { pair, public, kid })
    }

    /// Its name: the thumbprint (RFC 7638).
    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    /// With what it signs.
    pub(super) fn algorithm(&self) -> SigningAlgorithm {
        match self.pair {
            Pair::Ec(_) => SigningAlgorithm::Es256,
            Pair::Rsa(_) => SigningAlgorithm::Rs256,
            Pair::Ed(_) => SigningAlgorithm::EdDsa,
        }
    }

    /// The public key as it is published (RFC 7517 §4).
    pub(super) fn jwk(&self) -> Value {
        let mut members = Map::new();
        for (name, value) in &self.public {
            members.insert((*name).to_owned(), value.as_str().into());
        }
        members.insert("alg".to_owned(), self.algorithm().name().into());
        members.insert("kid".to_owned(), self.kid.as_str().into());
        members.insert("use".to_owned(), "sig".into());
        Value::Object(members)
    }

    /// A JWT of these claims in compact form (RFC 7515 §7.1).
    pub(super) fn sign(&self, claims: &Map<String, Value>) -> Result<String, KeyRefused> {
        let header = serde_json::json!({"alg": self.algorithm().name(), "kid": self.kid, "typ": "JWT"});
        let claims = serde_json::to_vec(claims).map_err(|_| KeyRefused)?;
        let mut token = String::with_capacity(640);
        URL_SAFE_NO_PAD.encode_string(header.to_string(), &mut token);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.pair.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm(), self.kid)
    }
}

impl Pair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyRefused> {
        let random = SystemRandom::new();
        match self {
            Self::Ec(pair) => pair.sign(&random, message).map(|made| made.as_ref().to_vec()).map_err(|_| KeyRefused),
            Self::Ed(pair) => pair.try_sign(message).map(|made| made.as_ref().to_vec()).map_err(|_| KeyRefused),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
                signed.map(|()| signature).map_err(|_| KeyRefused)
            }
        }
    }

    /// What a thumbprint is made of, in its order: RFC 7638 §3.2, RFC 8037 §2.
    fn public(&self) -> Option<Vec<(&'static str, String)>> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ec(pair) => {
                // An uncompressed point (SEC 1 §2.3.3).
                let (x, y) = pair.public_key().as_ref().strip_prefix(&[4])?.split_at_checked(32)?;
                Some(vec![("crv", "P-256".into()), ("kty", "EC".into()), ("x", encode(x)), ("y", encode(y))])
            }
            Self::Ed(pair) => {
                let x = encode(pair.public_key().as_ref());
                Some(vec![("crv", "Ed25519".into()), ("kty", "OKP".into()), ("x", x)])
            }
            Self::Rsa(pair) => {
                let (_, key) = RSAPublicKey::from_der(pair.public_key().as_ref()).ok()?;
                // Without the zero byte that keeps a DER integer positive (RFC 7518 §6.3.1.1).
                let unsigned = |bytes: &[u8]| encode(bytes.strip_prefix(&[0]).unwrap_or(bytes));
                Some(vec![("e", unsigned(key.exponent)), ("kty", "RSA".into()), ("n", unsigned(key.modulus))])
            }
        }
    }
}

/// SHA-256 over the required members, by name, without white space (RFC 7638 §3).
fn thumbprint(members: &[(&str, String)]) -> String {
    // Names and values are base64url and registered words: nothing in them is escaped.
    let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
    URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("{{{}}}", members.join(",")).as_bytes()))
}

#[cfg(test)]
mod tests;
