//! Keys of clients, and what a server does with what they sign.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

/// A key in PEM, with its public half.
pub(super) struct Key {
    pub(super) pem: String,
    public: Vec<u8>,
}

pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

impl Key {
    fn new(pkcs8: &[u8], public: &[u8]) -> Self {
        Self { pem: pem("PRIVATE KEY", pkcs8), public: public.to_vec() }
    }

    pub(super) fn p256() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self::new(pair.to_pkcs8v1().unwrap().as_ref(), pair.public_key().as_ref())
    }

    pub(super) fn p384() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        Self::new(pair.to_pkcs8v1().unwrap().as_ref(), pair.public_key().as_ref())
    }

    pub(super) fn ed25519() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::new(pkcs8.as_ref(), Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap().public_key().as_ref())
    }

    pub(super) fn rsa() -> Self {
        let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let pkcs8 = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
        Self::new(pkcs8.as_ref(), pair.public_key().as_ref())
    }

    /// As OpenSSL wrote RSA keys for decades: what PKCS #8 wraps.
    pub(super) fn as_pkcs1(&self) -> Self {
        let body: String = self.pem.lines().filter(|line| !line.starts_with('-')).collect();
        let pkcs8 = STANDARD.decode(body).unwrap();
        // SEQUENCE { INTEGER 0, SEQUENCE algorithm, OCTET STRING { PKCS #1 } }, with lengths of two bytes.
        let inner = pkcs8.windows(2).position(|window| window == [0x04, 0x82]).unwrap() + 4;
        Self { pem: pem("RSA PRIVATE KEY", &pkcs8[inner..]), public: self.public.clone() }
    }

    /// The header and the claims of a JWT that it has signed with this algorithm.
    pub(super) fn verify(&self, algorithm: &str, jwt: &str) -> (Value, Value) {
        let verification: &dyn VerificationAlgorithm = match algorithm {
            "ES256" => &ECDSA_P256_SHA256_FIXED,
            "ES384" => &ECDSA_P384_SHA384_FIXED,
            "RS256" => &RSA_PKCS1_2048_8192_SHA256,
            "PS256" => &RSA_PSS_2048_8192_SHA256,
            "EdDSA" => &signature::ED25519,
            other => panic!("{other}"),
        };
        let [header, claims, signed] = jwt.split('.').collect::<Vec<_>>()[..] else { panic!("{jwt}") };
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let message = jwt.rsplit_once('.').unwrap().0;
        let key = UnparsedPublicKey::new(verification, &self.public);
        key.verify(message.as_bytes(), &decoded(signed)).expect("the signature is right");
        let json = |part: &str| -> Value { serde_json::from_slice(&decoded(part)).unwrap() };
        assert_eq!(json(header)["alg"], algorithm);
        (json(header), json(claims))
    }
}
