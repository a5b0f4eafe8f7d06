use claviger_policy::{Bound, Grant, Obligations, Target};

fn forge(bound: Bound, target: Target) -> Grant {
    Grant {
        bound,
        instance: 0,
        operation: 0,
        target,
        method: http::Method::GET,
        valid_until: None,
        observed: None,
        body: None,
        obligations: Obligations::default(),
    }
}

fn main() {
    let _ = forge;
}
