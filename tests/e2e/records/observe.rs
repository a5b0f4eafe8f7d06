//! `listener.*.enforce = false`: what rules would refuse passes and is recorded; all else holds.

use claviger_tests::{Proxy, World};
use reqwest::Response;
use serde_json::json;

use crate::scene::{Scene, client, wait_for};

/// The gateway does not enforce, the forward listener does.
async fn observing() -> Scene {
    Scene::with(|text| text.replacen("mode = \"gateway\"\n", "mode = \"gateway\"\nenforce = false\n", 1)).await
}

async fn send(proxy: &Proxy, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = client().request(method.parse().unwrap(), proxy.gateway(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn id(answer: &Response) -> String {
    answer.headers()["claviger-request-id"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_said_where_denials_are_not_applied() {
    let scene = observing().await;
    let place = scene.text.lines().position(|line| line == "enforce = false").unwrap() + 1;
    let told = scene.run(&["check"]);
    assert_eq!(told.code, 0);
    assert!(
        told.err.contains(&format!("claviger.toml:{place}:11: warning: `listener.gateway.enforce`: denials of policy")),
        "{told:?}"
    );
    assert_eq!(scene.run(&["check", "--strict"]).code, 1);
    let proxy = scene.world.start();
    let note = "claviger: listener `gateway` does not enforce policy: what would be refused passes, and is recorded\n";
    assert!(proxy.output().contains(note), "{}", proxy.output());
}

/// No rule allows it: it passes as the client sent it, with its own key, and without its proof of identity.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_rule_allows_passes_as_it_was_sent() {
    let scene = observing().await;
    let proxy = scene.world.start();
    let token = scene.token("app", "refs/heads/main");
    let proof = format!("Bearer {token}");
    // The client's own key in the slot, its proof beside it.
    let headers =
        [("proxy-authorization", proof.as_str()), ("authorization", "Bearer clients-own-key"), ("x-other", "kept")];
    let answer = send(&proxy, "GET", "/api/v2/x?own=query", &headers).await;
    assert_eq!(answer.status(), 200);
    let id = id(&answer);
    let seen = scene.origin.only();
    assert_eq!(seen.header("authorization"), Some("Bearer clients-own-key"));
    assert_eq!(
        (seen.header("x-other"), seen.uri.path_and_query().unwrap().as_str()),
        (Some("kept"), "/v2/x?own=query")
    );
    assert!(!format!("{seen:?}").contains(&token), "the proof went upstream: {seen:?}");
    assert!(!format!("{seen:?}").contains(&scene.world.canary), "a credential was injected: {seen:?}");
    wait_for(|| scene.ledger().contains(&id));
    let decided = scene.decided(&id);
    assert_eq!((&decided["decision"], &decided["code"]), (&json!("allow"), &json!("ok")));
    assert_eq!((&decided["observed"], &decided["would"]), (&json!("no_rule"), &json!("no_rule")));
    assert_eq!((&decided["path"], &decided["service"]), (&json!("/v2/x"), &json!("api")));
    assert_eq!((&decided["rule"], &decided["credential"]), (&json!(null), &json!(null)));
}

/// The proof stands where the API key goes: nothing of it goes upstream, in whatever form.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_in_the_keys_place_is_not_forwarded() {
    use base64::Engine as _;
    let check = |inject: &'static str, path: &'static str, header: Option<&'static str>, encode: fn(&str) -> String| async move {
        let scene = Scene::with(|text| {
            let text = text.replacen("mode = \"gateway\"\n", "mode = \"gateway\"\nenforce = false\n", 1);
            text.replacen("inject = [\"bearer\"]", &format!("inject = [{inject}]"), 1)
        })
        .await;
        let proxy = scene.world.start();
        let token = scene.token("app", "refs/heads/main");
        let written = encode(&token);
        let headers: Vec<_> = header.iter().map(|name| (*name, written.as_str())).collect();
        let path = path.replace("TOKEN", &written);
        let answer = send(&proxy, "GET", &path, &headers).await;
        assert_eq!(answer.status(), 200, "{inject}");
        let seen = format!("{:?}", scene.origin.only());
        assert!(!seen.contains(&token) && !seen.contains(&written), "{inject}: the proof went upstream: {seen}");
    };
    check("\"bearer\"", "/api/v2/x", Some("authorization"), |token| format!("Bearer {token}")).await;
    check("{ header = \"x-api-key\" }", "/api/v2/x", Some("x-api-key"), str::to_owned).await;
    check("{ query = \"key\" }", "/api/v2/x?key=TOKEN&a=b", None, str::to_owned).await;
    check("{ cookie = \"session\" }", "/api/v2/x", Some("cookie"), |token| format!("session={token}")).await;
    check("{ basic = \"x\" }", "/api/v2/x", Some("authorization"), |token| {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("x:{token}")))
    })
    .await;
}

/// A deny over an allow: the allow's credential, as if the deny were not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_deny_over_an_allow_is_recorded_and_the_allow_holds() {
    let scene = observing().await;
    let proxy = scene.world.start();
    let token = scene.token("app", "refs/heads/main");
    let (status, id) = scene.ask(&proxy, "GET", "/api/v1/frozen/x", Some(&token)).await;
    assert_eq!(status, 200);
    let key = format!("Bearer {}", scene.world.canary);
    assert_eq!(scene.origin.only().header("authorization"), Some(key.as_str()));
    let decided = scene.decided(&id);
    assert_eq!((&decided["decision"], &decided["rule"]), (&json!("allow"), &json!("app-api")));
    assert_eq!((&decided["observed"], &decided["would"]), (&json!("frozen"), &json!("denied_by_rule")));
    assert_eq!(decided["credential"]["name"], "api");
    let told = scene.run(&["explain", &id]);
    assert!(told.out.contains("observed only: `frozen` would have made it: denied_by_rule"), "{}", told.out);
}

/// Identity, targets, services, and the other listener: all that rules do not say stays enforced.
#[tokio::test(flavor = "multi_thread")]
async fn only_denials_of_rules_are_waived() {
    let scene = observing().await;
    let proxy = scene.world.start();
    let token = scene.token("app", "refs/heads/main");
    let expired = scene.world.issuer.token_with("app", json!({ "exp": 1 }));
    for (path, token, code) in [
        ("/api/v2/x", None, "no_identity"),
        ("/api/v2/x", Some(&expired), "invalid_identity"),
        ("/api/v2/a;b", Some(&token), "bad_target"),
        ("/nowhere/x", Some(&token), "unknown_service"),
    ] {
        let (status, id) = scene.ask(&proxy, "GET", path, token.map(String::as_str)).await;
        assert!(status >= 400, "{path}: {status}");
        assert_eq!(scene.decided(&id)["decision"], "deny", "{code}");
    }
    assert!(scene.origin.seen().is_empty());
    // What the forward listener refuses stays refused.
    let forward = format!("http://any:{token}@{}", proxy.address("forward"));
    let through = reqwest::Client::builder()
        .proxy(reqwest::Proxy::all(forward).unwrap())
        .add_root_certificate(
            reqwest::Certificate::from_pem(&scene.world.run(&["ca", "-c", "claviger.toml"]).stdout).unwrap(),
        )
        .build()
        .unwrap();
    let answer = through.get("https://api.test/v2/x").send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert!(scene.origin.seen().is_empty());
}

/// What an operator has suspended is no denial of a rule.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_is_never_waived() {
    let scene = observing().await;
    let proxy = scene.world.start();
    let token = scene.token("app", "refs/heads/main");
    let client = client();
    let ask = |path: &'static str| {
        let request = client.get(proxy.gateway(path)).bearer_auth(&token);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!((ask("/api/v1/x").await, ask("/api/v2/x").await), (200, 200));
    for (what, name) in [("principal", "spiffe://acme.test/ci/app"), ("service", "api")] {
        let told = scene.run(&["suspend", what, name]);
        assert_eq!(told.code, 0, "{told:?}");
        let deadline = std::time::Instant::now() + claviger_tests::PATIENCE;
        while ask("/api/v2/x").await != 403 || ask("/api/v1/x").await != 403 {
            assert!(std::time::Instant::now() < deadline, "{what} is not suspended");
        }
        let told = scene.run(&["resume", what, name]);
        assert_eq!(told.code, 0, "{told:?}");
        while ask("/api/v2/x").await != 200 {
            assert!(std::time::Instant::now() < deadline, "{what} is not resumed");
        }
    }
}

/// Taken up at a reload, also by requests on open connections.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_turns_it_off() {
    let scene = observing().await;
    let proxy = scene.world.start();
    let token = scene.token("app", "refs/heads/main");
    let client = client();
    let ask = || async {
        let request = client.get(proxy.gateway("/api/v2/x")).bearer_auth(&token);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let _ = answer.bytes().await;
        status
    };
    assert_eq!(ask().await, 200);
    scene.world.configure(&scene.text.replace("enforce = false\n", "enforce = true\n"));
    proxy.wait_for_line("generation 2 is in force");
    assert_eq!(ask().await, 403);
    assert_eq!(scene.run(&["check", "--strict"]).code, 0);
}

/// The report, the metric, and the way from it to a rule.
#[tokio::test(flavor = "multi_thread")]
async fn what_would_have_been_refused_is_reported() {
    let scene = Scene::with(|text| {
        let text = text.replacen("mode = \"gateway\"\n", "mode = \"gateway\"\nenforce = false\n", 1);
        format!("{text}\n[admin]\nbind = \"127.0.0.1:0\"\n")
    })
    .await;
    let proxy = scene.world.start();
    let token = scene.token("app", "refs/heads/main");
    for path in ["/api/v1/x", "/api/v2/x", "/api/v2/x", "/api/v1/frozen/x"] {
        assert_eq!(scene.ask(&proxy, "GET", path, Some(&token)).await.0, 200, "{path}");
    }
    let metrics =
        client().get(format!("http://{}/metrics", proxy.address("admin"))).send().await.unwrap().text().await.unwrap();
    for line in [
        "claviger_waived_total{code=\"no_rule\",listener=\"gateway\"} 2",
        "claviger_waived_total{code=\"denied_by_rule\",listener=\"gateway\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    let report = scene.json(&["ledger", "observed", "--since", "1h"]);
    assert_eq!(report["requests"], 4);
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{report}");
    assert_eq!(
        (&rows[0]["would"], &rows[0]["count"], &rows[0]["path"]),
        (&json!("no_rule"), &json!(2), &json!("/v2/x"))
    );
    assert_eq!(
        (&rows[0]["nearest"]["rule"], &rows[0]["nearest"]["dimension"]),
        (&json!("app-api"), &json!("operation"))
    );
    assert_eq!((&rows[1]["would"], &rows[1]["observed"]), (&json!("denied_by_rule"), &json!("frozen")));
    let told = scene.run(&["ledger", "observed"]);
    assert!(told.out.starts_with("of 4 requests 3 would have been refused\n"), "{}", told.out);
    let next = rows[0]["next"].as_str().unwrap();
    assert!(told.out.contains(next), "{}", told.out);
    let suggested = scene.run(&next.split(' ').skip(1).collect::<Vec<_>>());
    assert!(suggested.out.contains("ops = [\"GET /v2/x\"]"), "{suggested:?}");
    // With the rule nothing is observed of it any more.
    scene.world.configure(&format!("{}\n{}", scene.text, suggested.out));
    proxy.wait_for_line("generation 2 is in force");
    let (_, id) = scene.ask(&proxy, "GET", "/api/v2/x", Some(&token)).await;
    assert_eq!(scene.decided(&id)["would"], json!(null));
    assert_eq!(scene.decided(&id)["rule"], "app-api-2");
}

#[test]
fn nothing_observed_is_said_so() {
    let world = World::new();
    world.configure("version = 1\ntrust_domain = \"acme.test\"\nstate_dir = \"state\"\n");
    let output = world.run(&["ledger", "-c", "claviger.toml", "observed"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no ledger at"), "{output:?}");
}
