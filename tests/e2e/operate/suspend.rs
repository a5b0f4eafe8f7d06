//! What is suspended is refused, and nothing else is.

use crate::scene::{claviger, client, get, ok, passes, said, scene, system};

/// Each kind, each in two writings, against every pair of caller and service.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_suspended_is_refused_and_nothing_else() {
    const API: &str = "/api/v1/x";
    const CRM: &str = "/crm/v1/x";
    let (world, origin, proxy) = scene("").await;
    let pairs = [("app", API), ("app", CRM), ("other", API), ("other", CRM)];
    let check = async |kind: &str, name: &str, passing: [bool; 4]| {
        let (out, _) = ok(&world, &["suspend", kind, name]);
        assert_eq!(out, format!("{kind} `{name}` is suspended\n"));
        let before = origin.seen().len();
        for ((who, path), passing) in pairs.into_iter().zip(passing) {
            assert_eq!(passes(&world, &proxy, who, path).await, passing, "{who} {path}, {kind} {name}");
        }
        let reached = passing.iter().filter(|passing| **passing).count();
        assert_eq!(origin.seen().len() - before, reached, "{kind} {name}");
        let (out, _) = ok(&world, &["resume", kind, name]);
        assert_eq!(out, format!("{kind} `{name}` is resumed\n"));
        for (who, path) in pairs {
            assert!(passes(&world, &proxy, who, path).await, "{who} {path} after {kind} {name}");
        }
    };
    check("principal", "spiffe://acme.test/ci/app", [false, false, true, true]).await;
    check("principal", "spiffe://acme.test/ci/app/*", [true, true, true, true]).await;
    check("principal", "spiffe://acme.test/ci/*", [false, false, false, false]).await;
    check("principal", "spiffe://acme.test/**", [false, false, false, false]).await;
    check("principal", "spiffe://acme.test/c/**", [true, true, true, true]).await;
    check("service", "api", [false, true, false, true]).await;
    check("service", "ap", [true, true, true, true]).await;
    check("credential", "crm-key", [true, false, true, false]).await;
    // The credential of `secret = …` has the service's name.
    check("credential", "api", [false, true, false, true]).await;
    drop(proxy);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_says_what_was_suspended_and_by_whom() {
    let (world, _origin, proxy) = scene("[admin]\nbind = \"127.0.0.1:0\"\n").await;
    ok(&world, &["suspend", "service", "api", "--reason", "key on a paste site", "--for", "2h"]);
    assert_eq!(get(&world, &proxy, "app", "/api/v1/x").await, (403, "suspended".to_owned()));
    // Also where policy would say no: whoever is stopped learns that first.
    assert_eq!(get(&world, &proxy, "app", "/api/v9/x").await, (403, "suspended".to_owned()));
    let changes = system(&proxy, "suspended", 1);
    let actor = changes[0]["actor"].as_str().unwrap();
    assert!(actor.contains(&format!("uid {}", rustix::process::getuid().as_raw())), "{actor}");
    let detail = changes[0]["detail"].as_str().unwrap();
    assert!(detail.starts_with("service `api` until ") && detail.ends_with(": key on a paste site"), "{detail}");
    let refused = proxy.records("decided", 2);
    assert_eq!((&refused[0]["code"], &refused[0]["decision"]), (&"suspended".into(), &"deny".into()));
    let detail = refused[0]["detail"].as_str().unwrap();
    assert_eq!(detail, format!("service `api` is suspended by {actor}: key on a paste site"));
    let metrics = async || {
        let url = format!("http://{}/metrics", proxy.address("admin"));
        client().get(url).send().await.unwrap().text().await.unwrap()
    };
    let text = metrics().await;
    for series in [
        "claviger_suspensions{suspended=\"service\"} 1",
        "claviger_suspensions{suspended=\"principal\"} 0",
        "claviger_suspended_requests_total{suspended=\"service\"} 2",
        "claviger_refusals_total{code=\"suspended\"} 2",
        "claviger_state_healthy 1",
    ] {
        assert!(text.contains(series), "{series}: {text}");
    }
    ok(&world, &["resume", "service", "api"]);
    let resumed = system(&proxy, "resumed", 1);
    let detail = resumed[0]["detail"].as_str().unwrap();
    assert!(detail.starts_with(&format!("service `api`, suspended by {actor} since ")), "{detail}");
    assert!(metrics().await.contains("claviger_suspensions{suspended=\"service\"} 0"));
    ok(&world, &["ledger", "verify"]);
}

/// A suspended credential's value is let go of, and read again when it is resumed.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_credential_is_not_kept_at_hand() {
    let (world, _origin, proxy) = scene("").await;
    let events = |kind: &str, count: usize| {
        crate::scene::until(&format!("{count} `{kind}` of crm-key"), || {
            let all = proxy.records("credential", 1);
            let mine = all.iter().filter(|one| one["credential"]["name"] == "crm-key" && one["kind"] == kind);
            (mine.count() == count).then_some(())
        });
    };
    events("minted", 1);
    ok(&world, &["suspend", "credential", "crm-key"]);
    events("invalidated", 1);
    assert!(!passes(&world, &proxy, "app", "/crm/v1/x").await);
    // A reload reads every secret; of this one it keeps nothing.
    ok(&world, &["reload"]);
    assert!(!passes(&world, &proxy, "app", "/crm/v1/x").await);
    ok(&world, &["resume", "credential", "crm-key"]);
    assert!(passes(&world, &proxy, "app", "/crm/v1/x").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_said() {
    let (world, _origin, proxy) = scene("").await;
    let check = |args: &[&str], code: i32, expected: &str| {
        let output = claviger(&world, args);
        let (out, err) = said(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {out}{err}");
        assert!(err.contains(expected), "{args:?}: {err}");
    };
    // Taken all the same: the configuration may name it tomorrow.
    check(
        &["suspend", "service", "apj"],
        0,
        "warning: there is no service `apj` in the configuration; did you mean `api`?",
    );
    check(
        &["suspend", "credential", "crm-kex"],
        0,
        "there is no credential `crm-kex` in the configuration; did you mean `crm-key`?",
    );
    check(
        &["suspend", "principal", "spiffe://acme.test/ci/apb"],
        0,
        "no workload has such an ID; did you mean `spiffe://acme.test/ci/app`?",
    );
    check(&["resume", "service", "apk"], 1, "service `apk` is not suspended; did you mean `apj`?");
    check(&["resume", "credential", "apj"], 1, "credential `apj` is not suspended");
    check(&["suspend", "principal", "ci/app"], 2, "`ci/app` is not a SPIFFE ID; it starts with `spiffe://`");
    check(&["suspend", "principal", "spiffe://*/ci"], 2, "the trust domain of a pattern has no `*`");
    check(&["suspend", "service", ""], 2, "the name is empty");
    check(&["suspend", "service", "api", "--reason", "a\u{7}b"], 2, "the reason has control characters");
    check(&["suspend", "service", "api", "--reason", &"x".repeat(501)], 2, "the reason has more than 500 bytes");
    check(&["suspend", "service", "api", "--until", "tomorrow"], 2, "`tomorrow` is not a time; write it as `2026-");
    check(&["suspend", "service", "api", "--until", "2020-01-01T00:00:00Z"], 2, "is over already");
    check(&["suspend", "service", "api", "--for", "soon"], 2, "`soon` is not a duration");
    check(&["suspend", "service", "api", "--for", "1h", "--until", "2099-01-01T00:00:00Z"], 2, "cannot be used with");
    check(&["suspend", "team", "api"], 2, "unrecognized subcommand 'team'");
    assert!(passes(&world, &proxy, "app", "/api/v1/x").await, "none of it suspended `api`");
    let (out, _) = ok(&world, &["suspend", "list", "-o", "json"]);
    let all: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
    let names: Vec<_> = all.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["crm-kex", "spiffe://acme.test/ci/apb", "apj"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn suspending_twice_gives_a_new_reason_and_end() {
    let (world, _origin, proxy) = scene("").await;
    ok(&world, &["suspend", "service", "api", "--reason", "one", "--for", "1h"]);
    ok(&world, &["suspend", "service", "api", "--reason", "two"]);
    let (out, _) = ok(&world, &["suspend", "list"]);
    assert!(out.lines().count() == 1 && out.ends_with(": two\n") && !out.contains("until"), "{out}");
    ok(&world, &["resume", "service", "api"]);
    assert!(passes(&world, &proxy, "app", "/api/v1/x").await);
    assert_eq!(ok(&world, &["suspend", "list"]).0, "nothing is suspended\n");
    assert_eq!(system(&proxy, "suspended", 2).len(), 2);
}
