//! `claviger check --team`: a team looks at its own files.

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn a_team_checks_its_own_files() {
    let stage = Stage::new().await;
    stage.world.write("teams/ads/app.toml", "no toml");
    assert_eq!(stage.check(&["--team", "payments"]), (0, Vec::new()));
    let (code, found) = stage.check(&["--team", "ads"]);
    assert_eq!((code, &found[0]["team"]), (2, &"ads".into()));
    let (code, found) = stage.check(&[]);
    assert_eq!((code, &found[0]["file"]), (2, &"teams/ads/app.toml".into()));
    // A question about somebody else is answered all the same; who is of the team is denied.
    let said = stage.explain("payments/app", "GET https://api.test/v1/x");
    assert!(said.starts_with("allowed") && said.contains("teams/ads/app.toml:1:"), "{said}");
    let said = stage.explain("ads/app", "GET https://api.test/v1/x");
    assert!(said.starts_with("denied") && said.contains("(team_frozen)"), "{said}");
    let output = stage.run(&["check", "--config", "claviger.toml", "--team", "payment"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "claviger: there is no team `payment`; did you mean `payments`?\n");
}
