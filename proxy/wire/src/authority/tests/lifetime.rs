//! What ends when: leaves, intermediates, the root; and that no session outlives them.

use claviger_contract::ManualClock;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{DigitallySignedStruct, HandshakeKind, SignatureScheme};

use super::*;

#[test]
fn leaves_and_intermediates_are_renewed_before_they_end() {
    let start = SystemClock.now_ms();
    let clock = Arc::new(ManualClock::at_ms(start));
    let root = InterceptionRoot::generate(&*clock).unwrap();
    let authority = InterceptionAuthority::new(&root, &patterns(&["a.test"]), 1, clock.clone()).unwrap();
    let leaf = || authority.leaf(&host("a.test")).unwrap();
    let shown = |config: &Arc<ServerConfig>| {
        let resolved = chain_of(config);
        let ends = resolved.iter().map(|der| x509(der).validity().not_after.timestamp()).collect::<Vec<_>>();
        (resolved[1].clone(), ends[0], ends[1])
    };
    let first = leaf();
    clock.advance_ms(17 * 60 * 60 * 1_000);
    assert!(Arc::ptr_eq(&first, &leaf()));
    clock.advance_ms(2 * 60 * 60 * 1_000);
    let second = leaf();
    assert!(!Arc::ptr_eq(&first, &second));
    assert_eq!(shown(&first).0, shown(&second).0);
    assert!(shown(&second).1 > clock.now() + DAY / 2);

    // Day by day, past the end of the first intermediate: whatever is served has hours to go.
    for _ in 0..20 {
        clock.advance_ms(DAY * 1_000);
        let (_, leaf_ends, intermediate_ends) = shown(&leaf());
        assert!(leaf_ends > clock.now() + DAY / 4 && leaf_ends <= intermediate_ends);
    }
    assert_ne!(shown(&first).0, shown(&leaf()).0);
    let last = leaf();
    clock.advance_ms(-20 * DAY * 1_000);
    assert!(!Arc::ptr_eq(&last, &leaf()), "a leaf from the future is not served");
}

/// What is served, whenever it is valid.
fn chain_of(config: &Arc<ServerConfig>) -> Vec<CertificateDer<'static>> {
    #[derive(Debug)]
    struct Anything;
    impl ServerCertVerifier for Anything {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            self.verify_tls12_signature(message, certificate, signature)
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            provider().signature_verification_algorithms.supported_schemes()
        }
    }
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_no_client_auth();
    let (client, _) = shake(Arc::new(client), Arc::clone(config), "a.test").unwrap();
    client.peer_certificates().unwrap().to_vec()
}

#[test]
fn nothing_outlives_the_root() {
    let clock = Arc::new(ManualClock::at_ms(SystemClock.now_ms()));
    let root = InterceptionRoot::generate(&*clock).unwrap();
    let end = root.validity().end;
    clock.advance_ms((end - clock.now() - DAY / 2) * 1_000);
    let authority = InterceptionAuthority::new(&root, &patterns(&["a.test"]), 1, clock.clone()).unwrap();
    for der in chain_of(&authority.leaf(&host("a.test")).unwrap()) {
        assert_eq!(x509(&der).validity().not_after.timestamp(), end);
    }
    clock.advance_ms(DAY * 1_000);
    assert!(matches!(authority.leaf(&host("a.test")), Err(AuthorityError::RootExpired)));
    let late = InterceptionAuthority::new(&root, &patterns(&["a.test"]), 1, clock);
    assert!(matches!(late, Err(AuthorityError::RootExpired)));
}

/// A client that asks for sessions gets none, in either version: nothing outlives its leaf.
#[test]
fn sessions_are_not_resumed() {
    let root = root();
    let authority = authority(&root, &["a.test"]);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root.certificate().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
        let client = Arc::new(client.with_root_certificates(roots).with_no_client_auth());
        for _ in 0..2 {
            let leaf = authority.leaf(&host("a.test")).unwrap();
            let (client, _) = shake(Arc::clone(&client), leaf, "a.test").unwrap();
            assert_eq!(client.tls13_tickets_received(), 0);
            let kind = client.handshake_kind().unwrap();
            assert!(matches!(kind, HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest), "{kind:?}");
        }
    }
}
