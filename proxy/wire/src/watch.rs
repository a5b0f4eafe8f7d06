//! Judges what is under way again.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use claviger_contract::{Attested, Suspension};
use claviger_identity::Chain;
use claviger_policy::{BodyFacts, Bound, Context, CredentialUse, Decision, Grant, Principal, Target};
use http::Method;

use crate::connection::Connection;
use crate::exchange::silent;
use crate::generation::Generation;
use crate::refusal::{Refusal, RefusalCode};
use crate::server::Core;
use crate::suspended::Using;

/// Why something that was allowed is not any more.
#[derive(Clone, Debug)]
pub(crate) enum Over {
    /// The rule, the proof or the configuration changed.
    Revoked,
    /// An operator stopped what it uses.
    Suspended(Arc<Suspension>),
    /// Upstream did not answer for so long.
    Silent(Duration),
}

impl Over {
    /// What the client of a request that is not answered yet is told.
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::Suspended(suspension) => Refusal::new(RefusalCode::Suspended, suspension.to_string()),
            Self::Silent(limit) => silent(*limit),
            Self::Revoked => {
                let detail = "the rule, the proof or the configuration changed before the request could be sent";
                Refusal::because(RefusalCode::Denied, "no_longer_allowed", detail)
            }
        }
    }

    /// The code in the `finished` record of an answer that was ended.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Suspended(_) => RefusalCode::Suspended.as_str(),
            Self::Silent(_) => RefusalCode::UpstreamTimeout.as_str(),
            Self::Revoked => "revoked",
        }
    }
}

/// Judges a request again after a reload, and when time could have changed the answer.
pub(crate) struct Watch {
    connection: Rc<Connection>,
    attested: Attested,
    /// Of the generation that judged last, and its epoch then.
    chain: Option<(Arc<Chain>, u64)>,
    principal: Arc<Principal>,
    service: Arc<str>,
    /// What was injected, whichever credential a later generation would choose.
    credential: Option<Arc<str>>,
    target: Target,
    method: Method,
    facts: Option<BodyFacts>,
    context: Context,
    /// The earliest moment at which time could change the answer.
    due: Option<i64>,
    proof_ends: Option<i64>,
    generation: u64,
}

impl Watch {
    pub(crate) fn new(
        connection: &Rc<Connection>,
        generation: &Generation,
        grant: &Grant,
        facts: Option<BodyFacts>,
        context: Context,
        attested: &Attested,
    ) -> Self {
        Self {
            connection: connection.clone(),
            attested: attested.clone(),
            chain: chain_of(connection, generation),
            principal: grant.principal().clone(),
            service: grant.service().clone(),
            credential: match grant.credential() {
                CredentialUse::Named(name) => Some(name.clone()),
                CredentialUse::None => None,
            },
            target: grant.target().clone(),
            method: grant.method().clone(),
            facts,
            context,
            due: grant.valid_until(),
            proof_ends: attested.proof.expires_at,
            generation: grant.generation(),
        }
    }

    /// Whether nothing of it is suspended, the running configuration still allows it, and its proof still holds.
    pub(crate) fn holds(&mut self, core: &Core) -> Result<(), Over> {
        let using = Using {
            principal: &self.principal.id,
            service: Some(&self.service),
            credential: self.credential.as_deref(),
        };
        match core.suspended.find(using, || core.clock.now_ms()) {
            Some(suspension) => Err(Over::Suspended(suspension)),
            None if self.is_allowed(core) => Ok(()),
            None => Err(Over::Revoked),
        }
    }

    fn is_allowed(&mut self, core: &Core) -> bool {
        let running = core.generation_number();
        let same =
            running == self.generation && self.chain.as_ref().is_none_or(|(chain, epoch)| chain.epoch() == *epoch);
        if same && self.due.is_none() && self.proof_ends.is_none() {
            return true;
        }
        let now = core.clock.now();
        if self.proof_ends.is_some_and(|ends| now >= ends) {
            return false;
        }
        if same && self.due.is_none_or(|due| now < due) {
            return true;
        }
        let generation = core.generation();
        // The epoch before the verdict: a change in between makes it old.
        self.chain = chain_of(&self.connection, &generation);
        if !self.connection.still_attests(&generation, &self.attested) {
            return false;
        }
        self.context.now = now;
        let bound = generation.policy.bind(&self.principal);
        match self.judge(&generation, &bound) {
            Some(grant) => {
                (self.generation, self.due) = (grant.generation(), grant.valid_until());
                true
            }
            None => false,
        }
    }

    fn judge(&self, generation: &Generation, bound: &Bound) -> Option<Grant> {
        let (policy, target, method) = (&generation.policy, self.target.clone(), self.method.clone());
        let decision = match &self.connection.listener_in(generation).ok()?.settings.unenforced {
            None => policy.decide(bound, target, method, &self.context),
            Some(unenforced) => policy.decide_unenforced(unenforced, bound, target, method, &self.context),
        };
        match decision {
            Decision::Grant(grant) => Some(grant),
            // The body is gone; what was read of it stays known, and if nothing was, nothing is.
            Decision::Pending(pending) => match &self.facts {
                Some(facts) => pending.resolve(policy, facts, bytes::Bytes::new()).ok(),
                None => pending.resolve_unread(policy).ok(),
            },
            Decision::Denied(_) => None,
        }
    }
}

fn chain_of(connection: &Connection, generation: &Generation) -> Option<(Arc<Chain>, u64)> {
    let chain = connection.listener_in(generation).ok()?.chain.clone();
    let epoch = chain.epoch();
    Some((chain, epoch))
}
