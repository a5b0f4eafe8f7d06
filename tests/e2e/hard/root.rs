//! Promise 12: the interception root is sealed, stays, is shared, and signs nothing but intermediates.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use claviger_tests::svid::tls_client;
use claviger_tests::{Proxy, World};
use rustls::pki_types::CertificateDer;
use tokio_rustls::TlsConnector;

use crate::wire::{Outer, Session, connect, root, tcp};

/// The certificates that an intercepted client is shown.
async fn shown(world: &World, proxy: &Proxy, trusted: &str) -> Vec<CertificateDer<'static>> {
    let proof = format!("Proxy-Authorization: Bearer {}\r\n", world.token("app"));
    let stream = connect(tcp(proxy.address("forward")).await, "api.test:443", &proof).await.unwrap();
    let connector = TlsConnector::from(Arc::new(tls_client(trusted, None, &[])));
    let stream = connector.connect("api.test".try_into().unwrap(), stream).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap().to_vec()
}

fn openssl(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("openssl").args(args).current_dir(folder).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {args:?}: {text}");
    text
}

/// Everything that lies below a folder.
fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.is_file() {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &name);
        } else if path.is_file() {
            // A socket belongs to its process.
            std::fs::copy(&path, &name).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_12_leaves_chain_through_a_constrained_intermediate() {
    let (world, _origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let trusted = root(&world);
    let shown = shown(&world, &proxy, &trusted).await;
    assert_eq!(shown.len(), 2, "leaf and intermediate; the root is the client's own");
    world.write("root.pem", &trusted);
    for (name, der) in [("leaf", &shown[0]), ("intermediate", &shown[1])] {
        world.write(&format!("{name}.der"), der);
        let (from, to) = (format!("{name}.der"), format!("{name}.pem"));
        openssl(world.path(), &["x509", "-inform", "der", "-in", &from, "-out", &to]);
    }
    let folder = world.path();
    let verify = ["verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "api.test"];
    openssl(folder, &[&verify[..], &["-CAfile", "root.pem", "-untrusted", "intermediate.pem", "leaf.pem"]].concat());
    let text = |file: &str| openssl(folder, &["x509", "-noout", "-text", "-in", file]);
    let intermediate = text("intermediate.pem");
    for part in ["X509v3 Name Constraints: critical", "Permitted:\n", "DNS:api.test", "CA:TRUE, pathlen:0"] {
        assert!(intermediate.contains(part), "{part}: {intermediate}");
    }
    assert_eq!(intermediate.matches("DNS:").count(), 1, "{intermediate}");
    let leaf = text("leaf.pem");
    for part in ["DNS:api.test", "CA:FALSE", "TLS Web Server Authentication", "X509v3 Authority Key Identifier"] {
        assert!(leaf.contains(part), "{part}: {leaf}");
    }
    assert_eq!(leaf.matches("DNS:").count(), 1, "one host each: {leaf}");
    // Short-lived: a stolen leaf key is of little use.
    openssl(folder, &["x509", "-noout", "-checkend", "60", "-in", "leaf.pem"]);
    let mut week = Command::new("openssl");
    week.args(["x509", "-noout", "-checkend", "604800", "-in", "leaf.pem"]).current_dir(folder);
    assert!(!week.output().unwrap().status.success(), "{leaf}");
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_12_the_root_is_sealed_survives_a_restart_and_is_shared() {
    let (world, origin) = World::with_keyed_origin().await;
    let proof = format!("Proxy-Authorization: Bearer {}\r\n", world.token("app"));
    let proxy = world.start();
    let first = root(&world);
    let before = shown(&world, &proxy, &first).await;
    drop(proxy);
    let mut found = Vec::new();
    files(&world.path().join("state"), &mut found);
    assert!(found.len() >= 3, "{found:?}");
    for (file, bytes) in &found {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains("PRIVATE KEY"), "{file}");
        // A P-256 key in PKCS #8 or SEC 1 begins so, also in base64.
        for start in [&b"\x30\x81\x87\x02\x01\x00\x30\x13"[..], b"\x02\x01\x01\x04\x20", b"MIGHAgEAMBMG", b"MHcCAQEEI"]
        {
            assert!(!bytes.windows(start.len()).any(|window| window == start), "a key in {file}");
        }
    }
    // A second start has the same root and another intermediate.
    let proxy = world.start();
    assert_eq!(root(&world), first);
    let after = shown(&world, &proxy, &first).await;
    assert_ne!(before[1], after[1], "the intermediate lives in memory only");

    // A replica with a copy of the state serves the same root at the same time.
    let replica = World::new();
    std::fs::write(replica.path().join("ca.pem"), world.ca.pem()).unwrap();
    std::fs::write(replica.path().join("jwks.json"), world.issuer.jwks()).unwrap();
    copy(&world.path().join("state"), &replica.path().join("state"));
    replica.configure(&world.usual(origin.port(), ""));
    let second = replica.start();
    assert_eq!(root(&replica), first);
    let chain = shown(&world, &second, &first).await;
    assert_ne!(chain[1], after[1]);
    for proxy in [&proxy, &second] {
        let session = Session::forward(&world, proxy, Outer::Cleartext, &proof, true).await;
        assert_eq!(session.get("/v1/x").await.unwrap(), 200);
    }
}
