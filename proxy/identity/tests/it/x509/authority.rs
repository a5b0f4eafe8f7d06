//! Certificates, right by default and wrong where a test says so.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;

use crate::support::NOW;

/// A signing certificate and its key.
pub(crate) struct Authority {
    pub(crate) params: CertificateParams,
    pub(crate) key: KeyPair,
    pub(crate) der: CertificateDer<'static>,
}

/// The parameters of a right leaf.
pub(crate) struct LeafParams(pub(crate) CertificateParams);

pub(crate) fn at(seconds_from_now: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW + seconds_from_now).unwrap()
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn named(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, name);
    subject
}

/// The parameters of a right signing certificate.
pub(crate) fn signer_params(name: &str, trust_domain: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.subject_alt_names = vec![uri(&format!("spiffe://{trust_domain}"))];
    (params.not_before, params.not_after) = (at(-3_600), at(86_400));
    params.use_authority_key_identifier_extension = true;
    params
}

impl Authority {
    pub(crate) fn root(trust_domain: &str) -> Self {
        Self::root_of(signer_params(&format!("root of {trust_domain}"), trust_domain))
    }

    pub(crate) fn root_of(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { params, key, der }
    }

    pub(crate) fn intermediate(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &self.issuer()).unwrap().der().clone();
        Self { params, key, der }
    }

    pub(crate) fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    pub(crate) fn leaf(&self, leaf: &LeafParams) -> CertificateDer<'static> {
        self.leaf_and_key(leaf).0
    }

    pub(crate) fn leaf_and_key(&self, leaf: &LeafParams) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let der = leaf.0.signed_by(&key, &self.issuer()).unwrap().der().clone();
        (der, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    /// A leaf and its key, in PEM.
    pub(crate) fn pem_pair(&self, leaf: &LeafParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (pem(leaf.0.signed_by(&key, &self.issuer()).unwrap().der()), key.serialize_pem())
    }

    pub(crate) fn pem(&self) -> String {
        pem(&self.der)
    }

    /// A revocation list of these serial numbers that ends after so many seconds.
    pub(crate) fn crl(&self, revoked: &[u64], ends_in: i64) -> String {
        let revoked_certs = revoked
            .iter()
            .map(|serial| RevokedCertParams {
                serial_number: SerialNumber::from(*serial),
                revocation_time: at(-60),
                reason_code: None,
                invalidity_date: None,
            })
            .collect();
        let list = CertificateRevocationListParams {
            this_update: at(-3_600),
            next_update: at(ends_in),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer()).unwrap().pem().unwrap()
    }
}

pub(crate) fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

impl LeafParams {
    pub(crate) fn new(id: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = named("workload");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![uri(id)];
        (params.not_before, params.not_after) = (at(-60), at(600));
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from(0x2a_u64));
        Self(params)
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        change(&mut self.0);
        self
    }
}

/// An extension as given.
pub(crate) fn extension(oid: &[u64], is_critical: bool, content: &[u8]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(is_critical);
    extension
}
