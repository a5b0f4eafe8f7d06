use claviger_policy::Grant;

fn send(_: Grant) {}

fn twice(grant: Grant) {
    send(grant);
    send(grant);
}

fn main() {
    let _ = twice;
}
