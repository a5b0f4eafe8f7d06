//! First requests, and what a reload lets go.

use std::sync::Arc;
use std::time::Instant;

use claviger_tests::{PATIENCE, World};
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use crate::scene::{Answer, Scene, Sort, takes_all, text};

/// The issuer does not answer before all of them are waiting, so that nothing is at hand for any.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_first_requests_make_one_mint() {
    let gate = Arc::new(Semaphore::new(0));
    let (scene, desk) = Scene::of_one(Answer::Gated(gate.clone(), 3_600), "[admin]\nbind = \"127.0.0.1:0\"").await;
    let let_go = async {
        let deadline = Instant::now() + PATIENCE;
        // Each has a connection of its own for as long as it waits.
        while connections(&scene).await < 1_000 || desk.asked() == 0 {
            assert!(Instant::now() < deadline, "not all of them came");
            tokio::task::yield_now().await;
        }
        assert_eq!(desk.asked(), 1, "one asks for all of them");
        gate.add_permits(1_000);
    };
    let (answers, ()) = tokio::join!(join_all((0..1_000).map(|_| scene.ask("tokens"))), let_go);
    assert!(answers.iter().all(|answer| *answer == (200, "token-1".to_owned())), "{answers:?}");
    assert_eq!((desk.minted(), desk.asked()), (1, 1));
    assert_eq!(scene.events("tokens", 1).len(), 1);
    assert_eq!(scene.arrived("tokens"), 1_000);
}

/// How many clients' connections are open.
async fn connections(scene: &Scene) -> usize {
    let url = format!("http://{}/metrics", scene.proxy.address("admin"));
    let text =
        reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("claviger_connections "));
    line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_rule_names_any_more_is_let_go() {
    let (world, sorts) = (World::new(), [Sort::new("tokens", Answer::Token(3_600), "")]);
    let api = takes_all(&world);
    let scene = Scene::start(world, &sorts, api).await;
    assert_eq!(scene.ask("tokens").await.0, 200);
    scene.world.configure(&text(&scene.origin, &scene.issuer, &sorts, false));
    scene.proxy.wait_for_line("generation 2 is in force");
    let events = scene.events("tokens", 2);
    assert_eq!((&*events[1].0, &*events[1].1), ("invalidated", "no rule uses the credential any more"));
    scene.world.configure(&text(&scene.origin, &scene.issuer, &sorts, true));
    scene.proxy.wait_for_line("generation 3 is in force");
    assert_eq!(scene.ask("tokens").await, (200, "token-2".to_owned()));
}
