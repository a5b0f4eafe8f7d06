//! RFC 7009 at a real server, which says itself (RFC 7662) whether a token still holds: what was suspended, what no rule uses
//! any more, what was configured anew, what a suspended caller had, and what is left when the proxy stops.

use std::time::Instant;

use claviger_tests::{PATIENCE, Proxy};

use crate::actor::Setting;
use crate::scene::{arrived, get};

/// The one token of a credential that the API has seen, and whether the server takes it.
async fn only(setting: &Setting, client: &str, name: &str) -> (String, bool) {
    let tokens = arrived(&setting.api, name);
    let [token] = &tokens[..] else { panic!("{name}: {} tokens", tokens.len()) };
    (token.clone(), holds(setting, client, token).await)
}

async fn holds(setting: &Setting, client: &str, token: &str) -> bool {
    setting.introspect(client, token).await["active"].as_bool().unwrap()
}

async fn wait_until_ended(setting: &Setting, proxy: &Proxy, client: &str, token: &str) {
    let deadline = Instant::now() + PATIENCE;
    while holds(setting, client, token).await {
        let records = proxy.records("credential", 0);
        assert!(Instant::now() < deadline, "it still holds: {records:#?}\n{}", setting.oidc.log());
    }
}

/// Why values of a credential were revoked, in order, once there are so many.
fn revoked(proxy: &Proxy, name: &str, count: usize) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let records = proxy.records("credential", 0);
        let own = records.iter().filter(|one| one["credential"]["name"] == name && one["kind"] == "revoked");
        let why: Vec<_> = own.map(|one| one["detail"].as_str().unwrap().to_owned()).collect();
        if why.len() >= count {
            return why;
        }
        assert!(Instant::now() < deadline, "{name}: {records:#?}");
        std::thread::yield_now();
    }
}

fn run(setting: &Setting, args: &[&str]) {
    let args = [args, &["--config", "claviger.toml"]].concat();
    let output = setting.world.run(&args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_is_to_use_any_more_ends_at_its_server() {
    let setting = Setting::new().await;
    let plain = |more: &str| setting.keys("plain", more);
    let all = [("suspended", plain("")), ("unused", plain("")), ("anew", plain("")), ("stays", plain(""))];
    setting.configure(&all);
    let proxy = setting.world.start();
    let proof = setting.proof("app");
    let mut tokens = Vec::new();
    for (name, _) in &all {
        assert_eq!(get(&proxy, &proof, name).await.0, 200, "{name}: {}", setting.oidc.log());
        let (token, holds) = only(&setting, "plain", name).await;
        assert!(holds, "{name}");
        tokens.push(token);
    }
    let [suspended, unused, anew, stays] = &tokens[..] else { unreachable!() };
    run(&setting, &["suspend", "credential", "suspended"]);
    wait_until_ended(&setting, &proxy, "plain", suspended).await;
    assert_eq!(revoked(&proxy, "suspended", 1), ["suspended"]);
    assert!(holds(&setting, "plain", unused).await && holds(&setting, "plain", anew).await);
    // One rule goes, and one credential says something else.
    let [_, _, _, stays_keys] = &all;
    setting.configure(&[("anew", plain("parameters = { x = \"y\" }")), stays_keys.clone(), ("suspended", plain(""))]);
    proxy.wait_for_line("generation 2 is in force");
    wait_until_ended(&setting, &proxy, "plain", unused).await;
    wait_until_ended(&setting, &proxy, "plain", anew).await;
    assert_eq!(revoked(&proxy, "anew", 1), ["the credential was removed or configured anew"]);
    assert_eq!(get(&proxy, &proof, "stays").await.0, 200);
    assert_eq!(only(&setting, "plain", "stays").await, (stays.clone(), true), "a reload leaves the others alone");
    assert_eq!(get(&proxy, &proof, "anew").await.0, 200);
    let second = arrived(&setting.api, "anew").pop().unwrap();
    assert!(second != *anew && holds(&setting, "plain", &second).await);
    // Whoever stops it waits for that: there is nobody left to do it later.
    assert!(proxy.stop().success());
    for token in [stays, &second] {
        assert!(!holds(&setting, "plain", token).await, "{}", setting.oidc.log());
    }
}

/// A rule goes, and the credential stays in the file.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_rule_names_ends_at_its_server() {
    let setting = Setting::new().await;
    setting.configure(&[("tokens", setting.keys("plain", ""))]);
    let proxy = setting.world.start();
    assert_eq!(get(&proxy, &setting.proof("app"), "tokens").await.0, 200);
    let (token, holds) = only(&setting, "plain", "tokens").await;
    assert!(holds);
    let text = std::fs::read_to_string(setting.world.path().join("claviger.toml")).unwrap();
    setting.world.configure(&text.replace("use = \"tokens\"", "use = \"none\""));
    proxy.wait_for_line("generation 2 is in force");
    wait_until_ended(&setting, &proxy, "plain", &token).await;
    assert_eq!(revoked(&proxy, "tokens", 1), ["no rule uses the credential any more"]);
    assert!(proxy.stop().success());
}

/// A principal that is suspended: its own token ends at the server, and the other's serves on. Resumed, it gets another.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_suspended_caller_had_ends_at_its_server_and_what_others_have_does_not() {
    let setting = Setting::new().await;
    let exchange = "grant = \"token_exchange\"\nsubject_token = { from = \"proof\" }";
    setting.configure(&[("own", setting.keys("exchanger", exchange)), ("shared", setting.keys("plain", ""))]);
    let proxy = setting.world.start();
    let (app, job) = (setting.proof("app"), setting.proof("job"));
    for proof in [&app, &job] {
        assert_eq!(get(&proxy, proof, "own").await.0, 200, "{}", setting.oidc.log());
    }
    assert_eq!(get(&proxy, &app, "shared").await.0, 200);
    let [of_app, of_job] = &arrived(&setting.api, "own")[..] else { panic!("one for each") };
    for (who, pattern) in [("app", "spiffe://acme.test/ci/app"), ("job", "spiffe://acme.test/ci/job")] {
        let token = if who == "app" { of_app } else { of_job };
        assert_eq!(setting.introspect("exchanger", token).await["sub"], who, "{pattern}");
    }
    run(&setting, &["suspend", "principal", "spiffe://acme.test/ci/app"]);
    wait_until_ended(&setting, &proxy, "exchanger", of_app).await;
    assert_eq!(revoked(&proxy, "own", 1), ["suspended"]);
    let (status, body) = get(&proxy, &app, "own").await;
    assert_eq!((status, &body["error"]["code"]), (403, &"suspended".into()));
    // The other's is the same as before, and so is what both share.
    assert_eq!(get(&proxy, &job, "own").await.0, 200);
    assert_eq!(get(&proxy, &job, "shared").await.0, 200);
    assert_eq!(arrived(&setting.api, "own"), [of_app.clone(), of_job.clone()]);
    assert!(holds(&setting, "exchanger", of_job).await && only(&setting, "plain", "shared").await.1);
    run(&setting, &["resume", "principal", "spiffe://acme.test/ci/app"]);
    assert_eq!(get(&proxy, &app, "own").await.0, 200);
    let renewed = arrived(&setting.api, "own").pop().unwrap();
    assert!(renewed != *of_app && holds(&setting, "exchanger", &renewed).await);
    // By a pattern, both.
    run(&setting, &["suspend", "principal", "spiffe://acme.test/ci/*"]);
    for token in [&renewed, of_job] {
        wait_until_ended(&setting, &proxy, "exchanger", token).await;
    }
    assert!(only(&setting, "plain", "shared").await.1, "what is nobody's own stays");
    let of = proxy.records("credential", 1);
    let whose: Vec<_> = of.iter().filter(|one| one["kind"] == "revoked").map(|one| one["principal"].clone()).collect();
    assert_eq!(whose[0], "spiffe://acme.test/ci/app", "{of:#?}");
    assert!(proxy.stop().success());
}
