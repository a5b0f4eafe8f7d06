//! `kind = "federation"`, profile `generic`, at a real authorization server: no secret anywhere, beside a credential that has one.

use claviger_tests::World;
use serde_json::{Value, json};

use crate::actor::{AUDIENCE, Setting, issuer};
use crate::scene::{arrived, configure, credential, credential_of, failure, get};

/// A credential of the profile, for a client that proves itself by the token alone, and its rule.
fn generic(setting: &Setting, name: &str, keys: &str) -> String {
    let token_url = setting.oidc.token_url();
    let all = format!(
        r#"profile = "generic"
token_url = "{token_url}"
grant = "token-exchange"
body = "form"
parameters = {{ client_id = "public", resource = "{AUDIENCE}/opaque", scope = "read" }}
{keys}"#
    );
    credential_of("federation", name, &all)
}

fn run(world: &World, args: &[&str]) -> String {
    let output = world.run(&[args, &["--config", "claviger.toml"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_federates_needs_no_secret() {
    let setting = Setting::new().await;
    let audience = format!("audience = \"{}\"", setting.oidc.issuer());
    let all = [
        generic(&setting, "minted", &format!("subject = \"minted\"\n{audience}")),
        generic(&setting, "proof", "subject = \"proof\""),
        generic(&setting, "for-another", "subject = \"minted\"\naudience = \"https://b.test\""),
        credential("held", &setting.keys("plain", "")),
    ];
    configure(&setting.world, "https://ci.test", setting.api.port(), &format!("{}{}", issuer(), all.concat()));
    let proxy = setting.world.start();
    for (name, subjects) in
        [("minted", ["spiffe://acme.test/ci/app", "spiffe://acme.test/ci/job"]), ("proof", ["app", "job"])]
    {
        for (who, subject) in ["app", "job"].into_iter().zip(subjects) {
            let (status, body) = get(&proxy, &setting.proof(who), name).await;
            assert_eq!(status, 200, "{name}: {body}\n{}\n{}", proxy.output(), setting.oidc.log());
            let token = arrived(&setting.api, name).pop().unwrap();
            let said = setting.introspect("plain", &token).await;
            assert_eq!((&said["active"], &said["sub"]), (&json!(true), &subject.into()), "{name}: {said}");
        }
    }
    assert_eq!(get(&proxy, &setting.proof("app"), "held").await.0, 200);
    assert_eq!(get(&proxy, &setting.proof("app"), "for-another").await.0, 503);
    let expected = format!("`{}` answered 400 with `invalid_grant`", setting.oidc.token_url());
    assert_eq!(failure(&proxy, "for-another"), expected);
    // What is behind each is said by the check, by the list with the share, and by the records.
    let checked = run(&setting.world, &["check"]);
    for (name, behind) in [("minted", "end-to-end"), ("proof", "end-to-end"), ("held", "proxy-held")] {
        assert!(checked.contains(&format!("credential `{name}`: {behind}")), "{checked}");
        let records = proxy.records("credential", 6);
        let minted = records.iter().find(|one| one["credential"]["name"] == name && one["kind"] == "minted").unwrap();
        assert_eq!(minted["secretless"], behind, "{minted}");
    }
    let listed: Value = serde_json::from_str(&run(&setting.world, &["credential", "list", "-o", "json"])).unwrap();
    assert_eq!(listed["secretless"], json!({ "end_to_end": 3, "of": 4 }), "{listed}");
    let listed = run(&setting.world, &["credential", "list"]);
    assert!(listed.contains("3 of 4 credentials without a stored secret (75 %)"), "{listed}");
    assert!(proxy.stop().success());
}
