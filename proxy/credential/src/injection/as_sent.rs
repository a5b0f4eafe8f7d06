//! Requests that no rule allows, at a listener that does not enforce: nothing is injected, and what the client
//! put where the credential goes stays, unless it is the client's proof of identity.

use bytes::Bytes;
use claviger_contract::Secret;
use claviger_policy::{Authority, Grant};
use http::request::Parts;

use super::{InjectError, Injected, InjectionPlan, header, uri, write};

/// Lets a request pass as the client sent it, but for method, URI and `Host`, which are the grant's.
///
/// `proof` is the token by which the client was attested. If it stands in one of the places of the credential, all of
/// them are emptied: it must not go upstream, and a client that shows it there has no key of its own there.
///
/// # Errors
///
/// Nothing may be sent: the grant rests on a rule ([`inject`](super::inject) is for those), or as with `inject`.
pub fn pass_as_sent(
    grant: Grant,
    plan: &InjectionPlan,
    mut head: Box<Parts>,
    body: Option<Bytes>,
    proof: Option<&Secret>,
) -> Result<Injected, InjectError> {
    if !grant.is_as_sent() {
        return Err(InjectError::WrongLease);
    }
    let body = grant.body().cloned().or(body);
    head.method = grant.method().clone();
    if shows(plan, grant.target().authority(), &head, proof) {
        let body = write(plan, grant.target(), None, &mut head, body)?;
        return Ok(Injected { grant, lease: None, head, body, certificate: None });
    }
    header::set_host(grant.target(), &mut head.headers);
    head.uri = uri(grant.target(), None, None)?;
    Ok(Injected { grant, lease: None, head, body, certificate: None })
}

/// Whether one of the places of the credential holds the proof.
// Compared with what the client itself sent; nothing of it leaves this function.
#[allow(clippy::disallowed_methods, reason = "searched for, so that it can be removed")]
fn shows(plan: &InjectionPlan, host: &Authority, head: &Parts, proof: Option<&Secret>) -> bool {
    let Some(proof) = proof.map(Secret::expose).filter(|proof| !proof.is_empty()) else { return false };
    plan.presented_tokens(host, head).any(|shown| memchr::memmem::find(&shown, proof).is_some())
}
