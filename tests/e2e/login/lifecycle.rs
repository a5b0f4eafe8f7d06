//! A grant from its login to its end.

use crate::scene::{Running, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_was_revoked_asks_for_a_login_and_works_after_it() {
    let scene = Scene::new().await;
    scene.log_in().await;
    let proxy = scene.world.start();
    assert_eq!(scene.get(&proxy).await, 200);
    // Behind Claviger's back: somebody who has the refresh token uses it, and then Claviger does.
    let stolen = scene.gate.tokens().into_iter().nth(1).unwrap();
    let http = scene.world.ca.http().build().unwrap();
    let form = [("grant_type", "refresh_token"), ("refresh_token", &stolen)];
    let used = http.post(scene.server.url("/token")).basic_auth("app", Some(&scene.world.canary)).form(&form);
    assert_eq!(used.send().await.unwrap().status(), 200);
    scene.refuse(&scene.arrived());
    assert_ne!(scene.get(&proxy).await, 200);
    scene.wait_for_detail(&proxy, &["`invalid_grant`", "run `claviger login calendar`"]);
    scene.log_in().await;
    assert_eq!(scene.get(&proxy).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_the_grant_at_its_server_and_here() {
    let scene = Scene::new().await;
    scene.log_in().await;
    let proxy = scene.world.start();
    assert_eq!(scene.get(&proxy).await, 200);
    let output = Running::start(&scene.world, &["logout", "calendar"]).end();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("the server ended the grant, and `secret://sealed/calendar` is removed"), "{said}");
    scene.assert_hidden(&output);
    assert_eq!(scene.get(&proxy).await, 503);
    let stolen = scene.gate.tokens().into_iter().nth(1).unwrap();
    let http = scene.world.ca.http().build().unwrap();
    let form = [("grant_type", "refresh_token"), ("refresh_token", &stolen)];
    let used = http.post(scene.server.url("/token")).basic_auth("app", Some(&scene.world.canary)).form(&form);
    assert_eq!(used.send().await.unwrap().status(), 400);
}

/// A restart uses the access token that is sealed, and asks nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_asks_nobody() {
    let scene = Scene::new().await;
    scene.log_in().await;
    for _ in 0..2 {
        let proxy = scene.world.start();
        assert_eq!(scene.get(&proxy).await, 200);
        proxy.stop();
    }
    assert_eq!((scene.gate.came().requests, scene.renewals()), (1, 0));
}

/// What was granted goes nowhere but to its token endpoint, whatever a file says.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_sent_to_no_other_endpoint() {
    let scene = Scene::new().await;
    scene.log_in().await;
    let text = scene.configuration("state", "", "sealed");
    let moved = text.replace(
        &format!("token_url = \"https://{}", scene.gate.host()),
        &format!("token_url = \"https://{}", scene.server.host()),
    );
    assert_ne!(text, moved);
    scene.world.configure(&moved);
    let proxy = scene.world.start();
    assert_eq!(scene.get(&proxy).await, 503);
    scene.wait_for_detail(&proxy, &["may go to", &scene.gate.host(), &scene.server.host()]);
    assert_eq!(scene.renewals(), 0);
}
