//! A certificate authority for one test.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

/// Signs server certificates; its root lies in a PEM file.
#[derive(Debug)]
pub struct TestCa {
    dir: TempDir,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    issued: AtomicU32,
}

/// A certificate chain and its key, as PEM files that live as long as their [`TestCa`].
#[derive(Debug)]
pub struct IssuedFiles {
    /// The leaf.
    pub cert: PathBuf,
    /// Its private key (PKCS #8).
    pub key: PathBuf,
}

impl TestCa {
    /// A new root with a key of its own.
    pub fn new() -> Self {
        let mut params = valid_now(CertificateParams::default());
        params.distinguished_name.push(DnType::CommonName, "test root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("ca.pem"), &pem).unwrap();
        Self { dir, pem, issuer: Issuer::new(params, key), issued: AtomicU32::new(0) }
    }

    /// The root, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The file that holds the root, PEM.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A server certificate for these DNS names or addresses.
    pub fn issue(&self, names: &[&str]) -> IssuedFiles {
        self.issue_for(names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client of these names.
    pub fn issue_client(&self, names: &[&str]) -> IssuedFiles {
        self.issue_for(names, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue_for(&self, names: &[&str], purpose: ExtendedKeyUsagePurpose) -> IssuedFiles {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = valid_now(CertificateParams::new(names).unwrap());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        // Python 3.13 verifies strictly and refuses a leaf that does not name its issuer's key.
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        let serial = self.issued.fetch_add(1, Ordering::Relaxed);
        IssuedFiles {
            cert: self.write(&format!("{serial}.pem"), &pem),
            key: self.write(&format!("{serial}.key"), &key.serialize_pem()),
        }
    }

    /// An HTTP client that trusts this root alone, follows no redirect and no proxy.
    pub fn http(&self) -> reqwest::ClientBuilder {
        let root = reqwest::Certificate::from_pem(self.pem.as_bytes()).unwrap();
        reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(std::time::Duration::from_secs(20))
            .tls_certs_only([root])
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path: &Path = self.dir.path();
        let path = path.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Default for TestCa {
    fn default() -> Self {
        Self::new()
    }
}

fn valid_now(mut params: CertificateParams) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(7);
    params
}
