use claviger_policy::document::{Diagnostics, Table};
use claviger_policy::{Bound, Context, Decision, Policy, Target, Unenforced};

fn waive(listener: &mut Table, policy: &Policy, bound: &Bound, target: Target, context: &Context) -> Option<Decision> {
    let unenforced = Unenforced::take(listener, &mut Diagnostics::default())?;
    Some(policy.decide_unenforced(&unenforced, bound, target, http::Method::GET, context))
}

fn main() {
    let _ = waive;
}
