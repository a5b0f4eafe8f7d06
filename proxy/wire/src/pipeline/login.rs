//! A login that is answered here: everything of a request's life but the sending.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use claviger_contract::Attested;
use claviger_policy::Grant;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, PRAGMA};
use http::request::Parts;

use super::{Unsent, leased, rightful};
use crate::body::AnswerBody;
use crate::body_facts;
use crate::canary::Spotted;
use crate::connection::Connection;
use crate::generation::{Generation, Service};
use crate::phantom::{self, Answer, Asked, Caller};
use crate::refusal::{Refusal, RefusalCode};
use crate::trail::Trail;
use crate::watch::Watch;

/// What a login is judged by besides its grant.
pub(super) struct Scene<'a> {
    pub(super) connection: &'a Connection,
    pub(super) generation: &'a Arc<Generation>,
    pub(super) service: &'a Service,
    pub(super) attested: &'a Attested,
    pub(super) asked: Asked<'a>,
    pub(super) watch: Watch,
    pub(super) shown: Vec<Spotted>,
}

/// Whom a handle is for, and where.
pub(super) fn caller<'a>(connection: &'a Connection, service: &'a Service, attested: &'a Attested) -> Caller<'a> {
    Caller {
        attested,
        service: &service.name,
        listener: &connection.listener.settings.name,
        now: connection.core.clock.now(),
    }
}

/// Answers a login that policy allowed. Nothing goes upstream; a login whose credential cannot be had fails.
pub(super) async fn answer(
    scene: Scene<'_>,
    trail: &mut Trail,
    (grant, body): (Grant, Unsent),
    mut head: Box<Parts>,
) -> Result<Response<AnswerBody>, Refusal> {
    let Scene { connection, generation, service, attested, asked, mut watch, mut shown } = scene;
    let mut body = match body {
        Unsent::Whole(whole) => whole,
        Unsent::Streaming(incoming) => {
            trail.buffer(phantom::BODY_MAX, generation.limits.buffer_max)?;
            body_facts::read(incoming, phantom::BODY_MAX, generation.limits.body_idle_timeout).await?
        }
    };
    if let Some(canaries) = &generation.canaries {
        body = canaries.spot_in_body(&mut head, body, &mut shown);
        rightful(generation, trail, &shown, attested, service)?;
    }
    let question = asked.read(&head, &body, caller(connection, service, attested))?;
    let mut lease_ends = None;
    if question.is_login() {
        asked.count(caller(connection, service, attested))?;
        let lease = leased(generation, &grant, attested, true).await?.ok_or_else(|| {
            let detail = "the rule that allows the login has `use = \"none\"`: there is nothing to log in for";
            Refusal::new(RefusalCode::CredentialRefused, detail)
        })?;
        lease_ends = lease.ends_at();
    }
    // A mint may have taken its time: what was allowed then must still be.
    trail.still_holds(&mut watch)?;
    let Answer { status, body, detail } =
        asked.answer(question, lease_ends, caller(connection, service, attested), trail.id())?;
    trail.answers(&detail);
    let open = trail.allow(None)?;
    let committed = open.committed().await;
    let mut ending = trail.ending(open, Rc::default());
    if let Err(error) = committed {
        return Ok(trail.fail(&Refusal::new(RefusalCode::LedgerUnavailable, error.to_string()), ending));
    }
    let text = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    ending.finished.status = status.as_u16();
    ending.received(text.len() as u64);
    ending.ended_well();
    let is_empty = text.is_empty();
    let mut response = Response::new(AnswerBody::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // RFC 6749 §5.1.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    if !is_empty {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    ending.identify(headers);
    Ok(response)
}
