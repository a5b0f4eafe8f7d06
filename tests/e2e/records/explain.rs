//! `claviger explain REQUEST_ID`: why a request was refused, and what to do.

use serde_json::{Value, json};

use crate::scene::{Scene, client, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_the_id_of_its_records() {
    let scene = Scene::new().await;
    let proxy = scene.world.start();
    let token = scene.token("app", "refs/heads/main");
    for (path, status) in [("/api/v1/x", 200), ("/api/v2/x", 403)] {
        let answer = client().get(proxy.gateway(path)).bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status(), status);
        let ids: Vec<_> = answer.headers().get_all("claviger-request-id").iter().collect();
        assert_eq!(ids.len(), 1, "upstream's own are replaced: {ids:?}");
        let id = ids[0].to_str().unwrap().to_owned();
        wait_for(|| scene.ledger().contains(&id));
        assert_eq!(scene.decided(&id)["service"], "api");
    }
}

/// Each denial names the nearest rule with its place, and the first dimension that failed.
#[tokio::test(flavor = "multi_thread")]
async fn denials_name_the_nearest_rule_and_what_failed() {
    let scene = Scene::new().await;
    let proxy = scene.world.start();
    let (app, release) = (scene.token("app", "refs/heads/main"), scene.token("release", "refs/heads/dev"));
    for (method, path, token, rule, dimension, failed) in [
        (
            "GET",
            "/api/v2/models?key=in-query",
            &app,
            "app-api",
            "operation",
            "`GET /v2/models` is none of `GET,HEAD,POST,PUT /v1/**`",
        ),
        (
            "POST",
            "/api/v1/releases",
            &release,
            "release-api",
            "who",
            "attribute `ci.ref` of the caller does not match workload `release`",
        ),
        ("GET", "/api/v3/past", &app, "past", "time", "it ended at 2020-01-01T00:00:00Z"),
        ("GET", "/api/v3/inside", &app, "inside", "condition", "`source.ip in 10.0.0.0/8` is false"),
        ("GET", "/crm/contacts", &app, "app-api", "to", "no allow is for service `crm`; this one is for others"),
    ] {
        let (status, id) = scene.ask(&proxy, method, path, Some(token)).await;
        assert_eq!(status, 403, "{path}");
        let told = scene.run(&["explain", &id]);
        assert_eq!(told.code, 0, "{told:?}");
        let line = scene.line_of(&format!("allow.{rule}"));
        let expected = format!(
            "  nearest: allow `{rule}` (claviger.toml:{line})\n  it fails by {dimension}: {failed}\n  to allow it: claviger suggest {id}\n"
        );
        assert!(told.out.ends_with(&expected), "{path}: {}", told.out);
        assert!(told.out.contains("\nby the configuration that judged it:\ndenied: "), "{}", told.out);
        assert!(!told.out.contains("in-query"));
        let json = scene.json(&["explain", &id]);
        assert_eq!(json["id"], *id);
        assert_eq!(json["configuration_changed"], false);
        assert_eq!(json["now"]["reason"], "no_rule");
        let near = &json["now"]["nearest"];
        assert_eq!((&near["rule"]["name"], &near["rule"]["line"]), (&json!(rule), &json!(line)));
        assert_eq!((&near["dimension"], &near["failed"]), (&json!(dimension), &json!(failed)));
        assert_eq!(json["suggest"], format!("claviger suggest {id}"));
        assert_eq!(json["records"].as_array().unwrap().len(), 2);
    }
}

/// What could be a key is `*` in the record: a rule that names such a segment counts as one that may match.
#[tokio::test(flavor = "multi_thread")]
async fn segments_that_were_not_recorded_are_not_held_against_a_rule() {
    let scene = Scene::with(|text| {
        text + "\n[allow.one-project]\nwho = \"app\"\nto = \"api\"\nops = [\"GET /v4/projects/Ab12Cd34/**\"]\nwhen = [\"source.ip in 10.0.0.0/8\"]\nuse = \"api\"\n"
    })
    .await;
    let proxy = scene.world.start();
    let token = scene.token("app", "refs/heads/main");
    let (_, id) = scene.ask(&proxy, "GET", "/api/v4/projects/Ab12Cd34/runs", Some(&token)).await;
    assert_eq!(scene.decided(&id)["path"], "/v4/projects/*/runs");
    let told = scene.run(&["explain", &id]);
    assert!(
        told.out.contains("nearest: allow `one-project`") && told.out.contains("it fails by condition: "),
        "{}",
        told.out
    );
    assert!(told.out.contains("`*` in the path is a segment that was not recorded"), "{}", told.out);
    assert!(!told.out.contains("Ab12Cd34"), "{}", told.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deny_is_cited_with_its_reason() {
    let scene = Scene::new().await;
    let proxy = scene.world.start();
    let token = scene.token("app", "refs/heads/main");
    let (_, id) = scene.ask(&proxy, "GET", "/api/v1/frozen/x", Some(&token)).await;
    let told = scene.run(&["explain", &id]);
    let line = scene.line_of("deny.frozen");
    assert!(told.out.contains(&format!("rule: deny `frozen` (claviger.toml:{line}): frozen by legal")), "{}", told.out);
    assert!(!told.out.contains("claviger suggest"), "{}", told.out);
}

/// Only attributes that a rule or workload asks for are recorded.
#[tokio::test(flavor = "multi_thread")]
async fn records_hold_what_rules_ask_for_and_no_more() {
    let scene = Scene::new().await;
    let proxy = scene.world.start();
    let token = scene.token("app", "refs/heads/topic");
    let (_, id) = scene.ask(&proxy, "GET", "/api/v2/x", Some(&token)).await;
    let decided = scene.decided(&id);
    assert_eq!(decided["attributes"], json!({ "ci.ref": "refs/heads/topic" }));
    assert_eq!(decided["source_ip"], "127.0.0.1");
    assert!(!scene.ledger().contains("jane.doe"), "an attribute that no rule asks for is recorded");
}

/// Denials before policy: what was missing, and what to do.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_before_policy_are_explained_too() {
    let scene = Scene::new().await;
    let proxy = scene.world.start();
    let expired = scene.world.issuer.token_with("app", json!({ "exp": 1 }));
    let foreign = scene.world.issuer.token_with("app", json!({ "aud": "another" }));
    let app = scene.token("app", "refs/heads/main");
    for (path, token, code, help) in [
        ("/api/v1/x", None, "no_identity", "give the workload a proof that the listener's `authenticate` takes"),
        ("/api/v1/x", Some(&expired), "identity_expired", "renew it"),
        ("/api/v1/x", Some(&foreign), "identity_audience", "with the attestor's `audience`"),
        ("/nowhere/x", Some(&app), "unknown_service", "define `[service.NAME]`"),
        ("/api/v1/a;b", Some(&app), "path_parameter", "`path_mode` of the service"),
    ] {
        let (_, id) = scene.ask(&proxy, "GET", path, token.map(String::as_str)).await;
        assert_eq!(scene.decided(&id)["code"], code, "{path}");
        let told = scene.run(&["explain", &id]);
        assert!(told.out.contains("  what: ") && told.out.contains(help), "{code}: {}", told.out);
        assert!(!told.out.contains("claviger suggest"), "{code}: {}", told.out);
        let advice = scene.json(&["explain", &id])["advice"].clone();
        assert!(advice["help"].as_str().unwrap().contains(help), "{advice}");
    }
}

/// Of an allowed request the records say it all; what has changed since is said of a refused one.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_has_changed_is_told_apart() {
    let scene = Scene::new().await;
    let proxy = scene.world.start();
    let token = scene.token("app", "refs/heads/main");
    let (_, allowed) = scene.ask(&proxy, "GET", "/api/v1/x", Some(&token)).await;
    let (_, denied) = scene.ask(&proxy, "GET", "/api/v2/x", Some(&token)).await;
    let told = scene.run(&["explain", &allowed]);
    assert_eq!((told.code, told.out.lines().count()), (0, 2), "{told:?}");
    let more = "\n[allow.second]\nwho = \"app\"\nto = \"api\"\nops = [\"GET /v2/x\"]\nuse = \"api\"\n";
    scene.world.configure(&format!("{}{more}", scene.text));
    proxy.wait_for_line("generation 2 is in force");
    let told = scene.run(&["explain", &denied]);
    assert!(told.out.contains("the configuration has changed since; as it is now:\nallowed: "), "{}", told.out);
    let json = scene.json(&["explain", &denied]);
    assert_eq!((&json["configuration_changed"], &json["now"]["allowed"]), (&json!(true), &json!(true)));
    // What does not load cannot judge; the records are there all the same.
    scene.world.configure(&format!("{}\n[allow.third]\nwho = \"nobody\"\n", scene.text));
    let told = scene.run(&["explain", &denied]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.out.contains("not judged anew: the configuration does not load as it is now"), "{}", told.out);
    assert!(told.out.contains("code=no_rule"), "{}", told.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_made_yet_names_its_attestor() {
    let scene = Scene::with(|text| text.replace("ci/release\"", "ci/release\"\nattested_by = \"ci\"")).await;
    let ask = |attestor: &[&'static str]| {
        let mut args = vec!["explain", "--as", "spiffe://acme.test/ci/release", "--attr", "ci.ref=refs/heads/main"];
        args.extend(attestor);
        args.extend(["POST", "https://api.test/v1/releases"]);
        args
    };
    assert_eq!(scene.run(&ask(&[])).code, 0);
    assert_eq!(scene.run(&ask(&["--attested-by", "ci"])).code, 0);
    let told = scene.run(&ask(&["--attested-by", "cj"]));
    assert_eq!((told.code, told.err.as_str()), (2, "claviger: there is no attestor `cj`; did you mean `ci`?\n"));
    let json: Value = serde_json::from_str(&scene.run(&[ask(&[]), vec!["-o", "json"]].concat()).out).unwrap();
    assert_eq!((&json["allowed"], &json["rule"]["name"]), (&json!(true), &json!("release-api")));
    assert_eq!(json["credential"], "api");
}
