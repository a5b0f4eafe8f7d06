use claviger_policy::{Bound, Context, Decision, Policy, Target, Unenforced};

fn waive(policy: &Policy, bound: &Bound, target: Target, context: &Context) -> Decision {
    let mine = Unenforced { _read: () };
    policy.decide_unenforced(&mine, bound, target, http::Method::GET, context)
}

fn main() {
    let _ = waive;
}
