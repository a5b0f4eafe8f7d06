use claviger_policy::Grant;

fn main() {
    let _: Grant = Default::default();
}
