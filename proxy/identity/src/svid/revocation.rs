//! Certificate revocation lists from files.

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use webpki::{CertRevocationList, OwnedCertRevocationList};

/// Reads one list in DER, or any number in PEM.
pub(crate) fn parse(text: &[u8]) -> Result<Vec<CertRevocationList<'static>>, String> {
    const UNREADABLE: &str = "a revocation list in it cannot be read";
    let is_pem = text.windows(b"-----BEGIN ".len()).any(|window| window == b"-----BEGIN ");
    let lists: Vec<CertificateRevocationListDer<'_>> = if is_pem {
        CertificateRevocationListDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(|_| UNREADABLE)?
    } else {
        vec![CertificateRevocationListDer::from(text)]
    };
    if lists.is_empty() {
        return Err("there is no revocation list in it".to_owned());
    }
    lists
        .iter()
        .map(|der| OwnedCertRevocationList::from_der(der).map(Into::into).map_err(|_| UNREADABLE.to_owned()))
        .collect()
}
