//! What the ledger says, and that it cannot be changed unnoticed.

use claviger_tests::World;

use crate::gateway::client;

#[tokio::test(flavor = "multi_thread")]
async fn every_request_has_two_records_and_the_chain_holds() {
    let (world, _origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let mut ids = Vec::new();
    for path in ["/api/v1/one?secret=in-query", "/api/v2/two", "/api/v1/three"] {
        let answer = client().get(proxy.gateway(path)).bearer_auth(world.token("app")).send().await.unwrap();
        ids.push(answer.headers()["claviger-request-id"].to_str().unwrap().to_owned());
        let _ = answer.bytes().await;
    }
    // Each client is a connection, perhaps of another core: their records may stand in another order.
    let of = |kind: &str| {
        let all = proxy.records(kind, 3);
        let find = |id: &String| all.iter().find(|record| record["id"] == id.as_str()).unwrap().clone();
        ids.iter().map(find).collect::<Vec<_>>()
    };
    let (decided, finished) = (of("decided"), of("finished"));
    for decided in &decided {
        assert_eq!(decided["principal"], "spiffe://acme.test/ci/app");
        assert_eq!(decided["host"], "api.test:443");
    }
    assert_eq!(decided[0]["decision"], "allow");
    assert_eq!(decided[0]["rule"], "app-api");
    assert_eq!(decided[0]["credential"]["name"], "api");
    assert_eq!(decided[1]["decision"], "deny");
    assert_eq!(decided[1]["code"], "no_rule");
    assert_eq!(finished[0]["upstream_status"], 200);
    let file = world.path().join("state/ledger/ledger.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("in-query"), "a query stands in the ledger");
    drop(proxy);

    let verify = || world.run(&["ledger", "--config", "claviger.toml", "verify"]);
    assert!(verify().status.success(), "{}", String::from_utf8_lossy(&verify().stderr));
    let id = decided[1]["id"].as_str().unwrap();
    let explained = world.run(&["explain", "--config", "claviger.toml", id]);
    let explained = String::from_utf8(explained.stdout).unwrap();
    assert!(explained.contains("no_rule") && explained.contains("GET"), "{explained}");

    // One changed byte is found, with its line.
    let changed = text.replacen("\"deny\"", "\"Deny\"", 1);
    std::fs::write(&file, changed).unwrap();
    let broken = verify();
    assert_eq!(broken.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&broken.stderr).contains("ledger.jsonl:"), "{broken:?}");
}
