//! What one request leaves behind: its two records, its metrics, and the answer if it is refused.

use std::rc::Rc;
use std::time::Instant;

use claviger_contract::Attested;
use claviger_contract::event::{CredentialStamp, Decided, Finished, RequestId, TraceId, Verdict};
use claviger_ledger::{Open, Reservation};
use claviger_policy::{BodyFacts, Context, Decision, Denial, Grant, Target};
use http::request::Parts;
use http::{HeaderMap, Response};

use crate::body::{AnswerBody, Sent};
use crate::connection::Connection;
use crate::generation::Generation;
use crate::refusal::{self, Challenge, Refusal, RefusalCode};
use crate::server::Core;

/// Gathers what is known of a request while it is judged.
pub(crate) struct Trail {
    core: Rc<Core>,
    id: RequestId,
    started: Instant,
    challenge: Challenge,
    reservation: Option<Reservation>,
    decided: Option<Box<Decided>>,
    /// Written out only if the request is refused; a grant names its own.
    target: Option<Target>,
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
                principal: None,
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
            })
        });
        let challenge = if connection.asks_as_proxy() { Challenge::Proxy } else { Challenge::Origin };
        Self {
            core: connection.core.clone(),
            id,
            started: Instant::now(),
            challenge,
            reservation,
            decided,
            target: None,
        }
    }

    /// There is room for both records.
    pub(crate) fn recordable(&self) -> Result<(), Refusal> {
        match self.reservation {
            Some(_) => Ok(()),
            None => Err(Refusal::new(RefusalCode::LedgerUnavailable, "no room for the records")),
        }
    }

    /// Seconds since the Unix epoch.
    pub(crate) fn now(&self) -> i64 {
        self.core.clock.now()
    }

    /// The target was understood.
    pub(crate) fn target(&mut self, target: &Target) {
        self.target = Some(target.clone());
    }

    /// A CONNECT names only a host.
    pub(crate) fn host(&mut self, host: &claviger_policy::Authority) {
        if let Some(decided) = &mut self.decided {
            decided.host = Some(host.to_string().into());
        }
    }

    /// The caller is known.
    pub(crate) fn attested(&mut self, attested: &Attested) {
        if let Some(decided) = &mut self.decided {
            decided.principal = Some(attested.principal.clone());
        }
    }

    /// Policy said no; what it knows goes into the record.
    pub(crate) fn denied(&mut self, denial: Denial) -> Refusal {
        if let Some(decided) = &mut self.decided {
            decided.service = denial.service;
            decided.rule = denial.rule.clone();
            decided.observed = denial.observed.map(|observed| observed.rule);
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
            decided.host = Some(grant.target().authority().to_string().into());
            decided.path = Some(grant.path_pattern().clone());
            decided.service = Some(grant.service().clone());
            decided.rule = Some(grant.rule().clone());
            decided.observed = grant.observed().map(|observed| observed.rule.clone());
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
    pub(crate) fn ending(&self, open: Open, sent: Rc<Sent>, watch: Option<Watch>) -> Ending {
        Ending {
            core: self.core.clone(),
            open: Some(open),
            finished: Finished {
                id: self.id,
                at_ms: 0,
                code: "aborted",
                status: 0,
                upstream_status: None,
                duration_us: 0,
                first_byte_us: None,
                request_bytes: 0,
                response_bytes: 0,
                masked: 0,
                replayed: false,
            },
            started: self.started,
            sent,
            watch,
        }
    }

    /// Ends a refused request: both records, and the client's answer.
    pub(crate) fn refuse(&mut self, refusal: &Refusal) -> Response<AnswerBody> {
        if let (Some(reservation), Some(mut decided)) = (self.reservation.take(), self.decided.take()) {
            if let (None, Some(target)) = (&decided.path, &self.target) {
                decided.host = Some(target.authority().to_string().into());
                decided.path = Some(target.redacted_path().into());
            }
            decided.code = refusal.reason;
            decided.detail = Some(refusal.detail.as_str().into());
            let open = reservation.decided(*decided);
            let mut ending = self.ending(open, Rc::default(), None);
            ending.finished.code = refusal.code.as_str();
            ending.finished.status = refusal.code.status().as_u16();
        }
        self.core.metrics.refused(refusal.code);
        refusal::answer(refusal.code, self.id, self.challenge).map(AnswerBody::from)
    }

    /// Answers a request that was allowed and recorded but could not be sent.
    pub(crate) fn fail(&self, refusal: &Refusal, mut ending: Ending) -> Response<AnswerBody> {
        ending.finished.code = refusal.reason;
        ending.finished.status = refusal.code.status().as_u16();
        self.core.metrics.refused(refusal.code);
        refusal::answer(refusal.code, self.id, self.challenge).map(AnswerBody::from)
    }
}

/// Writes the `finished` record when it is dropped, whatever happened.
pub(crate) struct Ending {
    core: Rc<Core>,
    open: Option<Open>,
    pub(crate) finished: Finished,
    started: Instant,
    sent: Rc<Sent>,
    watch: Option<Watch>,
}

impl Ending {
    /// Upstream's head has come.
    pub(crate) fn answered(&mut self, status: u16) {
        self.finished.status = status;
        self.finished.upstream_status = Some(status);
        self.finished.first_byte_us = Some(micros(self.started));
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

    /// Begins to watch whether policy still allows the stream.
    pub(crate) fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// Whether policy still allows what is streaming; cheap unless something changed.
    pub(crate) fn still_allowed(&mut self) -> bool {
        match &mut self.watch {
            None => true,
            Some(watch) => watch.holds(&self.core),
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        let mut finished = self.finished.clone();
        finished.at_ms = self.core.clock.now_ms();
        finished.duration_us = micros(self.started);
        finished.request_bytes = self.sent.bytes.get();
        self.core.metrics.finished(&finished);
        open.finished(finished);
    }
}

/// Judges a long stream again after a reload, and when time could have changed the answer.
pub(crate) struct Watch {
    grant: Grant,
    facts: Option<BodyFacts>,
    context: Context,
    proof_ends: Option<i64>,
    generation: u64,
}

impl Watch {
    pub(crate) fn new(grant: Grant, facts: Option<BodyFacts>, context: Context, attested: &Attested) -> Self {
        let generation = grant.generation();
        Self { grant, facts, context, proof_ends: attested.proof.expires_at, generation }
    }

    fn holds(&mut self, core: &Core) -> bool {
        let running = core.generation_number();
        let due = [self.grant.valid_until(), self.proof_ends].into_iter().flatten().min();
        let now = due.map(|due| (due, core.clock.now()));
        if running == self.generation && now.is_none_or(|(due, now)| now < due) {
            return true;
        }
        if let (Some(ends), Some((_, now))) = (self.proof_ends, now)
            && now >= ends
        {
            return false;
        }
        let generation = core.generation();
        self.context.now = core.clock.now();
        let bound = generation.policy.bind(self.grant.principal());
        let target = self.grant.target().clone();
        let decision = generation.policy.decide(&bound, target, self.grant.method().clone(), &self.context);
        let grant = match (decision, &self.facts) {
            (Decision::Grant(grant), _) => grant,
            (Decision::Pending(pending), Some(facts)) => {
                match pending.resolve(&generation.policy, facts, bytes::Bytes::new()) {
                    Ok(grant) => grant,
                    Err(_) => return false,
                }
            }
            (Decision::Pending(_) | Decision::Denied(_), _) => return false,
        };
        self.generation = running;
        self.grant = grant;
        true
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// The trace id of `traceparent` (W3C Trace Context §3.2): `00-<32 hex>-<16 hex>-<2 hex>`.
fn trace_id(headers: &HeaderMap) -> Option<TraceId> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = value.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    if version.len() != 2 || trace.len() != 32 {
        return None;
    }
    u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0).map(TraceId)
}
