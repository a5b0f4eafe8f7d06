//! `claviger suggest`: the rule that is missing, ready to paste, and the proof that it does no more.

use claviger_tests::Proxy;
use serde_json::json;

use crate::scene::Scene;

impl Scene {
    /// Pastes a suggestion behind the configuration, as an operator does, and waits until it is in force.
    fn paste(&self, proxy: &Proxy, suggestion: &str, generation: u32) {
        self.world.configure(&format!("{}\n{suggestion}", self.text));
        proxy.wait_for_line(&format!("generation {generation} is in force"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suggestion_is_pasted_and_the_request_passes() {
    let scene = Scene::new().await;
    let proxy = scene.world.start();
    let token = scene.token("app", "refs/heads/main");
    let (status, id) = scene.ask(&proxy, "DELETE", "/api/v1/items/Ab12Cd34", Some(&token)).await;
    assert_eq!(status, 403);
    let told = scene.run(&["suggest", &id]);
    assert_eq!((told.code, told.err.as_str()), (0, ""), "{told:?}");
    let rule = format!(
        "[allow.app-api-2]\nwho = \"app\"\nto = \"api\"\nops = [\"DELETE /v1/items/*\"]\nuse = \"api\"\nwhy = \"request {id}\"\n"
    );
    assert!(told.out.ends_with(&rule), "{}", told.out);
    let comments: Vec<&str> = told.out.strip_suffix(&rule).unwrap().lines().collect();
    assert!(comments.iter().all(|line| line.starts_with("# ")), "{comments:?}");
    assert_eq!(comments[0], "# checked: with this, rule `app-api-2` allows it with credential `api`");
    assert!(comments[1].contains("of 1 request refused since") && comments[1].ends_with("it would allow no other"));
    scene.paste(&proxy, &told.out, 2);
    assert_eq!(scene.ask(&proxy, "DELETE", "/api/v1/items/Ab12Cd34", Some(&token)).await.0, 200);
    // Narrow: not the neighbours, and nobody else.
    let other = scene.token("release", "refs/heads/main");
    for (method, path, token) in [
        ("DELETE", "/api/v1/items", &token),
        ("DELETE", "/api/v1/items/a/b", &token),
        ("PATCH", "/api/v1/items/Ab12Cd34", &token),
        ("DELETE", "/api/v1/items/Ab12Cd34", &other),
    ] {
        assert_eq!(scene.ask(&proxy, method, path, Some(token)).await.0, 403, "{method} {path}");
    }
    // Said of a request that is allowed meanwhile.
    let told = scene.run(&["suggest", &id]);
    assert_eq!(told.code, 1);
    assert!(told.err.contains("the configuration as it is now allows it by allow `app-api-2`"), "{told:?}");
}

/// A caller that no workload names gets one, with what tells it apart.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_workload_is_exactly_the_caller() {
    let scene = Scene::new().await;
    let proxy = scene.world.start();
    let topic = scene.token("release", "refs/heads/topic");
    let (_, id) = scene.ask(&proxy, "GET", "/api/v1/releases", Some(&topic)).await;
    let told = scene.run(&["suggest", &id]);
    let tables = "[workload.ci-release]\nspiffe = \"spiffe://acme.test/ci/release\"\nmatch = { \"ci.ref\" = \"refs/heads/topic\" }\n\n[allow.ci-release-api]\nwho = \"ci-release\"\n";
    assert!(told.out.contains(tables), "{}", told.out);
    scene.paste(&proxy, &told.out, 2);
    assert_eq!(scene.ask(&proxy, "GET", "/api/v1/releases", Some(&topic)).await.0, 200);
    for reference in ["refs/heads/other", "refs/heads/main"] {
        let other = scene.token("release", reference);
        assert_eq!(scene.ask(&proxy, "GET", "/api/v1/releases", Some(&other)).await.0, 403, "{reference}");
    }
}

/// What else of the refused requests a rule would allow is listed: segments that are not recorded are `*`.
#[tokio::test(flavor = "multi_thread")]
async fn what_else_would_be_allowed_is_told() {
    let scene = Scene::new().await;
    let proxy = scene.world.start();
    let token = scene.token("app", "refs/heads/main");
    for path in
        ["/api/v2/items/first", "/api/v2/items/second", "/api/v2/items/second", "/api/v2/items/a/b", "/api/v1/frozen/x"]
    {
        scene.ask(&proxy, "GET", path, Some(&token)).await;
    }
    let (_, id) = scene.ask(&proxy, "GET", "/api/v2/items/Ab12Cd34", Some(&token)).await;
    let told = scene.run(&["suggest", &id]);
    assert!(
        told.out.contains("of 6 requests refused since") && told.out.contains("it would also allow 3\n"),
        "{}",
        told.out
    );
    assert!(
        told.out.contains("#   2 x GET api.test:443/v2/items/second as spiffe://acme.test/ci/app\n"),
        "{}",
        told.out
    );
    let proof = scene.json(&["suggest", &id])["suggestions"][0]["proof"].clone();
    assert_eq!((&proof["holds"], &proof["refused"]), (&json!(true), &json!(6)));
    let also: Vec<_> = proof["also_allowed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["path"].as_str().unwrap(), one["count"].as_u64().unwrap()))
        .collect();
    assert_eq!(also, [("/v2/items/second", 2), ("/v2/items/first", 1)]);
    assert_eq!(proof["allowed"], json!([{ "rule": "app-api-2", "credential": "api" }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_a_rule_would_pass_by_is_named() {
    let scene = Scene::new().await;
    let proxy = scene.world.start();
    let token = scene.token("app", "refs/heads/main");
    let (_, id) = scene.ask(&proxy, "GET", "/api/v3/inside", Some(&token)).await;
    let told = scene.run(&["suggest", &id]);
    let line = scene.line_of("allow.inside");
    let note = format!(
        "# note: allow `inside` (claviger.toml:{line}) fails by condition (`source.ip in 10.0.0.0/8` is false): this rule has no such condition\n"
    );
    assert!(told.out.contains(&note), "{}", told.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_rule_helps_nothing_is_suggested() {
    let scene = Scene::new().await;
    let proxy = scene.world.start();
    let token = scene.token("app", "refs/heads/main");
    let line = scene.line_of("deny.frozen");
    let denied =
        format!("a deny is in the way, and always wins: deny `frozen` (claviger.toml:{line}): frozen by legal");
    for (method, path, token, said) in [
        ("GET", "/api/v1/frozen/x", Some(&token), denied.as_str()),
        ("GET", "/api/v1/x", Some(&token), "it was allowed by rule `app-api`"),
        ("GET", "/api/v1/x", None, "refused as `no_identity`, which no rule changes: the request showed no proof"),
        ("GET", "/api/v1/a;b", Some(&token), "refused as `path_parameter`, which no rule changes: "),
        ("GET", "/nowhere/x", Some(&token), "nobody was attested"),
        ("PURGE", "/crm/x", Some(&token), ""),
    ] {
        let (_, id) = scene.ask(&proxy, method, path, token.map(String::as_str)).await;
        let told = scene.run(&["suggest", &id]);
        if said.is_empty() {
            // A service that no credential may go to.
            assert!(told.out.contains("use = \"none\"") && told.out.contains("ops = [\"PURGE /x\"]"), "{told:?}");
            assert!(told.out.contains("# note: no credential may go to `crm.test:443`"), "{told:?}");
            continue;
        }
        assert_eq!((told.code, told.out.as_str()), (1, ""), "{path}: {told:?}");
        assert!(told.err.contains("nothing is suggested") && told.err.contains(said), "{path}: {told:?}");
        let json = scene.json(&["suggest", &id]);
        assert_eq!(json["suggestions"], json!([]));
        assert!(json["unsuggested"][0]["why"].as_str().unwrap().contains(said), "{json}");
    }
    for (args, said) in [
        (&["suggest", "xyz"][..], "`xyz` is no request id"),
        (&["suggest", "01900000000070008000000000000000"], "has no request `01900000000070008000000000000000`"),
        (&["suggest"], "required arguments were not provided"),
        (&["suggest", "--since", "noon"], "`noon` is no moment"),
        (&["suggest", "--since", "1h", "--for", "app"], "`app` is not a SPIFFE ID"),
    ] {
        let told = scene.run(args);
        assert!(told.code != 0 && told.err.contains(said), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_was_refused_makes_a_compact_set_of_rules() {
    let scene = Scene::new().await;
    let proxy = scene.world.start();
    let (app, release) = (scene.token("app", "refs/heads/main"), scene.token("release", "refs/heads/main"));
    for (method, path, token) in [
        ("GET", "/api/v2/a", &app),
        ("DELETE", "/api/v2/a", &app),
        ("GET", "/api/v2/b", &app),
        ("GET", "/api/v2/b", &app),
        ("GET", "/api/v2/c", &release),
    ] {
        assert_eq!(scene.ask(&proxy, method, path, Some(token)).await.0, 403);
    }
    let told = scene.run(&["suggest", "--since", "1h", "--for", "spiffe://acme.test/ci/app"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.out.contains("ops = [\n    \"DELETE,GET /v2/a\",\n    \"GET /v2/b\",\n]\n"), "{}", told.out);
    assert!(!told.out.contains("release"), "{}", told.out);
    let both = scene.run(&["suggest", "--since", "1h"]);
    assert_eq!(both.out.matches("[allow.").count(), 2, "{}", both.out);
    scene.paste(&proxy, &both.out, 2);
    for (method, path, token) in [("DELETE", "/api/v2/a", &app), ("GET", "/api/v2/c", &release)] {
        assert_eq!(scene.ask(&proxy, method, path, Some(token)).await.0, 200, "{method} {path}");
    }
    assert_eq!(scene.ask(&proxy, "GET", "/api/v2/c", Some(&app)).await.0, 403);
}

/// A rule of another credential that names some of the same paths keeps them: the suggested one stands below it.
#[tokio::test(flavor = "multi_thread")]
async fn a_tie_with_another_credential_is_avoided() {
    let scene = Scene::with(|text| {
        text.replacen("ops = [\"GET,HEAD", "use = \"api\"\nops = [\"GET,HEAD", 1) + "\n[credential.other]\nkind = \"static\"\nvalue = \"secret://sealed/other\"\n[allow.one]\nwho = \"app\"\nto = \"api\"\nops = [\"GET /v4/projects/Zz99Yy88\"]\nuse = \"other\"\n"
    })
    .await;
    scene.world.seal("other", "another-secret-0123456789", &["api.test"]);
    let proxy = scene.world.start();
    let token = scene.token("app", "refs/heads/main");
    let (_, id) = scene.ask(&proxy, "GET", "/api/v4/projects/Ab12Cd34", Some(&token)).await;
    let told = scene.run(&["suggest", &id]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.out.contains("use = \"api\"\npriority = -1\n"), "{}", told.out);
    assert!(told.out.contains("# note: `use`: `other` may go there too\n"), "{}", told.out);
    scene.paste(&proxy, &told.out, 2);
    for (path, credential) in [("/api/v4/projects/Ab12Cd34", "api"), ("/api/v4/projects/Zz99Yy88", "other")] {
        let (status, id) = scene.ask(&proxy, "GET", path, Some(&token)).await;
        assert_eq!((status, &scene.decided(&id)["credential"]["name"]), (200, &json!(credential)), "{path}");
    }
}

/// The rule of a team's workload belongs into the team's file, and is checked as a part of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_teams_rule_belongs_into_the_teams_file() {
    let team = "\n[team.shop]\nfiles = \"teams/shop/*.toml\"\nidentities = [\"spiffe://acme.test/ci/shop\"]\nservices = [\"api\"]\ncredentials = [\"api\"]\n";
    let scene = Scene::with(|text| text + team).await;
    let file = "[workload.shop]\nspiffe = \"spiffe://acme.test/ci/shop\"\n\n[allow.cart]\nwho = \"shop\"\nto = \"api\"\nops = [\"GET /v1/cart\"]\nuse = \"api\"\n";
    std::fs::create_dir_all(scene.world.path().join("teams/shop")).unwrap();
    scene.world.write("teams/shop/rules.toml", file);
    let proxy = scene.world.start();
    let token = scene.token("shop", "refs/heads/main");
    assert_eq!(scene.ask(&proxy, "GET", "/api/v1/cart", Some(&token)).await.0, 200);
    let (status, id) = scene.ask(&proxy, "POST", "/api/v1/cart", Some(&token)).await;
    assert_eq!(status, 403);
    let told = scene.run(&["suggest", &id]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(
        told.out.starts_with("# for a file of team `shop`\n# checked: with this, rule `shop/shop-api` allows it"),
        "{}",
        told.out
    );
    assert!(
        told.out
            .contains("\n[allow.shop-api]\nwho = \"shop\"\nto = \"api\"\nops = [\"POST /v1/cart\"]\nuse = \"api\"\n"),
        "{}",
        told.out
    );
    assert_eq!(scene.json(&["suggest", &id])["suggestions"][0]["team"], "shop");
    scene.world.write("teams/shop/rules.toml", format!("{file}\n{}", told.out));
    proxy.wait_for_line("generation 2 is in force");
    assert_eq!(scene.ask(&proxy, "POST", "/api/v1/cart", Some(&token)).await.0, 200);
    // What the team was not lent is not the team's to allow.
    let (_, id) = scene.ask(&proxy, "GET", "/crm/contacts", Some(&token)).await;
    let told = scene.run(&["suggest", &id]);
    assert_eq!(told.code, 1);
    assert!(told.err.contains("service `crm` is not among the `services` of the caller's team"), "{told:?}");
}
