//! A signing key whose private half never leaves the cryptographic library, which wipes it.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair,
};
use claviger_contract::Secret;
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroize;

use super::AuthorityError;

/// The curves that a root may have; what is made here is always the first.
static CURVES: [(&EcdsaSigningAlgorithm, &SignatureAlgorithm); 2] = [
    (&ECDSA_P256_SHA256_ASN1_SIGNING, &PKCS_ECDSA_P256_SHA256),
    (&ECDSA_P384_SHA384_ASN1_SIGNING, &PKCS_ECDSA_P384_SHA384),
];

/// An ECDSA key. `rcgen`'s own type is not used: it keeps a copy of the key that is not wiped.
pub(super) struct EcKey {
    pair: EcdsaKeyPair,
    algorithm: &'static SignatureAlgorithm,
}

impl EcKey {
    /// A new P-256 key.
    pub(super) fn generate() -> Result<Self, AuthorityError> {
        let [(curve, algorithm), _] = CURVES;
        Ok(Self { pair: EcdsaKeyPair::generate(curve)?, algorithm })
    }

    /// Reads PKCS #8 (`PRIVATE KEY`) or RFC 5915 (`EC PRIVATE KEY`).
    pub(super) fn from_pem(pem: &Secret) -> Result<Self, AuthorityError> {
        #[allow(clippy::disallowed_methods, reason = "the root's key is parsed")]
        let der = PrivateKeyDer::from_pem_slice(pem.expose());
        let mut der = der.map_err(|_| AuthorityError::RootKey)?;
        let found = CURVES.iter().find_map(|(curve, algorithm)| {
            let pair = EcdsaKeyPair::from_private_key_der(curve, der.secret_der()).ok()?;
            Some(Self { pair, algorithm })
        });
        der.zeroize();
        found.ok_or(AuthorityError::RootKey)
    }

    /// PKCS #8 in PEM, for the sealed store.
    pub(super) fn to_pem(&self) -> Result<Secret, AuthorityError> {
        Ok(super::root::pem("PRIVATE KEY", self.pair.to_pkcs8v1()?.as_ref()))
    }

    /// The key as TLS signs handshakes with it.
    pub(super) fn signer(&self) -> Result<Arc<dyn rustls::sign::SigningKey>, AuthorityError> {
        let document = self.pair.to_pkcs8v1()?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(document.as_ref()));
        Ok(rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&der)?)
    }
}

impl PublicKeyData for EcKey {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl SigningKey for EcKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| rcgen::Error::RingUnspecified)?;
        Ok(signature.as_ref().to_vec())
    }
}
