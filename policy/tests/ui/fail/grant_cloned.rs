use claviger_policy::Grant;

fn twice(grant: Grant) -> (Grant, Grant) {
    let again: Grant = grant.clone();
    (grant, again)
}

fn main() {
    let _ = twice;
}
