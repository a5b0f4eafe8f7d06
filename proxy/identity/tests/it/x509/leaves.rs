//! What one certificate must be (X509-SVID §2 to §5.2, SPIFFE-ID §2).

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::authority::{Authority, LeafParams, extension, signer_params, uri};
use crate::support::{World, attest_certificates, attested, chain, told, vector};

const ID: &str = "spiffe://acme.internal/payments/api";
const MESH: &str = "[attestor.mesh]\nkind = \"x509-svid\"\nbundle = { \"acme.internal\" = \"bundle.pem\" }\n";

const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const ALTERNATIVE_NAME: &[u64] = &[2, 5, 29, 17];
/// `digitalSignature` as a bit string.
const DIGITAL_SIGNATURE: &[u8] = &[3, 2, 7, 0x80];

/// `GeneralNames` of URIs.
fn names(uris: &[&str]) -> Vec<u8> {
    let inner: Vec<u8> =
        uris.iter().flat_map(|uri| [&[0x86, u8::try_from(uri.len()).unwrap()], uri.as_bytes()].concat()).collect();
    [&[0x30, u8::try_from(inner.len()).unwrap()], inner.as_slice()].concat()
}

type Change = fn(&mut CertificateParams);

#[test]
fn every_must_of_a_leaf_has_a_case() {
    let world = World::new();
    let root = Authority::root("acme.internal");
    world.write("bundle.pem", root.pem());
    let attestors = world.attestors(MESH);
    let mesh = chain(&attestors, &["mesh"]);
    let check = |must: &str, leaf: LeafParams, expected: &str| {
        let outcome = world.run(attest_certificates(&mesh, &[root.leaf(&leaf)]));
        assert_eq!(told(&outcome), expected, "{must}: {outcome:?}");
    };

    let changes: &[(&str, Change, &str)] = &[
        ("a right leaf", |_| {}, ID),
        ("19 no URI name", |p| p.subject_alt_names = vec![SanType::DnsName("a.test".try_into().unwrap())], MALFORMED),
        ("19 no name at all", |p| p.subject_alt_names.clear(), MALFORMED),
        (
            "19 near: other types beside it",
            |p| p.subject_alt_names.push(SanType::DnsName("a.test".try_into().unwrap())),
            ID,
        ),
        ("20 two URIs", |p| p.subject_alt_names.push(uri("spiffe://acme.internal/other")), MALFORMED),
        ("20 a second URI of any scheme", |p| p.subject_alt_names.push(uri("https://a.test")), MALFORMED),
        ("20 the same URI twice", |p| p.subject_alt_names.push(uri(ID)), MALFORMED),
        (
            "22 empty subject, names not critical",
            |p| {
                p.distinguished_name = DistinguishedName::new();
                p.subject_alt_names.clear();
                p.custom_extensions = vec![extension(ALTERNATIVE_NAME, false, &names(&[ID]))];
            },
            MALFORMED,
        ),
        ("22 near: empty subject, names critical", |p| p.distinguished_name = DistinguishedName::new(), ID),
        ("24, 25, 32 cA", |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), MALFORMED),
        ("25 near: no basic constraints", |p| p.is_ca = IsCa::NoCa, ID),
        ("26 no key usage", |p| p.key_usages.clear(), MALFORMED),
        (
            "26 key usage not critical",
            |p| {
                p.key_usages.clear();
                p.custom_extensions = vec![extension(KEY_USAGE, false, DIGITAL_SIGNATURE)];
            },
            MALFORMED,
        ),
        (
            "26 near: the same, critical",
            |p| {
                p.key_usages.clear();
                p.custom_extensions = vec![extension(KEY_USAGE, true, DIGITAL_SIGNATURE)];
            },
            ID,
        ),
        ("28 no digitalSignature", |p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement], MALFORMED),
        ("28 near: more than digitalSignature", |p| p.key_usages.push(KeyUsagePurpose::KeyEncipherment), ID),
        ("29, 33 keyCertSign", |p| p.key_usages.push(KeyUsagePurpose::KeyCertSign), MALFORMED),
        ("29, 33 cRLSign", |p| p.key_usages.push(KeyUsagePurpose::CrlSign), MALFORMED),
        ("30 clientAuth alone", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth], MALFORMED),
        ("30 serverAuth alone", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth], MALFORMED),
        ("30 any", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any], MALFORMED),
        ("30 near: none", |p| p.extended_key_usages.clear(), ID),
        ("30 near: both and more", |p| p.extended_key_usages.push(ExtendedKeyUsagePurpose::CodeSigning), ID),
    ];
    for (must, change, expected) in changes {
        check(must, LeafParams::new(ID).with(change), expected);
    }

    let absent = "identity_untrusted";
    let long = format!("spiffe://acme.internal/{}", "x".repeat(2_048 - "spiffe://acme.internal/".len()));
    for (must, id, expected) in [
        ("1, 34 another scheme", "https://acme.internal/x", MALFORMED),
        ("1 the scheme alone", "spiffe:acme.internal/x", MALFORMED),
        ("2 no trust domain", "spiffe:///x", MALFORMED),
        ("3 a query", "spiffe://acme.internal/x?q", MALFORMED),
        ("3 an empty query", "spiffe://acme.internal/x?", MALFORMED),
        ("4 a fragment", "spiffe://acme.internal/x#f", MALFORMED),
        ("5 a user", "spiffe://u@acme.internal/x", MALFORMED),
        ("5 a port", "spiffe://acme.internal:443/x", MALFORMED),
        ("5 an empty port", "spiffe://acme.internal:/x", MALFORMED),
        ("6 upper case in the trust domain", "spiffe://Acme.internal/x", MALFORMED),
        ("7 a character that no trust domain has", "spiffe://acme!internal/x", MALFORMED),
        ("8 percent-encoding in the trust domain", "spiffe://acme%2einternal/x", MALFORMED),
        ("9 an address is a name like others", "spiffe://127.0.0.1/x", absent),
        ("10 percent-encoding in the path", "spiffe://acme.internal/%78", MALFORMED),
        ("11 an empty segment", "spiffe://acme.internal/a//b", MALFORMED),
        ("11 a dot segment", "spiffe://acme.internal/a/./b", MALFORMED),
        ("11 two dots", "spiffe://acme.internal/a/../b", MALFORMED),
        ("11 near: three dots", "spiffe://acme.internal/a/.../b", "spiffe://acme.internal/a/.../b"),
        ("12 a slash at the end", "spiffe://acme.internal/a/", MALFORMED),
        ("13 a character that no segment has", "spiffe://acme.internal/a~b", MALFORMED),
        ("14 2048 bytes", &long, &long),
        ("14 near: 2049 bytes", &format!("{long}x"), MALFORMED),
        ("15 the scheme has no case", "SPIFFE://acme.internal/x", "spiffe://acme.internal/x"),
        ("15 the path has", "spiffe://acme.internal/X", "spiffe://acme.internal/X"),
        ("21, 35 the root path", "spiffe://acme.internal", MALFORMED),
        ("21, 35 a slash is no path", "spiffe://acme.internal/", MALFORMED),
        ("57 another trust domain", "spiffe://other.internal/x", absent),
        ("57 a longer trust domain", "spiffe://acme.internal.evil.test/x", absent),
    ] {
        check(must, LeafParams::new(id), expected);
    }
}

const MALFORMED: &str = "identity_malformed";

#[test]
fn signing_certificates_never_authenticate() {
    // 24: neither with its own ID, nor with that of a workload.
    let world = World::new();
    let root = Authority::root("acme.internal");
    world.write("bundle.pem", root.pem());
    let attestors = world.attestors(MESH);
    let mesh = chain(&attestors, &["mesh"]);
    let intermediate = root.intermediate(signer_params("intermediate", "acme.internal"));
    let mut with_path = signer_params("with a path", "acme.internal");
    with_path.subject_alt_names = vec![uri(ID)];
    for der in [root.der.clone(), intermediate.der, root.intermediate(with_path).der] {
        assert_eq!(told(&world.run(attest_certificates(&mesh, &[der]))), MALFORMED);
    }
}

#[test]
fn what_a_leaf_yields() {
    let world = World::new();
    let root = Authority::root("acme.internal");
    world.write("bundle.pem", root.pem());
    let attestors = world.attestors(MESH);
    let mesh = chain(&attestors, &["mesh"]);
    let leaf = root.leaf(&LeafParams::new(ID));
    let attested = attested(world.run(attest_certificates(&mesh, &[leaf])));
    let principal = &attested.principal;
    assert_eq!((principal.id.as_str(), &*principal.attested_by), (ID, "mesh"));
    assert_eq!(principal.attributes.get("x509.serial"), Some(&"2a".into()));
    assert_eq!(principal.attributes.get("x509.not_after"), Some(&(crate::support::NOW + 600).into()));
    assert_eq!(attested.proof.expires_at, Some(crate::support::NOW + 601));
    assert!(attested.proof.token.is_none());
    let names = attestors.attribute_names();
    let mut yielded: Vec<&str> = names[0].1.iter().map(|name| &**name).collect();
    yielded.sort_unstable();
    assert_eq!(yielded, principal.attributes.iter().map(|(name, _)| name).collect::<Vec<_>>());
}

#[test]
fn the_vectors_of_go_spiffe() {
    let world = World::new();
    let root = Authority::root("example.org");
    world.write("bundle.pem", root.pem());
    let text = MESH.replace("acme.internal", "example.org");
    let attestors = world.attestors(&text);
    let mesh = chain(&attestors, &["mesh"]);
    // What is right in itself is refused because nobody here signed it, or because it has expired by now.
    for (file, expected) in [
        ("good-leaf-only", "not malformed"),
        ("good-leaf-and-intermediate", "not malformed"),
        ("wrong-intermediate-no-ca", "not malformed"),
        ("wrong-intermediate-no-key-cert-sign", "not malformed"),
        ("wrong-leaf-ca-true", MALFORMED),
        ("wrong-leaf-cert-sign", MALFORMED),
        ("wrong-leaf-crl-sign", MALFORMED),
        ("wrong-leaf-empty-id", MALFORMED),
        ("wrong-leaf-no-digital-signature", MALFORMED),
    ] {
        let path = vector(&format!("go-spiffe/svid/x509svid/testdata/{file}.pem"));
        let certificates: Vec<_> = CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect();
        let code = told(&world.run(attest_certificates(&mesh, &certificates)));
        let code =
            if matches!(code.as_str(), "identity_untrusted" | "identity_expired") { "not malformed" } else { &code };
        assert_eq!(code, expected, "{file}");
    }
}
