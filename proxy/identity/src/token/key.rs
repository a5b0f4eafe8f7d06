//! Public keys (RFC 7517, RFC 7518 §6) and signatures under them.

use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, UnparsedPublicKey};
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::jws::{Jws, decode};
use super::roca;

/// A key that tokens are verified with.
#[derive(Clone, Debug)]
pub(crate) struct VerificationKey {
    /// Its name in the key set.
    pub(crate) kid: Option<String>,
    /// What it may verify: from its type and curve, narrowed by its own `alg`.
    pub(crate) algorithms: Vec<Algorithm>,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    Common(DecodingKey),
    /// A point on P-521, uncompressed; `jsonwebtoken` does not know the curve.
    P521(Vec<u8>),
}

/// What a key set is for, which decides over the values of `use` (RFC 7517 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyUse {
    /// `sig`, or none.
    Signature,
    /// `jwt-svid` exactly (JWT-SVID §6.2).
    JwtSvid,
}

impl VerificationKey {
    /// Reads a JWK. `None` for one that is not for this use, is symmetric, of an unknown type, or wrong: it is ignored,
    /// as RFC 7517 §5 asks.
    pub(crate) fn from_jwk(jwk: &Map<String, Value>, wanted: KeyUse) -> Option<Self> {
        if !is_for(jwk, wanted) || has_private_part(jwk) {
            return None;
        }
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let (mut algorithms, material) = match (text("kty")?, text("crv")) {
            ("RSA", None) => rsa(text("n")?, text("e")?)?,
            ("EC", Some(curve)) => elliptic(curve, text("x")?, text("y")?)?,
            ("OKP", Some("Ed25519")) => edwards(text("x")?)?,
            _ => return None,
        };
        if let Some(own) = jwk.get("alg") {
            let own = Algorithm::named(own.as_str()?)?;
            algorithms.retain(|algorithm| *algorithm == own);
        }
        let kid = match jwk.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str()?.to_owned()),
        };
        (!algorithms.is_empty()).then_some(Self { kid, algorithms, material })
    }

    /// Whether the token's signature is by this key, under an algorithm that the key allows.
    pub(crate) fn verifies(&self, token: &Jws<'_>) -> bool {
        if !self.algorithms.contains(&token.algorithm) {
            return false;
        }
        match &self.material {
            Material::P521(point) => {
                UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point).verify(token.signed, &token.signature).is_ok()
            }
            Material::Common(key) => {
                let Some(algorithm) = common(token.algorithm) else { return false };
                let Ok(verifier) = (jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.verifier_factory)(&algorithm, key)
                else {
                    return false;
                };
                jsonwebtoken::signature::Verifier::verify(&*verifier, token.signed, &token.signature).is_ok()
            }
        }
    }
}

fn is_for(jwk: &Map<String, Value>, wanted: KeyUse) -> bool {
    let usage = jwk.get("use").map(Value::as_str);
    let fits = match wanted {
        KeyUse::Signature => matches!(usage, None | Some(Some("sig"))),
        KeyUse::JwtSvid => matches!(usage, Some(Some("jwt-svid"))),
    };
    let operations_fit = match jwk.get("key_ops") {
        None => true,
        Some(Value::Array(operations)) => operations.iter().any(|operation| operation.as_str() == Some("verify")),
        Some(_) => false,
    };
    fits && operations_fit
}

/// A key whose private part was published is nobody's any more.
fn has_private_part(jwk: &Map<String, Value>) -> bool {
    ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|name| jwk.contains_key(*name))
}

fn rsa(n: &str, e: &str) -> Option<(Vec<Algorithm>, Material)> {
    use Algorithm::{Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
    // 2048 to 8192 bits: smaller is forbidden (RFC 7518 §3.3), larger only burns time.
    let modulus = decode(n.as_bytes())?;
    let exponent = decode(e.as_bytes())?;
    if !(256..=1024).contains(&modulus.len()) || modulus.first() == Some(&0) {
        return None;
    }
    if exponent.len() > 4 || exponent.first() == Some(&0) || exponent.last().is_none_or(|last| last % 2 == 0) {
        return None;
    }
    // An exponent of 1 makes every signature its own message.
    if exponent == [1] {
        return None;
    }
    if roca::has_fingerprint(&modulus) {
        return None;
    }
    let key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
    Some((vec![Rs256, Rs384, Rs512, Ps256, Ps384, Ps512], Material::Common(key)))
}

fn elliptic(curve: &str, x: &str, y: &str) -> Option<(Vec<Algorithm>, Material)> {
    let (algorithm, size) = match curve {
        "P-256" => (Algorithm::Es256, 32),
        "P-384" => (Algorithm::Es384, 48),
        "P-521" => (Algorithm::Es512, 66),
        _ => return None,
    };
    let (x_bytes, y_bytes) = (decode(x.as_bytes())?, decode(y.as_bytes())?);
    // Coordinates have the full length of the curve (RFC 7518 §6.2.1.2).
    if x_bytes.len() != size || y_bytes.len() != size {
        return None;
    }
    let material = match algorithm {
        Algorithm::Es512 => Material::P521([&[4], x_bytes.as_slice(), y_bytes.as_slice()].concat()),
        _ => Material::Common(DecodingKey::from_ec_components(x, y).ok()?),
    };
    Some((vec![algorithm], material))
}

fn edwards(x: &str) -> Option<(Vec<Algorithm>, Material)> {
    let key = DecodingKey::from_ed_components(x).ok()?;
    (decode(x.as_bytes())?.len() == 32).then_some((vec![Algorithm::EdDsa], Material::Common(key)))
}

fn common(algorithm: Algorithm) -> Option<jsonwebtoken::Algorithm> {
    Some(match algorithm {
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Rs384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::Ps384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::Ps512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::Es512 => return None,
    })
}
