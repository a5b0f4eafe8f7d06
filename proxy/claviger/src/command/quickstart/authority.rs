//! The demo API's own certificate authority. Its keys stay in memory.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use crate::command::Failure;

/// Signs the demo API's certificate.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// A new root, valid for a day.
    pub(crate) fn generate() -> Result<Self, Failure> {
        let mut params = valid_today(CertificateParams::default());
        params.distinguished_name.push(DnType::CommonName, "Claviger quickstart root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        let pem = params.self_signed(&key).map_err(failed)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// The root certificate, for those who are to trust it.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for a server of this name, and its key.
    pub(crate) fn issue(&self, host: &str) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Failure> {
        let mut params = valid_today(CertificateParams::new([host.to_owned()]).map_err(failed)?);
        params.distinguished_name.push(DnType::CommonName, host);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Python 3.13 verifies strictly and refuses a leaf that does not name its issuer's key.
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok((vec![certificate.der().clone()], key.into()))
    }
}

fn valid_today(mut params: CertificateParams) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(1);
    params
}

// By value, as `map_err` hands it.
#[allow(clippy::needless_pass_by_value, reason = "passed to map_err")]
fn failed(error: rcgen::Error) -> Failure {
    Failure::doing("make the demo API's certificate")(&error)
}
