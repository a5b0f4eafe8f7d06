//! Judges what is under way again.

use std::rc::Rc;
use std::sync::Arc;

use claviger_contract::Attested;
use claviger_identity::Chain;
use claviger_policy::{BodyFacts, Bound, Context, Decision, Grant, Principal, Target};
use http::Method;

use crate::connection::Connection;
use crate::generation::Generation;
use crate::server::Core;

/// Judges a request again after a reload, and when time could have changed the answer.
pub(crate) struct Watch {
    connection: Rc<Connection>,
    attested: Attested,
    /// Of the generation that judged last, and its epoch then.
    chain: Option<(Arc<Chain>, u64)>,
    principal: Arc<Principal>,
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
            target: grant.target().clone(),
            method: grant.method().clone(),
            facts,
            context,
            due: grant.valid_until(),
            proof_ends: attested.proof.expires_at,
            generation: grant.generation(),
        }
    }

    /// Whether the running configuration still allows it, and its proof still holds.
    pub(crate) fn holds(&mut self, core: &Core) -> bool {
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
        match generation.policy.decide(bound, self.target.clone(), self.method.clone(), &self.context) {
            Decision::Grant(grant) => Some(grant),
            // The body is gone; what was read of it stays known.
            Decision::Pending(pending) => {
                pending.resolve(&generation.policy, self.facts.as_ref()?, bytes::Bytes::new()).ok()
            }
            Decision::Denied(_) => None,
        }
    }
}

fn chain_of(connection: &Connection, generation: &Generation) -> Option<(Arc<Chain>, u64)> {
    let chain = connection.listener_in(generation).ok()?.chain.clone();
    let epoch = chain.epoch();
    Some((chain, epoch))
}
