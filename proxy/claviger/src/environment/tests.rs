//! The environment as a whole.

use super::*;
use std::collections::HashMap;

fn endpoint(folder: &std::path::Path, services: Vec<ClientService>) -> Endpoint {
    Endpoint {
        host: "127.0.0.1".to_owned(),
        port: 4321,
        proof: ("exec".to_owned(), "token".to_owned()),
        authority: claviger_wire::InterceptionRoot::generate(&claviger_contract::SystemClock)
            .and_then(|root| root.to_pem())
            .map(|(certificate, _)| certificate)
            .unwrap(),
        folder: folder.to_owned(),
        services,
        gateway: None,
        pass: BTreeSet::new(),
        withheld: BTreeSet::new(),
    }
}

fn made(endpoint: &Endpoint, inherited: &[(&str, &str)]) -> Environment {
    let inherited: HashMap<&str, &str> = inherited.iter().copied().collect();
    make(endpoint, &|name| inherited.get(name).map(|value| (*value).into())).unwrap()
}

#[test]
fn a_variable_stands_once_in_the_table() {
    let mut seen = BTreeSet::new();
    for variable in FAMILIES.iter().flat_map(|family| family.variables) {
        assert!(seen.insert(variable.name), "`{}` stands twice", variable.name);
    }
}
