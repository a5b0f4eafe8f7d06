//! A value that may be injected, for as long as it lasts.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use claviger_contract::Secret;
use claviger_contract::event::CredentialStamp;
use claviger_policy::{SpiffeId, Target};

use crate::binding::BoundHost;
use crate::cache::{Key, Revocation};
use crate::certificate::{self, LeasedCertificate};
use crate::injection::RenderedCache;
use crate::{CredentialError, EchoGuard};

/// The value of a credential (one, or several named fields), with its version, its end and the hosts it
/// is bound to. Wiped on drop.
pub struct Lease {
    pub(crate) stamp: CredentialStamp,
    /// By name; the only value of a credential without named fields is called `value`.
    pub(crate) fields: Arc<Vec<(Arc<str>, Secret)>>,
    /// Seconds since the Unix epoch.
    pub(crate) expires_at: Option<i64>,
    /// Handed out before this only; the expiry less a margin for the way, the end of the proof, or of `serve_until`.
    pub(crate) ends_at_ms: i64,
    /// The end of the proof that it was derived from, which no renewal passes.
    pub(crate) proof_ends_at_ms: i64,
    pub(crate) hosts: Vec<BoundHost>,
    pub(crate) guard: Option<Arc<EchoGuard>>,
    /// What its fields are in TLS, if they are a certificate with its key.
    pub(crate) certificate: Option<Arc<LeasedCertificate>>,
    pub(crate) renewable: bool,
    /// One of two values that are both at hand, because a rotation is open.
    pub(crate) rotating: bool,
    /// For whom it was minted, if not for everyone.
    pub(crate) principal: Option<SpiffeId>,
    /// Where the cache holds it.
    pub(crate) key: Key,
    /// What requests with the value need to say besides, and need not be secret.
    pub(crate) headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// Header values that injections made of the fields.
    pub(crate) rendered: RenderedCache,
    /// Ends the value at its issuer, where that can be done, when the last who holds it lets go.
    pub(crate) revocation: Option<Arc<Revocation>>,
}

/// The name of the only value of a credential without named fields.
pub(crate) const ONLY_FIELD: &str = "value";

impl Lease {
    /// A lease of minted fields, with its guard compiled. Without an expiry it has no end.
    pub(crate) fn new(stamp: CredentialStamp, fields: Vec<(Arc<str>, Secret)>, hosts: Vec<BoundHost>) -> Self {
        let guard = EchoGuard::new(&guarded(&fields).collect::<Vec<_>>());
        Self {
            certificate: LeasedCertificate::of(&fields),
            stamp,
            fields: Arc::new(fields),
            expires_at: None,
            ends_at_ms: i64::MAX,
            proof_ends_at_ms: i64::MAX,
            hosts,
            guard: (!guard.is_empty()).then(|| Arc::new(guard)),
            renewable: false,
            rotating: false,
            principal: None,
            key: Key::Shared,
            headers: Vec::new(),
            rendered: RenderedCache::default(),
            revocation: None,
        }
    }

    /// The same value with a later end.
    pub(crate) fn prolonged(&self, expires_at_ms: i64, ends_at_ms: i64) -> Self {
        if let Some(revocation) = &self.revocation {
            revocation.prolonged(expires_at_ms);
        }
        Self {
            stamp: self.stamp.clone(),
            fields: self.fields.clone(),
            expires_at: Some(expires_at_ms.div_euclid(1_000)),
            ends_at_ms,
            proof_ends_at_ms: self.proof_ends_at_ms,
            hosts: self.hosts.clone(),
            guard: self.guard.clone(),
            certificate: self.certificate.clone(),
            renewable: self.renewable,
            rotating: self.rotating,
            principal: self.principal.clone(),
            key: self.key,
            headers: self.headers.clone(),
            rendered: RenderedCache::default(),
            revocation: self.revocation.clone(),
        }
    }

    /// Why it will be given up; its value is ended when nobody uses it any more.
    pub(crate) fn because(&self, why: &Arc<str>) {
        if let Some(revocation) = &self.revocation {
            revocation.because(why);
        }
    }

    /// Another serves from now on. If an issuer gave out the same value once more, it is that one's to end.
    pub(crate) fn give_way_to(&self, next: &Self) {
        match &self.revocation {
            Some(revocation) if self.is_same_value(next) => revocation.disarm(),
            Some(revocation) => revocation.because(&"a newer one serves".into()),
            None => {}
        }
    }

    /// Whether one of its values is this.
    pub(crate) fn has_value(&self, value: &Secret) -> bool {
        #[allow(clippy::disallowed_methods, reason = "two values that are both held are compared with each other")]
        self.fields.iter().any(|(_, own)| own.expose() == value.expose())
    }

    /// Whether both have the same value in each field: an issuer may give out a token again.
    fn is_same_value(&self, other: &Self) -> bool {
        let pairs = || self.fields.iter().zip(other.fields.iter());
        #[allow(clippy::disallowed_methods, reason = "two values that are both held are compared with each other")]
        let values = pairs().all(|((_, own), (_, theirs))| own.expose() == theirs.expose());
        values && self.fields.len() == other.fields.len() && pairs().all(|((own, _), (theirs, _))| own == theirs)
    }

    /// Which credential, in which version.
    pub fn stamp(&self) -> &CredentialStamp {
        &self.stamp
    }

    /// When the value ends, in seconds since the Unix epoch; `None` if it has no end of its own.
    pub fn expires_at(&self) -> Option<i64> {
        self.expires_at
    }

    /// The last whole second, since the Unix epoch, before which it is handed out: never after its expiry, or after the end
    /// of the proof that it was derived from. `None` if it has no end.
    pub fn ends_at(&self) -> Option<i64> {
        (self.ends_at_ms != i64::MAX).then(|| self.ends_at_ms.div_euclid(1_000))
    }

    /// What finds the value in answers; `None` if no field is long enough to be looked for.
    pub fn guard(&self) -> Option<&Arc<EchoGuard>> {
        self.guard.as_ref()
    }

    /// What is shown of it in TLS; `None` if its fields are no certificate with its key.
    pub(crate) fn certificate(&self) -> Option<&Arc<LeasedCertificate>> {
        self.certificate.as_ref()
    }

    /// Whether a 401 is worth another mint: `false` for values that are only read.
    pub fn is_renewable(&self) -> bool {
        self.renewable
    }

    /// Whether a 401 may be worth another try with another value, because a rotation is open.
    pub fn is_rotating(&self) -> bool {
        self.rotating
    }

    /// Looks for the values of both leases in answers to either: while they overlap, both are about.
    pub(crate) fn share_guard(&mut self, other: &mut Self) {
        let values: Vec<&Secret> = guarded(&self.fields).chain(guarded(&other.fields)).collect();
        let guard = EchoGuard::new(&values);
        let guard = (!guard.is_empty()).then(|| Arc::new(guard));
        self.guard.clone_from(&guard);
        other.guard = guard;
    }

    /// A field by name; `None` as name: the only one, or the one called `value`.
    pub(crate) fn field(&self, name: Option<&str>) -> Option<&Secret> {
        match (name, self.fields.as_slice()) {
            (None, [(_, only)]) => Some(only),
            (name, fields) => {
                let wanted = name.unwrap_or(ONLY_FIELD);
                fields.iter().find(|(name, _)| &**name == wanted).map(|(_, value)| value)
            }
        }
    }

    /// Whether the value may go there: host, port, and TLS unless the host is listed as `http://…`.
    pub(crate) fn bound_to(&self, target: &Target) -> bool {
        self.hosts.iter().any(|host| host.matches(target))
    }

    /// A lease for tests of injections; hosts as [`BoundHost::parse`] reads them.
    #[cfg(test)]
    pub(crate) fn for_test(name: &str, fields: &[(&str, &str)], hosts: &[&str]) -> Self {
        let fields = fields.iter().map(|(name, value)| ((*name).into(), Secret::from((*value).to_owned()))).collect();
        let hosts = hosts.iter().map(|host| BoundHost::parse(host).unwrap()).collect();
        Self::new(CredentialStamp { name: name.into(), version: "1".into() }, fields, hosts)
    }
}

/// The values that answers are searched for.
fn guarded(fields: &[(Arc<str>, Secret)]) -> impl Iterator<Item = &Secret> {
    fields.iter().filter(|(name, _)| !certificate::is_harmless(fields, name)).map(|(_, value)| value)
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither values nor their lengths.
        f.debug_struct("Lease")
            .field("stamp", &self.stamp)
            .field("fields", &self.fields.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("expires_at", &self.expires_at)
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

/// What is awaited when no lease is at hand. Dropping it does not stop the mint for others.
pub type LeaseFuture = Pin<Box<dyn Future<Output = Result<Arc<Lease>, CredentialError>> + Send>>;

/// The answer to a request for a lease.
pub enum LeaseAnswer {
    /// From the cache.
    Ready(Arc<Lease>),
    /// Being minted, or refused.
    Wait(LeaseFuture),
}

impl fmt::Debug for LeaseAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(lease) => f.debug_tuple("Ready").field(lease).finish(),
            Self::Wait(_) => f.write_str("Wait(…)"),
        }
    }
}
