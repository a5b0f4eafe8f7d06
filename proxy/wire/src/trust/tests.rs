use rustls::pki_types::PrivateKeyDer;

use super::*;

fn certificate() -> (String, rcgen::KeyPair) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["root.test".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    (params.self_signed(&key).unwrap().pem(), key)
}

#[test]
fn roots_come_from_pem_as_a_whole_or_not_at_all() {
    let (one, _) = certificate();
    let (two, _) = certificate();
    assert_eq!(TrustRoots::from_pem(one.as_bytes()).unwrap().0.len(), 1);
    let noted = format!("the company's roots\n{one}\nand\n{two}");
    assert_eq!(TrustRoots::from_pem(noted.as_bytes()).unwrap().0.len(), 2);

    let message = |pem: &str| TrustRoots::from_pem(pem.as_bytes()).unwrap_err().to_string();
    assert_eq!(message(""), "there is no certificate in it");
    assert_eq!(
        message("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        "there is no certificate in it"
    );
    let broken = format!("{one}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert!(message(&broken).starts_with("certificate 2 cannot be a root: "), "{}", message(&broken));
    let cut = one.get(..one.len() - 30).unwrap();
    assert_eq!(message(cut), "it is not valid PEM");
}

#[test]
fn bundled_roots_are_there_and_debug_is_short() {
    assert!(TrustRoots::bundled().0.len() > 100);
    assert!(format!("{:?}", TrustRoots::bundled()).len() < 20);
}

#[test]
fn aes_128_goes_first_and_nothing_is_lost() {
    let usual = rustls::crypto::aws_lc_rs::default_provider().cipher_suites;
    let ours = &provider().cipher_suites;
    assert!(ours.len() == usual.len() && usual.iter().all(|suite| ours.contains(suite)));
    let first = |tls13: bool| ours.iter().find(|suite| suite.tls13().is_some() == tls13).unwrap().suite();
    assert_eq!(first(true), CipherSuite::TLS13_AES_128_GCM_SHA256);
    assert_eq!(first(false), CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
    assert!(ours.first().unwrap().tls13().is_some());
}

#[test]
fn settings_of_a_client() {
    let config = client_config(&TrustRoots::bundled(), &[b"h2", b"http/1.1"], None).unwrap();
    assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert!(!config.enable_early_data && config.enable_sni && !config.key_log.will_log("CLIENT_RANDOM"));
    assert!(!config.client_auth_cert_resolver.has_certs());
}

#[test]
fn a_client_certificate_must_fit_its_key() {
    let (pem, key) = certificate();
    let (_, other) = certificate();
    let own = |key: &rcgen::KeyPair| {
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Some(Arc::new(CertifiedKey::new(chain, provider().key_provider.load_private_key(key).unwrap())))
    };
    let config = client_config(&TrustRoots::bundled(), &[], own(&key)).unwrap();
    assert!(config.client_auth_cert_resolver.has_certs());
    assert!(matches!(client_config(&TrustRoots::bundled(), &[], own(&other)), Err(TrustError::Setup(_))));
}
