//! The life of a request, in order. Every stage yields the value that the next one needs, so that
//! none can be left out: without a [`Grant`](claviger_policy::Grant) nothing is injected, and without
//! an [`Injected`](claviger_credential::Injected) nothing is sent.

mod login;
mod replay;

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use claviger_contract::Attested;
use claviger_credential::{Lease, LeaseAnswer, inject, pass_as_sent};
use claviger_policy::{BodyFacts, Bound, Context, CredentialUse, Decision, Grant, Target};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Request, Response};
use hyper::body::{Body, Incoming};

use self::replay::{Replay, kept_size, may_be_exchanged, once_more};
use crate::body::{AnswerBody, Passing, Sent, SentBody, mask_headers};
use crate::canary::Spotted;
use crate::client_body::ClientBody;
use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::generation::{Generation, Service};
use crate::head::Marks;
use crate::phantom::{Asked, Login};
use crate::refusal::{Dialect, Refusal, RefusalCode};
use crate::settings::Limits;
use crate::suspended::Using;
use crate::trail::{Ending, Trail};
use crate::upstream::Answered;
use crate::watch::Watch;
use crate::{body_facts, canary, challenge, head, intercept};

/// A request as it came. Its head stays where it is from here to its sending: each step of the way would copy it.
pub(crate) struct Arrived {
    head: Box<Parts>,
    body: Incoming,
}

impl From<Request<Incoming>> for Arrived {
    fn from(request: Request<Incoming>) -> Self {
        let (head, body) = request.into_parts();
        Self { head: Box::new(head), body }
    }
}

/// Answers one request; never fails, for a refusal is an answer too.
pub(crate) async fn handle(connection: &Rc<Connection>, Arrived { mut head, body }: Arrived) -> Response<AnswerBody> {
    let generation = connection.core.generation();
    if head.method == Method::CONNECT && connection.asks_as_proxy() {
        return intercept::handle(connection, &generation, Request::from_parts(*head, body)).await;
    }
    // What hyper attached for its own use is not to be taken for ours when the head goes upstream.
    head.extensions.clear();
    connection.take_session_token(&mut head);
    let _counted = connection.count_request();
    let body = ClientBody::new(body, &head.headers, generation.limits.header_timeout);
    let reservation = connection.core.ledger.reserve();
    let mut trail = Trail::begin(connection, &generation, &head, reservation);
    match pass(connection, &generation, &mut trail, head, body).await {
        Ok(answer) => answer,
        Err(refusal) => trail.refuse(&refusal),
    }
}

/// accept ─ attest ─ target ─ decide ─ lease ─ inject ─ send ─ guard ─ record.
async fn pass(
    connection: &Rc<Connection>,
    generation: &Arc<Generation>,
    trail: &mut Trail,
    mut head: Box<Parts>,
    body: ClientBody,
) -> Result<Response<AnswerBody>, Refusal> {
    // Room for both records first: what cannot be recorded does not happen.
    trail.recordable()?;
    // A placeholder that tells whose it is becomes the plain one, which rules and injections know.
    let mut shown = generation.canaries.as_ref().map_or_else(Vec::new, |canaries| canaries.spot(&mut head));
    // One canonicaliser; what is authorised below is byte for byte what is sent.
    let marks = Marks::of(&head.headers);
    let target = connection.target(&head, marks, generation)?;
    trail.target(&target);
    let prefixed = head::is_prefixed(&head, &target);
    let service = served(connection, generation, trail, &head, &target, &shown).await?;
    // Clients that log in themselves are answered in their protocol's words.
    let mut asked = Login::asked(service, &target, &head.method);
    trail.speak(asked.as_ref().map_or(Dialect::Claviger, Asked::dialect));
    // Who asks, and whether what it shows is its own. The proof may stand where the API key goes, so the service is known first.
    let known = known(connection, generation, trail, &mut head, service, &target, &shown, asked.as_mut());
    let (attested, bound) = known.await?;
    trail.count_caller(&attested, generation.limits.caller_requests_max)?;
    connection.serves(generation, &service.name)?;
    // What an operator stopped is told so, whatever policy says; nothing of it is read or minted.
    trail.unless_suspended(Using::caller(&attested, Some(&service.name)))?;
    // What belongs to this hop ends here: neither policy nor injection sees what will not be sent.
    head::strip_request(&mut head.headers, marks);
    head::strip_proof(&mut head.headers, attested.proof.token.as_ref());
    // May they. Facts of the body are read only if a rule asks for them.
    let context = Context { source_ip: connection.peer_ip, now: connection.core.clock.now() };
    let judged = decide(connection, generation, trail, &bound, target, &head, &context, body).await?;
    trail.unless_suspended(Using::granted(&judged.grant))?;
    let mut watch = Watch::new(connection, generation, &judged.grant, judged.facts, context, &attested);
    // A login is answered here, with a handle in place of a token: nothing goes upstream.
    if let Some(asked) = asked
        && asked.is_answered_here(&judged.grant, &head.headers)?
    {
        let scene = login::Scene { connection, generation, service, attested: &attested, asked, watch, shown };
        return Box::pin(login::answer(scene, trail, (judged.grant, judged.body), head)).await;
    }
    // The body first: a value that upstream may not know yet is for a request that can be sent once more.
    let sent = Rc::new(Sent::default());
    let keep = || may_be_exchanged(generation, &judged.grant);
    let (whole, streaming) = judged.body.split(service, &generation.limits, trail, &sent, keep).await?;
    // Also in a body, where one is at hand.
    let whole = whole.map(|body| spot_in_body(generation, trail, &mut head, body, &mut shown, &attested, service));
    let whole = whole.transpose()?;
    // With what. A fresh lease costs a look-up; a missing one is minted once for all who wait.
    let lease = lease(generation, service, &judged.grant, &attested, streaming.is_none()).await?;
    let guarded = service.plan.guards() && lease.as_ref().is_some_and(|lease| lease.guard().is_some());
    if guarded {
        head.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    // A body or a mint may have taken its time: what was allowed then must still be.
    trail.still_holds(&mut watch)?;
    let replay = Replay::keep(lease.as_ref(), &head, whole.as_ref(), streaming.as_ref());
    let injected = match judged.grant.is_as_sent() {
        false => inject(judged.grant, lease, &service.plan, head, whole),
        // No rule allows it, and the listener does not enforce: the client's own key stays, its proof does not.
        true => pass_as_sent(judged.grant, &service.plan, head, whole, attested.proof.token.as_ref()),
    };
    let injected = injected.map_err(inject_refusal)?;
    // On record before anything goes out; with `ledger.required`, on disk.
    let open = trail.allow(injected.lease().map(|lease| lease.stamp().clone()))?;
    let committed = open.committed().await;
    let mut ending = trail.ending(open, sent.clone());
    if let Err(error) = committed {
        return Ok(trail.fail(&Refusal::new(RefusalCode::LedgerUnavailable, error.to_string()), ending));
    }
    ending.look_after(Exchange::begin(&connection.core, watch, connection.kill.clone()));
    let (pool, limits) = (&connection.core.pool, &generation.limits);
    // Pinned where it is made: a future that is handed on by value is copied each time, and has room kept for every copy.
    let sending = std::pin::pin!(pool.send(service, limits, injected, streaming, &sent));
    let mut answered = match ending.answer_of(service.response_timeout, sending).await {
        Ok(answered) => answered,
        Err(refusal) => return Ok(trail.fail(&client_fault(refusal, &sent), ending)),
    };
    // A credential that upstream no longer takes, or does not take yet, is exchanged once, under the same grant. Boxed, as
    // all that is rare: every request would keep room for it.
    if challenge::refuses_value(answered.response.status(), answered.response.headers()) && ending.may_go_on() {
        let again = once_more(connection, generation, service, &attested, answered, replay, &mut ending, &sent);
        answered = match Box::pin(again).await {
            Ok(answered) => answered,
            Err(refusal) => return Ok(trail.fail(&refusal, ending)),
        };
    }
    if let Some(lease) = answered.lease.as_ref().filter(|lease| lease.is_rotating()) {
        generation.credentials.answered(lease, ending.finished.replayed, answered.response.status());
    }
    Ok(answer(answered, guarded, trail, ending, generation, prefixed))
}

/// Who sends a request. Placeholders and handles in it must be the caller's.
#[allow(clippy::too_many_arguments, reason = "what is known of a request before its caller is")]
async fn known(
    connection: &Connection,
    generation: &Generation,
    trail: &mut Trail,
    head: &mut Parts,
    service: &Service,
    target: &Target,
    shown: &[Spotted],
    asked: Option<&mut Asked<'_>>,
) -> Result<(Attested, Bound), Refusal> {
    let attested = connection.attest(generation, head, service.plan.presented_tokens(target.authority(), head)).await;
    let of_nobody = |refusal| match &asked {
        Some(asked) => asked.shown_by_nobody(refusal, service, head),
        None => refusal,
    };
    let (attested, bound) = attested.map_err(of_nobody).map_err(|refusal| trail.or_stolen(refusal, shown))?;
    trail.attested(&attested, &generation.policy);
    rightful(generation, trail, shown, &attested, service)?;
    if let Some(asked) = asked {
        asked.check(service, target, head, login::caller(connection, service, &attested))?;
    }
    Ok((attested, bound))
}

/// The service of the host. Where none names it and a placeholder is on its way there, whoever shows it is asked for the
/// record's sake; boxed, as all that is rare.
async fn served<'a>(
    connection: &Connection,
    generation: &'a Generation,
    trail: &mut Trail,
    head: &Parts,
    target: &Target,
    shown: &[Spotted],
) -> Result<&'a Service, Refusal> {
    let refusal = match service_of(generation, target) {
        Ok(service) => return Ok(service),
        Err(refusal) if shown.is_empty() => return Err(refusal),
        Err(refusal) => refusal,
    };
    // A key's place is the service's to name; without one the proof stands where it is the proxy's.
    if let Ok((attested, _)) = Box::pin(connection.attest(generation, head, std::iter::empty())).await {
        trail.attested(&attested, &generation.policy);
    }
    Err(trail.or_stolen(refusal, shown))
}

fn service_of<'a>(generation: &'a Generation, target: &Target) -> Result<&'a Service, Refusal> {
    let unknown = || Refusal::new(RefusalCode::UnknownService, format!("no service claims `{}`", target.authority()));
    let route = generation.policy.service_for(target.authority(), target.path()).ok_or_else(unknown)?;
    if route.scheme() != target.scheme() {
        let detail =
            format!("service `{}` is {}, not {}", route.name(), route.scheme().as_str(), target.scheme().as_str());
        return Err(Refusal::new(RefusalCode::UnknownService, detail));
    }
    generation.services.get(route.name().as_ref() as &str).ok_or_else(unknown)
}

/// Puts plain placeholders into a body in place of those that tell whose they are, which must be the caller's.
fn spot_in_body(
    generation: &Generation,
    trail: &mut Trail,
    head: &mut Parts,
    body: Bytes,
    shown: &mut Vec<Spotted>,
    attested: &Attested,
    service: &Service,
) -> Result<Bytes, Refusal> {
    let Some(canaries) = &generation.canaries else { return Ok(body) };
    let body = canaries.spot_in_body(head, body, shown);
    rightful(generation, trail, shown, attested, service)?;
    Ok(body)
}

/// Refuses the placeholder of another workload, and one on the way to another service.
fn rightful(
    generation: &Generation,
    trail: &mut Trail,
    shown: &[Spotted],
    attested: &Attested,
    service: &Service,
) -> Result<(), Refusal> {
    match canary::stolen(shown, &generation.policy, &attested.principal, &service.name) {
        None => Ok(()),
        Some(stolen) => Err(trail.stolen(stolen, Some(&service.name))),
    }
}

/// What policy allowed, with the body as far as it was read.
struct Judged {
    grant: Grant,
    body: Unsent,
    facts: Option<BodyFacts>,
}

enum Unsent {
    Streaming(ClientBody),
    Whole(Bytes),
}

#[allow(clippy::too_many_arguments, reason = "what a decision rests on, each from another stage")]
async fn decide(
    connection: &Connection,
    generation: &Generation,
    trail: &mut Trail,
    bound: &Bound,
    target: Target,
    head: &Parts,
    context: &Context,
    body: ClientBody,
) -> Result<Judged, Refusal> {
    let (policy, method) = (&generation.policy, head.method.clone());
    let decision = match &connection.listener_in(generation)?.settings.unenforced {
        None => policy.decide(bound, target, method, context),
        Some(unenforced) => policy.decide_unenforced(unenforced, bound, target, method, context),
    };
    let judged = match decision {
        Decision::Grant(grant) => Judged { grant, body: Unsent::Streaming(body), facts: None },
        Decision::Denied(denial) => return Err(trail.denied(denial)),
        Decision::Pending(pending) => {
            trail.buffer(pending.limit(), generation.limits.buffer_max)?;
            let whole = body_facts::read(body, pending.limit(), generation.limits.body_idle_timeout).await?;
            let facts = body_facts::facts(&pending, head, &whole);
            match pending.resolve(&generation.policy, &facts, whole) {
                Ok(mut grant) => {
                    let whole = grant.take_body().unwrap_or_default();
                    Judged { grant, body: Unsent::Whole(whole), facts: Some(facts) }
                }
                Err(denial) => return Err(trail.denied(denial)),
            }
        }
    };
    trail.granted(&judged.grant);
    Ok(judged)
}

impl Unsent {
    /// Whole where something must be written into it, or where it is small and may have to be sent once more; else
    /// streaming.
    async fn split(
        self,
        service: &Service,
        limits: &Limits,
        trail: &mut Trail,
        sent: &Rc<Sent>,
        keep: impl Fn() -> bool,
    ) -> Result<(Option<Bytes>, Option<SentBody>), Refusal> {
        match self {
            Self::Whole(whole) => Ok((Some(whole), None)),
            Self::Streaming(incoming) if incoming.is_end_stream() => Ok((None, None)),
            Self::Streaming(incoming) => match service.plan.body_limit() {
                Some(limit) => {
                    trail.buffer(limit, limits.buffer_max)?;
                    Ok((Some(body_facts::read(incoming, limit, limits.body_idle_timeout).await?), None))
                }
                None => {
                    if service.body_max.is_some_and(|max| incoming.size_hint().lower() > max) {
                        return Err(Refusal::new(RefusalCode::BodyTooLarge, "Content-Length is over `body_max`"));
                    }
                    let idle = limits.body_idle_timeout;
                    if let Some(size) = kept_size(&incoming).filter(|_| keep())
                        && trail.buffer(size, limits.buffer_max).is_ok()
                    {
                        return Ok((Some(body_facts::read(incoming, size, idle).await?), None));
                    }
                    Ok((None, Some(SentBody::streaming(incoming, service.body_max, idle, sent.clone()))))
                }
            },
        }
    }
}

async fn lease(
    generation: &Generation,
    service: &Service,
    grant: &Grant,
    attested: &Attested,
    replayable: bool,
) -> Result<Option<Arc<Lease>>, Refusal> {
    // It may be for some of a service's hosts only: the others do without, and nothing is minted for them.
    if !service.plan.injects_at(grant.target().authority()) {
        return Ok(None);
    }
    leased(generation, grant, attested, replayable).await
}

async fn leased(
    generation: &Generation,
    grant: &Grant,
    attested: &Attested,
    replayable: bool,
) -> Result<Option<Arc<Lease>>, Refusal> {
    let CredentialUse::Named(name) = grant.credential() else { return Ok(None) };
    let lease = match generation.credentials.lease(name, grant, attested, replayable) {
        LeaseAnswer::Ready(lease) => Ok(lease),
        LeaseAnswer::Wait(minting) => minting.await,
    };
    lease
        .map(Some)
        .map_err(|error| Refusal::because(RefusalCode::CredentialUnavailable, error.code(), error.to_string()))
}

/// The answer passes through: hop-by-hop headers go, echoes are masked, the body streams.
fn answer(
    answered: Box<Answered>,
    guarded: bool,
    trail: &Trail,
    mut ending: Ending,
    generation: &Generation,
    prefixed: bool,
) -> Response<AnswerBody> {
    let guard = answered.lease.as_ref().filter(|_| guarded).and_then(|lease| lease.guard()).cloned();
    let marks = Marks::of(answered.response.headers());
    if guard.is_some()
        && marks.has(Marks::CODING | Marks::CONTENT_CODING)
        && let Some(coding) = unreadable(&answered.response)
    {
        let detail = format!("`{coding}` though identity was asked for, and the answer must be scanned");
        return trail.fail(&Refusal::new(RefusalCode::AnswerEncoded, detail), ending);
    }
    let Answered { response, lent, .. } = *answered;
    let (mut head, incoming) = response.into_parts();
    // Among them is upstream's reason phrase, which could reflect anything.
    head.extensions.clear();
    head::strip_response(&mut head.headers, marks);
    head::strip_own(&mut head.headers, marks);
    if prefixed {
        head::strip_shared_origin(&mut head.headers, marks);
    }
    if let Some(guard) = &guard {
        ending.masked(mask_headers(guard, &mut head.headers));
    }
    ending.identify(&mut head.headers);
    ending.answered(head.status.as_u16());
    head.version = http::Version::HTTP_11;
    let passing = Passing::new(incoming, guard, generation.limits.body_idle_timeout, ending, lent);
    Response::from_parts(head, AnswerBody::Passing(Box::new(passing)))
}

/// The coding of an answer that cannot be scanned; none if there is nothing to scan.
fn unreadable(response: &Response<Incoming>) -> Option<String> {
    if response.body().is_end_stream() {
        return None;
    }
    let headers = response.headers();
    let content = headers.get_all(CONTENT_ENCODING).iter().find(|coding| !is(coding, b"identity"));
    let transfer = headers.get_all(TRANSFER_ENCODING).iter().find(|coding| !is(coding, b"chunked"));
    content.or(transfer).map(|coding| String::from_utf8_lossy(coding.as_bytes()).into_owned())
}

fn is(value: &HeaderValue, word: &[u8]) -> bool {
    value.as_bytes().eq_ignore_ascii_case(word)
}

/// If the client's body broke, that is why upstream's exchange did.
fn client_fault(refusal: Refusal, sent: &Sent) -> Refusal {
    match sent.error.get() {
        None => refusal,
        Some(crate::body::BodyError::TooLarge) => {
            Refusal::new(RefusalCode::BodyTooLarge, "the body is over `body_max`")
        }
        Some(error) => Refusal::because(RefusalCode::BodyBroken, error.code(), error.to_string()),
    }
}

// Takes the error by value, as `map_err` hands it.
#[allow(clippy::needless_pass_by_value, reason = "passed to map_err")]
fn inject_refusal(error: claviger_credential::InjectError) -> Refusal {
    Refusal::because(RefusalCode::CredentialRefused, error.code(), error.to_string())
}
