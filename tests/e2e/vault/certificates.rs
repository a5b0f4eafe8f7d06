//! Certificates of OpenBao's pki, shown to an nginx that knows its clients by them: replaced under traffic before they end,
//! and revoked when nobody is to use them any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use claviger_tests::peers::{MutualTls, Sees};
use claviger_tests::{PATIENCE, Proxy, World, canary, until};
use serde_json::{Value, json};

use crate::scene::{Scene, text};

struct Stage {
    proxy: Proxy,
    scene: Scene,
    _nginx: MutualTls,
}

impl Stage {
    /// An authority below a root in OpenBao, which an nginx trusts; a credential whose certificates last `ttl`.
    async fn start(role: Value, ttl: &str) -> Self {
        let scene = Scene::new().await;
        let auth = scene.approle("1h").await;
        let bao = &scene.bao;
        for mount in ["pki", "clients"] {
            bao.write(&format!("sys/mounts/{mount}"), &json!({ "type": "pki" })).await;
        }
        let root = json!({ "common_name": "root of clients", "ttl": "24h", "key_type": "ec" });
        let root = bao.write("pki/root/generate/internal", &root).await;
        let asked = json!({ "common_name": "authority of clients", "key_type": "ec" });
        let asked = bao.write("clients/intermediate/generate/internal", &asked).await;
        let signed = json!({ "csr": asked["data"]["csr"], "ttl": "12h", "format": "pem_bundle" });
        let signed = bao.write("pki/root/sign-intermediate", &signed).await;
        bao.write("clients/intermediate/set-signed", &json!({ "certificate": signed["data"]["certificate"] })).await;
        bao.write("clients/roles/claviger", &role).await;
        scene.world.write("clients.pem", text(&root["data"]["certificate"]));
        let nginx = MutualTls::trusting(&scene.world.ca, "api.test", &scene.world.path().join("clients.pem")).await;
        let credential = format!(
            "[credential.app]\nkind = \"vault\"\nstore = \"vault\"\npath = \"clients/issue/claviger\"\n\
             parameters = {{ common_name = \"claviger.test\", ttl = \"{ttl}\" }}\nhosts = [\"api.test\"]\n\
             fields = {{ certificate = \"certificate\", private_key = \"private_key\", chain = \"ca_chain\" }}\n"
        );
        let more = format!("{}\n{credential}", scene.store(&auth, ""));
        let port = nginx.endpoint().addr.port();
        scene.world.configure(&scene.text(port, "\"client-certificate\"", &more));
        let proxy = scene.world.start();
        Self { proxy, scene, _nginx: nginx }
    }

    /// The status, and the serial number that nginx saw.
    async fn ask(&self, client: &reqwest::Client) -> (u16, String) {
        // There is no slot of an API key in which the proof could stand.
        let proof = format!("Bearer {}", self.scene.world.token("app"));
        let request = client.get(self.proxy.gateway("/api/v1/a")).header("proxy-authorization", proof);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let said = answer.text().await.unwrap();
        (status, said.split_once(' ').map_or(said.clone(), |(serial, _)| serial.to_owned()))
    }

    /// What OpenBao knows of a certificate that nginx saw.
    async fn known(&self, serial: &str) -> Value {
        let pairs: Vec<String> =
            (0..serial.len()).step_by(2).map(|at| serial[at..at + 2].to_ascii_lowercase()).collect();
        self.scene.bao.read(&format!("clients/cert/{}", pairs.join(":"))).await["data"].clone()
    }

    async fn ends_at(&self, serial: &str) -> i64 {
        let known = self.known(serial).await;
        let (_, pem) = x509_parser::pem::parse_x509_pem(text(&known["certificate"]).as_bytes()).unwrap();
        pem.parse_x509().unwrap().validity().not_after.timestamp()
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

fn role(more: Value) -> Value {
    let mut role = json!({
        "allow_any_name": true, "max_ttl": "1h", "key_type": "ec", "key_bits": 256, "client_flag": true, "server_flag": false,
    });
    role.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    role
}

/// Nothing of a key is in what the process wrote.
fn keeps_its_keys(world: &World, proxy: &Proxy) {
    assert!(!proxy.output().contains("PRIVATE KEY"));
    for record in proxy.records("credential", 1) {
        assert!(!record.to_string().contains("PRIVATE KEY"), "{record}");
    }
    canary::assert_absent_below("EC PRIVATE KEY-----", &world.path().join("state"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_replaced_under_traffic_before_it_ends() {
    let stage = Arc::new(Stage::start(role(json!({})), "15s").await);
    let stop = Arc::new(AtomicBool::new(false));
    let traffic: Vec<_> = (0..4)
        .map(|_| {
            let (stage, stop) = (stage.clone(), stop.clone());
            tokio::spawn(async move {
                // Each certificate, and when it was seen last.
                let (client, mut seen) = (client(), BTreeMap::new());
                while !stop.load(Ordering::SeqCst) {
                    let (status, serial) = stage.ask(&client).await;
                    assert_eq!(status, 200, "{serial}");
                    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
                    seen.insert(serial, i64::try_from(now).unwrap());
                }
                seen
            })
        })
        .collect();
    let (client, mut serials) = (client(), Vec::new());
    until("a third certificate", async || {
        let (status, serial) = stage.ask(&client).await;
        assert_eq!(status, 200, "{serial}");
        if serials.last() != Some(&serial) {
            assert!(!serials.contains(&serial), "once replaced, a certificate is not shown again");
            serials.push(serial);
        }
        serials.len() == 3
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    for one in traffic {
        for (serial, last) in one.await.unwrap() {
            assert!(last <= stage.ends_at(&serial).await, "`{serial}` was shown when it had ended");
        }
    }
    let records = stage.proxy.records("credential", 3);
    let kinds: Vec<&str> = records.iter().map(|record| text(&record["kind"])).collect();
    assert_eq!(kinds, ["minted", "refreshed", "refreshed"], "{records:#?}");
    keeps_its_keys(&stage.scene.world, &stage.proxy);
}

/// With leases (`generate_lease`), OpenBao revokes the certificate that nobody is to use any more.
#[tokio::test(flavor = "multi_thread")]
async fn one_with_a_lease_is_revoked_when_its_credential_is_suspended() {
    let stage = Stage::start(role(json!({ "generate_lease": true })), "30m").await;
    let (status, serial) = stage.ask(&client()).await;
    assert_eq!((status, stage.known(&serial).await["revocation_time"].as_i64()), (200, Some(0)), "{serial}");
    let suspended = stage.scene.world.run(&["suspend", "credential", "app", "--config", "claviger.toml"]);
    assert!(suspended.status.success(), "{}", String::from_utf8_lossy(&suspended.stderr));
    until("it is revoked", async || stage.known(&serial).await["revocation_time"].as_i64() > Some(0)).await;
    assert_eq!(stage.ask(&client()).await.0, 403);
    let resumed = stage.scene.world.run(&["resume", "credential", "app", "--config", "claviger.toml"]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    until("there is another", async || {
        let (status, other) = stage.ask(&client()).await;
        status == 200 && other != serial
    })
    .await;
    keeps_its_keys(&stage.scene.world, &stage.proxy);
}

/// The pair of a KV engine (`kind = "x509"`): a new version takes over by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_pair_in_kv_is_shown_and_replaced() {
    let stage = Stage::start(role(json!({})), "30m").await;
    let issue = async || {
        let made = stage.scene.bao.write("clients/issue/claviger", &json!({ "common_name": "kv.test" })).await;
        let chain = format!("{}\n{}", text(&made["data"]["certificate"]), text(&made["data"]["ca_chain"][0]));
        let pair = json!({ "data": { "certificate": chain, "key": made["data"]["private_key"] } });
        stage.scene.bao.write("kv/data/tls", &pair).await;
        text(&made["data"]["serial_number"]).replace(':', "").to_ascii_uppercase()
    };
    let first = issue().await;
    let configured = std::fs::read_to_string(stage.scene.world.path().join("claviger.toml")).unwrap();
    let (before, _) = configured.split_once("[credential.app]").unwrap();
    let pair = "[credential.app]\nkind = \"x509\"\ncertificate = \"secret://vault/kv/data/tls#certificate\"\n\
                key = \"secret://vault/kv/data/tls#key\"\nhosts = [\"api.test\"]\n";
    // The last table before it is the store's.
    stage.scene.world.configure(&format!("{before}refresh = \"1s\"\n{pair}"));
    let client = client();
    until("the stored one is shown", async || stage.ask(&client).await == (200, first.clone())).await;
    let second = issue().await;
    until("the second one is shown", async || {
        let (status, serial) = stage.ask(&client).await;
        assert_eq!(status, 200, "{serial}");
        serial == second
    })
    .await;
    keeps_its_keys(&stage.scene.world, &stage.proxy);
}
