//! `claviger ledger query`, `touched` and `verify --anchor`.

use serde_json::{Value, json};

use crate::scene::Scene;

async fn with_requests() -> Scene {
    let scene = Scene::new().await;
    let proxy = scene.world.start();
    let (app, release) = (scene.token("app", "refs/heads/main"), scene.token("release", "refs/heads/main"));
    for (method, path, token, status) in [
        ("GET", "/api/v1/one", &app, 200),
        ("GET", "/api/v1/two", &app, 200),
        ("GET", "/api/v2/three", &app, 403),
        ("POST", "/api/v1/releases", &release, 200),
        ("GET", "/api/v1/frozen/x", &release, 403),
    ] {
        assert_eq!(scene.ask(&proxy, method, path, Some(token)).await.0, status, "{path}");
    }
    drop(proxy);
    scene
}

fn paths(out: &str) -> Vec<String> {
    let path =
        |line: &str| serde_json::from_str::<Value>(line).unwrap()["decided"]["path"].as_str().unwrap().to_owned();
    out.lines().map(path).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_found_by_who_where_and_how() {
    let scene = with_requests().await;
    let (all, refused) =
        (["/v1/**", "/v1/**", "/v2/three", "/v1/releases", "/v1/frozen/x"], ["/v2/three", "/v1/frozen/x"]);
    for (args, expected) in [
        (&[][..], &all[..]),
        (&["--since", "1h"], &all),
        (&["--until", "1h"], &[]),
        (&["--since", "2020-01-01T00:00:00+01:00", "--until", "2020-01-02T00:00:00Z"], &[]),
        (&["--principal", "spiffe://acme.test/ci/app"], &all[..3]),
        (&["--principal", "spiffe://acme.test/ci/*"], &all),
        (&["--principal", "spiffe://acme.test/**", "--decision", "deny"], &refused),
        (&["--decision", "allow"], &["/v1/**", "/v1/**", "/v1/releases"]),
        (&["--code", "denied_by_rule"], &refused[1..]),
        (&["--credential", "api"], &["/v1/**", "/v1/**", "/v1/releases"]),
        (&["--service", "crm"], &[]),
        (&["--host", "api.test"], &all),
        (&["--host", "api.test:8443"], &[]),
        (&["--limit", "2"], &all[3..]),
        (&["--limit", "0"], &[]),
    ] {
        let told = scene.run(&[&["ledger", "query", "-o", "json"], args].concat());
        assert_eq!((told.code, told.err.as_str()), (0, ""), "{args:?}");
        assert_eq!(paths(&told.out), expected, "{args:?}");
    }
    let text = scene.run(&["ledger", "query", "--principal", "spiffe://acme.test/ci/release"]).out;
    assert_eq!(text.lines().count(), 2);
    assert!(
        text.contains("allow spiffe://acme.test/ci/release POST api.test:443/v1/releases rule=release-api"),
        "{text}"
    );
    let csv = scene.run(&["ledger", "query", "-o", "csv", "--decision", "deny"]).out;
    let rows: Vec<&str> = csv.split("\r\n").collect();
    assert!(rows[0].starts_with("at,id,decision,code,principal,"), "{csv}");
    assert!(
        rows[1].contains(",deny,no_rule,spiffe://acme.test/ci/app,gateway,api,,GET,api.test:443,/v2/three,"),
        "{csv}"
    );
    assert_eq!(rows.len(), 4, "{csv}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_questions_are_refused() {
    let scene = with_requests().await;
    for (args, said) in [
        (&["query", "--since", "noon"][..], "`noon` is no moment; write RFC 3339"),
        (&["query", "--since", "1h", "--until", "2h"], "`--until` is not behind `--since`"),
        (&["query", "--principal", "app"], "`app` is not a SPIFFE ID; it starts with `spiffe://`"),
        (&["query", "--decision", "maybe"], "invalid value 'maybe'"),
        (&["touched", "app"], "`app` is not a SPIFFE ID"),
        (&["touched"], "required arguments were not provided"),
        (&["verify", "--anchor", "7"], "an anchor is a number, `:` and 64 hexadecimal digits"),
    ] {
        let told = scene.run(&[&["ledger"], args].concat());
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{args:?}");
        assert!(told.err.contains(said), "{args:?}: {}", told.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_principal_touched_is_listed() {
    let scene = with_requests().await;
    let touched = scene.json(&["ledger", "touched", "spiffe://acme.test/ci/app", "--since", "1h"]);
    assert_eq!((&touched["allowed"], &touched["denied"], &touched["open"]), (&json!(2), &json!(1), &json!(0)));
    assert_eq!(touched["response_bytes"].as_u64().unwrap() / 4, 1, "two answers of two bytes: {touched}");
    assert_eq!(touched["hosts"][0]["host"], "api.test:443");
    let operations: Vec<_> = touched["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["path"].as_str().unwrap(), one["requests"].as_u64().unwrap()))
        .collect();
    assert_eq!(operations, [("/v1/**", 2), ("/v2/three", 1)]);
    let credentials = touched["credentials"].as_array().unwrap();
    assert_eq!((credentials.len(), &credentials[0]["credential"]), (1, &json!("api")));
    assert!(credentials[0]["version"].as_str().is_some_and(|version| !version.is_empty()));
    let text = scene.run(&["ledger", "touched", "spiffe://acme.test/**"]).out;
    assert!(text.starts_with("spiffe://acme.test/**: 5 requests (2 denied), "), "{text}");
    for part in [
        "\nprincipals\n",
        "\nhosts\n",
        "\noperations\n",
        "\ncredentials\n",
        "spiffe://acme.test/ci/release",
        "api  POST /v1/releases",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let nobody = scene.run(&["ledger", "touched", "spiffe://acme.test/ci/nobody"]);
    assert_eq!((nobody.code, nobody.out.as_str()), (0, "spiffe://acme.test/ci/nobody: nothing in this window\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_finds_what_was_cut_off() {
    let scene = with_requests().await;
    let head = scene.json(&["ledger", "verify"])["head"].as_str().unwrap().to_owned();
    let told = scene.run(&["ledger", "verify", "--anchor", &head]);
    assert_eq!(told.code, 0, "{told:?}");
    let file = scene.world.path().join("state/ledger/ledger.jsonl");
    let whole = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    std::fs::write(&file, format!("{}\n", lines[..lines.len() - 2].join("\n"))).unwrap();
    assert_eq!(scene.run(&["ledger", "verify"]).code, 0, "the chain alone does not show it");
    let told = scene.run(&["ledger", "verify", "--anchor", &head]);
    assert_eq!(told.code, 1);
    assert!(
        told.err
            .contains(&format!("the ledger was cut short behind this record: the anchor names record {}", lines.len())),
        "{told:?}"
    );
}
