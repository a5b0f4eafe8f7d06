use std::time::Duration;

use claviger_policy::document::Diagnostics;

use crate::fixture::{START_MS, World, caller, settle};
use crate::{Credentials, Lease};

/// A certificate with its key, both in PEM, that holds from `begins` to `ends` seconds after the start of the test.
fn certificate(begins: i64, ends: i64) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let at = |seconds: i64| {
        let start = std::time::UNIX_EPOCH + Duration::from_millis(START_MS.unsigned_abs());
        let moved = if seconds < 0 {
            start - Duration::from_secs(seconds.unsigned_abs())
        } else {
            start + Duration::from_secs(seconds.unsigned_abs())
        };
        moved.into()
    };
    let mut params = rcgen::CertificateParams::new(vec!["claviger.test".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (at(begins), at(ends));
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn put(world: &World, (certificate, key): &(String, String)) {
    use std::os::unix::fs::PermissionsExt;
    for (name, text) in [("tls.pem", certificate), ("tls.key", key)] {
        let file = world.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

const TEXT: &str =
    "[credential.c]\nkind = \"x509\"\ncertificate = \"tls.pem\"\nkey = \"tls.key\"\nhosts = [\"h.com\"]\n";

fn load(world: &World) -> (Credentials, Vec<String>) {
    let mut out = Diagnostics::default();
    let mut root = world.document(TEXT);
    let credentials = Credentials::take(&mut root, Vec::new(), &world.env(), None, &mut out);
    root.finish(&mut out);
    (credentials, world.found(&out))
}

async fn lease(credentials: &Credentials) -> Result<std::sync::Arc<Lease>, &'static str> {
    settle(credentials.lease_for("c", &caller(None), true)).await.1.map_err(|error| error.code())
}

#[tokio::test]
async fn it_is_shown_until_it_ends_and_replaced_when_its_files_are() {
    let world = World::new();
    let first = certificate(-10, 1_000);
    put(&world, &first);
    let (credentials, found) = load(&world);
    assert_eq!(found, [""; 0]);
    let one = lease(&credentials).await.unwrap();
    assert_eq!(one.expires_at(), Some(START_MS / 1_000 + 1_000));
    let shown = one.certificate().unwrap();
    assert!(shown.certificate.chain_pem == first.0.trim_end().as_bytes());
    assert!(one.guard().is_none(), "a certificate is no secret, and the key is never sent");
    // Another takes over, as another.
    let second = certificate(-10, 5_000);
    put(&world, &second);
    let reread = credentials.reread("c").await;
    assert!(reread.is_ok(), "{reread:?}");
    let two = lease(&credentials).await.unwrap();
    assert_ne!(two.certificate().unwrap().id, shown.id);
    assert_eq!(two.expires_at(), Some(START_MS / 1_000 + 5_000));
    // Half of a replacement is not taken.
    put(&world, &(certificate(-10, 9_000).0, second.1.clone()));
    let error = credentials.reread("c").await.unwrap_err();
    assert!(error.to_string().contains("it is not the key of the certificate"), "{error}");
    assert_eq!(lease(&credentials).await.unwrap().stamp(), two.stamp());
    assert_eq!(world.events.take(), ["minted", "refreshed", "failed", "served_stale"]);
    let printed = format!("{one:?} {two:?} {credentials:?}");
    assert!(!printed.contains("PRIVATE KEY"), "{printed}");
}

#[tokio::test]
async fn one_that_does_not_hold_is_told_at_load_and_never_shown() {
    for (begins, ends, told, code) in [
        (-100, -10, "the certificate has expired", "value_expired"),
        (100, 1_000, "it is not valid yet", "secret_unusable"),
    ] {
        let world = World::new();
        put(&world, &certificate(begins, ends));
        let (credentials, found) = load(&world);
        assert!(found.len() == 1 && found[0].contains(told) && found[0].contains("warning"), "{found:?}");
        assert_eq!(lease(&credentials).await.unwrap_err(), code, "{told}");
    }
    // Its time comes.
    let world = World::new();
    put(&world, &certificate(100, 1_000));
    let (credentials, _) = load(&world);
    assert!(lease(&credentials).await.is_err());
    world.clock.advance_ms(101_000);
    assert!(lease(&credentials).await.is_ok());
    world.clock.advance_ms(900_000);
    assert_eq!(lease(&credentials).await.unwrap_err(), "value_expired");
}

#[tokio::test]
async fn what_is_no_pair_does_not_load() {
    let good = certificate(-10, 1_000);
    for (pair, told) in [
        ((good.0.clone(), certificate(-10, 1_000).1), "it is not the key of the certificate"),
        (("no certificate".to_owned(), good.1.clone()), "it holds no certificate in PEM"),
        ((good.0.clone(), "no key".to_owned()), "key"),
    ] {
        let world = World::new();
        put(&world, &pair);
        let (_, found) = load(&world);
        assert!(found.iter().any(|one| one.contains("error") && one.contains(told)), "{told}: {found:?}");
        assert!(!format!("{found:?}").contains("PRIVATE KEY"));
    }
}
