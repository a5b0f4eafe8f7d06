mod clients;
mod lifetime;
mod roots;

use std::sync::Barrier;

use claviger_contract::SystemClock;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ClientConnection, ServerConnection};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use super::*;
use crate::trust::{TrustRoots, client_config, provider};

const DAY: i64 = 24 * 60 * 60;

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn patterns(texts: &[&str]) -> Vec<HostPattern> {
    texts.iter().map(|text| HostPattern::parse(text, 443).unwrap()).collect()
}

fn root() -> InterceptionRoot {
    InterceptionRoot::generate(&SystemClock).unwrap()
}

fn authority(root: &InterceptionRoot, hosts: &[&str]) -> InterceptionAuthority {
    InterceptionAuthority::new(root, &patterns(hosts), 7, Arc::new(SystemClock)).unwrap()
}

fn trusting(root: &InterceptionRoot, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let roots = TrustRoots::from_pem(root.certificate_pem().as_bytes()).unwrap();
    client_config(&roots, alpn, None).unwrap()
}

fn name(text: &str) -> ServerName<'static> {
    ServerName::try_from(text.to_owned()).unwrap()
}

/// A handshake in memory, and the session's ticket after it.
fn shake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    host: &str,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let mut client = ClientConnection::new(client, name(host))?;
    let mut server = ServerConnection::new(server)?;
    for _ in 0..4 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        feed(&wire, |bytes| server.read_tls(bytes));
        server.process_new_packets()?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        feed(&wire, |bytes| client.read_tls(bytes));
        client.process_new_packets()?;
    }
    Ok((client, server))
}

fn feed(mut bytes: &[u8], mut read: impl FnMut(&mut dyn std::io::Read) -> std::io::Result<usize>) {
    while !bytes.is_empty() {
        read(&mut bytes).unwrap();
    }
}

/// Leaf and intermediate, as a client is shown them.
fn chain(root: &InterceptionRoot, authority: &InterceptionAuthority, host_text: &str) -> Vec<CertificateDer<'static>> {
    let leaf = authority.leaf(&host(host_text)).unwrap();
    let (client, _) = shake(trusting(root, &[]), leaf, host_text).unwrap();
    client.peer_certificates().unwrap().to_vec()
}

fn x509<'a>(der: &'a CertificateDer<'_>) -> X509Certificate<'a> {
    X509Certificate::from_der(der).unwrap().1
}

#[test]
fn a_client_that_trusts_the_root_trusts_the_leaf_of_each_host() {
    let root = root();
    let long = format!("{}.{}.{}.x.test", "a".repeat(63), "b".repeat(63), "c".repeat(63));
    let written =
        ["api.test", "API2.test:8443", "*.x.test", "single", "under_score.test", "10.0.0.1", "[2001:db8::1]:8443"];
    let authority = authority(&root, &written);
    let hosts = [
        "api.test",
        "api2.test",
        "a.x.test",
        "a.b.c.x.test",
        &long,
        "single",
        "under_score.test",
        "10.0.0.1",
        "2001:db8::1",
    ];
    for text in hosts {
        for alpn in [b"h2".as_slice(), b"http/1.1"] {
            let leaf = authority.leaf(&host(text)).unwrap();
            let (client, _) =
                shake(trusting(&root, &[alpn]), leaf, text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(client.alpn_protocol(), Some(alpn), "{text}");
            assert_eq!(client.peer_certificates().unwrap().len(), 2);
        }
    }
}

#[test]
fn only_intercepted_hosts_get_a_leaf() {
    let authority = authority(&root(), &["api.test", "*.x.test", "10.0.0.1"]);
    for outside in
        ["x.test", "a.api.test", "test", "apixtest.test", "evil-x.test", "x.test.evil", "10.0.0.2", "::ffff:a00:1"]
    {
        let error = authority.leaf(&host(outside)).unwrap_err();
        assert!(matches!(&error, AuthorityError::OutsideScope(named) if named == &host(outside)), "{outside}: {error}");
    }
    assert_eq!(authority.leaves.len(), 0);
    let none = InterceptionAuthority::new(&root(), &[], 1, Arc::new(SystemClock)).unwrap();
    assert!(none.leaf(&host("api.test")).is_err());
}

#[test]
fn another_name_in_sni_is_refused() {
    let root = root();
    let authority = authority(&root, &["api.test", "*.x.test", "10.0.0.1"]);
    let table = [
        ("api.test", "api.test", true, true),
        ("api.test", "API.test", true, true),
        ("api.test", "a.x.test", true, false),
        ("api.test", "api.test", false, false),
        ("a.x.test", "b.x.test", true, false),
        ("10.0.0.1", "10.0.0.1", true, true),
        ("10.0.0.1", "10.0.0.1", false, true),
        ("10.0.0.1", "api.test", true, false),
    ];
    for (served, asked, sni, accepted) in table {
        let mut client = (*trusting(&root, &[])).clone();
        client.enable_sni = sni;
        let outcome = shake(Arc::new(client), authority.leaf(&host(served)).unwrap(), asked);
        assert_eq!(outcome.is_ok(), accepted, "{served} {asked} {sni}");
    }
}

/// A leaf signed for a host that its intermediate does not permit, as a thief of its key would.
fn forged(root: &InterceptionRoot, scope: &[&str], for_host: &str) -> Vec<CertificateDer<'static>> {
    let now = SystemClock.now();
    let [scope] = Scope::groups(&patterns(scope)).try_into().unwrap();
    let intermediate = Intermediate::sign(root, &scope, 1, now).unwrap();
    let params = leaf::params_for(&intermediate, &host(for_host), now).unwrap();
    let key = LeafKey::generate().unwrap();
    let leaf = params.signed_by(&key.public, &intermediate.issuer).unwrap();
    vec![leaf.der().clone(), intermediate.certificate]
}

/// Scope of the intermediate, host of the leaf, whether it holds.
const CONSTRAINED: [(&[&str], &str, bool); 16] = [
    (&["api.test"], "api.test", true),
    (&["api.test"], "other.test", false),
    (&["api.test"], "test", false),
    (&["api.test"], "xapi.test", false),
    (&["*.x.test"], "a.x.test", true),
    (&["*.x.test"], "ax.test", false),
    // Without an address in scope, none is permitted; without a name, none.
    (&["api.test"], "10.0.0.1", false),
    (&["api.test"], "2001:db8::1", false),
    (&["10.0.0.1"], "10.0.0.1", true),
    (&["10.0.0.1"], "10.0.0.2", false),
    (&["10.0.0.1"], "2001:db8::1", false),
    (&["10.0.0.1"], "api.test", false),
    (&["[2001:db8::1]"], "2001:db8::1", true),
    (&["[2001:db8::1]"], "2001:db8::2", false),
    (&["[2001:db8::1]"], "10.0.0.1", false),
    (&["api.test", "10.0.0.1"], "10.0.0.1", true),
];

#[test]
fn webpki_refuses_a_leaf_outside_of_the_constraints() {
    let root = root();
    let mut store = rustls::RootCertStore::empty();
    store.add(root.certificate().clone()).unwrap();
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider()).build().unwrap();
    for (scope, text, holds) in CONSTRAINED {
        let forged = forged(&root, scope, text);
        let verified = verifier.verify_server_cert(&forged[0], &forged[1..], &name(text), &[], UnixTime::now());
        match verified {
            Ok(_) => assert!(holds, "{scope:?} {text}"),
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(why))) => {
                assert!(!holds && why.to_string().contains("NameConstraint"), "{scope:?} {text}: {why}");
            }
            Err(other) => panic!("{scope:?} {text}: {other}"),
        }
    }
}

#[test]
fn what_the_certificates_say() {
    let root = root();
    let authority = authority(&root, &["api.test", "b.test"]);
    let chain = chain(&root, &authority, "api.test");
    let (leaf, intermediate, top) = (x509(&chain[0]), x509(&chain[1]), x509(root.certificate()));

    let subject = top.subject().to_string();
    assert!(subject.starts_with("CN=Claviger interception root "), "{subject}");
    assert_eq!(leaf.subject().to_string(), "O=Claviger interception");
    let names = leaf.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
    assert_eq!(format!("{names:?}"), "[DNSName(\"api.test\")]");

    for (certificate, ca, path, critical) in [
        (&top, true, Some(1), ["2.5.29.15", "2.5.29.19"].as_slice()),
        (&intermediate, true, Some(0), &["2.5.29.15", "2.5.29.19", "2.5.29.30"]),
        (&leaf, false, None, &["2.5.29.15", "2.5.29.19"]),
    ] {
        let constraints = certificate.basic_constraints().unwrap().unwrap().value;
        assert_eq!((constraints.ca, constraints.path_len_constraint), (ca, path));
        let mut marked: Vec<_> = certificate
            .extensions()
            .iter()
            .filter(|extension| extension.critical)
            .map(|extension| extension.oid.to_id_string())
            .collect();
        marked.sort();
        assert_eq!(marked, critical);
        assert!(identifiers(certificate).0.is_some());
    }
    assert_eq!(identifiers(&leaf).1, identifiers(&intermediate).0);
    assert_eq!(identifiers(&intermediate).1, identifiers(&top).0);
    let usage = leaf.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && usage.flags == 1);
    let purposes = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.server_auth && !purposes.any && !purposes.client_auth && purposes.other.is_empty());

    let seconds = |certificate: &X509Certificate<'_>| {
        certificate.validity().not_after.timestamp() - certificate.validity().not_before.timestamp()
    };
    assert_eq!((seconds(&leaf), seconds(&intermediate)), (DAY, 7 * DAY + 300));
    assert!(leaf.validity().not_before.timestamp() <= SystemClock.now() - 300);
}

/// Subject and authority key identifier.
fn identifiers(certificate: &X509Certificate<'_>) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let mut found = (None, None);
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => found.0 = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => found.1 = id.key_identifier.as_ref().map(|id| id.0.to_vec()),
            _ => {}
        }
    }
    found
}

#[test]
fn serials_are_random_and_intermediates_differ_between_generations() {
    let root = root();
    let (one, two) = (authority(&root, &["a.test", "b.test"]), authority(&root, &["a.test", "b.test"]));
    let chains = [chain(&root, &one, "a.test"), chain(&root, &one, "b.test"), chain(&root, &two, "a.test")];
    let serials: std::collections::BTreeSet<_> =
        chains.iter().map(|chain| x509(&chain[0]).raw_serial().to_vec()).collect();
    assert_eq!(serials.len(), 3);
    assert!(serials.iter().all(|serial| serial.len() == 16));
    assert_eq!(chains[0][1], chains[1][1]);
    assert_ne!(chains[0][1], chains[2][1]);
    assert_ne!(x509(&chains[0][1]).public_key().raw, x509(&chains[2][1]).public_key().raw);
}

#[test]
fn many_hosts_are_spread_over_intermediates() {
    let root = root();
    let texts: Vec<String> = (0..100).map(|n| format!("h{n}.test")).collect();
    let authority = authority(&root, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(authority.groups.len(), 4);
    for text in &texts {
        let chain = chain(&root, &authority, text);
        assert!(chain[1].len() < 2_000, "{}", chain[1].len());
    }
    // What lies below another host takes no place of its own, and ports make no difference.
    let folded = Scope::groups(&patterns(&["x.test", "*.x.test", "a.x.test", "x.test:8443", "y.test", "ax.test"]));
    assert_eq!(format!("{folded:?}"), "[Scope { names: [ax.test, x.test, y.test], addresses: [] }]");
}

#[test]
fn the_cache_is_bounded_and_the_oldest_goes() {
    let authority = authority(&root(), &["*.x.test"]);
    let leaf = |n: usize| authority.leaf(&host(&format!("h{n}.x.test"))).unwrap();
    let (first, second) = (leaf(0), leaf(1));
    for n in 2..=LEAVES_MAX {
        leaf(n);
    }
    assert_eq!(authority.leaves.len(), LEAVES_MAX);
    assert!(Arc::ptr_eq(&second, &leaf(1)));
    assert!(!Arc::ptr_eq(&first, &leaf(0)));
    assert_eq!(authority.leaves.len(), LEAVES_MAX);
}

#[test]
fn many_that_ask_at_once_get_one_leaf() {
    let authority = authority(&root(), &["*.x.test"]);
    let barrier = Barrier::new(8);
    let leaves = std::thread::scope(|scope| {
        let ask = || {
            barrier.wait();
            authority.leaf(&host("a.x.test")).unwrap()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(leaves.iter().all(|leaf| Arc::ptr_eq(leaf, &leaves[0])));
}

#[test]
fn nothing_prints_a_key() {
    let root = root();
    let (_, key) = root.to_pem().unwrap();
    let shown = format!("{root:?} {:?} {key:?}", authority(&root, &["a.test"]));
    assert!(shown.len() < 300 && !shown.contains("PRIVATE"), "{shown}");
}
