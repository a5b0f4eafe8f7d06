//! A client certificate towards a real nginx that knows its clients by theirs, replaced under traffic.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use claviger_tests::peers::{MutualTls, Sees, TestCa};
use claviger_tests::{PATIENCE, Proxy, World};

struct Scene {
    proxy: Proxy,
    world: World,
    clients: TestCa,
    _nginx: MutualTls,
}

impl Scene {
    async fn new() -> Self {
        let (world, clients) = (World::new(), TestCa::new());
        let nginx = MutualTls::start(&world.ca, "api.test", &clients).await;
        let scene_text =
            world.usual(nginx.endpoint().addr.port(), "").replace("secret = \"secret://sealed/api\"\n", "");
        let text = scene_text
            .replace("inject = [\"bearer\"]", "inject = \"client-certificate\"")
            .replace("to = \"api\"\n", "to = \"api\"\nuse = \"certificate\"\n");
        let more = "[workload.other]\nspiffe = \"spiffe://acme.test/ci/other\"\n\
                    [credential.certificate]\nkind = \"x509\"\ncertificate = \"tls.pem\"\nkey = \"tls.key\"\nhosts = [\"api.test\"]\n\
                    [credential.second]\nkind = \"x509\"\ncertificate = \"second.pem\"\nkey = \"second.key\"\nhosts = [\"api.test\"]\n\
                    [allow.other]\nwho = \"other\"\nto = \"api\"\nops = [\"*\"]\nuse = \"second\"\n\
                    [workload.bare]\nspiffe = \"spiffe://acme.test/ci/bare\"\n\
                    [allow.bare]\nwho = \"bare\"\nto = \"api\"\nops = [\"*\"]\nuse = \"none\"\n";
        world.configure(&format!("{text}\n{more}"));
        put(&world, &clients, "tls");
        put(&world, &clients, "second");
        let proxy = world.start();
        Self { proxy, world, clients, _nginx: nginx }
    }

    /// Status, the serial number that nginx saw, and its number of the connection.
    async fn ask(&self, client: &reqwest::Client, who: &str) -> (u16, String, String) {
        // There is no slot of an API key in which the proof could stand.
        let proof = format!("Bearer {}", self.world.token(who));
        let request = client.get(self.proxy.gateway("/api/v1/a")).header("proxy-authorization", proof);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let (serial, connection) = text.split_once(' ').unwrap_or((&text, ""));
        (status, serial.to_owned(), connection.to_owned())
    }
}

/// A new certificate, the key first and then the certificate, as whoever renews it writes them.
fn put(world: &World, clients: &TestCa, name: &str) {
    let files = clients.issue_client(&["claviger.test"]);
    for (kind, file) in [("key", &files.key), ("pem", &files.cert)] {
        let name = format!("{name}.{kind}");
        world.write(&name, std::fs::read(file).unwrap());
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(world.path().join(name), mode).unwrap();
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_credential_has_connections_of_its_own() {
    let (scene, client) = (Scene::new().await, client());
    let (mut serials, mut connections) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..20 {
        let (app, other, bare) =
            (scene.ask(&client, "app").await, scene.ask(&client, "other").await, scene.ask(&client, "bare").await);
        assert_eq!((app.0, other.0, bare.0), (200, 200, 403), "{app:?} {other:?} {bare:?}");
        assert_ne!(app.1, other.1, "each shows its own");
        assert_ne!(app.2, other.2, "on a connection of its own");
        serials.extend([app.1, other.1]);
        connections.extend([app.2, other.2]);
    }
    assert_eq!(serials.len(), 2, "{serials:?}");
    // Kept, not made anew for each request: a few for each core.
    assert!(connections.len() < 20, "{connections:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_certificate_takes_over_and_no_request_fails() {
    let scene = Arc::new(Scene::new().await);
    let first = scene.ask(&client(), "app").await.1;
    let stop = Arc::new(AtomicBool::new(false));
    let traffic: Vec<_> = (0..4)
        .map(|_| {
            let (scene, stop) = (scene.clone(), stop.clone());
            tokio::spawn(async move {
                let (client, mut seen) = (client(), Vec::new());
                while !stop.load(Ordering::SeqCst) {
                    let (status, serial, _) = scene.ask(&client, "app").await;
                    assert_eq!(status, 200, "{serial}");
                    if seen.last() != Some(&serial) {
                        seen.push(serial);
                    }
                }
                seen
            })
        })
        .collect();
    let mut before = first;
    for _ in 0..3 {
        put(&scene.world, &scene.clients, "tls");
        let deadline = std::time::Instant::now() + PATIENCE;
        let client = client();
        before = loop {
            let (status, serial, _) = scene.ask(&client, "app").await;
            assert_eq!(status, 200);
            if serial != before {
                break serial;
            }
            assert!(std::time::Instant::now() < deadline, "the new one is never shown");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
    }
    stop.store(true, Ordering::SeqCst);
    for one in traffic {
        let seen = one.await.unwrap();
        let distinct: BTreeSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len(), "once replaced, a certificate is not shown again: {seen:?}");
        assert_eq!(seen.last(), Some(&before));
    }
    // The key is nowhere but in its file.
    let key = std::fs::read_to_string(scene.world.path().join("tls.key")).unwrap();
    let line = key.lines().nth(1).unwrap();
    assert!(!scene.proxy.output().contains(line));
    for record in scene.proxy.records("credential", 1) {
        assert!(!record.to_string().contains(line) && !record.to_string().contains("PRIVATE KEY"));
    }
}
