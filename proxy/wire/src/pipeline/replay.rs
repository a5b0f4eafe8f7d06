//! What upstream's refusal of a credential asks for: another one, and the request once more, under the same grant.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use claviger_contract::Attested;
use claviger_credential::{Lease, inject};
use claviger_policy::{CredentialUse, Grant};
use http::request::Parts;
use hyper::body::Body;

use super::{inject_refusal, leased};
use crate::body::{Sent, SentBody};
use crate::client_body::ClientBody;
use crate::connection::Connection;
use crate::generation::{Generation, Service};
use crate::refusal::Refusal;
use crate::trail::Ending;
use crate::upstream::Answered;

/// Up to this size a body is held for the time of an exchange whose credential upstream may refuse and another replace.
const KEPT_MAX: usize = 65_536;

/// How long a body is, if it says so and may be held.
pub(super) fn kept_size(body: &ClientBody) -> Option<usize> {
    body.size_hint().exact().and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= KEPT_MAX)
}

/// Whether the request may have to be sent once more: upstream may refuse the value, and another is to be had.
pub(super) fn may_be_exchanged(generation: &Generation, grant: &Grant) -> bool {
    match grant.credential() {
        CredentialUse::Named(name) => generation.credentials.may_be_exchanged(name),
        CredentialUse::None => false,
    }
}

/// Drops the lease that upstream refused, also where this request cannot be sent again: it would serve nobody. Yields
/// another, if one is wanted and to be had; else upstream's 401 stands.
///
/// While a rotation is open nothing is dropped: there are two values, and the other one may be taken.
async fn renew(generation: &Generation, attested: &Attested, refused: &Answered, wanted: bool) -> Option<Arc<Lease>> {
    let stale = refused.lease.as_ref()?;
    if stale.is_rotating() {
        return generation.credentials.other(stale).filter(|_| wanted);
    }
    if !stale.is_renewable() {
        return None;
    }
    generation.credentials.invalidate(stale);
    if !wanted {
        return None;
    }
    let fresh = leased(generation, &refused.grant, attested, true).await.ok().flatten()?;
    (fresh.stamp().version != stale.stamp().version).then_some(fresh)
}

/// Exchanges a credential that upstream refused, and sends the request again with another one, if there is one and the
/// request can be sent again; else upstream's answer stands.
#[allow(clippy::too_many_arguments, reason = "all that the request rests on")]
pub(super) async fn once_more(
    connection: &Connection,
    generation: &Generation,
    service: &Service,
    attested: &Attested,
    refused: Box<Answered>,
    replay: Option<Replay>,
    ending: &mut Ending,
    sent: &Rc<Sent>,
) -> Result<Box<Answered>, Refusal> {
    let fresh = renew(generation, attested, &refused, replay.is_some()).await;
    let (Some(fresh), Some(replay)) = (fresh, replay) else { return Ok(refused) };
    ending.finished.replayed = true;
    ending.finished.served_version = Some(fresh.stamp().version.clone());
    let replaying = std::pin::pin!(replay.run(connection, generation, service, refused, fresh, sent));
    ending.answer_of(service.response_timeout, replaying).await
}

/// What is needed to send a request once more; kept only where a new credential could be minted.
pub(super) struct Replay {
    head: Box<Parts>,
    whole: Option<Bytes>,
}

impl Replay {
    pub(super) fn keep(
        lease: Option<&Arc<Lease>>,
        head: &Parts,
        whole: Option<&Bytes>,
        streaming: Option<&SentBody>,
    ) -> Option<Self> {
        let renewable = lease.is_some_and(|lease| lease.is_renewable() || lease.is_rotating());
        (renewable && streaming.is_none()).then(|| Self { head: Box::new(head.clone()), whole: whole.cloned() })
    }

    async fn run(
        self,
        connection: &Connection,
        generation: &Generation,
        service: &Service,
        refused: Box<Answered>,
        fresh: Arc<Lease>,
        sent: &Rc<Sent>,
    ) -> Result<Box<Answered>, Refusal> {
        let injected =
            inject(refused.grant, Some(fresh), &service.plan, self.head, self.whole).map_err(inject_refusal)?;
        connection.core.pool.send(service, &generation.limits, injected, None, sent).await
    }
}
