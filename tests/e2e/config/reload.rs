//! What a reload cannot take up is said, and stays as it was.

use claviger_tests::World;
use rustix::process::Signal;

use crate::prepared::client;

/// The warnings that a reload printed, without their help. Of the file as it is, after a signal; of another, since it
/// is watched.
fn reload(world: &World, proxy: &claviger_tests::Proxy, text: &str, generation: u32) -> Vec<String> {
    if std::fs::read_to_string(world.path().join("claviger.toml")).unwrap() == text {
        proxy.signal(Signal::HUP);
    } else {
        world.configure(text);
    }
    let mut said = Vec::new();
    loop {
        let line = proxy.next_line();
        if line == format!("claviger: generation {generation} is in force") {
            return said;
        }
        if line.contains("warning:") || line.contains("error:") {
            said.push(line);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_is_said() {
    let (world, origin) = World::with_keyed_origin().await;
    let more = "[ledger]\nkeep = 4\n[admin]\nbind = \"127.0.0.1:0\"\n\
                [issuer]\nurl = \"https://issuer.acme.test\"\nbind = \"127.0.0.1:0\"\n";
    let text = world.usual(origin.port(), more);
    world.configure(&text);
    let proxy = world.start();
    let answer = async || {
        let url = proxy.gateway("/api/v1/x");
        client().get(url).bearer_auth(world.token("app")).send().await.unwrap().status().as_u16()
    };
    const STAYS: &str = "a change of this is not taken up by a reload; what the process started with stays";
    let at = |text: &str, what: &str| {
        let before = &text[..text.find(what).unwrap()];
        let column = before.rsplit('\n').next().unwrap().len() + 1;
        format!("claviger.toml:{}:{column}", before.matches('\n').count() + 1)
    };
    assert_eq!(reload(&world, &proxy, &text, 2), [""; 0]);

    let changed = text.replace("keep = 4", "keep = 5");
    let ledger = format!("{}: warning: `ledger`: {STAYS}", at(&changed, "[ledger]"));
    assert_eq!(reload(&world, &proxy, &changed, 3), std::slice::from_ref(&ledger));
    // It is said again as long as it is so.
    assert_eq!(reload(&world, &proxy, &changed, 4), [ledger]);

    // The state folder stays too, with the secrets that are in it.
    let moved = text.replace("state_dir = \"state\"", "state_dir = \"elsewhere\"");
    let expected = format!("{}: warning: `state_dir`: {STAYS}", at(&moved, "\"elsewhere\""));
    assert_eq!(reload(&world, &proxy, &moved, 5), [expected]);
    assert_eq!(answer().await, 200);
    assert!(!world.path().join("elsewhere").exists());

    let rebound = text.replace("[admin]\nbind = \"127.0.0.1:0\"", "[admin]\nbind = \"127.0.0.1:1\"");
    let admin = format!("{}: warning: `admin`: {STAYS}", at(&rebound, "[admin]"));
    assert_eq!(reload(&world, &proxy, &rebound, 6), [admin]);
    // What is not written any more stands nowhere.
    let removed = text.replace("[admin]\nbind = \"127.0.0.1:0\"\n", "").replace("[ledger]\nkeep = 4\n", "");
    let expected = ["ledger", "admin"].map(|key| format!("claviger.toml:1:1: warning: `{key}`: {STAYS}"));
    assert_eq!(reload(&world, &proxy, &removed, 7), expected);
    let shown = text.replace(".acme.test\"\nbind = \"127.0.0.1:0\"", ".acme.test\"\nbind = \"127.0.0.1:1\"");
    let issuer = format!("{}: warning: `issuer.bind`: {STAYS}", at(&shown, "[issuer]"));
    assert_eq!(reload(&world, &proxy, &shown, 8), [issuer]);
    assert_eq!(reload(&world, &proxy, &text, 9), [""; 0]);
    assert_eq!(answer().await, 200);
}

/// Findings of a start and of a reload are printed like those of `check`.
#[tokio::test(flavor = "multi_thread")]
async fn warnings_are_printed_at_start_and_reload() {
    let (world, origin) = World::with_keyed_origin().await;
    let rule = "[allow.odd]\nwho = \"app\"\nto = \"api\"\nops = [\"GETT /v1/**\"]\n";
    let text = world.usual(origin.port(), rule);
    world.configure(&text);
    let check = world.run(&["check", "--config", "claviger.toml"]);
    let warning = String::from_utf8(check.stderr).unwrap();
    assert!(warning.contains("warning: `allow.odd.ops`: `GETT` is an unusual method\n  help: "), "{warning}");
    let proxy = world.start();
    assert!(proxy.output().contains(&warning), "{}", proxy.output());
    assert_eq!(reload(&world, &proxy, &text, 2), [warning.lines().next().unwrap()]);
}

/// The ledger says where the first error of a refused file stands, also where a warning comes before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_file_is_recorded_with_its_first_error() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let rules = "[allow.odd]\nwho = \"app\"\nto = \"api\"\nops = [\"GETT /v1/**\"]\n[limit]\n";
    let text = world.usual(origin.port(), rules);
    world.configure(&text);
    let line = text.lines().count();
    proxy.wait_for_line(&format!("generation 1 stays: claviger.toml:{line}:2: unknown key"));
    let records = proxy.records("system", 2);
    let refused = records.iter().find(|record| record["kind"] == "generation_refused").unwrap();
    assert_eq!(refused["detail"], format!("claviger.toml:{line}:2: unknown key"));
}
