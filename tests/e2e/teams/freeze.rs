//! A bad file freezes its team, and nobody else.

use claviger_tests::Proxy;

use crate::stage::{ADS, PAYMENTS, Stage};

const BROKEN: &str = "[allow.x]\nwho = \"nobody\"\nto = \"api\"\nops = \"*\"\nuse = \"none\"\n";

async fn metrics(proxy: &Proxy) -> String {
    let client = reqwest::Client::builder().no_proxy().timeout(claviger_tests::PATIENCE).build().unwrap();
    let get = async |path: &str| client.get(format!("http://{}{path}", proxy.address("admin"))).send().await.unwrap();
    assert_eq!(get("/readyz").await.status(), 200);
    get("/metrics").await.text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_team_keeps_its_last_good_files_and_the_others_reload() {
    let stage = Stage::new().await;
    let proxy = stage.start();
    let said = metrics(&proxy).await;
    assert!(said.contains("claviger_team_frozen{team=\"payments\"} 0"), "{said}");
    assert!(said.contains("claviger_team_generation{team=\"payments\"} 1"), "{said}");

    stage.world.write("teams/payments/bad.toml", BROKEN);
    let said = proxy.wait_for_line("team `payments` is frozen");
    let why = "teams/payments/bad.toml:2:7: `allow.x.who`: there is no workload `nobody` for team `payments`";
    assert_eq!(said, format!("claviger: team `payments` is frozen, its files of generation 1 stay in force: {why}"));
    proxy.wait_for_line("generation 2 is in force");
    assert_eq!(stage.ask(&proxy, "payments/app", "GET", "/api/v1/x").await, 200);

    // The other team gets what it writes now, in the same moment.
    stage.world.write("teams/ads/more.toml", "[deny.x]\nwho = \"*\"\nto = \"api\"\nops = [\"GET /v1/x\"]\n");
    proxy.wait_for_line("generation 3 is in force");
    assert_eq!(stage.ask(&proxy, "ads/app", "GET", "/api/v1/x").await, 403);
    assert_eq!(stage.ask(&proxy, "ads/app", "GET", "/api/v1/y").await, 200);
    assert_eq!(stage.ask(&proxy, "payments/app", "GET", "/api/v1/x").await, 200);
    let said = metrics(&proxy).await;
    for line in [
        "claviger_team_frozen{team=\"payments\"} 1",
        "claviger_team_generation{team=\"payments\"} 1",
        "claviger_team_frozen{team=\"ads\"} 0",
        "claviger_team_generation{team=\"ads\"} 3",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }

    stage.world.write("teams/payments/bad.toml", "");
    proxy.wait_for_line("team `payments` is no longer frozen");
    proxy.wait_for_line("generation 4 is in force");
    assert!(metrics(&proxy).await.contains("claviger_team_frozen{team=\"payments\"} 0"));
    let kinds =
        ["started", "team_frozen", "generation_loaded", "generation_loaded", "team_thawed", "generation_loaded"];
    let records = proxy.records("system", kinds.len());
    for kind in kinds {
        assert!(records.iter().any(|record| record["kind"] == kind), "{kind}: {records:?}");
    }
    let frozen = records.iter().find(|record| record["kind"] == "team_frozen").unwrap();
    assert!(frozen["detail"].as_str().unwrap().contains(why), "{frozen}");
}

/// At a cold start there are no last good files: whoever is of the team is denied, whatever the platform allows.
#[tokio::test(flavor = "multi_thread")]
async fn a_team_that_starts_broken_is_denied() {
    let stage = Stage::new().await;
    let more =
        "[allow.everyone]\nwho = \"*\"\nto = \"api\"\nops = [\"GET /v1/open/**\"]\nuse = \"api\"\npriority = 99\n";
    stage.world.configure(&format!("{}{more}", stage.platform()));
    stage.world.write("teams/payments/app.toml", BROKEN);
    let proxy = stage.start();
    assert!(proxy.output().contains("team `payments` is frozen, none of its files is in force, and it is denied"));
    assert_eq!(stage.ask(&proxy, "payments/app", "GET", "/api/v1/x").await, 403);
    assert_eq!(stage.ask(&proxy, "payments/other", "GET", "/api/v1/open/x").await, 403);
    assert_eq!(stage.ask(&proxy, "ads/app", "GET", "/api/v1/open/x").await, 200);
    assert_eq!(stage.ask(&proxy, "ads/app", "GET", "/api/v1/x").await, 200);
    assert_eq!(stage.ask(&proxy, "docs/x", "GET", "/api/v1/x").await, 200);
    let said = metrics(&proxy).await;
    assert!(said.contains("claviger_team_generation{team=\"payments\"} 0"), "{said}");
    let denied = proxy
        .records("decided", 5)
        .into_iter()
        .find(|record| record["status"].is_null() && record["code"] != "ok")
        .unwrap();
    assert_eq!(denied["code"], "team_frozen", "{denied}");

    stage.world.write("teams/payments/app.toml", PAYMENTS);
    proxy.wait_for_line("team `payments` is no longer frozen");
    proxy.wait_for_line("is in force");
    assert_eq!(stage.ask(&proxy, "payments/app", "GET", "/api/v1/x").await, 200);
    assert_eq!(stage.ask(&proxy, "payments/other", "GET", "/api/v1/open/x").await, 200);
}

/// Two broken teams at once, and the platform changes too.
#[tokio::test(flavor = "multi_thread")]
async fn the_platform_goes_on_while_teams_are_frozen() {
    let stage = Stage::new().await;
    let proxy = stage.start();
    stage.world.write("teams/payments/app.toml", BROKEN);
    proxy.wait_for_line("team `payments` is frozen");
    proxy.wait_for_line("is in force");
    stage.world.write("teams/ads/app.toml", "no toml");
    proxy.wait_for_line("team `ads` is frozen");
    proxy.wait_for_line("is in force");
    let closed = "[deny.closed]\nwho = \"*\"\nto = \"*\"\nops = [\"* /v1/closed\"]\n";
    stage.world.configure(&format!("{}{closed}", stage.platform()));
    proxy.wait_for_line("generation 4 is in force");
    for who in ["payments/app", "ads/app", "docs/x"] {
        assert_eq!(stage.ask(&proxy, who, "GET", "/api/v1/x").await, 200, "{who}");
        assert_eq!(stage.ask(&proxy, who, "GET", "/api/v1/closed").await, 403, "{who}");
    }
}

/// The platform's own mistakes refuse the reload, and are what is said of it, also beside those of a team.
#[tokio::test(flavor = "multi_thread")]
async fn the_platforms_own_mistakes_refuse_the_reload() {
    let stage = Stage::new().await;
    let proxy = stage.start();
    stage.world.write("teams/payments/app.toml", BROKEN);
    proxy.wait_for_line("is in force");
    stage.world.configure(&format!("{}[deny.x]\nwho = \"nobody\"\nto = \"api\"\nops = \"*\"\n", stage.platform()));
    let said = proxy.wait_for_line("the configuration was not reloaded, generation 2 stays");
    assert!(said.contains("claviger.toml:") && said.ends_with("there is no workload `nobody`"), "{said}");
    assert_eq!(stage.ask(&proxy, "payments/app", "GET", "/api/v1/x").await, 200);
}

/// What changes around files that are in force, and what comes of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_force_does_not_hold_up_the_platform() {
    let stage = Stage::new().await;
    let test = "[[test]]\nas = \"spiffe://acme.test/payments/app\"\nrequest = \"GET https://api.test/v1/x\"\nexpect = \"allow read\"\n";
    stage.world.write("teams/payments/app.toml", format!("{PAYMENTS}{test}"));
    let proxy = stage.start();
    assert_eq!(stage.ask(&proxy, "payments/app", "GET", "/api/v1/x").await, 200);

    // An incident: the platform closes a service. A test of a team says otherwise, and changes nothing.
    let closed = "[deny.incident]\nwho = \"*\"\nto = \"api\"\nops = [\"* /v1/x\"]\n";
    stage.world.configure(&format!("{}{closed}", stage.platform()));
    let said = proxy.wait_for_line("team `payments` is frozen, its files of generation 1 stay in force");
    assert!(said.contains("the test fails"), "{said}");
    proxy.wait_for_line("generation 2 is in force");
    assert_eq!(stage.ask(&proxy, "payments/app", "GET", "/api/v1/x").await, 403);
    assert_eq!(stage.ask(&proxy, "payments/app", "GET", "/api/v1/y").await, 200);
    stage.world.configure(&stage.platform());
    proxy.wait_for_line("team `payments` is no longer frozen");

    // A secret goes: only those who need it are refused, and the next reload is not.
    std::fs::remove_file(stage.world.path().join("state/sealed/payments/key.age")).unwrap();
    stage.world.configure(&format!("{}# another text\n", stage.platform()));
    proxy.wait_for_line("team `payments` is frozen, its files of generation 1 stay in force");
    proxy.wait_for_line("generation 4 is in force");
    assert_eq!(stage.ask(&proxy, "ads/app", "GET", "/api/v1/x").await, 200);

    // What the platform takes away from unchanged files is the platform's decision, and it is told to make it whole.
    let narrowed = stage.platform().replacen("services = [\"api\"]\n", "services = [\"billing\"]\n", 1);
    stage.world.configure(&narrowed);
    let said = proxy.wait_for_line("the configuration was not reloaded, generation 4 stays");
    assert!(said.contains("the files of team `payments` are in force and unchanged, and no longer hold"), "{said}");
}

/// Files that are wrong, and last good ones that the platform's change puts beyond their bounds: denied, not served.
#[tokio::test(flavor = "multi_thread")]
async fn last_good_files_do_not_outlive_their_bounds() {
    let stage = Stage::new().await;
    let proxy = stage.start();
    stage.world.write("teams/payments/bad.toml", BROKEN);
    proxy.wait_for_line("team `payments` is frozen, its files of generation 1 stay in force");
    proxy.wait_for_line("is in force");
    let narrowed = stage.platform().replacen("services = [\"api\"]\n", "services = [\"billing\"]\n", 1);
    stage.world.configure(&narrowed);
    proxy.wait_for_line("team `payments` is frozen, none of its files is in force, and it is denied");
    proxy.wait_for_line("is in force");
    assert_eq!(stage.ask(&proxy, "payments/app", "GET", "/api/v1/x").await, 403);
    assert_eq!(stage.ask(&proxy, "ads/app", "GET", "/api/v1/x").await, 200);
    // Given back, they hold again.
    stage.world.configure(&stage.platform());
    proxy.wait_for_line("team `payments` is frozen, its files of generation");
    proxy.wait_for_line("is in force");
    assert_eq!(stage.ask(&proxy, "payments/app", "GET", "/api/v1/x").await, 200);
}

/// A tie with a rule of the platform is the team's to resolve, and never the platform's reload.
#[tokio::test(flavor = "multi_thread")]
async fn a_tie_with_the_platform_is_the_teams() {
    let stage = Stage::new().await;
    let more = "[allow.everyone]\nwho = \"*\"\nto = \"api\"\nops = [\"GET /v1/open\"]\nuse = \"api\"\n";
    stage.world.configure(&format!("{}{more}", stage.platform()));
    let (code, found) = stage.check(&[]);
    assert_eq!(code, 2);
    let errors: Vec<_> = found.iter().filter(|one| one["severity"] == "error").collect();
    let teams: Vec<_> = errors.iter().map(|one| one["team"].as_str().unwrap_or_default()).collect();
    // Both teams have `GET /v1/**` with credentials of their own.
    assert_eq!(teams, ["ads", "payments"], "{errors:#?}");
    let said = errors[1]["message"].as_str().unwrap();
    assert!(said.contains("allow `everyone` (claviger.toml:") && said.contains("have the same priority"), "{said}");

    // With files that are in force: only what both match is denied, as ambiguous.
    stage.world.configure(&stage.platform());
    let proxy = stage.start();
    stage.world.configure(&format!("{}{more}", stage.platform()));
    proxy.wait_for_line("generation 2 is in force");
    assert_eq!(stage.ask(&proxy, "payments/app", "GET", "/api/v1/open").await, 403);
    assert_eq!(stage.ask(&proxy, "payments/app", "GET", "/api/v1/x").await, 200);
    assert_eq!(stage.ask(&proxy, "other/x", "GET", "/api/v1/open").await, 200);
}

/// A test of the platform that a team's rule breaks is about the team.
#[tokio::test(flavor = "multi_thread")]
async fn a_test_of_the_platform_guards_against_a_team() {
    let stage = Stage::new().await;
    let test = "[[test]]\nas = \"spiffe://acme.test/payments/app\"\nrequest = \"DELETE https://api.test/v1/x\"\nexpect = \"deny\"\n\
                [[test]]\nas = \"spiffe://acme.test/payments/app\"\nrequest = \"GET https://api.test/v1/x\"\nexpect = \"allow payments/read\"\n";
    stage.world.configure(&format!("{}{test}", stage.platform()));
    assert_eq!(stage.check(&[]), (0, Vec::new()));
    let proxy = stage.start();
    for (text, what) in [
        (PAYMENTS.replace("GET /v1/**", "* /v1/**"), "expected `deny`"),
        (PAYMENTS.replace("allow.read", "allow.other"), "there is no rule `payments/read`"),
    ] {
        stage.world.write("teams/payments/app.toml", &text);
        let (code, found) = stage.check(&[]);
        assert_eq!((code, &found[0]["team"], &found[0]["file"]), (2, &"payments".into(), &"claviger.toml".into()));
        let said = proxy.wait_for_line("team `payments` is frozen, its files of generation 1 stay");
        assert!(said.contains(what), "{said}");
        proxy.wait_for_line("is in force");
        assert_eq!(stage.ask(&proxy, "payments/app", "DELETE", "/api/v1/x").await, 403);
        assert_eq!(stage.ask(&proxy, "payments/app", "GET", "/api/v1/x").await, 200);
        stage.world.write("teams/payments/app.toml", PAYMENTS);
        proxy.wait_for_line("team `payments` is no longer frozen");
        proxy.wait_for_line("is in force");
    }
    // While the team is denied, what the platform expects of it says nothing, and holds up nothing.
    drop(proxy);
    stage.world.write("teams/payments/app.toml", BROKEN);
    let proxy = stage.start();
    assert_eq!(stage.ask(&proxy, "ads/app", "GET", "/api/v1/x").await, 200);
    assert!(proxy.output().contains("the test says nothing while its team is frozen"), "{}", proxy.output());
    stage.world.write("teams/ads/app.toml", ADS);
}
