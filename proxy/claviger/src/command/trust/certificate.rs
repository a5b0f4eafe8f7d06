//! A certificate as stores hold it: by its fingerprint.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::os;

/// No file with one certificate is larger.
const FILE_MAX: u64 = 1 << 20;

/// The authority's certificate.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) file: PathBuf,
    pub(super) pem: String,
    sha256: String,
    subject: String,
    until: i64,
}

impl Certificate {
    /// Reads a file with exactly one CA certificate.
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let bytes = os::read_regular(file, FILE_MAX).map_err(|error| error.to_string())?;
        let pem = String::from_utf8(bytes).map_err(|_| "it is not PEM".to_owned())?;
        let mut all = CertificateDer::pem_slice_iter(pem.as_bytes());
        let (Some(Ok(der)), None) = (all.next(), all.next()) else {
            return Err("it does not hold exactly one certificate in PEM".to_owned());
        };
        let (_, x509) = X509Certificate::from_der(&der).map_err(|_| "it is no certificate".to_owned())?;
        if !x509.is_ca() {
            return Err("it is the certificate of no authority".to_owned());
        }
        let (subject, until) = (x509.subject().to_string(), x509.validity().not_after.timestamp());
        let file = std::path::absolute(file).map_err(|error| error.to_string())?;
        let sha256 = hex(&der);
        Ok(Self { file, sha256, subject, until, pem })
    }

    /// The SHA-256 of its DER, in hex.
    pub(super) fn fingerprint(&self) -> &str {
        &self.sha256
    }

    /// What it is called in stores: the same for the same certificate, and another for any other.
    pub(super) fn alias(&self) -> String {
        alias_of(&self.sha256)
    }

    pub(super) fn subject(&self) -> &str {
        &self.subject
    }

    /// Its last day.
    pub(super) fn until(&self) -> String {
        day(self.until)
    }

    pub(super) fn is_expired(&self) -> bool {
        is_past(self.until)
    }
}

/// The SHA-256 of a certificate, in hex.
fn hex(der: &[u8]) -> String {
    digest(&SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 64 bits of the fingerprint are enough for a name, and it is compared as a whole.
pub(super) fn alias_of(sha256: &str) -> String {
    format!("claviger-{}", sha256.get(..16).unwrap_or(sha256))
}

pub(super) fn day(at: i64) -> String {
    jiff::Timestamp::from_second(at).map_or_else(|_| at.to_string(), |at| at.strftime("%F").to_string())
}

pub(super) fn is_past(at: i64) -> bool {
    jiff::Timestamp::now().as_second() >= at
}

/// Something in a store that `install` has put there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The file, or the alias in a keystore.
    pub(super) name: String,
    /// SHA-256 in hex.
    pub(super) fingerprint: String,
    /// Its end, in seconds since the Unix epoch, if the store tells.
    pub(super) until: Option<i64>,
}

impl Entry {
    /// A file that is named as [`Certificate::alias`] says, and holds what its name says: what else lies there is none
    /// of ours.
    pub(super) fn of_file(path: &Path) -> Option<Self> {
        let stem = path.file_stem()?.to_str()?;
        if !stem.starts_with("claviger-") {
            return None;
        }
        let bytes = os::read_regular(path, FILE_MAX).ok()?;
        let der = CertificateDer::pem_slice_iter(&bytes).next()?.ok()?;
        let fingerprint = hex(&der);
        let (_, x509) = X509Certificate::from_der(&der).ok()?;
        let until = Some(x509.validity().not_after.timestamp());
        (alias_of(&fingerprint) == stem).then(|| Self { name: path.display().to_string(), fingerprint, until })
    }

    pub(super) fn is_expired(&self) -> bool {
        self.until.is_some_and(is_past)
    }

    pub(super) fn describe(&self) -> String {
        let until = self.until.map_or_else(String::new, |until| format!(", valid until {}", day(until)));
        format!("{} in {}{until}", self.fingerprint, self.name)
    }
}
