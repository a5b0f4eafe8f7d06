//! The trust bundle of one trust domain: PEM, or SPIFFE's JSON (Trust Domain and Bundle §4, X509-SVID §6).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use serde_json::{Map, Value};

use super::certificate::Signer;
use crate::token::json;

/// The most authorities that a bundle may have: path building tries them all.
const ANCHORS_MAX: usize = 64;

/// Authorities that vouch for one trust domain, and never for another.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    anchors: Vec<TrustAnchor<'static>>,
    signers: Vec<Signer>,
    ignored: Vec<&'static str>,
}

impl Bundle {
    /// Reads a bundle. What is no bundle, or holds a certificate that cannot be read, is an error. A bundle without
    /// authorities is none: it trusts nobody (§4.1.3). A certificate that may not sign is ignored.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let text = text.trim_ascii();
        let certificates = match text.first() {
            None => Vec::new(),
            Some(b'{') => from_json(text)?,
            Some(_) => from_pem(text)?,
        };
        if certificates.len() > ANCHORS_MAX {
            return Err(format!("more than {ANCHORS_MAX} certificates"));
        }
        let mut bundle = Self::default();
        for certificate in &certificates {
            let anchor = webpki::anchor_from_trusted_cert(certificate)
                .map_err(|_| "a certificate in it cannot be read".to_owned());
            match (anchor, Signer::check(certificate)) {
                (Ok(anchor), Ok(signer)) => {
                    bundle.anchors.push(anchor.to_owned());
                    bundle.signers.push(signer);
                }
                (Ok(_), Err(why)) => bundle.ignored.push(why),
                (Err(error), _) => return Err(error),
            }
        }
        Ok(bundle)
    }

    /// The authorities.
    pub(crate) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// What is known of an authority besides name and key. A renewed root with its old key is there twice.
    pub(crate) fn signers<'b>(&'b self, anchor: &'b TrustAnchor<'_>) -> impl Iterator<Item = &'b Signer> {
        self.anchors.iter().zip(&self.signers).filter(move |(own, _)| *own == anchor).map(|(_, signer)| signer)
    }

    /// Whether it trusts nobody.
    pub(crate) fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Why certificates in it are no authorities.
    pub(crate) fn ignored(&self) -> &[&'static str] {
        &self.ignored
    }
}

fn from_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let certificates = certificates.map_err(|_| "a PEM section in it cannot be read".to_owned())?;
    if certificates.is_empty() {
        return Err("there is no certificate in PEM in it".to_owned());
    }
    Ok(certificates)
}

fn from_json(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let bundle = json::object(text).ok_or("not a JSON object without duplicate names")?;
    if bundle.contains_key("trust_domains") {
        return Err("a map of several bundles; give each trust domain its own".to_owned());
    }
    let Some(Value::Array(entries)) = bundle.get("keys") else { return Err("there is no list `keys`".to_owned()) };
    entries.iter().filter_map(|entry| first_certificate(entry.as_object()?)).collect()
}

/// The certificate of an entry for X.509-SVIDs. Only the first value of `x5c` counts (X509-SVID §6.2).
fn first_certificate(entry: &Map<String, Value>) -> Option<Result<CertificateDer<'static>, String>> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    if text("use") != Some("x509-svid") || !matches!(text("kty"), Some("RSA" | "EC" | "OKP")) {
        return None;
    }
    let first = entry.get("x5c")?.as_array()?.first()?;
    let der = first.as_str().and_then(|encoded| STANDARD.decode(encoded).ok());
    Some(der.map(CertificateDer::from).ok_or_else(|| "a value of `x5c` cannot be read".to_owned()))
}
