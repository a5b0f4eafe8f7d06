//! Credentials that are certificates: shown in TLS, with a key that signs and is never sent.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use claviger_contract::{ClientCertificate, Secret};

use crate::digest::Digester;

/// The certificate, in PEM; what leads from it to a root may follow.
pub(crate) const CERTIFICATE: &str = "certificate";
/// Its key, in PEM.
pub(crate) const PRIVATE_KEY: &str = "private_key";
/// What leads from the certificate to a root, in PEM, where that stands by itself.
pub(crate) const CHAIN: &str = "chain";

/// The certificate of one version of one credential.
pub struct LeasedCertificate {
    /// Unique in this process: no two credentials share it, nor do two versions of one.
    pub id: NonZeroU64,
    /// What is shown.
    pub certificate: ClientCertificate,
}

impl fmt::Debug for LeasedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeasedCertificate").field("id", &self.id).finish_non_exhaustive()
    }
}

impl LeasedCertificate {
    /// Of fields that are a certificate with its key; `None` for others.
    pub(crate) fn of(fields: &[(Arc<str>, Secret)]) -> Option<Arc<Self>> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let field = |wanted: &str| fields.iter().find(|(name, _)| &**name == wanted).map(|(_, value)| value);
        let (certificate, key) = (field(CERTIFICATE)?, field(PRIVATE_KEY)?);
        #[allow(clippy::disallowed_methods, reason = "certificates are public; the key is held once more, and wiped")]
        let (chain_pem, key_pem) = {
            let mut chain = certificate.expose().to_vec();
            if let Some(more) = field(CHAIN) {
                chain.push(b'\n');
                chain.extend_from_slice(more.expose());
            }
            (chain, Secret::new(key.expose().to_vec()))
        };
        let digest = Digester::new("client certificate").field("chain", &chain_pem).finish();
        let id = NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed))?;
        Some(Arc::new(Self { id, certificate: ClientCertificate { chain_pem, key_pem, digest } }))
    }
}

/// Whether a field of such a credential may be in an answer: certificates are no secrets, and the key is never sent.
pub(crate) fn is_harmless(fields: &[(Arc<str>, Secret)], name: &str) -> bool {
    matches!(name, CERTIFICATE | PRIVATE_KEY | CHAIN)
        && [CERTIFICATE, PRIVATE_KEY].into_iter().all(|wanted| fields.iter().any(|(name, _)| &**name == wanted))
}
