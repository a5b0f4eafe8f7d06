//! Whatever anybody sends, nobody panics, and nobody is let in.

use proptest::prelude::*;
use serde_json::json;

use claviger_identity::{ConnectionFacts, Outcome, looks_like_token};
use rustls::pki_types::CertificateDer;

use crate::support::{NOW, TokenKey, World, attest_token, chain};
use crate::x509::{Authority, LeafParams};

const TEXT: &str = "\
    [attestor.mesh]\nkind = \"x509-svid\"\nbundle = { \"acme.internal\" = \"bundle.pem\" }\n\
    [attestor.ci]\nkind = \"jwt\"\nissuer = \"https://one.test\"\naudience = \"claviger\"\njwks = \"keys.json\"\n\
    identity = \"spiffe://acme.internal/{sub}\"\n\
    [attestor.svid]\nkind = \"jwt-svid\"\naudience = \"claviger\"\nbundle = { \"acme.internal\" = \"keys.json\" }\n";

/// Changes that an attacker may make to bytes.
fn change(bytes: &mut Vec<u8>, at: usize, kind: u8, byte: u8) {
    let at = at % bytes.len().max(1);
    match kind % 4 {
        0 => bytes[at] = byte,
        1 => bytes.insert(at, byte),
        2 => drop(bytes.remove(at)),
        _ => bytes.truncate(at),
    }
}

#[test]
fn tokens() {
    let world = World::new();
    let key = TokenKey::new("k");
    world.write("bundle.pem", Authority::root("acme.internal").pem()).write("keys.json", key.set());
    let (attestors, _) = world.take(TEXT);
    let listener = chain(&attestors, &["ci", "svid"]);
    let good = key.sign(&json!({ "iss": "https://one.test", "sub": "a", "aud": "claviger", "exp": NOW + 60 }));
    let is_refused = |token: &[u8]| {
        let _ = looks_like_token(token);
        let connection = listener.attest_connection(&ConnectionFacts::default());
        matches!(world.run(listener.attest(&connection, Some(token))), Outcome::Refused(_))
    };
    assert!(matches!(world.run(attest_token(&listener, &good)), Outcome::Attested(_)));
    proptest!(ProptestConfig::with_cases(2_000), |(
        random in proptest::collection::vec(any::<u8>(), 0..200),
        header in "\\PC{0,40}", claims in "\\PC{0,40}",
        at in any::<usize>(), kind in any::<u8>(), byte in any::<u8>(),
    )| {
        prop_assert!(is_refused(&random));
        prop_assert!(is_refused(key.sign_text(&header, &claims).as_bytes()));
        let signed = key.sign_text(r#"{"alg":"ES256"}"#, &claims);
        prop_assert!(is_refused(signed.as_bytes()));
        let mut changed = good.clone().into_bytes();
        change(&mut changed, at, kind, byte);
        prop_assert!(changed == good.as_bytes() || is_refused(&changed));
    });
}

#[test]
fn certificates() {
    let world = World::new();
    let root = Authority::root("acme.internal");
    world.write("bundle.pem", root.pem()).write("keys.json", "{\"keys\":[]}");
    let (attestors, _) = world.take(TEXT);
    let listener = chain(&attestors, &["mesh"]);
    let good = root.leaf(&LeafParams::new("spiffe://acme.internal/x"));
    let is_refused = |certificates: &[CertificateDer<'static>]| {
        let connection = listener.attest_connection(&ConnectionFacts { certificates, unix_peer: None, peer_ip: None });
        matches!(world.run(listener.attest(&connection, None)), Outcome::Refused(_))
    };
    assert!(!is_refused(std::slice::from_ref(&good)));
    proptest!(ProptestConfig::with_cases(2_000), |(
        random in proptest::collection::vec(any::<u8>(), 0..200),
        at in any::<usize>(), kind in any::<u8>(), byte in any::<u8>(),
    )| {
        prop_assert!(is_refused(&[CertificateDer::from(random.clone())]));
        let mut changed = good.to_vec();
        change(&mut changed, at, kind, byte);
        let same = changed == good.as_ref();
        let changed = CertificateDer::from(changed);
        prop_assert!(same || is_refused(std::slice::from_ref(&changed)));
        // As an intermediate it can do no harm.
        prop_assert!(!is_refused(&[good.clone(), changed]));
        prop_assert!(!is_refused(&[good.clone(), CertificateDer::from(random)]));
    });
}

#[test]
fn files() {
    let world = World::new();
    let root = Authority::root("acme.internal");
    let key = TokenKey::new("k");
    let (bundle, keys, list) = (root.pem().into_bytes(), key.set().into_bytes(), root.crl(&[1], 60).into_bytes());
    world.write("bundle.pem", &bundle).write("keys.json", &keys).write("crl", &list);
    let text = TEXT.replacen("\n[attestor.ci]", "\ncrls = [\"crl\"]\n[attestor.ci]", 1);
    let (attestors, _) = world.take(&text);
    proptest!(ProptestConfig::with_cases(500), |(
        random in proptest::collection::vec(any::<u8>(), 0..200),
        at in any::<usize>(), kind in any::<u8>(), byte in any::<u8>(),
    )| {
        for (name, good) in [("bundle.pem", &bundle), ("keys.json", &keys), ("crl", &list)] {
            let mut changed = good.clone();
            change(&mut changed, at, kind, byte);
            for text in [&random, &changed] {
                world.write(name, text);
                attestors.look_at_files();
            }
        }
    });
}
