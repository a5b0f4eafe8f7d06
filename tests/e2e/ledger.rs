//! What the ledger says, and that it cannot be changed unnoticed.

use std::process::Command;

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

/// A disk that takes its time over a full file holds up no request: before it was synced beside the writer, the ring filled
/// meanwhile, and 503 was the answer.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_full_file_to_be_synced() {
    let (world, origin) = World::with_keyed_origin().await;
    world.configure(&world.usual(origin.port(), "[ledger]\nrotate_size = \"1MiB\"\nring = 1024\n"));
    let inside = world.command(&["run", "--config", "claviger.toml", "--cores", "1"]);
    let mut command = Command::new("strace");
    command.args(["--daemonize", "--follow-forks", "--quiet=attach", "--seccomp-bpf", "-e", "trace=fdatasync"]);
    command.args(["-e", "inject=fdatasync:delay_enter=20000000", "-o"]).arg(world.path().join("calls"));
    command.arg(inside.get_program()).args(inside.get_args()).current_dir(world.path());
    command.env_clear().env("HOME", world.path()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let proxy = world.start_command(command);
    let files = || std::fs::read_dir(world.path().join("state/ledger")).unwrap().count();
    let (client, before) = (client(), files());
    // Nobody is known here, which is recorded as well as anything.
    let ask = async || client.get(proxy.gateway("/api/v1/x")).send().await.unwrap().status().as_u16();
    while files() == before {
        assert_eq!(ask().await, 401);
    }
    // More records than the ring has room for, and fewer than fill a file.
    for n in 0..600 {
        assert_eq!(ask().await, 401, "after {n} others");
    }
    let threads = std::fs::read_dir(format!("/proc/{}/task", proxy.pid())).unwrap();
    let names = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).unwrap());
    assert!(names.collect::<String>().contains("ledger-sync"), "the file was synced before all were answered");
}
