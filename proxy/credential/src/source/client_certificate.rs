//! A certificate with its key, which a source shows where it calls: read for each call, so that a new one is used at once.

use std::sync::Arc;

use claviger_contract::{ClientCertificate, Secret};
use claviger_policy::Target;
use claviger_policy::document::{Diagnostics, Located, Severity, Table};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::parse_x509_certificate;

use super::private_key::PrivateKey;
use crate::digest::Digester;
use crate::error::SourceError;
use crate::reference::SecretReference;
use crate::store::{SecretHandle, Stored, Stores};

/// Where the two are read.
#[derive(Clone, Debug)]
pub(crate) struct CertificateSource {
    pub(crate) certificate: SecretHandle,
    pub(crate) key: SecretHandle,
}

impl CertificateSource {
    /// Takes `certificate` and `key` from a table of their own: secret references, or paths of files. `check` is asked
    /// of each: whether it is there, and may be used here.
    pub(crate) fn take(
        table: &mut Table,
        stores: &Stores,
        out: &mut Diagnostics,
        mut check: impl FnMut(&SecretHandle, &Located<String>, &str, &mut Diagnostics) -> Option<()>,
    ) -> Option<Self> {
        let mut one = |name: &'static str, out: &mut Diagnostics| {
            let written = table.required_string(name, out)?;
            let key = table.key_of(name);
            let reference = as_reference(&written);
            let handle = stores.find(&reference, &key, out)?;
            let mut found = Diagnostics::default();
            let checked = check(&handle, &reference, &key, &mut found);
            // A certificate is no secret: who else may read it does not matter.
            found.retain(|one| name == "key" || one.severity == Severity::Error);
            out.append(found);
            checked.map(|()| (handle, reference, key))
        };
        let (certificate, key) = (one("certificate", out), one("key", out));
        let ((certificate, _, _), (key, written, name)) = (certificate?, key?);
        let source = Self { certificate, key };
        if let (Some(Ok(certificate)), Some(Ok(key))) = (source.certificate.read_now(), source.key.read_now())
            && let Err(error) = source.join(certificate, key)
        {
            out.error(&written.location, name, error.to_string()).help(
                "`certificate` holds the certificate and what leads to its root in PEM, `key` its private key in PEM",
            );
            return None;
        }
        Some(source)
    }

    pub(crate) fn digest(&self, stores: &Stores, digester: Digester) -> Digester {
        digester.field("certificate", stores.digest_of(&self.certificate)).field("key", stores.digest_of(&self.key))
    }

    pub(crate) fn secrets(&self) -> [&SecretReference; 2] {
        [&self.certificate.reference, &self.key.reference]
    }

    /// Changes with the files.
    pub(crate) fn revision(&self) -> u64 {
        self.certificate.revision().rotate_left(1) ^ self.key.revision()
    }

    /// Reads both, for a call to this endpoint: what they are bound to is asked by `check`.
    pub(crate) async fn read(
        &self,
        endpoint: &Target,
        check: impl Fn(&SecretHandle, &Stored, &Target) -> Result<(), SourceError>,
    ) -> Result<Arc<ClientCertificate>, SourceError> {
        let (certificate, key) = self.both().await?;
        check(&self.certificate, &certificate, endpoint)?;
        check(&self.key, &key, endpoint)?;
        self.join(certificate, key).map(Arc::new)
    }

    /// Both as they are stored: of one version, where they stand in one secret.
    pub(crate) async fn both(&self) -> Result<(Stored, Stored), SourceError> {
        let [certificate, key] =
            <[Stored; 2]>::try_from(SecretHandle::read_all(&[&self.certificate, &self.key]).await?)
                .map_err(|_| SourceError::Aborted)?;
        Ok((certificate, key))
    }

    /// The two, if they belong together.
    pub(crate) fn join(&self, certificate: Stored, key: Stored) -> Result<ClientCertificate, SourceError> {
        let unusable = |handle: &SecretHandle| {
            let reference = handle.reference.to_string();
            move |why| SourceError::Unusable { reference, why }
        };
        let private = PrivateKey::parse(&key.value).map_err(unusable(&self.key))?;
        let (chain_pem, public) = read_chain(&certificate.value).map_err(unusable(&self.certificate))?;
        if private.public() != public {
            return Err(unusable(&self.key)("it is not the key of the certificate"));
        }
        let digest = Digester::new("client certificate").field("chain", &chain_pem).finish();
        Ok(ClientCertificate { chain_pem, key_pem: key.value, digest })
    }
}

/// The chain, and the public key of its first certificate.
fn read_chain(pem: &Secret) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
    #[allow(clippy::disallowed_methods, reason = "a certificate is public")]
    let pem = pem.expose();
    let first = CertificateDer::from_pem_slice(pem).map_err(|_| "it holds no certificate in PEM")?;
    let (_, parsed) = parse_x509_certificate(&first).map_err(|_| "its first certificate cannot be read")?;
    Ok((pem.to_vec(), parsed.public_key().subject_public_key.data.to_vec()))
}

/// A path is a name of the store of files.
fn as_reference(written: &Located<String>) -> Located<String> {
    let is_path = !written.value.starts_with("secret://");
    written.clone().map(|text| if is_path { format!("secret://file/{text}") } else { text })
}
