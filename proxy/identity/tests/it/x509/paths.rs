//! The path from a leaf to its trust domain's root (RFC 5280 §6, X509-SVID §3.2, §4, §5.1).

use rcgen::{BasicConstraints, CertificateParams, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints};
use rustls::pki_types::CertificateDer;

use super::authority::{Authority, LeafParams, at, extension, signer_params, uri};
use crate::support::{NOW, World, attest_certificates, attested, chain, told};

const ID: &str = "spiffe://acme.internal/payments/api";
const MESH: &str = "[attestor.mesh]\nkind = \"x509-svid\"\nbundle = { \"acme.internal\" = \"bundle.pem\" }\n";

type Change = fn(&mut CertificateParams);

#[test]
fn every_must_of_a_signer_has_a_case() {
    let untrusted = "identity_untrusted";
    let cases: &[(&str, Change, &str)] = &[
        ("a right intermediate", |_| {}, ID),
        ("23 its ID has a path", |p| p.subject_alt_names = vec![uri("spiffe://acme.internal/ca")], untrusted),
        ("23 near: it has no ID", |p| p.subject_alt_names.clear(), ID),
        ("19 two IDs", |p| p.subject_alt_names.push(uri("spiffe://acme.internal")), untrusted),
        (
            "57 its ID is another trust domain's",
            |p| p.subject_alt_names = vec![uri("spiffe://other.internal")],
            untrusted,
        ),
        ("25 no cA", |p| p.is_ca = IsCa::ExplicitNoCa, untrusted),
        ("25 no basic constraints", |p| p.is_ca = IsCa::NoCa, untrusted),
        ("26 no key usage", |p| p.key_usages.clear(), untrusted),
        (
            "26 key usage not critical",
            |p| {
                p.key_usages.clear();
                p.custom_extensions = vec![extension(&[2, 5, 29, 15], false, &[3, 2, 2, 0x04])];
            },
            untrusted,
        ),
        ("27 no keyCertSign", |p| p.key_usages = vec![KeyUsagePurpose::CrlSign], untrusted),
        ("31 it has expired", |p| p.not_after = at(-1), "identity_expired"),
        ("31 near: it ends now", |p| p.not_after = at(0), ID),
        ("31 it is not valid yet", |p| p.not_before = at(1), "identity_not_yet_valid"),
        ("31 no intermediates allowed after it", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)), ID),
        (
            "31 a name constraint on other URIs",
            |p| {
                p.name_constraints = Some(NameConstraints {
                    permitted_subtrees: vec![GeneralSubtree::DnsName("a.test".to_owned())],
                    excluded_subtrees: Vec::new(),
                });
            },
            ID,
        ),
    ];
    for (must, change, expected) in cases {
        let world = World::new();
        let root = Authority::root("acme.internal");
        world.write("bundle.pem", root.pem());
        let attestors = world.attestors(MESH);
        let mut params = signer_params("intermediate", "acme.internal");
        change(&mut params);
        let intermediate = root.intermediate(params);
        let shown = [intermediate.leaf(&LeafParams::new(ID)), intermediate.der.clone()];
        let outcome = world.run(attest_certificates(&chain(&attestors, &["mesh"]), &shown));
        assert_eq!(told(&outcome), *expected, "{must}: {outcome:?}");
    }
}

#[test]
fn every_must_of_a_root_has_a_case() {
    let untrusted = "identity_untrusted";
    let cases: &[(&str, Change, &str)] = &[
        ("a right root", |_| {}, ID),
        ("16 near: it names no trust domain", |p| p.subject_alt_names.clear(), ID),
        ("57 it names another trust domain", |p| p.subject_alt_names = vec![uri("spiffe://other.internal")], untrusted),
        ("23 its ID has a path", |p| p.subject_alt_names = vec![uri("spiffe://acme.internal/ca")], untrusted),
        ("25 no cA", |p| p.is_ca = IsCa::NoCa, untrusted),
        ("26 no key usage", |p| p.key_usages.clear(), untrusted),
        ("27 no keyCertSign", |p| p.key_usages = vec![KeyUsagePurpose::DigitalSignature], untrusted),
        ("31 it has expired", |p| p.not_after = at(-1), untrusted),
        ("31 no intermediates allowed", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)), untrusted),
        ("31 near: one allowed", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)), ID),
    ];
    for (must, change, expected) in cases {
        let world = World::new();
        let mut params = signer_params("root", "acme.internal");
        change(&mut params);
        let root = Authority::root_of(params);
        world.write("bundle.pem", root.pem());
        let attestors = world.attestors(MESH);
        let intermediate = root.intermediate(signer_params("intermediate", "acme.internal"));
        let shown = [intermediate.leaf(&LeafParams::new(ID)), intermediate.der.clone()];
        let outcome = world.run(attest_certificates(&chain(&attestors, &["mesh"]), &shown));
        assert_eq!(told(&outcome), *expected, "{must}: {outcome:?}");
    }
}

#[test]
fn paths() {
    let world = World::new();
    let root = Authority::root("acme.internal");
    let stranger = Authority::root_of(root.params.clone());
    world.write("bundle.pem", root.pem());
    let attestors = world.attestors(MESH);
    let mesh = chain(&attestors, &["mesh"]);
    let leaf = |authority: &Authority| authority.leaf(&LeafParams::new(ID));
    let check = |about: &str, shown: &[CertificateDer<'static>], expected: &str| {
        let outcome = world.run(attest_certificates(&mesh, shown));
        assert_eq!(told(&outcome), expected, "{about}: {outcome:?}");
    };
    let one = root.intermediate(signer_params("one", "acme.internal"));
    let two = one.intermediate(signer_params("two", "acme.internal"));
    let untrusted = "identity_untrusted";
    check("two intermediates", &[leaf(&two), two.der.clone(), one.der.clone()], ID);
    check("in any order", &[leaf(&two), one.der.clone(), two.der.clone()], ID);
    check("one is missing", &[leaf(&two), two.der.clone()], untrusted);
    check("a stranger of the same name", &[leaf(&stranger)], untrusted);
    check("a stranger that shows its root", &[leaf(&stranger), stranger.der.clone()], untrusted);

    // 24, 31: a leaf never signs.
    let (middle, _) = root.leaf_and_key(&LeafParams::new("spiffe://acme.internal/mallory"));
    let key = KeyPair::generate().unwrap();
    let mallory_params = LeafParams::new("spiffe://acme.internal/mallory").0;
    let mallory = mallory_params.signed_by(&key, &root.issuer()).unwrap().der().clone();
    let signed_by_leaf = Authority { params: mallory_params, key, der: mallory.clone() };
    check("a leaf as a signer", &[leaf(&signed_by_leaf), mallory], untrusted);
    check("two leaves", &[leaf(&root), middle], ID);

    check("nothing readable", &[CertificateDer::from(vec![0x30, 0x00])], "identity_malformed");
    let right = leaf(&root);
    let trailing = CertificateDer::from([right.as_ref(), &[0]].concat());
    check("a byte after the leaf", &[trailing], "identity_malformed");
    let mut flipped = right.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    check("17 a flipped bit of the signature", &[CertificateDer::from(flipped)], untrusted);
    let nine: Vec<_> = std::iter::once(right).chain(std::iter::repeat_n(one.der.clone(), 8)).collect();
    check("eight certificates", &nine[..8], ID);
    check("nine certificates", &nine, "identity_malformed");
}

#[test]
fn a_leaf_holds_from_its_first_to_its_last_second() {
    let world = World::new();
    let root = Authority::root("acme.internal");
    world.write("bundle.pem", root.pem());
    let attestors = world.attestors(MESH);
    let mesh = chain(&attestors, &["mesh"]);
    let leaf = root.leaf(&LeafParams::new(ID).with(|p| (p.not_before, p.not_after) = (at(10), at(20))));
    for (until, expected) in [(9, "identity_not_yet_valid"), (10, ID), (20, ID), (21, "identity_expired")] {
        world.clock.advance_ms((NOW + until) * 1_000 - claviger_contract::Clock::now_ms(&*world.clock));
        let outcome = world.run(attest_certificates(&mesh, std::slice::from_ref(&leaf)));
        assert_eq!(told(&outcome), expected, "{until}");
    }
}

#[test]
fn a_proof_ends_with_the_first_certificate_of_its_path() {
    let world = World::new();
    let root = Authority::root("acme.internal");
    world.write("bundle.pem", root.pem());
    let attestors = world.attestors(MESH);
    let mut params = signer_params("short", "acme.internal");
    params.not_after = at(30);
    let short = root.intermediate(params);
    let mesh = chain(&attestors, &["mesh"]);
    let shown = [short.leaf(&LeafParams::new(ID)), short.der.clone()];
    let facts = claviger_identity::ConnectionFacts { certificates: &shown, unix_peer: None, peer_ip: None };
    let connection = mesh.attest_connection(&facts);
    let outcome = world.run(mesh.attest(&connection, None));
    assert_eq!(attested(outcome).proof.expires_at, Some(NOW + 31));

    // The same live connection is refused once its proof has ended.
    world.clock.advance_ms(30_999);
    assert_eq!(told(&world.run(mesh.attest(&connection, None))), ID);
    world.clock.advance_ms(1);
    assert_eq!(told(&world.run(mesh.attest(&connection, None))), "identity_expired");
}
