//! `kind = "github-app"` against a double of GitHub's API.

use claviger_tests::{CI, GATEWAY, Proxy, World, until};
use serde_json::{Value, json};

use crate::github_double::{APP_ID, CLIENT_ID, GitHub, ORGANISATION, Trouble};
use crate::scene::get;

fn configure(world: &World, github: &GitHub, app: &str, rules: &str) {
    let port = github.port();
    world.configure(&format!(
        r#"{GATEWAY}
{CI}
[workload.app]
spiffe = "spiffe://acme.test/ci/app"

[service.github]
hosts = ["api.github.test"]
connect = "127.0.0.1:{port}"
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
inject = ["bearer"]

[credential.app]
kind = "github-app"
client_id = "{CLIENT_ID}"
private_key = "secret://sealed/app-key"
api_url = "https://127.0.0.1:{port}"
hosts = ["api.github.test"]
allow_addresses = ["127.0.0.1"]
ca = "ca.pem"
{app}
{rules}"#
    ));
}

const RULES: &str = r#"
[allow.read-docs]
who = "app"
to = "github"
ops = ["GET /repos/acme/docs/**", "POST /repos/acme/docs/contents"]
narrow = { repositories = ["docs"], permissions = { contents = "read" } }
[allow.issues]
who = "app"
to = "github"
ops = ["POST /repos/acme/site/issues", "GET /repos/acme/docs/issues"]
priority = 1
narrow = { repositories = ["site", "docs"], permissions = { issues = "write" } }
[allow.all]
who = "app"
to = "github"
ops = ["GET /repos/acme/secrets/**"]
"#;

async fn started(app: &str, rules: &str) -> (World, GitHub, Proxy) {
    let world = World::new();
    let github = GitHub::start(&world.ca).await;
    world.seal("app-key", &github.pem, &[&format!("127.0.0.1:{}", github.port())]);
    configure(&world, &github, app, rules);
    let proxy = world.start();
    (world, github, proxy)
}

async fn send(proxy: &Proxy, proof: &str, method: &str, path: &str) -> (u16, Value) {
    let client =
        reqwest::Client::builder().no_proxy().user_agent("test").timeout(claviger_tests::PATIENCE).build().unwrap();
    let method = method.parse().unwrap();
    let answer = client.request(method, proxy.gateway(path)).bearer_auth(proof).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_for_what_the_rule_says_and_no_more() {
    let (world, github, proxy) = started("installation = \"acme/docs\"", RULES).await;
    let proof = world.token("app");
    let (status, answer) = get(&proxy, &proof, "/github/repos/acme/docs/contents").await;
    assert_eq!((status, &answer["did"]), (200, &"GET contents".into()), "{:?}", github.refused());
    // Allowed by the rule, and beyond what its token may: GitHub itself refuses.
    let (status, _) = send(&proxy, &proof, "POST", "/github/repos/acme/docs/contents").await;
    assert_eq!(status, 403);
    let (status, answer) = send(&proxy, &proof, "POST", "/github/repos/acme/site/issues").await;
    assert_eq!((status, &answer["repository"]), (200, &"site".into()));
    let (status, _) = get(&proxy, &proof, "/github/repos/acme/secrets/contents").await;
    assert_eq!(status, 200);
    // Once more of each: the tokens are kept.
    assert_eq!(get(&proxy, &proof, "/github/repos/acme/docs/contents").await.0, 200);
    assert_eq!(get(&proxy, &proof, "/github/repos/acme/docs/issues").await.0, 200);
    assert_eq!(
        github.asked(),
        [
            json!({"repositories": ["docs"], "permissions": {"contents": "read"}}),
            json!({"repositories": ["docs", "site"], "permissions": {"issues": "write"}}),
            json!({}),
        ]
    );
    assert_eq!(github.refused(), [""; 0]);
    // All of them are ended at GitHub when the proxy stops.
    assert!(github.tokens().iter().all(|token| !token.revoked));
    let values: Vec<String> = github.tokens().into_iter().map(|token| token.value).collect();
    let printed = proxy.output();
    assert!(proxy.stop().success());
    assert!(github.tokens().iter().all(|token| token.revoked), "{:?}", github.tokens());
    for value in values {
        assert!(!printed.contains(&value));
        claviger_tests::canary::assert_absent_below(&value, world.path());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowing_that_is_gone_is_revoked_and_one_that_stays_keeps_its_token() {
    let (world, github, proxy) = started("installation = 99", RULES).await;
    let proof = world.token("app");
    for path in ["docs/contents", "docs/issues"] {
        assert_eq!(get(&proxy, &proof, &format!("/github/repos/acme/{path}")).await.0, 200);
    }
    // The rule for contents says less; that for issues says the same in another order.
    let rules = RULES
        .replace("contents = \"read\"", "metadata = \"read\"")
        .replace("[\"site\", \"docs\"]", "[\"site\",  \"docs\"]");
    configure(&world, &github, "installation = 99", &rules);
    assert!(world.run(&["reload", "--config", "claviger.toml"]).status.success(), "{}", proxy.output());
    assert_eq!(get(&proxy, &proof, "/github/repos/acme/docs/issues").await.0, 200);
    assert_eq!(get(&proxy, &proof, "/github/repos/acme/docs/contents").await.0, 403);
    assert_eq!(github.asked().len(), 3, "{:?}", github.asked());
    until("the first is revoked", async || github.tokens()[0].revoked).await;
    assert!(!github.tokens()[1].revoked);
    // Suspended: all are ended.
    assert!(
        world.run(&["suspend", "credential", "app", "--reason", "test", "--config", "claviger.toml"]).status.success()
    );
    until("all are revoked", async || github.tokens().iter().all(|token| token.revoked)).await;
    proxy.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_github_refuses_or_widens_is_not_handed_on() {
    // By its owner, who is a user and no organisation.
    let (world, github, proxy) = started("installation = \"acme\"", RULES).await;
    let proof = world.token("app");
    let mut failures = 0;
    for (trouble, path, told) in [
        (Trouble::Wider, "docs/contents", "more permissions"),
        (Trouble::More, "site/issues", "repositories"),
        (Trouble::All, "docs/issues", "selected repositories"),
    ] {
        github.trouble(Some(trouble));
        let method = if path == "site/issues" { "POST" } else { "GET" };
        let deadline = std::time::Instant::now() + claviger_tests::PATIENCE;
        let detail = loop {
            let (status, _) = send(&proxy, &proof, method, &format!("/github/repos/acme/{path}")).await;
            assert_eq!(status, 503, "{trouble:?}");
            let failed = proxy.records("credential", 1).into_iter().filter(|record| record["kind"] == "failed");
            let failed: Vec<Value> = failed.collect();
            // A failure is told to all until it is time to try again; the trouble before is over then.
            if failed.len() > failures && failed.last().unwrap()["detail"].as_str().unwrap().contains(told) {
                failures = failed.len();
                break failed.last().unwrap()["detail"].as_str().unwrap().to_owned();
            }
            assert!(std::time::Instant::now() < deadline, "{trouble:?}: {failed:?}");
        };
        assert!(detail.contains("/app/installations/99/access_tokens"), "{detail}");
    }
    assert!(github.tokens().iter().all(|token| !proxy.output().contains(&token.value)));
    github.trouble(Some(Trouble::Down));
    let (status, _) = get(&proxy, &proof, "/github/repos/acme/secrets/contents").await;
    assert_eq!(status, 503);
    proxy.stop();
}

/// By the App's number, the installation of an organisation, and repositories by theirs.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_as_good_as_names() {
    let world = World::new();
    let github = GitHub::start(&world.ca).await;
    world.seal("app-key", &github.pem, &[&format!("127.0.0.1:{}", github.port())]);
    let rules = r#"
[allow.read-docs]
who = "app"
to = "github"
ops = ["GET /repos/acme/docs/**", "GET /repos/acme/site/**"]
narrow = { repository_ids = [1], permissions = { contents = "read" } }
"#;
    let app = format!("installation = \"{ORGANISATION}\"\nrepository_ids = [1, 2]");
    configure(&world, &github, &app, rules);
    let text = std::fs::read_to_string(world.path().join("claviger.toml")).unwrap();
    world.configure(&text.replace(&format!("client_id = \"{CLIENT_ID}\""), &format!("app_id = {APP_ID}")));
    let proxy = world.start();
    let proof = world.token("app");
    assert_eq!(get(&proxy, &proof, "/github/repos/acme/docs/contents").await.0, 200, "{:?}", github.refused());
    assert_eq!(get(&proxy, &proof, "/github/repos/acme/site/contents").await.0, 404, "it is for the first only");
    assert_eq!(github.asked(), [json!({"repository_ids": [1], "permissions": {"contents": "read"}})]);
    assert_eq!(github.refused(), [""; 0]);
    proxy.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_asks_for_more_than_the_credential_does_not_load() {
    let world = World::new();
    let github = GitHub::start(&world.ca).await;
    world.seal("app-key", &github.pem, &[&format!("127.0.0.1:{}", github.port())]);
    let own = "installation = 99\nrepositories = [\"docs\"]\npermissions = { contents = \"read\" }";
    let rule = |narrow: &str| {
        format!("[allow.x]\nwho = \"app\"\nto = \"github\"\nops = [\"GET /repos/**\"]\nnarrow = {narrow}\n")
    };
    for (narrow, expected) in [
        ("{ repositories = [\"docs\"] }", None),
        ("{ permissions = { contents = \"read\" } }", None),
        ("{ repositories = [\"site\"] }", Some("repository `site` is more than the credential itself may")),
        (
            "{ permissions = { contents = \"write\" } }",
            Some("permission `contents = \"write\"` is more than the credential itself may"),
        ),
        ("{ permissions = { issues = \"read\" } }", Some("permission `issues = \"read\"` is more than")),
        ("{ repository_ids = [1] }", Some("the credential names its repositories by names")),
        ("{ repositories = [\"acme/docs\"] }", Some("`acme/docs` is not the name of a repository")),
        ("{ permissions = { contents = \"all\" } }", Some("`all` is not a level of a permission")),
        ("{ repository = [\"docs\"] }", Some("did you mean `repositories`?")),
    ] {
        configure(&world, &github, own, &rule(narrow));
        let output = world.run(&["check", "--config", "claviger.toml"]);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        match expected {
            None => assert!(output.status.success(), "{narrow}: {said}"),
            Some(expected) => assert!(!output.status.success() && said.contains(expected), "{narrow}: {said}"),
        }
    }
    // A kind that cannot be narrowed.
    configure(&world, &github, own, &rule("{ repositories = [\"docs\"] }"));
    let text = std::fs::read_to_string(world.path().join("claviger.toml")).unwrap();
    let (before, after) = text.split_once("[credential.app]").unwrap();
    let rules = after.split_once("[allow.x]").unwrap().1;
    let fixed = "[credential.app]\nkind = \"static\"\nvalue = \"secret://sealed/app-key\"\n[allow.x]";
    world.seal("app-key", &world.canary, &["api.github.test"]);
    world.configure(&format!("{before}{fixed}{rules}"));
    let output = world.run(&["check", "--config", "claviger.toml"]);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success() && said.contains("a credential of this kind cannot be narrowed"), "{said}");
}
