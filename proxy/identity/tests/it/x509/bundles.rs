//! Bundles and revocation lists: what they say, and what happens when they change (Trust Domain and Bundle §4).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger_identity::ConnectionFacts;
use serde_json::{Value, json};

use super::authority::{Authority, LeafParams, signer_params};
use crate::support::{World, attest_certificates, chain, told, vector};

const ID: &str = "spiffe://acme.internal/payments/api";
const MESH: &str = "[attestor.mesh]\nkind = \"x509-svid\"\nbundle = { \"acme.internal\" = \"bundle\" }\n";

fn entry(root: &Authority) -> Value {
    json!({ "kty": "EC", "use": "x509-svid", "x5c": [STANDARD.encode(&root.der)] })
}

#[test]
fn forms_of_a_bundle() {
    let root = Authority::root("acme.internal");
    let other = Authority::root("acme.internal");
    let good = entry(&root);
    let with = |name: &str, value: Value| {
        let mut entry = good.clone();
        entry[name] = value;
        entry
    };
    let without = |name: &str| {
        let mut entry = good.clone();
        entry.as_object_mut().unwrap().remove(name);
        entry
    };
    let set = |entries: &[Value]| json!({ "keys": entries }).to_string();
    let der = |authority: &Authority| json!([STANDARD.encode(&authority.der)]);
    let error = "error";
    let nobody = "identity_untrusted";
    for (about, text, expected) in [
        ("PEM", root.pem(), ID),
        ("PEM of two", other.pem() + &root.pem(), ID),
        ("JSON", set(std::slice::from_ref(&good)), ID),
        ("JSON with space before it", format!("\n {}", set(std::slice::from_ref(&good))), ID),
        ("49 unknown members", json!({ "keys": [good], "spiffe_sequence": 1, "x": {} }).to_string(), ID),
        ("52 no keys", "{\"spiffe_sequence\":1}".to_owned(), error),
        ("52 keys is no list", "{\"keys\":{}}".to_owned(), error),
        ("53 an unknown kty", set(&[with("kty", json!("XYZ"))]), nobody),
        ("53 an unknown kty beside a good one", set(&[json!({ "kty": "XYZ", "use": "x509-svid" }), good.clone()]), ID),
        ("54 no use", set(&[without("use")]), nobody),
        ("54 use in another case", set(&[with("use", json!("X509-SVID"))]), nobody),
        ("54 use of the other kind", set(&[with("use", json!("jwt-svid"))]), nobody),
        ("37 no x5c", set(&[without("x5c")]), nobody),
        ("37 an empty x5c", set(&[with("x5c", json!([]))]), nobody),
        ("37 an empty x5c beside a good one", set(&[with("x5c", json!([])), good.clone()]), ID),
        ("38 only the first of x5c", set(&[with("x5c", json!([der(&other)[0], der(&root)[0]]))]), nobody),
        ("38 near: the first of x5c", set(&[with("x5c", json!([der(&root)[0], der(&other)[0]]))]), ID),
        ("x5c that is no base64", set(&[with("x5c", json!(["?"]))]), error),
        ("x5c that is no certificate", set(&[with("x5c", json!(["AAAA"]))]), error),
        ("55 an empty file", String::new(), nobody),
        ("55 blank lines", "\n\n".to_owned(), nobody),
        ("55 no entries", set(&[]), nobody),
        ("56 a map of bundles", json!({ "trust_domains": { "acme.internal": { "keys": [good] } } }).to_string(), error),
        ("text that is no bundle", "hello".to_owned(), error),
        ("a name twice", format!("{{\"keys\":[{good}],\"keys\":[]}}"), error),
        ("PEM that is broken", root.pem().replace("-----END", "?----END"), error),
    ] {
        let world = World::new();
        world.write("bundle", &text);
        let (attestors, out) = world.take(MESH);
        let found = if out.has_errors() {
            error.to_owned()
        } else {
            let shown = [root.leaf(&LeafParams::new(ID))];
            assert_eq!(!out.is_empty(), expected == nobody && !about.starts_with("38"), "{about}: a warning: {out:?}");
            told(&world.run(attest_certificates(&chain(&attestors, &["mesh"]), &shown)))
        };
        assert_eq!(found, expected, "{about}: {out:?}");
    }
}

#[test]
fn the_vectors_of_go_spiffe() {
    // Roots of 2018 without cA or key usage may sign nothing: such a bundle loads, with a warning.
    for (file, loads, is_usable) in [
        ("x509bundle/testdata/cert.pem", true, false),
        ("x509bundle/testdata/certs.pem", true, false),
        ("x509bundle/testdata/empty.pem", true, false),
        ("x509bundle/testdata/corrupted.pem", false, false),
        ("x509bundle/testdata/not-pem.pem", false, false),
        ("spiffebundle/testdata/spiffebundle_valid_1.json", true, true),
        ("spiffebundle/testdata/spiffebundle_valid_2.json", true, true),
        ("spiffebundle/testdata/spiffebundle_valid_with_wit.json", true, true),
        // The entry without `kid` is for JWT-SVIDs and does not concern this attestor.
        ("spiffebundle/testdata/spiffebundle_missing_kid.json", true, true),
        ("spiffebundle/testdata/spiffebundle_no_keys.json", false, false),
        // More than one certificate in x5c: only the first counts.
        ("spiffebundle/testdata/spiffebundle_multiple_x509.json", true, true),
    ] {
        let world = World::new();
        world.write("bundle", std::fs::read(vector(&format!("go-spiffe/bundle/{file}"))).unwrap());
        let (attestors, out) = world.take(MESH);
        assert_eq!(!out.has_errors(), loads, "{file}: {out:?}");
        if loads {
            assert_eq!(attestors.health().is_empty(), is_usable, "{file}: {out:?}");
        }
    }
}

#[test]
fn trust_domains_are_never_merged() {
    let world = World::new();
    let (acme, other) = (
        Authority::root("acme.internal"),
        Authority::root_of({
            // Without a name of its own, so that only the bundles keep them apart.
            let mut params = signer_params("other", "x");
            params.subject_alt_names.clear();
            params
        }),
    );
    world.write("acme.pem", acme.pem()).write("other.pem", other.pem());
    let attestors = world.attestors(
        "[attestor.mesh]\nkind = \"x509-svid\"\n\
         bundle = { \"acme.internal\" = \"acme.pem\", \"Other.internal\" = \"other.pem\" }\n\
         [attestor.acme]\nkind = \"x509-svid\"\nbundle = { \"acme.internal\" = \"acme.pem\" }\n\
         [attestor.other]\nkind = \"x509-svid\"\nbundle = { \"other.internal\" = \"other.pem\" }\n",
    );
    let foreign = "spiffe://other.internal/x";
    for names in [&["mesh"][..], &["acme", "other"], &["other", "acme"]] {
        let mesh = chain(&attestors, names);
        for (authority, id, expected) in [
            (&acme, ID, ID),
            (&other, foreign, foreign),
            (&acme, foreign, "identity_untrusted"),
            (&other, ID, "identity_untrusted"),
            (&acme, "spiffe://third.internal/x", "identity_untrusted"),
        ] {
            let outcome = world.run(attest_certificates(&mesh, &[authority.leaf(&LeafParams::new(id))]));
            assert_eq!(told(&outcome), expected, "{names:?} {id}");
        }
    }
}

#[test]
fn a_changed_bundle_holds_at_the_next_request() {
    let world = World::new();
    let (old, new) = (Authority::root("acme.internal"), Authority::root("acme.internal"));
    world.write("bundle", old.pem());
    let attestors = world.attestors(MESH);
    let mesh = chain(&attestors, &["mesh"]);
    let of_old = [old.leaf(&LeafParams::new(ID))];
    let of_new = [new.leaf(&LeafParams::new(ID))];
    let live = mesh.attest_connection(&ConnectionFacts { certificates: &of_old, unix_peer: None, peer_ip: None });
    let ask_live = || told(&world.run(mesh.attest(&live, None)));
    assert_eq!(ask_live(), ID);

    // A broken text changes nothing and is reported.
    world.write("bundle", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    attestors.look_at_files();
    assert_eq!(ask_live(), ID);
    assert!(attestors.health()[0].1.contains("failed to use"), "{:?}", attestors.health());

    world.write("bundle", new.pem());
    attestors.look_at_files();
    assert!(attestors.health().is_empty(), "{:?}", attestors.health());
    assert_eq!(ask_live(), "identity_untrusted", "a live connection");
    assert_eq!(told(&world.run(attest_certificates(&mesh, &of_new))), ID);

    // 55: an empty bundle trusts nobody.
    world.write("bundle", "");
    attestors.look_at_files();
    assert_eq!(told(&world.run(attest_certificates(&mesh, &of_new))), "identity_untrusted");
    assert!(attestors.health()[0].1.contains("no authority"), "{:?}", attestors.health());
}

#[test]
fn files_are_watched_once_started() {
    let world = World::new();
    let (old, new) = (Authority::root("acme.internal"), Authority::root("acme.internal"));
    world.write("bundle", old.pem());
    let attestors = world.attestors(MESH);
    attestors.start(None);
    assert_eq!(attestors.watched_files(), [world.path("bundle")]);
    let mesh = chain(&attestors, &["mesh"]);
    let shown = [new.leaf(&LeafParams::new(ID))];
    world.write("bundle", new.pem());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let seen = world.run(async {
        while std::time::Instant::now() < deadline {
            if told(&attest_certificates(&mesh, &shown).await) == ID {
                return true;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        false
    });
    assert!(seen);
}

#[test]
fn revocation() {
    let world = World::new();
    let root = Authority::root("acme.internal");
    let unlisted = Authority::root_of(signer_params("without lists", "acme.internal"));
    let serial = |number: u64| LeafParams::new(ID).with(|p| p.serial_number = Some(number.into()));
    world.write("bundle", root.pem() + &unlisted.pem()).write("crl", root.crl(&[7], 3_600));
    let attestors = world.attestors(&format!("{MESH}crls = [\"crl\"]\n"));
    let mesh = chain(&attestors, &["mesh"]);
    let check = |about: &str, authority: &Authority, number: u64, expected: &str| {
        let outcome = world.run(attest_certificates(&mesh, &[authority.leaf(&serial(number))]));
        assert_eq!(told(&outcome), expected, "{about}: {outcome:?}");
    };
    check("listed", &root, 7, "identity_revoked");
    check("near: another number", &root, 8, ID);
    check("near: the number of another authority", &unlisted, 7, ID);

    let live_leaf = [root.leaf(&serial(9))];
    let live = mesh.attest_connection(&ConnectionFacts { certificates: &live_leaf, unix_peer: None, peer_ip: None });
    assert_eq!(told(&world.run(mesh.attest(&live, None))), ID);
    world.write("crl", root.crl(&[7, 9], 3_600));
    attestors.look_at_files();
    assert_eq!(told(&world.run(mesh.attest(&live, None))), "identity_revoked", "a live connection");

    world.write("crl", root.crl(&[], -1));
    attestors.look_at_files();
    check("a list that has expired says nothing good", &root, 8, "identity_untrusted");

    // A list by a stranger of the same name is not believed.
    let stranger = Authority::root_of(root.params.clone());
    world.write("crl", stranger.crl(&[8], 3_600));
    attestors.look_at_files();
    check("a forged list", &root, 8, "identity_untrusted");
}
