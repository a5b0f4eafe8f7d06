//! Roots from outside.

use super::*;
use claviger_contract::Secret;

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

/// A self-signed CA as a company might have it.
fn company(change: impl FnOnce(&mut CertificateParams)) -> (String, rcgen::KeyPair) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, rcgen::DnValue::PrintableString("DE".try_into().unwrap()));
    params.distinguished_name.push(DnType::CommonName, "Company root");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    change(&mut params);
    (params.self_signed(&key).unwrap().pem(), key)
}

#[test]
fn a_root_survives_being_stored() {
    let root = root();
    let (certificate, key) = root.to_pem().unwrap();
    assert_eq!(certificate, root.certificate_pem());
    let stored = InterceptionRoot::from_pem(&certificate, &key).unwrap();
    assert_eq!(stored.certificate(), root.certificate());
    assert_eq!(stored.validity(), root.validity());
    // Who trusts the one trusts what the other signs.
    let leaf = authority(&stored, &["a.test"]).leaf(&host("a.test")).unwrap();
    assert!(shake(trusting(&root, &[]), leaf, "a.test").is_ok());
}

#[test]
fn a_companys_own_root_serves() {
    let (certificate, key) = company(|_| {});
    let root = InterceptionRoot::from_pem(&certificate, &secret(&key.serialize_pem())).unwrap();
    let leaf = authority(&root, &["a.test"]).leaf(&host("a.test")).unwrap();
    assert!(shake(trusting(&root, &[]), leaf, "a.test").is_ok());
    let (stored, stored_key) = root.to_pem().unwrap();
    assert!(InterceptionRoot::from_pem(&stored, &stored_key).is_ok());
}

#[test]
fn unfit_roots_are_refused_with_a_reason() {
    let unfit = |change: fn(&mut CertificateParams)| {
        let (certificate, key) = company(change);
        InterceptionRoot::from_pem(&certificate, &secret(&key.serialize_pem())).unwrap_err().to_string()
    };
    let why = |reason: &str| format!("the root's certificate may not sign intermediates: {reason}");
    assert_eq!(unfit(|params| params.is_ca = IsCa::NoCa), why("it is not a CA"));
    assert_eq!(unfit(|params| params.is_ca = IsCa::ExplicitNoCa), why("it is not a CA"));
    let short = why("its path length is 0, and an intermediate stands below it");
    assert_eq!(unfit(|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))), short);
    let usage = why("its key usage lacks keyCertSign");
    assert_eq!(unfit(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]), usage);
    let nameless = why("its subject is empty or has parts of several values");
    assert_eq!(unfit(|params| params.distinguished_name = rcgen::DistinguishedName::new()), nameless);
}

#[test]
fn certificate_and_key_must_be_one_of_each_and_belong_together() {
    let (certificate, key) = company(|_| {});
    let (other, other_key) = company(|_| {});
    let key = key.serialize_pem();
    let edwards = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    let both = format!("{certificate}{other}");
    let table = [
        ("", key.as_str(), "the root's certificate is not a single certificate in PEM"),
        (&both, &key, "the root's certificate is not a single certificate in PEM"),
        (&key, &key, "the root's certificate is not a single certificate in PEM"),
        (&certificate, "", "the root's key is not an ECDSA key (P-256 or P-384) in PEM"),
        (&certificate, &certificate, "the root's key is not an ECDSA key (P-256 or P-384) in PEM"),
        (&certificate, &edwards, "the root's key is not an ECDSA key (P-256 or P-384) in PEM"),
        (&certificate, &other_key.serialize_pem(), "the root's key is not the key of its certificate"),
    ];
    for (certificate, key, expected) in table {
        let error = InterceptionRoot::from_pem(certificate, &secret(key)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn the_roots_key_signs_intermediates_only() {
    let root = root();
    let key = EcKey::generate().unwrap();
    for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let mut params = params(0, 1).unwrap();
        params.is_ca = is_ca;
        assert!(matches!(root.sign(&params, &key), Err(AuthorityError::RootUnfit(_))), "{is_ca:?}");
    }
}
