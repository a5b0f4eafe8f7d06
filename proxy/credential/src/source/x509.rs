//! `kind = "x509"`: a certificate with its key, which is shown to the upstream in TLS.
//!
//! Both are read from stores and read again when they change, so that a renewed certificate takes over by itself. The two
//! are rarely replaced at one moment: a certificate whose key is not there yet is not taken, and the former one serves.

use std::sync::Arc;

use async_trait::async_trait;
use claviger_contract::{Clock, Secret};
use claviger_policy::document::{Diagnostics, Table};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::parse_x509_certificate;

use super::client_certificate::CertificateSource;
use super::static_value::{narrow, unreadable, warn};
use super::{Mint, Minted, Source, SourceEnv, Taken};
use crate::binding::intersect;
use crate::certificate::{CERTIFICATE, PRIVATE_KEY};
use crate::digest::Digester;
use crate::error::SourceError;
use crate::reference::SecretReference;
use crate::store::Stored;

#[derive(Debug)]
struct X509Source {
    pair: CertificateSource,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Source for X509Source {
    async fn mint(&self, _: Mint<'_>) -> Result<Minted, SourceError> {
        let (certificate, key) = self.pair.both().await?;
        self.minted(certificate, key)
    }

    /// Read once more it is the same; a new one is noticed by its revision.
    fn is_renewable(&self) -> bool {
        false
    }

    fn secrets(&self) -> Vec<&SecretReference> {
        self.pair.secrets().to_vec()
    }

    fn revision(&self) -> u64 {
        self.pair.revision()
    }
}

impl X509Source {
    fn minted(&self, certificate: Stored, key: Stored) -> Result<Minted, SourceError> {
        let hosts = [&certificate, &key].into_iter().filter_map(|stored| stored.hosts.clone());
        let hosts = hosts.reduce(|a, b| intersect(&a, &b));
        let pair = self.pair.join(certificate, key)?;
        let unusable = |why| SourceError::Unusable { reference: self.pair.certificate.reference.to_string(), why };
        let (begins, ends) = validity(&pair.chain_pem).map_err(unusable)?;
        if self.clock.now() < begins {
            return Err(unusable("it is not valid yet"));
        }
        let fields = vec![(CERTIFICATE.into(), Secret::new(pair.chain_pem)), (PRIVATE_KEY.into(), pair.key_pem)];
        let expires_at_ms = Some(ends.saturating_mul(1_000));
        Ok(Minted { fields, expires_at_ms, hosts, version: None, previous: None, issued: None })
    }
}

/// From when to when all certificates of a chain hold, in seconds since the Unix epoch: one that has ended breaks it.
fn validity(chain: &[u8]) -> Result<(i64, i64), &'static str> {
    let mut held = (i64::MIN, i64::MAX);
    for certificate in CertificateDer::pem_slice_iter(chain) {
        let certificate = certificate.map_err(|_| "it is not valid PEM")?;
        let (_, parsed) = parse_x509_certificate(&certificate).map_err(|_| "a certificate in it cannot be read")?;
        let validity = parsed.validity();
        held = (held.0.max(validity.not_before.timestamp()), held.1.min(validity.not_after.timestamp()));
    }
    Ok(held)
}

/// Takes `certificate` and `key`: references, or paths of files.
pub(super) fn take(table: &mut Table, env: &SourceEnv<'_>, out: &mut Diagnostics) -> Option<Taken> {
    let place = table.location().clone();
    let mut bound = None;
    let pair = CertificateSource::take(table, env.stores, out, |handle, written, key, out| {
        match handle.read_now() {
            Some(Ok(stored)) => {
                warn(&stored, written, key, out);
                bound = narrow(bound.take(), stored.hosts.as_deref(), written);
                Some(())
            }
            Some(Err(error)) => unreadable(&error, handle, written, key, "--for SERVICE", env, out).then_some(()),
            // Asked over a network, when it is needed. Where it may go is known all the same.
            None => {
                bound = narrow(bound.take(), handle.hosts().as_deref(), written);
                Some(())
            }
        }
    })?;
    let digest = pair.digest(env.stores, Digester::new("source x509")).finish();
    let source = Arc::new(X509Source { pair, clock: env.env.clock.clone() });
    let revision = source.revision();
    let read = source.pair.certificate.read_now().zip(source.pair.key.read_now());
    let seed = match read {
        Some((Ok(certificate), Ok(key))) => match source.minted(certificate, key) {
            Ok(minted) => {
                let ended = minted.expires_at_ms.is_some_and(|end| end <= env.env.clock.now_ms());
                if ended {
                    out.warning(&place, table.key_of("certificate"), "the certificate has expired")
                        .help("requests are refused until it is replaced");
                }
                (!ended).then_some((minted, revision))
            }
            Err(error) => {
                out.warning(&place, table.key_of("certificate"), error.to_string())
                    .help("requests are refused until it can be used");
                None
            }
        },
        // Reported above.
        Some(_) | None => None,
    };
    Some(Taken { source, digest, fields: vec![CERTIFICATE.into(), PRIVATE_KEY.into()], bound, seed })
}

#[cfg(test)]
mod tests;
