//! `claviger ledger`: the last records, new ones as they come, and whether the chain holds.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use claviger_tests::{PATIENCE, Proxy, World};
use serde_json::Value;

use crate::prepared::client;

async fn with_requests(count: usize) -> (World, Proxy) {
    let (world, _origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    for number in 0..count {
        request(&world, &proxy, number).await;
    }
    proxy.records("finished", count);
    (world, proxy)
}

async fn request(world: &World, proxy: &Proxy, number: usize) {
    let url = proxy.gateway(&format!("/api/v1/{number}"));
    let _ = client().get(url).bearer_auth(world.token("app")).send().await.unwrap().bytes().await;
}

fn ledger(world: &World, args: &[&str]) -> (i32, String, String) {
    let output = world.run(&[&["ledger", "--config", "claviger.toml"], args].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_prints_the_last_records() {
    let (world, proxy) = with_requests(3).await;
    drop(proxy);
    let whole = std::fs::read_to_string(world.path().join("state/ledger/ledger.jsonl")).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    for (args, count) in
        [(&["tail", "-o", "json", "-n", "2"][..], 2), (&["tail", "-o", "json", "--lines", "1000"], lines.len())]
    {
        let (code, out, err) = ledger(&world, args);
        assert_eq!((code, err.as_str()), (0, ""));
        assert_eq!(out.lines().collect::<Vec<_>>(), lines[lines.len() - count..], "{args:?}");
    }
    assert_eq!(ledger(&world, &["tail", "-n", "0"]), (0, String::new(), String::new()));
    let (_, text, _) = ledger(&world, &["tail"]);
    assert_eq!(text.lines().count(), lines.len().min(20));
    assert!(text.contains("app-api") && !text.contains('{'), "{text}");
    // By its path, without a configuration.
    let output = world.run(&["ledger", "--path", "state/ledger/ledger.jsonl", "tail"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_follows() {
    let (world, proxy) = with_requests(1).await;
    let mut tail = world
        .command(&["ledger", "--config", "claviger.toml", "tail", "-n", "1", "--follow", "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = std::sync::mpsc::channel();
    let out = tail.stdout.take().unwrap();
    std::thread::spawn(move || {
        BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let next = || serde_json::from_str::<Value>(&lines.recv_timeout(PATIENCE).unwrap()).unwrap();
    let mut seq = next()["seq"].as_u64().unwrap();
    for number in 10..13 {
        request(&world, &proxy, number).await;
        loop {
            let record = next();
            seq += 1;
            assert_eq!(record["seq"], seq, "a record was left out or came twice");
            if record["type"] == "finished" {
                break;
            }
        }
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_says_whether_the_chain_holds() {
    let (world, proxy) = with_requests(2).await;
    drop(proxy);
    let file = world.path().join("state/ledger/ledger.jsonl");
    let whole = std::fs::read_to_string(&file).unwrap();
    let (code, text, err) = ledger(&world, &["verify"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let count = whole.lines().count();
    assert!(text.starts_with(&format!("ok: {count} records in 1 file, 2 allowed, 0 denied, 0 open\nhead: ")), "{text}");
    let (code, json, _) = ledger(&world, &["verify", "-o", "json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(code, 0);
    let head = report["head"].as_str().unwrap();
    assert!(text.contains(head));
    let expected = serde_json::json!({
        "ok": true, "files": 1, "records": count, "allowed": 2, "denied": 0, "finished": 2, "lost": 0, "open": [],
        "head": head,
    });
    assert_eq!(report, expected);

    let changed = whole.replacen("app-api", "api-app", 1);
    let line = changed.lines().position(|line| line.contains("api-app")).unwrap() + 1;
    std::fs::write(&file, changed).unwrap();
    let said = format!("state/ledger/ledger.jsonl:{line}: this record was edited: its hash does not fit its bytes");
    assert_eq!(ledger(&world, &["verify"]), (1, String::new(), format!("claviger: {said}\n")));
    let (code, json, _) = ledger(&world, &["verify", "-o", "json"]);
    assert_eq!(code, 1);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), serde_json::json!({ "ok": false, "error": said }));
}

#[test]
fn where_there_is_none() {
    let world = World::new();
    world.configure("version = 1\ntrust_domain = \"acme.test\"\nstate_dir = \"state\"\n");
    for args in [&["verify"][..], &["tail"], &["tail", "-f"]] {
        let expected = "claviger: there is no ledger at `state/ledger/ledger.jsonl`\n".to_owned();
        assert_eq!(ledger(&world, args), (1, String::new(), expected), "{args:?}");
    }
    world.configure("version = 1\ntrust_domain = \"acme.test\"\n[ledger]\nsinks = \"stdout\"\n");
    let expected = "claviger: the ledger has no file to read\n".to_owned();
    assert_eq!(ledger(&world, &["tail"]), (1, String::new(), expected));
}
