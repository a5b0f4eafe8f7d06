//! What words of a team mean: its own, and nobody else's.

use crate::stage::{PAYMENTS, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn everyone_and_everywhere_are_the_teams_own() {
    let stage = Stage::new().await;
    stage.world.write(
        "teams/payments/app.toml",
        "[allow.all]\nwho = \"*\"\nto = \"*\"\nops = \"*\"\nuse = \"none\"\npriority = 10\n\
         [deny.none]\nwho = \"*\"\nto = \"*\"\nops = [\"* /v1/closed/**\"]\n",
    );
    assert_eq!(stage.check(&[]), (0, Vec::new()));
    for (who, request, expected) in [
        // Its own identities, at its own services.
        ("payments/anyone", "GET https://api.test/v1/x", "allowed"),
        ("payments", "GET https://api.test/v1/x", "allowed"),
        ("payments/a/b/c", "POST https://api.test/v1/x", "allowed"),
        ("payments/anyone", "GET https://billing.test/v1/x", "denied"),
        ("payments/anyone", "GET https://api.test/v1/closed/x", "denied"),
        // Nobody else's.
        ("paymentsx/anyone", "GET https://api.test/v1/x", "denied"),
        ("other/x", "GET https://api.test/v1/x", "denied"),
        ("ads/app", "POST https://api.test/v1/x", "denied"),
        ("ads/app", "GET https://api.test/v1/closed/x", "allowed"),
        ("docs/x", "GET https://api.test/v1/closed/x", "allowed"),
        // The platform's denies win, whatever the priority.
        ("payments/anyone", "GET https://api.test/v1/locked/x", "denied"),
    ] {
        let said = stage.explain(who, request);
        assert!(said.starts_with(expected), "{who} {request}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_a_team_are_its_own() {
    let stage = Stage::new().await;
    // The names of the platform and of the other team, once more.
    let text = PAYMENTS.replace("workload.app", "workload.docs").replace("who = \"app\"", "who = \"docs\"");
    let text = text.replace("allow.read", "allow.docs").replace("credential.key", "credential.billing");
    stage.world.write("teams/payments/app.toml", text.replace("use = \"key\"", "use = \"billing\""));
    assert_eq!(stage.check(&[]), (0, Vec::new()));
    let said = stage.explain("payments/app", "GET https://api.test/v1/x");
    for expected in
        ["allow `payments/docs` (teams/payments/app.toml:7)", "credential: payments/billing", "`payments/docs`"]
    {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let said = stage.explain("docs/x", "GET https://api.test/v1/x");
    assert!(said.contains("allow `docs` (claviger.toml:") && said.contains("credential: api"), "{said}");
    // In records, as in explanations.
    let proxy = stage.start();
    assert_eq!(stage.ask(&proxy, "payments/app", "GET", "/api/v1/x").await, 200);
    let record = &proxy.records("decided", 1)[0];
    assert_eq!((&record["rule"], &record["credential"]["name"]), (&"payments/docs".into(), &"payments/billing".into()));
}

/// A credential of a team is none of the platform's: rules without `use` go on as before.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_a_team_do_not_concern_the_platform() {
    let stage = Stage::new().await;
    // `billing` has one credential that fits. Team `ads` may go there, too.
    let more = "[allow.bill]\nwho = \"docs\"\nto = \"billing\"\nops = [\"@pay\"]\n";
    stage.world.configure(&format!("{}{more}", stage.platform()));
    stage.world.seal("ads/billing", &stage.world.canary, &["billing.test"]);
    let own = "[credential.bill]\nkind = \"static\"\nvalue = \"secret://sealed/ads/billing\"\n\
               [allow.pay]\nwho = \"*\"\nto = \"billing\"\nops = [\"@pay\"]\n";
    stage.world.write("teams/ads/pay.toml", own);
    assert_eq!(stage.check(&[]), (0, Vec::new()));
    for (who, credential) in [("docs/x", "credential: billing"), ("ads/x", "credential: ads/bill")] {
        let said = stage.explain(who, "POST https://billing.test/v1/pay");
        assert!(said.contains(credential), "{who}: {said}");
    }
    // What is lent may be used, by rules of the team.
    let lent = "[allow.lent]\nwho = \"*\"\nto = \"api\"\nops = [\"PUT /v1/**\"]\nuse = \"shared\"\n";
    stage.world.write("teams/payments/lent.toml", lent);
    assert_eq!(stage.check(&[]), (0, Vec::new()));
    assert!(stage.explain("payments/x", "PUT https://api.test/v1/x").contains("credential: shared"));
}

/// The platform names nothing that a team can rename.
#[tokio::test(flavor = "multi_thread")]
async fn the_platform_does_not_depend_on_names_of_teams() {
    let stage = Stage::new().await;
    for (more, key, message, help) in [
        (
            "[deny.x]\nwho = \"payments/app\"\nto = \"api\"\nops = \"*\"\n",
            "deny.x.who",
            "there is no workload `payments/app`",
            "what a team defines is for its own files, which may change: define one here",
        ),
        (
            "[allow.x]\nwho = \"docs\"\nto = \"api\"\nops = \"*\"\nuse = \"payments/key\"\n",
            "allow.x.use",
            "there is no credential `payments/key`",
            "what a team defines is for its own files, which may change: define one here",
        ),
        (
            "[team.x]\nfiles = \"teams/ads/*.toml\"\nidentities = [\"spiffe://acme.test/x/**\"]\nservices = [\"apo\"]\n",
            "team.x.services",
            "there is no service `apo`",
            "did you mean `api`?",
        ),
        (
            "[team.x]\nfiles = \"teams/ads/*.toml\"\nidentities = [\"spiffe://acme.test/x/**\"]\nservices = []\ncredentials = [\"shard\"]\n",
            "team.x.credentials",
            "there is no credential `shard`",
            "did you mean `shared`?",
        ),
        (
            "[team.x]\nfiles = \"teams/ads/*.toml\"\nidentities = [\"spiffe://acme.test/x/**\"]\nservices = []\nsecrets = [\"secret://seald/x/**\"]\n",
            "team.x.secrets",
            "there is no store `seald`",
            "did you mean `sealed`?",
        ),
    ] {
        stage.world.configure(&format!("{}{more}", stage.platform()));
        let (code, found) = stage.check(&[]);
        let found = found.iter().find(|one| one["key"] == key).unwrap_or_else(|| panic!("{key}: {found:#?}"));
        assert_eq!((code, &found["message"], &found["help"]), (2, &message.into(), &help.into()), "{key}");
        assert!(found["team"].is_null(), "{found}");
    }
}
