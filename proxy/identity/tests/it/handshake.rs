//! SVIDs in real TLS handshakes.

use std::sync::Arc;

use claviger_identity::{Chain, ConnectionFacts, IdentityError};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};

use crate::support::{World, chain, told};
use crate::x509::{Authority, LeafParams};

const ID: &str = "spiffe://acme.internal/payments/api";
const MESH: &str = "[attestor.mesh]\nkind = \"x509-svid\"\nbundle = { \"acme.internal\" = \"bundle.pem\" }\n";

type Svid = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

struct Peers {
    authority: Authority,
    server: Arc<ServerConfig>,
}

impl Peers {
    fn new(listener: &Chain, version: &'static SupportedProtocolVersion) -> Self {
        let authority = Authority::root("acme.internal");
        let leaf = LeafParams::new("spiffe://acme.internal/proxy")
            .with(|p| p.subject_alt_names.push(rcgen::SanType::DnsName("proxy.test".try_into().unwrap())));
        // rustls has a clock of its own for the server's certificate.
        let leaf = leaf.with(|p| {
            (p.not_before, p.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2099, 1, 1))
        });
        let (der, key) = authority.leaf_and_key(&leaf);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(listener.client_verifier().unwrap())
            .with_single_cert(vec![der], key)
            .unwrap();
        Self { authority, server: Arc::new(server) }
    }

    fn client(&self, svid: Option<Svid>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        match svid {
            Some((certificates, key)) => builder.with_client_auth_cert(certificates, key).unwrap(),
            None => builder.with_no_client_auth(),
        }
    }

    /// The server's side of a finished handshake, or why it failed.
    fn shake(&self, client: Arc<ClientConfig>) -> Result<ServerConnection, rustls::Error> {
        let mut client = ClientConnection::new(client, ServerName::try_from("proxy.test").unwrap()).unwrap();
        let mut server = ServerConnection::new(self.server.clone()).unwrap();
        loop {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            let mut bytes = wire.as_slice();
            while !bytes.is_empty() {
                server.read_tls(&mut bytes).unwrap();
                server.process_new_packets()?;
            }
            if !server.is_handshaking() && !server.wants_write() {
                return Ok(server);
            }
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut bytes = wire.as_slice();
            while !bytes.is_empty() {
                client.read_tls(&mut bytes).unwrap();
                client.process_new_packets().unwrap();
            }
        }
    }
}

#[test]
fn good_and_bad_svids() {
    let world = World::new();
    let root = Authority::root("acme.internal");
    let stranger = Authority::root_of(root.params.clone());
    world.write("bundle.pem", root.pem()).write("crl", root.crl(&[99], 3_600));
    let attestors = world.attestors(&format!("{MESH}crls = [\"crl\"]\n"));
    let mesh = chain(&attestors, &["mesh"]);
    let leaf = |authority: &Authority, leaf: LeafParams| -> Option<Svid> {
        let (der, key) = authority.leaf_and_key(&leaf);
        Some((vec![der], key))
    };
    let at = |from: i64, to: i64| {
        let time = |n| time::OffsetDateTime::from_unix_timestamp(crate::support::NOW + n).unwrap();
        LeafParams::new(ID).with(|p| (p.not_before, p.not_after) = (time(from), time(to)))
    };
    let cases: Vec<(&str, Option<Svid>, Result<&str, &str>)> = vec![
        ("a good one", leaf(&root, LeafParams::new(ID)), Ok(ID)),
        ("none", None, Ok("absent")),
        ("a stranger's", leaf(&stranger, LeafParams::new(ID)), Err("identity_untrusted")),
        ("another domain's", leaf(&root, LeafParams::new("spiffe://other/x")), Err("identity_untrusted")),
        ("one without a path", leaf(&root, LeafParams::new("spiffe://acme.internal")), Err("identity_malformed")),
        (
            "one without digitalSignature",
            leaf(&root, LeafParams::new(ID).with(|p| p.key_usages.clear())),
            Err("identity_malformed"),
        ),
        ("an expired one", leaf(&root, at(-20, -10)), Err("identity_expired")),
        ("one of tomorrow", leaf(&root, at(10, 20)), Err("identity_not_yet_valid")),
        (
            "a revoked one",
            leaf(&root, LeafParams::new(ID).with(|p| p.serial_number = Some(99u64.into()))),
            Err("identity_revoked"),
        ),
    ];
    for version in [&TLS12, &TLS13] {
        let peers = Peers::new(&mesh, version);
        for (about, svid, expected) in &cases {
            let svid = svid.as_ref().map(|(certificates, key)| (certificates.clone(), key.clone_key()));
            let found = peers.shake(Arc::new(peers.client(svid)));
            let found = match &found {
                Ok(server) => {
                    let certificates = server.peer_certificates().unwrap_or_default();
                    let facts = ConnectionFacts { certificates, unix_peer: None, peer_ip: None };
                    Ok(told(&world.run(mesh.attest(&mesh.attest_connection(&facts), None))))
                }
                Err(error) => Err(IdentityError::of_handshake(error).map_or("no reason", |error| error.code())),
            };
            assert_eq!(found.as_deref().map_err(|code| *code), *expected, "{about} {version:?}");
        }
    }
}

#[test]
fn a_resumed_session_is_judged_by_the_bundles_of_now() {
    let world = World::new();
    let root = Authority::root("acme.internal");
    world.write("bundle.pem", root.pem());
    let attestors = world.attestors(MESH);
    let mesh = chain(&attestors, &["mesh"]);
    let peers = Peers::new(&mesh, &TLS12);
    let (der, key) = root.leaf_and_key(&LeafParams::new(ID));
    let client = Arc::new(peers.client(Some((vec![der], key))));
    let ask = |server: &ServerConnection| {
        let facts = ConnectionFacts {
            certificates: server.peer_certificates().unwrap_or_default(),
            unix_peer: None,
            peer_ip: None,
        };
        told(&world.run(mesh.attest(&mesh.attest_connection(&facts), None)))
    };
    assert_eq!(ask(&peers.shake(client.clone()).unwrap()), ID);
    world.write("bundle.pem", Authority::root("acme.internal").pem());
    attestors.look_at_files();
    let resumed = peers.shake(client).unwrap();
    assert_eq!(resumed.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    assert_eq!(ask(&resumed), "identity_untrusted");
}
