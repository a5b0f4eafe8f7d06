//! SPIFFE trust domains of one test: X.509-SVIDs, right by default and wrong where a test says so.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};

/// A trust domain: its root, and the SVIDs that it issues.
#[derive(Debug)]
pub struct TrustDomain {
    name: String,
    bundle: String,
    issuer: Issuer<'static, KeyPair>,
    issued: AtomicU64,
}

/// A certificate with its key, both PEM.
#[derive(Debug)]
pub struct Svid {
    /// The leaf.
    pub certificate: String,
    /// Its private key (PKCS #8).
    pub key: String,
    /// What a revocation list names it by.
    pub serial: u64,
}

impl TrustDomain {
    /// A new root with a key of its own.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&format!("root of {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri(&format!("spiffe://{name}"))];
        (params.not_before, params.not_after) = around_now(86_400);
        let key = KeyPair::generate().unwrap();
        let bundle = params.self_signed(&key).unwrap().pem();
        Self { name: name.to_owned(), bundle, issuer: Issuer::new(params, key), issued: AtomicU64::new(1) }
    }

    /// The root, PEM: what an attestor's `bundle` names.
    pub fn bundle(&self) -> &str {
        &self.bundle
    }

    /// An SVID for `spiffe://DOMAIN/PATH` that lasts ten minutes.
    pub fn svid(&self, path: &str) -> Svid {
        self.svid_with(path, |_| {})
    }

    /// An SVID that ends so many seconds from now.
    pub fn svid_for(&self, path: &str, seconds: i64) -> Svid {
        self.svid_with(path, |params| params.not_after = OffsetDateTime::now_utc() + Duration::seconds(seconds))
    }

    /// An SVID that is changed before it is signed.
    pub fn svid_with(&self, path: &str, change: impl FnOnce(&mut CertificateParams)) -> Svid {
        let serial = self.issued.fetch_add(1, Ordering::Relaxed);
        let mut params = CertificateParams::default();
        params.distinguished_name = named("workload");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![uri(&format!("spiffe://{}{path}", self.name))];
        (params.not_before, params.not_after) = around_now(600);
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from(serial));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Svid { certificate, key: key.serialize_pem(), serial }
    }

    /// A revocation list of these serial numbers, PEM, that lasts an hour.
    pub fn revocations(&self, serials: &[u64]) -> String {
        let now = OffsetDateTime::now_utc();
        let revoked_certs = serials
            .iter()
            .map(|serial| RevokedCertParams {
                serial_number: SerialNumber::from(*serial),
                revocation_time: now - Duration::seconds(60),
                reason_code: None,
                invalidity_date: None,
            })
            .collect();
        let list = CertificateRevocationListParams {
            this_update: now - Duration::seconds(60),
            next_update: now + Duration::hours(1),
            crl_number: SerialNumber::from(self.issued.fetch_add(1, Ordering::Relaxed)),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

impl Svid {
    /// Writes both into a folder, for clients that read files.
    pub fn write(&self, folder: &Path, stem: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join(format!("{stem}.pem")), folder.join(format!("{stem}.key")));
        std::fs::write(&certificate, &self.certificate).unwrap();
        std::fs::write(&key, &self.key).unwrap();
        (certificate, key)
    }
}

/// TLS of a client that trusts the roots in `roots` (PEM), shows `svid` if there is one, and offers `alpn`.
/// It keeps no sessions unless the caller asks it to.
pub fn tls_client(roots: &str, svid: Option<&Svid>, alpn: &[&str]) -> rustls::ClientConfig {
    let mut store = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots.as_bytes()) {
        store.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store);
    let mut config = match svid {
        None => builder.with_no_client_auth(),
        Some(svid) => {
            let chain = CertificateDer::pem_slice_iter(svid.certificate.as_bytes()).map(Result::unwrap).collect();
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(svid.key.as_bytes()).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.resumption = rustls::client::Resumption::disabled();
    config
}

/// A URI name of a certificate.
pub fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn named(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, name);
    subject
}

/// From an hour ago until so many seconds from now.
fn around_now(seconds: i64) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - Duration::hours(1), now + Duration::seconds(seconds))
}
