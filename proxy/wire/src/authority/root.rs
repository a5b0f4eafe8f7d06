//! The root: what clients are told to trust.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claviger_contract::{Clock, Secret};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyUsagePurpose, PublicKeyData};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

use super::key::EcKey;
use super::{AuthorityError, BACKDATED_SECONDS, params, short_id};

const ROOT_SECONDS: i64 = 5 * 365 * 24 * 60 * 60;

/// A CA certificate and its key. The key signs intermediates and nothing else. Cheap to clone.
#[derive(Clone)]
pub struct InterceptionRoot(Arc<Root>);

struct Root {
    issuer: Issuer<'static, EcKey>,
    certificate: CertificateDer<'static>,
    validity: Range<i64>,
}

impl InterceptionRoot {
    /// A new root for five years, with a new P-256 key.
    pub fn generate(clock: &dyn Clock) -> Result<Self, AuthorityError> {
        let now = clock.now();
        let key = EcKey::generate()?;
        let validity = now - BACKDATED_SECONDS..now + ROOT_SECONDS;
        let mut params = params(validity.start, validity.end)?;
        let id = short_id(&params, &key);
        params.distinguished_name.push(DnType::CommonName, format!("Claviger interception root {id}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // It would name the root itself (RFC 5280 §4.2.1.1).
        params.use_authority_key_identifier_extension = false;
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self(Arc::new(Root { issuer: Issuer::new(params, key), certificate, validity })))
    }

    /// A root that was made before, here or by a company's own CA: one certificate and its ECDSA key.
    pub fn from_pem(certificate: &str, key: &Secret) -> Result<Self, AuthorityError> {
        let mut certificates = CertificateDer::pem_slice_iter(certificate.as_bytes());
        let (Some(Ok(der)), None) = (certificates.next(), certificates.next()) else {
            return Err(AuthorityError::RootCertificate);
        };
        let (_, x509) = X509Certificate::from_der(&der).map_err(|_| AuthorityError::RootCertificate)?;
        check_fit(&x509)?;
        let validity = x509.validity().not_before.timestamp()..x509.validity().not_after.timestamp();
        let key = EcKey::from_pem(key)?;
        if key.subject_public_key_info() != x509.public_key().raw {
            return Err(AuthorityError::RootKeyMismatch);
        }
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        let root = Self(Arc::new(Root { issuer, certificate: der, validity }));
        root.check_name()?;
        Ok(root)
    }

    /// Certificate and key, for [`InterceptionRoot::from_pem`].
    pub fn to_pem(&self) -> Result<(String, Secret), AuthorityError> {
        Ok((self.certificate_pem(), self.0.issuer.key().to_pem()?))
    }

    /// The certificate, which clients are to trust.
    pub fn certificate_pem(&self) -> String {
        text("CERTIFICATE", &self.0.certificate)
    }

    /// The certificate in DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.0.certificate
    }

    /// In seconds since the Unix epoch. Its very last second is not used.
    pub(super) fn validity(&self) -> Range<i64> {
        self.0.validity.clone()
    }

    /// The only use of the key. That it is an intermediate is not left to the caller.
    pub(super) fn sign(
        &self,
        params: &CertificateParams,
        key: &EcKey,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        if params.is_ca != IsCa::Ca(BasicConstraints::Constrained(0)) {
            return Err(AuthorityError::RootUnfit("only intermediates are signed with it"));
        }
        Ok(params.signed_by(key, &self.0.issuer)?.der().clone())
    }

    /// What is signed names its issuer by a name that was read and written again. If that changes a
    /// byte, no client would find the root.
    fn check_name(&self) -> Result<(), AuthorityError> {
        let key = EcKey::generate()?;
        let mut probe = params(self.0.validity.start, self.0.validity.end)?;
        probe.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let probe = self.sign(&probe, &key)?;
        let parse = |der| X509Certificate::from_der(der).map_err(|_| AuthorityError::RootCertificate);
        let (_, root) = parse(&self.0.certificate)?;
        let (_, probe) = parse(&probe)?;
        if probe.issuer().as_raw() == root.subject().as_raw() {
            Ok(())
        } else {
            Err(AuthorityError::RootUnfit("its subject is too unusual to be repeated byte for byte"))
        }
    }
}

impl fmt::Debug for InterceptionRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterceptionRoot").field("validity", &self.0.validity).finish_non_exhaustive()
    }
}

fn check_fit(x509: &X509Certificate<'_>) -> Result<(), AuthorityError> {
    let unfit = |why| Err(AuthorityError::RootUnfit(why));
    match x509.basic_constraints() {
        Ok(Some(constraints)) if constraints.value.ca => {
            if constraints.value.path_len_constraint == Some(0) {
                return unfit("its path length is 0, and an intermediate stands below it");
            }
        }
        _ => return unfit("it is not a CA"),
    }
    match x509.key_usage() {
        Ok(Some(usage)) if !usage.value.key_cert_sign() => return unfit("its key usage lacks keyCertSign"),
        Ok(_) => {}
        Err(_) => return unfit("its key usage cannot be read"),
    }
    if x509.subject().iter().any(|part| part.iter().count() != 1) || x509.subject().iter().next().is_none() {
        return unfit("its subject is empty or has parts of several values");
    }
    Ok(())
}

/// Wiped as it is put together: the label may be that of a key.
pub(super) fn pem(label: &str, der: &[u8]) -> Secret {
    Secret::from(text(label, der))
}

fn text(label: &str, der: &[u8]) -> String {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    // Nothing is left behind by growing.
    let mut text = String::with_capacity(encoded.len() + encoded.len() / 64 + 2 * label.len() + 64);
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at_checked(64).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}
