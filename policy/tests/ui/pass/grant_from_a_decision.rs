//! The twin of what must not compile: a grant that a decision made is read and consumed.
use claviger_policy::{Bound, Context, Decision, Grant, Policy, Target};

fn judge(policy: &Policy, bound: &Bound, target: Target, context: &Context) -> Option<Grant> {
    match policy.decide(bound, target, http::Method::GET, context) {
        Decision::Grant(grant) => Some(grant),
        Decision::Denied(_) | Decision::Pending(_) => None,
    }
}

fn send(grant: Grant) -> http::Uri {
    grant.target().uri().clone()
}

fn main() {
    let _ = (judge, send);
}
