//! What is wrong with rules that load: dead, redundant, over-broad, expired; and the catalogue of every finding's code.
//!
//! A finding is made only where it is certain: "shadowed" means that it was shown, by containment in every dimension,
//! that the rule never decides. What could not be shown is not reported.

mod callers;
mod code;
mod contain;
mod cover;
mod finding;
mod rules;
mod satisfy;
mod suppress;
mod tables;
mod trie;

pub use callers::{AttestorFacts, Clients};
pub use code::{Code, Level};
pub use finding::{Finding, Related};
pub use suppress::{Reported, Suppression, settle};

use crate::Policy;

/// What the answer depends on besides the policy.
#[derive(Clone, Debug)]
pub struct Options {
    /// Unix seconds: what has expired by then is found.
    pub now: i64,
    /// What expires within so many seconds is found.
    pub soon: i64,
    /// All attestors; empty: they are not known, and nothing is said of them.
    pub attestors: Vec<AttestorFacts>,
    /// The names of workloads that something besides rules names, such as a role.
    pub named_workloads: Vec<String>,
}

impl Policy {
    /// Looks at all rules, together and one by one. What other parts know (listeners, attestors, stores) is not in it.
    ///
    /// The findings are in no order. Grows with the number of rules, and with how many can cover each other.
    pub fn analyze(&self, options: &Options) -> Vec<Finding> {
        let mut out = Vec::new();
        rules::find(self.data(), options, &mut out);
        tables::find(self.data(), options, &mut out);
        callers::find(self.data(), &options.attestors, &mut out);
        out
    }
}
