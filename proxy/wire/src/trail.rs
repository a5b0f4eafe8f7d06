//! What one request leaves behind: its two records, its metrics, and the answer if it is refused.

use std::pin::Pin;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use claviger_contract::Attested;
use claviger_contract::event::{CredentialStamp, Decided, Finished, RequestId, TraceId, Verdict};
use claviger_ledger::{Open, Reservation};
use claviger_policy::{Denial, Effect, Grant, Policy, Reason, SpiffeId, Target};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Response};

use crate::body::{AnswerBody, BodyError, Sent};
use crate::canary::Spotted;
use crate::connection::Connection;
use crate::exchange::{Exchange, while_moving};
use crate::generation::Generation;
use crate::refusal::{self, Challenge, Dialect, Refusal, RefusalCode};
use crate::relay::Refused;
use crate::server::Core;
use crate::suspended::Using;
use crate::watch::{Over, Watch};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The outcome of what nobody brought to its end.
const ABORTED: &str = "aborted";

/// Gathers what is known of a request while it is judged.
pub(crate) struct Trail {
    core: Rc<Core>,
    id: RequestId,
    started: Instant,
    challenge: Challenge,
    dialect: Dialect,
    reservation: Option<Reservation>,
    decided: Option<Box<Decided>>,
    /// Written out only if the request is refused; a grant names its own.
    target: Option<Target>,
    caller: Option<CountedCaller>,
    buffered: Option<Buffered>,
    /// For whoever is told of refusals.
    method: Method,
    connects: Option<String>,
}

impl Trail {
    /// Begins with the head; `reservation` is the room for both records.
    pub(crate) fn begin(
        connection: &Connection,
        generation: &Generation,
        head: &Parts,
        reservation: Option<Reservation>,
    ) -> Self {
        let id = connection.core.next_id();
        let decided = reservation.is_some().then(|| {
            Box::new(Decided {
                id,
                at_ms: connection.core.clock.now_ms(),
                trace: trace_id(&head.headers),
                listener: connection.listener.settings.name.clone(),
                source_ip: connection.peer_ip,
                principal: None,
                asked: None,
                service: None,
                rule: None,
                method: head.method.clone(),
                host: None,
                path: None,
                verdict: Verdict::Deny,
                code: "ok",
                detail: None,
                credential: None,
                generation: generation.number,
                observed: None,
                would: None,
                alert: None,
            })
        });
        let challenge = if connection.asks_as_proxy() { Challenge::Proxy } else { Challenge::Origin };
        Self {
            core: connection.core.clone(),
            id,
            started: Instant::now(),
            challenge,
            dialect: Dialect::default(),
            reservation,
            decided,
            target: None,
            caller: None,
            buffered: None,
            method: head.method.clone(),
            connects: None,
        }
    }

    /// There is room for both records.
    pub(crate) fn recordable(&self) -> Result<(), Refusal> {
        match self.reservation {
            Some(_) => Ok(()),
            None => Err(Refusal::new(RefusalCode::LedgerUnavailable, "no room for the records")),
        }
    }

    /// Refuses what was allowed when it was judged and is not any more.
    pub(crate) fn still_holds(&self, watch: &mut Watch) -> Result<(), Refusal> {
        watch.holds(&self.core).map_err(|over| self.over(&over))
    }

    /// Refuses what an operator has suspended, whatever policy says.
    pub(crate) fn unless_suspended(&self, using: Using<'_>) -> Result<(), Refusal> {
        match self.core.suspended.find(using, || self.core.clock.now_ms()) {
            Some(suspension) => Err(self.over(&Over::Suspended(suspension))),
            None => Ok(()),
        }
    }

    fn over(&self, over: &Over) -> Refusal {
        if let Over::Suspended(suspension) = over {
            self.core.metrics.suspended(suspension.kind);
        }
        over.refusal()
    }

    /// What the client speaks: refusals are put in its words.
    pub(crate) fn speak(&mut self, dialect: Dialect) {
        self.dialect = dialect;
    }

    /// The request's id.
    pub(crate) fn id(&self) -> RequestId {
        self.id
    }

    /// The request is answered here: what the record says of that.
    pub(crate) fn answers(&mut self, detail: &str) {
        if let Some(decided) = &mut self.decided {
            decided.detail = Some(detail.into());
        }
    }

    /// The target was understood.
    pub(crate) fn target(&mut self, target: &Target) {
        self.target = Some(target.clone());
    }

    /// A CONNECT names only a host.
    pub(crate) fn host(&mut self, host: &claviger_policy::Authority) {
        if self.core.refused.is_some() {
            self.connects = Some(host.to_string());
        }
        if let Some(decided) = &mut self.decided {
            decided.host = Some(host.to_string().into());
        }
    }

    /// The caller is known; of its attributes only those that policy asks for are recorded.
    pub(crate) fn attested(&mut self, attested: &Attested, policy: &Policy) {
        if let Some(decided) = &mut self.decided {
            decided.principal = Some(attested.principal.clone());
            decided.asked = Some(policy.asked_attributes().clone());
        }
    }

    /// One caller may not take all the places that there are.
    pub(crate) fn count_caller(&mut self, attested: &Attested, most: u32) -> Result<(), Refusal> {
        let mut callers = self.core.callers.borrow_mut();
        let open = callers.entry(attested.principal.id.clone()).or_insert(0);
        if *open >= most {
            return Err(Refusal::new(RefusalCode::Overloaded, format!("the caller has {open} open requests")));
        }
        *open += 1;
        drop(callers);
        self.caller = Some(CountedCaller { core: self.core.clone(), id: attested.principal.id.clone() });
        Ok(())
    }

    /// Takes room for a body that must be held whole.
    pub(crate) fn buffer(&mut self, bytes: usize, most: usize) -> Result<(), Refusal> {
        let held = self.core.buffered.get();
        if held.saturating_add(bytes) > most {
            return Err(Refusal::new(RefusalCode::Overloaded, format!("{held} bytes of bodies are held already")));
        }
        self.core.buffered.set(held + bytes);
        self.buffered = Some(Buffered { core: self.core.clone(), bytes });
        Ok(())
    }

    /// What one workload had for itself was used by somebody else, or elsewhere: recorded, counted and refused.
    pub(crate) fn stolen(&mut self, spotted: &Spotted, service: Option<&std::sync::Arc<str>>) -> Refusal {
        self.core.metrics.alerted(RefusalCode::PlaceholderStolen);
        if let Some(decided) = &mut self.decided {
            decided.alert = Some(Box::new(spotted.alert()));
            decided.service = service.cloned();
        }
        spotted.refusal()
    }

    /// As [`stolen`](Self::stolen), of the first that turned up in a request that is refused anyway, if one did: nobody
    /// knows who shows it, or where it was to go.
    pub(crate) fn or_stolen(&mut self, refusal: Refusal, spotted: &[Spotted]) -> Refusal {
        match spotted.first() {
            Some(_) if is_owners_own(&refusal) => refusal,
            Some(first) => self.stolen(first, None),
            None => refusal,
        }
    }

    /// Policy said no; what it knows goes into the record.
    pub(crate) fn denied(&mut self, denial: Denial) -> Refusal {
        if let Some(decided) = &mut self.decided {
            decided.service = denial.service;
            decided.rule = denial.rule.clone();
            if let Some(observed) = denial.observed {
                decided.would = Some(would(observed.effect));
                decided.observed = Some(observed.rule);
            }
        }
        let detail = match denial.rule {
            Some(rule) => format!("rule `{rule}`"),
            None => "no rule allows it".to_owned(),
        };
        Refusal::because(RefusalCode::Denied, denial.reason.code(), detail)
    }

    /// Policy said yes; the pattern of the rule stands for the path.
    pub(crate) fn granted(&mut self, grant: &Grant) {
        if let Some(decided) = &mut self.decided {
            decided.host = Some(grant.target().authority_text().clone());
            decided.path = Some(match grant.path_pattern() {
                Some(pattern) => pattern.clone(),
                None => grant.target().redacted_path().into(),
            });
            decided.service = Some(grant.service().clone());
            decided.rule = grant.rule().cloned();
            if let Some(observed) = grant.observed() {
                decided.observed = Some(observed.rule.clone());
                decided.would = Some(would(observed.effect));
            }
            if let Some(waived) = grant.waived() {
                let reason = waived.reason.code();
                self.core.metrics.waived(&decided.listener, reason);
                decided.observed = Some(waived.rule.clone().unwrap_or_else(|| reason.into()));
                decided.would = Some(reason);
            }
        }
    }

    /// Writes the `decided` record of a request that will be sent.
    pub(crate) fn allow(&mut self, credential: Option<CredentialStamp>) -> Result<Open, Refusal> {
        match (self.reservation.take(), self.decided.take()) {
            (Some(reservation), Some(mut decided)) => {
                decided.verdict = Verdict::Allow;
                decided.credential = credential;
                Ok(reservation.decided(*decided))
            }
            _ => Err(Refusal::new(RefusalCode::LedgerUnavailable, "no room for the records")),
        }
    }

    /// What the end of an allowed request needs to know.
    pub(crate) fn ending(&mut self, open: Open, sent: Rc<Sent>) -> Ending {
        Ending {
            core: self.core.clone(),
            open: Some(open),
            finished: Finished {
                id: self.id,
                at_ms: 0,
                code: ABORTED,
                status: 0,
                upstream_status: None,
                duration_us: 0,
                first_byte_us: None,
                request_bytes: 0,
                response_bytes: 0,
                masked: 0,
                replayed: false,
                served_version: None,
            },
            started: self.started,
            sent,
            exchange: None,
            _caller: self.caller.take(),
            _buffered: self.buffered.take(),
        }
    }

    /// Ends a refused request: both records, and the client's answer.
    pub(crate) fn refuse(&mut self, refusal: &Refusal) -> Response<AnswerBody> {
        let answer = refusal::answer_in(self.dialect, refusal, self.id, self.challenge);
        if let (Some(reservation), Some(mut decided)) = (self.reservation.take(), self.decided.take()) {
            if let (None, Some(target)) = (&decided.path, &self.target) {
                decided.host = Some(target.authority_text().clone());
                decided.path = Some(target.redacted_path().into());
            }
            if let Some(alert) = &refusal.alert {
                self.core.metrics.alerted(RefusalCode::HandleStolen);
                decided.service.clone_from(&alert.service);
                decided.alert = Some(alert.clone());
            }
            decided.code = refusal.reason;
            decided.detail = Some(refusal.detail.as_str().into());
            let open = reservation.decided(*decided);
            let mut ending = self.ending(open, Rc::default());
            ending.finished.code = refusal.code.as_str();
            ending.finished.status = match self.dialect {
                Dialect::Claviger => refusal.code.status().as_u16(),
                Dialect::OAuth2 | Dialect::Vault => answer.status().as_u16(),
            };
        }
        self.tell(refusal);
        self.core.metrics.refused(refusal.code);
        answer.map(AnswerBody::from)
    }

    /// Answers a request that was allowed and recorded but could not be sent.
    pub(crate) fn fail(&self, refusal: &Refusal, mut ending: Ending) -> Response<AnswerBody> {
        ending.finished.code = refusal.reason;
        ending.finished.status = refusal.code.status().as_u16();
        self.tell(refusal);
        self.core.metrics.refused(refusal.code);
        refusal::answer_in(self.dialect, refusal, self.id, self.challenge).map(AnswerBody::from)
    }
}

impl Trail {
    /// Tells whoever wants to know at once; nobody does at most listeners.
    fn tell(&self, refusal: &Refusal) {
        let Some(refused) = &self.core.refused else { return };
        let of_target = self
            .target
            .as_ref()
            .map(|target| format!("{}://{}{}", target.scheme().as_str(), target.authority(), target.redacted_path()));
        let of_connect = || self.connects.as_ref().map(|host| format!("https://{host}"));
        refused(Refused {
            method: self.method.to_string(),
            url: of_target.or_else(of_connect).unwrap_or_default(),
            code: refusal.code.as_str().to_owned(),
            request_id: self.id.to_string(),
            detail: Some(refusal.detail.clone()),
        });
    }
}

/// An open request of one caller.
struct CountedCaller {
    core: Rc<Core>,
    id: SpiffeId,
}

impl Drop for CountedCaller {
    fn drop(&mut self) {
        let mut callers = self.core.callers.borrow_mut();
        if let Some(open) = callers.get_mut(&self.id) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                callers.remove(&self.id);
            }
        }
    }
}

/// Room that a whole body takes.
struct Buffered {
    core: Rc<Core>,
    bytes: usize,
}

impl Drop for Buffered {
    fn drop(&mut self) {
        self.core.buffered.set(self.core.buffered.get().saturating_sub(self.bytes));
    }
}

/// Writes the `finished` record when it is dropped, whatever happened.
pub(crate) struct Ending {
    core: Rc<Core>,
    open: Option<Open>,
    pub(crate) finished: Finished,
    started: Instant,
    sent: Rc<Sent>,
    exchange: Option<Rc<Exchange>>,
    _caller: Option<CountedCaller>,
    _buffered: Option<Buffered>,
}

impl Ending {
    /// Upstream's head has come.
    pub(crate) fn answered(&mut self, status: u16) {
        self.finished.status = status;
        self.finished.upstream_status = Some(status);
        self.finished.first_byte_us = Some(micros(self.started));
    }

    /// Writes the request's id into the head of its answer.
    pub(crate) fn identify(&self, headers: &mut HeaderMap) {
        self.core.ids.set(self.finished.id, headers);
    }

    pub(crate) fn received(&mut self, bytes: u64) {
        self.finished.response_bytes += bytes;
    }

    pub(crate) fn masked(&mut self, times: u32) {
        self.finished.masked += times;
    }

    pub(crate) fn ended_well(&mut self) {
        self.finished.code = "ok";
    }

    pub(crate) fn failed(&mut self, code: &'static str) {
        self.finished.code = code;
    }

    /// The exchange is looked after from now on, also while nobody polls it.
    pub(crate) fn look_after(&mut self, exchange: Rc<Exchange>) {
        self.exchange = Some(exchange);
    }

    /// From now on it is the client who has to move.
    pub(crate) fn answering(&self) {
        if let Some(exchange) = &self.exchange {
            exchange.polled();
        }
    }

    /// Whether what is streaming may go on; cheap unless something changed. `waker` is woken if it may not any more.
    pub(crate) fn still_allowed(&self, waker: &Waker) -> Result<(), BodyError> {
        let Some(exchange) = &self.exchange else { return Ok(()) };
        exchange.polled();
        exchange.waits(waker);
        exchange.still_allowed(&self.core).map_err(BodyError::from)
    }

    /// Whether something more may be begun for it: nothing is minted for what is suspended.
    pub(crate) fn may_go_on(&self) -> bool {
        self.exchange.as_ref().is_none_or(|exchange| exchange.still_allowed(&self.core).is_ok())
    }

    /// Waits for the head of an answer, unless the exchange is or becomes over, or upstream says nothing for `limit`.
    pub(crate) async fn answer_of<T>(
        &self,
        limit: Duration,
        sending: Pin<&mut impl Future<Output = Result<T, Refusal>>>,
    ) -> Result<T, Refusal> {
        match &self.exchange {
            Some(exchange) => exchange.answer(&self.core, limit, &self.sent, sending).await,
            None => while_moving(sending, limit, &self.sent).await,
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        let mut finished = self.finished.clone();
        // Cut by the core, which is why nobody could say it here.
        if finished.code == ABORTED
            && let Some(over) = self.exchange.as_ref().and_then(|exchange| exchange.over())
        {
            finished.code = over.code();
        }
        finished.at_ms = self.core.clock.now_ms();
        finished.duration_us = micros(self.started);
        finished.request_bytes = self.sent.bytes.get();
        self.core.metrics.finished(&finished);
        open.finished(finished);
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// A proof that has ended or cannot be judged now, or a listener that is gone, is no theft: the owner has to hear of it.
fn is_owners_own(refusal: &Refusal) -> bool {
    let of_time = matches!(refusal.reason, "identity_expired" | "identity_not_yet_valid" | "identity_unavailable");
    of_time || refusal.code == RefusalCode::Misdirected
}

/// What the answer would have been, in the words of a record.
fn would(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allow",
        Effect::Deny => Reason::DeniedByRule.code(),
        Effect::Ambiguous => Reason::Ambiguous.code(),
    }
}

/// The trace id of `traceparent` (W3C Trace Context §3.2): `00-<32 hex>-<16 hex>-<2 hex>`.
fn trace_id(headers: &HeaderMap) -> Option<TraceId> {
    let value = headers.get(TRACEPARENT)?.to_str().ok()?;
    let mut parts = value.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    if version.len() != 2 || trace.len() != 32 {
        return None;
    }
    u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0).map(TraceId)
}
