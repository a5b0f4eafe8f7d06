//! Private keys in PEM, and the JWTs that they sign (RFC 7515, RFC 7519).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_contract::Secret;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Map, Value};
use zeroize::{Zeroize, Zeroizing};

/// The smallest RSA key, in bytes of its modulus (RFC 7518 §3.3).
const RSA_MIN: usize = 256;

/// With what a JWT is signed (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Es256,
    Es384,
    Rs256,
    Ps256,
    EdDsa,
}

impl Algorithm {
    /// All of them, by their registered names.
    pub(super) const ALL: &[(&str, Self)] = &[
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("RS256", Self::Rs256),
        ("PS256", Self::Ps256),
        ("EdDSA", Self::EdDsa),
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A private key, ready to sign.
pub(super) enum PrivateKey {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// Reads a key in PEM: PKCS #8, PKCS #1 or SEC 1. The error says what is wrong, and nothing of the key.
    pub(super) fn parse(pem: &Secret) -> Result<Self, &'static str> {
        #[allow(clippy::disallowed_methods, reason = "the key is read by the library that signs with it")]
        let der = PrivateKeyDer::from_pem_slice(pem.expose()).map_err(|_| "it holds no private key in PEM")?;
        let der = Wiped(der);
        let bytes = der.0.secret_der();
        let ec = |algorithm| EcdsaKeyPair::from_private_key_der(algorithm, bytes).ok();
        let key = match &der.0 {
            PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(bytes).ok().map(|pair| Self::Rsa(Box::new(pair))),
            _ => ec(&ECDSA_P256_SHA256_FIXED_SIGNING)
                .map(Self::P256)
                .or_else(|| ec(&ECDSA_P384_SHA384_FIXED_SIGNING).map(Self::P384))
                .or_else(|| Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes).ok().map(Self::Ed25519))
                .or_else(|| RsaKeyPair::from_pkcs8(bytes).ok().map(|pair| Self::Rsa(Box::new(pair)))),
        };
        match key.ok_or("its key is none of P-256, P-384, RSA and Ed25519")? {
            Self::Rsa(pair) if pair.public_modulus_len() < RSA_MIN => Err("its RSA key has less than 2,048 bits"),
            key => Ok(key),
        }
    }

    /// The public key as a certificate holds it (`subjectPublicKey`, RFC 5280 §4.1.2.7).
    pub(super) fn public(&self) -> &[u8] {
        match self {
            Self::P256(pair) | Self::P384(pair) => pair.public_key().as_ref(),
            Self::Rsa(pair) => pair.public_key().as_ref(),
            Self::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }

    /// Whether it can sign with the algorithm.
    pub(super) fn check(&self, algorithm: Algorithm) -> Result<(), &'static str> {
        match (algorithm, self) {
            (Algorithm::Es256, Self::P256(_))
            | (Algorithm::Es384, Self::P384(_))
            | (Algorithm::Rs256 | Algorithm::Ps256, Self::Rsa(_))
            | (Algorithm::EdDsa, Self::Ed25519(_)) => Ok(()),
            (Algorithm::Es256, _) => Err("`ES256` signs with a P-256 key, which it does not hold"),
            (Algorithm::Es384, _) => Err("`ES384` signs with a P-384 key, which it does not hold"),
            (Algorithm::Rs256 | Algorithm::Ps256, _) => {
                Err("`RS256` and `PS256` sign with an RSA key, which it does not hold")
            }
            (Algorithm::EdDsa, _) => Err("`EdDSA` signs with an Ed25519 key, which it does not hold"),
        }
    }

    /// A signed JWT in compact form.
    pub(super) fn jwt(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        claims: &Map<String, Value>,
    ) -> Result<Secret, &'static str> {
        self.check(algorithm)?;
        let mut header = Map::new();
        header.insert("alg".to_owned(), algorithm.name().into());
        header.insert("typ".to_owned(), "JWT".into());
        header.extend(kid.map(|kid| ("kid".to_owned(), kid.into())));
        let part = |map: &Map<String, Value>| serde_json::to_vec(map).map(|json| URL_SAFE_NO_PAD.encode(json));
        let unwritable = "the claims cannot be written as JSON";
        let (header, claims) = (part(&header).map_err(|_| unwritable)?, part(claims).map_err(|_| unwritable)?);
        // What is signed is no secret before the signature stands behind it.
        let mut token = Zeroizing::new(String::with_capacity(header.len() + claims.len() + 1_100));
        token.push_str(&header);
        token.push('.');
        token.push_str(&claims);
        let signature = self.sign(algorithm, token.as_bytes()).ok_or("the cryptographic library refuses the key")?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(Secret::new(token.as_bytes().to_vec()))
    }

    fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::P256(pair) | Self::P384(pair) => {
                pair.sign(&SystemRandom::new(), message).ok().map(|signature| signature.as_ref().to_vec())
            }
            Self::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
            Self::Rsa(pair) => {
                let padding = if algorithm == Algorithm::Ps256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &SystemRandom::new(), message, &mut signature).ok().map(|()| signature)
            }
        }
    }
}

/// Wiped on drop, which the type itself is not.
struct Wiped(PrivateKeyDer<'static>);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
