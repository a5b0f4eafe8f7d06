//! The interception authority: certificates for the hosts whose TLS a forward listener ends.
//!
//! Three levels. The *root*, which clients trust, signs intermediates and nothing else. An
//! *intermediate* lives in memory for one generation, constrained by name to a group of intercepted
//! hosts, so that a leaked one is worthless elsewhere and for long. A *leaf* is for one host and one
//! day at most. All leaves of a generation share one key: they live in one process, and a key per
//! leaf would protect nothing but cost more than the signature.

mod cache;
mod key;
mod leaf;
mod root;
mod scope;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use claviger_contract::Clock;
use claviger_policy::{Authority, Host, HostPattern};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PublicKeyData,
};
use rustls::pki_types::CertificateDer;
use rustls::{ServerConfig, sign};

pub use self::root::InterceptionRoot;

use self::cache::{Leaf, Leaves};
use self::key::EcKey;
use self::scope::Scope;

/// Leaves kept at once. A wildcard lets clients choose names.
const LEAVES_MAX: usize = 1_024;
/// Clients' clocks may be behind ours.
const BACKDATED_SECONDS: i64 = 5 * 60;
const INTERMEDIATE_SECONDS: i64 = 7 * 24 * 60 * 60;

/// Why an authority or a leaf could not be made. No text has key material in it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The root's certificate is not one PEM certificate.
    #[error("the root's certificate is not a single certificate in PEM")]
    RootCertificate,
    /// The root may not sign intermediates.
    #[error("the root's certificate may not sign intermediates: {0}")]
    RootUnfit(&'static str),
    /// The root's key cannot be read.
    #[error("the root's key is not an ECDSA key (P-256 or P-384) in PEM")]
    RootKey,
    /// Key and certificate of the root do not belong together.
    #[error("the root's key is not the key of its certificate")]
    RootKeyMismatch,
    /// The root has ended, or has not begun.
    #[error("the root's certificate is not valid at this time")]
    RootExpired,
    /// The host is not one that the generation intercepts.
    #[error("`{0}` is not an intercepted host")]
    OutsideScope(Host),
    /// A certificate could not be written or signed.
    #[error("failed to sign a certificate: {0}")]
    Sign(rcgen::Error),
    /// TLS could not be set up with a leaf.
    #[error("failed to set up TLS: {0}")]
    Tls(rustls::Error),
    /// The system's source of randomness or its cryptography failed.
    #[error("the cryptographic library failed")]
    Crypto,
}

// By hand: the text of the cause is in ours, so it is not the `source` too.
impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> Self {
        Self::Sign(error)
    }
}

impl From<rustls::Error> for AuthorityError {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}

impl From<aws_lc_rs::error::Unspecified> for AuthorityError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Crypto
    }
}

/// Leaves for the intercepted hosts of one generation. Shared by all cores.
pub struct InterceptionAuthority {
    root: InterceptionRoot,
    generation: u64,
    clock: Arc<dyn Clock>,
    hosts: Vec<HostPattern>,
    groups: Vec<Group>,
    leaf_key: LeafKey,
    leaves: Leaves,
}

/// Hosts that share an intermediate: all of them in one would make each handshake carry all names.
struct Group {
    scope: Scope,
    current: Mutex<Arc<Intermediate>>,
}

/// A CA certificate that is signed by the root, its key, and when it serves.
struct Intermediate {
    issuer: Issuer<'static, EcKey>,
    certificate: CertificateDer<'static>,
    not_before: i64,
    not_after: i64,
    renew_at: i64,
}

/// The key of all leaves: what is certified, and what signs handshakes.
struct LeafKey {
    public: rcgen::SubjectPublicKeyInfo,
    signer: Arc<dyn sign::SigningKey>,
}

impl InterceptionAuthority {
    /// Signs the intermediates for `hosts` (their ports do not matter). They are renewed while the
    /// value is used, so the root's key stays in memory as long.
    pub fn new(
        root: &InterceptionRoot,
        hosts: &[HostPattern],
        generation: u64,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuthorityError> {
        let now = clock.now();
        let groups = Scope::groups(hosts).into_iter().map(|scope| {
            let first = Intermediate::sign(root, &scope, generation, now)?;
            Ok(Group { scope, current: Mutex::new(Arc::new(first)) })
        });
        let groups = groups.collect::<Result<_, AuthorityError>>()?;
        Ok(Self {
            root: root.clone(),
            generation,
            clock,
            hosts: hosts.to_vec(),
            groups,
            leaf_key: LeafKey::generate()?,
            leaves: Leaves::new(LEAVES_MAX),
        })
    }

    /// The server side of TLS for exactly this host: ALPN `h2` and `http/1.1`, no resumption.
    ///
    /// A client that names another host in SNI is refused; one that names none is served only where
    /// the host is an address. From the cache, or signed now.
    pub fn leaf(&self, host: &Host) -> Result<Arc<ServerConfig>, AuthorityError> {
        let now = self.clock.now();
        self.leaves.get_or_make(host, now, || self.make(host, now))
    }

    fn make(&self, host: &Host, now: i64) -> Result<Leaf, AuthorityError> {
        let outside = || AuthorityError::OutsideScope(host.clone());
        let intercepted =
            |pattern: &HostPattern| pattern.matches(&Authority { host: host.clone(), port: pattern.port() });
        if !self.hosts.iter().any(intercepted) {
            return Err(outside());
        }
        let group = self.groups.iter().find(|group| group.scope.contains(host)).ok_or_else(outside)?;
        let intermediate = self.intermediate(group, now)?;
        leaf::sign(&intermediate, &self.leaf_key, host, now)
    }

    fn intermediate(&self, group: &Group, now: i64) -> Result<Arc<Intermediate>, AuthorityError> {
        let mut current = group.current.lock().unwrap_or_else(PoisonError::into_inner);
        if now < current.not_before || now >= current.renew_at {
            *current = Arc::new(Intermediate::sign(&self.root, &group.scope, self.generation, now)?);
        }
        Ok(Arc::clone(&current))
    }
}

impl fmt::Debug for InterceptionAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("InterceptionAuthority");
        out.field("generation", &self.generation).field("hosts", &self.hosts.len()).finish_non_exhaustive()
    }
}

impl Intermediate {
    fn sign(root: &InterceptionRoot, scope: &Scope, generation: u64, now: i64) -> Result<Self, AuthorityError> {
        let validity = root.validity();
        if !validity.contains(&now) {
            return Err(AuthorityError::RootExpired);
        }
        let not_before = (now - BACKDATED_SECONDS).max(validity.start);
        let not_after = (now + INTERMEDIATE_SECONDS).min(validity.end);
        let key = EcKey::generate()?;
        let mut params = params(not_before, not_after)?;
        let id = short_id(&params, &key);
        params.distinguished_name.push(DnType::CommonName, format!("Claviger interception {generation} {id}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // On a CA this bounds what its leaves are good for, in practice if not in RFC 5280.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.name_constraints = Some(scope.constraints());
        let certificate = root.sign(&params, &key)?;
        let renew_at = now + (not_after - now) * 5 / 7;
        Ok(Self { issuer: Issuer::new(params, key), certificate, not_before, not_after, renew_at })
    }
}

impl LeafKey {
    fn generate() -> Result<Self, AuthorityError> {
        let key = EcKey::generate()?;
        let public = rcgen::SubjectPublicKeyInfo::from_der(&key.subject_public_key_info())?;
        Ok(Self { public, signer: key.signer()? })
    }
}

/// What every certificate here has: a random serial, the authority's key identifier, and no name yet.
fn params(not_before: i64, not_after: i64) -> Result<CertificateParams, AuthorityError> {
    let at = |seconds| time::OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| rcgen::Error::Time);
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial)?;
    // Positive and of constant length (RFC 5280 §4.1.2.2).
    let [first, ..] = &mut serial;
    *first = (*first & 0x7f) | 0x40;
    let mut params = CertificateParams::default();
    params.not_before = at(not_before)?;
    params.not_after = at(not_after)?;
    params.serial_number = Some(rcgen::SerialNumber::from_slice(&serial));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Eight digits of the key identifier: tells two certificates of one name apart.
fn short_id(params: &CertificateParams, key: &EcKey) -> String {
    params.key_identifier(key).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
