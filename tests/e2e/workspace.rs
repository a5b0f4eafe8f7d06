//! What must hold of the workspace itself: who may depend on whom, and one TLS and crypto stack.

use std::collections::{BTreeSet, HashMap};
use std::process::Command;

use cargo_metadata::{DependencyKind, MetadataCommand};

fn metadata() -> cargo_metadata::Metadata {
    MetadataCommand::new().current_dir(env!("CARGO_MANIFEST_DIR")).exec().unwrap()
}

/// DESIGN §2: `policy` ← `contract` ← `identity`, `credential`, `ledger` ← `wire` ← `claviger`; never back,
/// and the three in the middle never on each other.
#[test]
fn the_crates_depend_in_one_direction() {
    let allowed: HashMap<&str, &[&str]> = HashMap::from([
        ("claviger-policy", &[] as &[&str]),
        ("claviger-contract", &["claviger-policy"]),
        ("claviger-identity", &["claviger-policy", "claviger-contract"]),
        ("claviger-credential", &["claviger-policy", "claviger-contract"]),
        ("claviger-ledger", &["claviger-policy", "claviger-contract"]),
        (
            "claviger-wire",
            &["claviger-policy", "claviger-contract", "claviger-identity", "claviger-credential", "claviger-ledger"],
        ),
    ]);
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        let ours: BTreeSet<&str> = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal)
            .map(|dependency| dependency.name.as_str())
            .filter(|name| name.starts_with("claviger"))
            .collect();
        let Some(allowed) = allowed.get(package.name.as_str()) else { continue };
        let wrong: Vec<_> = ours.iter().filter(|name| !allowed.contains(*name)).collect();
        assert!(wrong.is_empty(), "{} depends on {wrong:?}", package.name);
    }
    assert_eq!(metadata.workspace_packages().len(), 9, "a new crate needs a row above");
}

/// Policy is pure: no runtime, no HTTP implementation, no logging, no serialisation framework of its own.
#[test]
fn policy_stays_pure() {
    let metadata = metadata();
    let policy = metadata.workspace_packages().into_iter().find(|package| package.name == "claviger-policy").unwrap();
    for banned in ["tokio", "hyper", "tracing", "reqwest", "rustls", "serde_json", "rustix"] {
        let found = policy.dependencies.iter().any(|d| d.name == banned && d.kind == DependencyKind::Normal);
        assert!(!found, "policy depends on {banned}");
    }
}

/// One TLS stack and one crypto provider, on every platform that Claviger is built for.
#[test]
fn nothing_brings_a_second_crypto_stack() {
    for banned in ["ring", "openssl", "openssl-sys", "native-tls"] {
        let tree = Command::new(env!("CARGO"))
            .args(["tree", "--workspace", "--target", "all", "--edges", "normal,build", "--invert", banned])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&tree.stdout).into_owned();
        assert!(text.trim().is_empty(), "{banned} is built:\n{text}");
    }
}

/// `main.rs` only dispatches.
#[test]
fn main_stays_small() {
    let text = include_str!("../../proxy/claviger/src/main.rs");
    assert!(text.lines().count() < 100);
}
