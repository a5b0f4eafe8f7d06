//! Which roots vouch for an upstream, and the TLS settings of every outgoing connection.
//!
//! Deliberately absent: any way to skip verification, a key log, early data.

use std::fmt;
use std::sync::{Arc, LazyLock};

use claviger_contract::ClientCertificate;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CipherSuite, ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, SupportedCipherSuite, WantsVerifier,
};

/// Sessions that one configuration remembers, over all its hosts.
const SESSIONS_MAX: usize = 256;

/// The roots that may vouch for an upstream. Cheap to clone.
#[derive(Clone)]
pub struct TrustRoots(Arc<RootCertStore>);

/// Why roots are unusable.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The text is not PEM. What the parser says of it can hold a line of it, perhaps of a key: it is not shown.
    #[error("it is not valid PEM")]
    Pem(rustls::pki_types::pem::Error),
    /// There is no certificate in it.
    #[error("there is no certificate in it")]
    Empty,
    /// A certificate cannot serve as a root.
    #[error("certificate {position} cannot be a root: {cause}")]
    Root {
        /// Counted from 1.
        position: usize,
        /// What is wrong with it.
        cause: rustls::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

impl TrustRoots {
    /// The roots of Mozilla's programme, as of the build.
    pub fn bundled() -> Self {
        static ROOTS: LazyLock<TrustRoots> =
            LazyLock::new(|| TrustRoots(Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })));
        ROOTS.clone()
    }

    /// The certificates of a PEM text, and no others. One that cannot be read refuses all: a bundle
    /// that is trusted in part is a surprise later.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TrustError> {
        let mut store = RootCertStore::empty();
        for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let certificate = certificate.map_err(TrustError::Pem)?;
            store.add(certificate).map_err(|cause| TrustError::Root { position: index + 1, cause })?;
        }
        if store.is_empty() { Err(TrustError::Empty) } else { Ok(Self(Arc::new(store))) }
    }
}

impl fmt::Debug for TrustRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustRoots({})", self.0.len())
    }
}

/// The one crypto provider of the process: as rustls has it, but AES-128 goes before AES-256.
///
/// Both are beyond any search. The longer key brings SHA-384, for which few processors have instructions, and costs a
/// handshake a twelfth of its time.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        // Stable: among each other they keep their order.
        let place = |suite: &SupportedCipherSuite| (suite.tls13().is_none(), !AES_128.contains(&suite.suite()));
        provider.cipher_suites.sort_by_key(place);
        Arc::new(provider)
    });
    Arc::clone(&PROVIDER)
}

const AES_128: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];

/// TLS 1.2 and 1.3 towards clients, with the provider's order of cipher suites: most clients have no reason for theirs.
pub(crate) fn server_config(
    settle: impl FnOnce(ConfigBuilder<ServerConfig, WantsVerifier>) -> Result<ServerConfig, rustls::Error>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = settle(builder)?;
    config.ignore_client_order = true;
    Ok(config)
}

/// TLS 1.2 and 1.3 towards an upstream, verified against `roots` and the name that is dialled.
///
/// Sessions are resumed only within the returned value, so that neither another client certificate nor
/// other roots ever inherit one. `alpn` is in order of preference; `certificate` is for mutual TLS.
pub(crate) fn client_config(
    roots: &TrustRoots,
    alpn: &[&[u8]],
    certificate: Option<Arc<CertifiedKey>>,
) -> Result<Arc<ClientConfig>, TrustError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TrustError::Setup)?
        .with_root_certificates(Arc::clone(&roots.0));
    let mut config = match certificate {
        Some(certificate) => {
            certificate.keys_match().map_err(TrustError::Setup)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certificate)))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(Arc::new(config))
}

/// The same with a certificate that is shown to servers that ask for one. Sessions are not shared with the original.
pub(crate) fn with_certificate(
    config: &ClientConfig,
    certificate: &ClientCertificate,
) -> Result<Arc<ClientConfig>, TrustError> {
    let identity = client_identity(certificate)?;
    let mut config = config.clone();
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(identity));
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(Arc::new(config))
}

/// A client's certificate, as TLS uses it.
pub(crate) fn client_identity(certificate: &ClientCertificate) -> Result<Arc<CertifiedKey>, TrustError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate.chain_pem).collect();
    #[allow(clippy::disallowed_methods, reason = "a private key is handed to TLS, which signs with it")]
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.expose()).map_err(TrustError::Pem)?;
    let chain = chain.map_err(TrustError::Pem)?;
    if chain.is_empty() {
        return Err(TrustError::Empty);
    }
    CertifiedKey::from_der(chain, key, &provider()).map(Arc::new).map_err(TrustError::Setup)
}

#[cfg(test)]
mod tests;
