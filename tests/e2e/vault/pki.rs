//! Certificates that OpenBao's pki issues.

use serde_json::json;

use crate::scene::{Scene, get};

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_issued_with_its_own_end() {
    let scene = Scene::new().await;
    let auth = scene.approle("1h").await;
    scene.bao.write("sys/mounts/pki", &json!({ "type": "pki" })).await;
    scene.bao.write("pki/root/generate/internal", &json!({ "common_name": "root", "ttl": "24h" })).await;
    let role = json!({ "allow_any_name": true, "max_ttl": "2h", "key_type": "ec", "key_bits": 256 });
    scene.bao.write("pki/roles/web", &role).await;
    let credential = "[credential.app]\nkind = \"vault\"\nstore = \"vault\"\npath = \"pki/issue/web\"\n\
         parameters = { common_name = \"app.test\", ttl = \"90m\" }\nhosts = [\"api.test\"]\n\
         fields = { serial = \"serial_number\", certificate = \"certificate\", private_key = \"private_key\", chain = \"ca_chain\" }\n";
    let inject = "[{ bearer = true, from = \"serial\" }]";
    scene.configure(inject, &format!("{}\n{credential}", scene.store(&auth, "")));
    let proxy = scene.world.start();
    assert_eq!(get(&scene.world, &proxy, "app").await, (200, String::new()));
    let serial = scene.last_token();
    let known = scene.bao.read(&format!("pki/cert/{serial}")).await;
    let pem = known["data"]["certificate"].as_str().unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let minted = proxy.records("credential", 1).remove(0);
    // The lease ends with the certificate, and not five minutes on.
    let end = certificate.validity().not_after.to_datetime();
    let time = format!("{:02}:{:02}:{:02}", end.hour(), end.minute(), end.second());
    assert_eq!(minted["expires_at"].as_str().unwrap(), format!("{}T{time}Z", end.date()), "{minted}");
}
