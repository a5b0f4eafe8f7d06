//! What a suggested rule does to the requests that were refused: those that it is for, and all others.

use claviger_policy::document::Diagnostics;
use claviger_policy::{CredentialUse, Policy, Recorded};

use super::refused::{Refused, Shape, key};

/// What the configuration with the rule says.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// Of the requests that the rule is for: which rule allows them, and with which credential; `None`: none does.
    pub(super) allowed: Vec<Option<(String, String)>>,
    /// Refused requests of the recent past of the same shape.
    pub(super) same: u64,
    /// Others that would be allowed too.
    pub(super) also: Vec<Shape>,
    /// What the configuration is newly warned about.
    pub(super) warnings: Vec<String>,
}

impl Proof {
    /// Whether the rule does what it is for.
    pub(super) fn holds(&self) -> bool {
        self.allowed.iter().all(Option::is_some)
    }

    /// How many others would be allowed.
    pub(super) fn others(&self) -> u64 {
        self.also.iter().map(|shape| shape.count).sum()
    }
}

pub(super) fn prove(
    before: &Policy,
    after: &Policy,
    requests: &[Recorded],
    recent: &Refused,
    found: &Diagnostics,
) -> Proof {
    let keys: Vec<String> = requests.iter().map(key).collect();
    let mut proof = Proof { allowed: requests.iter().map(|one| allowed(after, one)).collect(), ..Proof::default() };
    for (key, shape) in recent.shapes() {
        if keys.contains(key) {
            proof.same += shape.count;
        } else if allowed(before, &shape.recorded).is_none() && allowed(after, &shape.recorded).is_some() {
            proof.also.push(shape.clone());
        }
    }
    proof.also.sort_by_key(|shape| std::cmp::Reverse(shape.count));
    let of_the_rule = found.iter().filter(|one| one.location.as_ref().is_some_and(|at| at.file() == "suggestion"));
    proof.warnings = of_the_rule.map(|one| one.message.clone()).collect();
    proof
}

/// The rule that allows a recorded request, and the credential.
fn allowed(policy: &Policy, recorded: &Recorded) -> Option<(String, String)> {
    let explanation = policy.explain_recorded(recorded).ok().filter(|explanation| explanation.allowed)?;
    let credential = match explanation.credential? {
        CredentialUse::None => "none".to_owned(),
        CredentialUse::Named(name) => name.to_string(),
    };
    Some((explanation.rule?.name.to_string(), credential))
}
