//! What a client trusts beside our certificate: the roots of the machine it runs on, with those that a company added.

use std::collections::HashSet;
use std::path::Path;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Inherited;

/// Where systems keep the roots, as one file: Debian and Alpine, RHEL, SUSE, Alpine and macOS, FreeBSD.
const PLACES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/ssl/cert.pem",
];

/// Variables in which a user names a file of roots for all clients: where one is valid, it goes on working.
const REPLACING: [&str; 3] = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];

/// A file of roots that is larger than that is none.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The roots of the machine and ours, in DER. Ours is the first.
#[derive(Debug)]
pub(super) struct Roots {
    all: Vec<CertificateDer<'static>>,
    /// How many of them stand before the machine's own: ours, and those by which the user extends Node's.
    additive: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// Ours, the machine's (or, if it has none, the public ones), and those in files that the user names.
    pub(super) fn of(authority: &str, inherited: Inherited<'_>) -> Self {
        let ours: Vec<_> = certificates(authority.as_bytes());
        let named = |variable: &str| inherited(variable).map(|path| file(Path::new(&path))).unwrap_or_default();
        let machine = PLACES.iter().map(|place| file(Path::new(place))).find(|found| !found.is_empty());
        let machine = machine.unwrap_or_else(|| PUBLIC.iter().map(|der| (*der).into()).collect());
        let mut additive = ours.clone();
        // A whole bundle in a variable that only adds would make each start of a client slow.
        let known: HashSet<&[u8]> = machine.iter().map(AsRef::as_ref).collect();
        additive.extend(named("NODE_EXTRA_CA_CERTS").into_iter().filter(|der| !known.contains(der.as_ref())));
        let candidates = ours.into_iter().chain(machine.iter().cloned());
        let candidates = candidates.chain(REPLACING.iter().flat_map(|name| named(name))).chain(additive.clone());
        let mut seen = HashSet::new();
        let all = candidates.filter(|der| seen.insert(der.clone())).collect();
        Self { all, additive }
    }

    /// For settings that replace what a client trusts, as PEM.
    pub(super) fn bundle(&self) -> String {
        pem(&self.all)
    }

    /// For settings that add to what a client trusts, as PEM.
    pub(super) fn additive(&self) -> String {
        pem(&self.additive)
    }

    /// All, in DER.
    pub(super) fn all(&self) -> &[CertificateDer<'static>] {
        &self.all
    }
}

static PUBLIC: LazyLock<Vec<&'static [u8]>> =
    LazyLock::new(|| webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(AsRef::as_ref).collect());

/// The certificates of a file; none, if it cannot be read or is not one of certificates alone.
fn file(path: &Path) -> Vec<CertificateDer<'static>> {
    crate::os::read_regular(path, BYTES_MAX).map(|bytes| certificates(&bytes)).unwrap_or_default()
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().unwrap_or_default()
}

fn pem(certificates: &[CertificateDer<'_>]) -> String {
    let mut text = String::with_capacity(certificates.len() * 2048);
    for der in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(der);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            text.push_str(line);
            text.push('\n');
            rest = after;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}
