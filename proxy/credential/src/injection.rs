//! Writes credentials into requests: the last gate before the upstream.
//!
//! [`inject`] is the only way to an [`Injected`] that a rule allows ([`pass_as_sent`] to one that a listener lets pass without
//! a rule), and `Injected` is all that upstream accepts. Method, URI
//! and `Host` come from the grant, never again from the request; what the client wrote where the credential
//! goes is removed, whatever is put there; the credential's binding is checked whatever policy said.

mod as_sent;
mod body;
mod cookie;
pub(crate) mod encode;
mod error;
mod header;
mod path;
mod plan;
mod query;
mod settings;
mod slots;
mod value;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use claviger_policy::{CredentialUse, Grant, Target};
use http::request::Parts;

pub use self::as_sent::pass_as_sent;
pub use self::error::InjectError;
pub(crate) use self::header::RenderedCache;
pub use self::plan::InjectionPlan;
use self::value::Text;
use crate::certificate::{CERTIFICATE, LeasedCertificate, PRIVATE_KEY};
use crate::lease::Lease;

/// A request that may be sent: allowed, bound to its target, and holding the credential.
///
/// Its URI and headers may hold the credential: they are for the connection, and never for a log.
pub struct Injected {
    grant: Grant,
    lease: Option<Arc<Lease>>,
    head: Box<Parts>,
    body: Option<Bytes>,
    certificate: Option<Arc<LeasedCertificate>>,
}

impl Injected {
    /// The method that was judged.
    pub fn method(&self) -> &http::Method {
        &self.head.method
    }

    /// The absolute URI: the grant's, and what injections into path and query add.
    pub fn uri(&self) -> &http::Uri {
        &self.head.uri
    }

    /// The headers; those that hold the credential are marked sensitive.
    pub fn headers(&self) -> &http::HeaderMap {
        &self.head.headers
    }

    /// The permission that it rests on.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The lease whose value was written; `None` under `use = "none"`.
    pub fn lease(&self) -> Option<&Arc<Lease>> {
        self.lease.as_ref()
    }

    /// What is shown of the lease in TLS. A connection on which another was shown, or none, is not for this request.
    pub fn certificate(&self) -> Option<&Arc<LeasedCertificate>> {
        self.certificate.as_ref()
    }

    /// The parts, for sending. The body is `None` if it was not given and streams on as it is.
    pub fn into_parts(self) -> (Grant, Option<Arc<Lease>>, Parts, Option<Bytes>) {
        (self.grant, self.lease, *self.head, self.body)
    }
}

impl fmt::Debug for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither URI nor headers: both may hold the credential.
        let Self { grant, .. } = self;
        f.debug_struct("Injected")
            .field("method", grant.method())
            .field("target", grant.target())
            .finish_non_exhaustive()
    }
}

/// Writes the lease's values into the request, or empties their slots if there is no lease.
///
/// At a host that no injection of the plan is for ([`InjectionPlan::injects_at`]) the slots of the other hosts are emptied
/// and a lease is left aside: it need not be there.
///
/// `body` is the whole body where [`InjectionPlan::body_limit`] asks for it and it fits, else `None`; a body that
/// policy judged is the grant's, which keeps it for a replay. The caller removes hop-by-hop headers **before** this, or a `Connection`
/// header could name the injected one.
///
/// # Errors
///
/// Nothing may be sent: the lease is not the one of the grant or not bound to its target, a field is missing, a value
/// cannot stand where it belongs, the client filled a slot that cannot be emptied, or no slot was found in the request.
pub fn inject(
    grant: Grant,
    lease: Option<Arc<Lease>>,
    plan: &InjectionPlan,
    mut head: Box<Parts>,
    body: Option<Bytes>,
) -> Result<Injected, InjectError> {
    let wanted = plan.injects_at(grant.target().authority());
    let lease = lease.filter(|_| wanted);
    match (grant.credential(), &lease) {
        (CredentialUse::None, None) => {}
        (CredentialUse::Named(_), None) if !wanted => {}
        (CredentialUse::Named(name), Some(lease)) if *name == lease.stamp().name => {}
        _ => return Err(InjectError::WrongLease),
    }
    if let Some(lease) = &lease
        && !lease.bound_to(grant.target())
    {
        return Err(InjectError::NotBound);
    }
    // Not taken out: a replay after a 401 needs the bytes that were judged once more.
    let body = grant.body().cloned().or(body);
    head.method = grant.method().clone();
    let body = write(plan, grant.target(), lease.as_deref(), &mut head, body)?;
    let certificate = match (&lease, plan.slots(grant.target().authority()).certificate) {
        (Some(lease), true) => Some(lease.certificate().cloned().ok_or_else(|| no_certificate(lease))?),
        (Some(_) | None, false) | (None, true) => None,
    };
    Ok(Injected { grant, lease, head, body, certificate })
}

/// The field that a lease lacks to be a certificate; if it lacks none, it is the certificate that is none.
fn no_certificate(lease: &Lease) -> InjectError {
    let lacking = [CERTIFICATE, PRIVATE_KEY].into_iter().find(|name| lease.field(Some(name)).is_none());
    InjectError::MissingField { field: lacking.unwrap_or(CERTIFICATE).to_owned() }
}

/// Empties and fills every slot. Without a lease it only empties them.
fn write(
    plan: &InjectionPlan,
    target: &Target,
    lease: Option<&Lease>,
    head: &mut Parts,
    body: Option<Bytes>,
) -> Result<Option<Bytes>, InjectError> {
    let (whole, plan) = (plan, plan.slots(target.authority()));
    // The body first: what it is stands in headers that `strip` may name.
    let (body, in_body) = body::fill(plan, lease, &mut head.headers, body)?;
    header::set_host(target, &mut head.headers);
    let user = header::user(plan, &head.headers);
    header::strip(plan, &mut head.headers);
    let in_headers = header::fill_placeholders(plan, lease, &mut head.headers)?;
    header::fill(plan, lease, user.as_deref(), &mut head.headers)?;
    header::add_members(lease, &mut head.headers)?;
    cookie::fill(plan, lease, &mut head.headers)?;
    let path = path::fill(plan, lease, target.path())?;
    let query = query::fill(plan, lease, target.query())?;
    if lease.is_some() && !plan.always_applies() && !in_body && !in_headers && path.is_none() && !query.placeholder {
        return Err(if whole.is_empty() { InjectError::NoSlot } else { InjectError::PlaceholderAbsent });
    }
    head.uri = uri(target, path, query.text)?;
    Ok(body)
}

/// The grant's URI, with another path or query where an injection changed one.
fn uri(target: &Target, path: Option<Text>, query: Option<Text>) -> Result<http::Uri, InjectError> {
    if path.is_none() && query.is_none() {
        return Ok(target.uri().clone());
    }
    let path = path.as_ref().map_or(target.path().as_bytes(), |path| path.as_slice());
    let query = query.as_ref().map_or(target.query().unwrap_or_default().as_bytes(), |query| query.as_slice());
    let mut text = Text::new(Vec::with_capacity(path.len() + 1 + query.len()));
    text.extend_from_slice(path);
    if !query.is_empty() || target.query() == Some("") {
        text.push(b'?');
        text.extend_from_slice(query);
    }
    let mut parts = target.uri().clone().into_parts();
    let written = http::uri::PathAndQuery::from_maybe_shared(value::wiped(text)).map_err(|_| InjectError::Uri)?;
    parts.path_and_query = Some(written);
    http::Uri::from_parts(parts).map_err(|_| InjectError::Uri)
}
