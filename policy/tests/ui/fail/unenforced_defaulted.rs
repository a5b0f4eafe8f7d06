use claviger_policy::Unenforced;

fn main() {
    let _: Unenforced = Default::default();
}
