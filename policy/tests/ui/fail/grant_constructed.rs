use claviger_policy::{Bound, Grant, Obligations, Target};

fn forge(bound: Bound, target: Target) -> Grant {
    Grant {
        bound,
        basis: unreachable!(),
        target,
        method: http::Method::GET,
        valid_until: None,
        unenforced: None,
        body: None,
        obligations: Obligations::default(),
    }
}

fn main() {
    let _ = forge;
}
