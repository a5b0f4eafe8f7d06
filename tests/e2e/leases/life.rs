//! The outage contract, first requests, and what a reload lets go.

use futures_util::future::join_all;

use crate::scene::{Answer, Scene, text};

/// A duration past the last refresh: then the value is not good enough any more, though it has not expired.
#[tokio::test(flavor = "multi_thread")]
async fn serve_until_ends_a_value_before_its_expiry() {
    let scene = Scene::new(Answer::Token(3_600), "serve_until = \"10s\"", "ca.pem").await;
    assert_eq!(scene.ask().await, (200, "token-1".to_owned()));
    scene.issuer.will(Answer::json(500, "{}"));
    let refused = scene.ask_until("it serves on", |(status, _)| *status != 200).await;
    assert_eq!(refused, (503, "credential_unavailable".to_owned()));
    scene.issuer.will(Answer::Token(3_600));
    let back = scene.ask_until("it stays away", |(status, _)| *status == 200).await;
    assert_eq!(back.1, "token-2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_first_requests_make_one_mint() {
    let scene = Scene::new(Answer::Token(3_600), "", "ca.pem").await;
    for answer in join_all((0..1_000).map(|_| scene.ask())).await {
        assert_eq!(answer, (200, "token-1".to_owned()));
    }
    assert_eq!(scene.issuer.minted(), 1);
    assert_eq!(scene.events(1).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_rule_names_any_more_is_let_go() {
    let scene = Scene::new(Answer::Token(3_600), "", "ca.pem").await;
    assert_eq!(scene.ask().await.0, 200);
    let write = |rule| {
        let port = scene.issuer.port;
        scene.world.configure(&text(&scene.world, &scene.origin, port, "", "ca.pem", rule));
    };
    write(false);
    scene.proxy.wait_for_line("generation 2 is in force");
    let events = scene.events(2);
    assert_eq!((&*events[1].0, &*events[1].1), ("invalidated", "no rule uses the credential any more"));
    write(true);
    scene.proxy.wait_for_line("generation 3 is in force");
    assert_eq!(scene.ask().await, (200, "token-2".to_owned()));
}
