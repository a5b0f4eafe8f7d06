//! Several processes, one grant: one of them renews it, for all.

use claviger_tests::Proxy;

use crate::scene::Scene;

/// Two processes with state folders of their own and one store, in which somebody's grant is.
async fn two_processes(scene: &Scene) -> (Proxy, Proxy) {
    let shared = "\n[store.shared]\nkind = \"sealed\"\npath = \"shared\"\nkey_file = \"shared.key\"\n";
    scene.world.configure(&scene.configuration("other", shared, "shared"));
    let sealed = [
        "secret",
        "--state-dir",
        "other",
        "set",
        "client",
        "--host",
        &scene.gate.host(),
        "--host",
        &scene.server.host(),
    ];
    assert!(scene.world.run_with_input(&sealed, &scene.world.canary).status.success());
    let other = scene.world.start();
    scene.world.configure(&scene.configuration("state", shared, "shared"));
    scene.log_in().await;
    let one = scene.world.start();
    (one, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_that_share_a_store_one_renews() {
    let scene = Scene::new().await;
    let (one, other) = two_processes(&scene).await;
    for _ in 0..3 {
        assert_eq!(scene.get(&one).await, 200);
        assert_eq!(scene.get(&other).await, 200);
    }
    assert_eq!(scene.renewals(), 0, "both use the token of the login");
    scene.refuse(&scene.arrived());
    // All at once, at both.
    let (to_one, to_other): (Vec<_>, Vec<_>) =
        ((0..10).map(|_| scene.get(&one)).collect(), (0..10).map(|_| scene.get(&other)).collect());
    let answers = futures_util::future::join_all(to_one.into_iter().chain(to_other)).await;
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    assert_eq!(scene.renewals(), 1, "{}", scene.server.log());
    scene.assert_unharmed();
}

/// Tokens that end after seconds, two processes, and a good many renewals: none comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn over_many_renewals_no_token_is_sent_twice() {
    let scene = Scene::with_lives(3, 600).await;
    let (one, other) = two_processes(&scene).await;
    let deadline = std::time::Instant::now() + claviger_tests::PATIENCE;
    while scene.renewals() < 4 {
        assert!(std::time::Instant::now() < deadline, "{}", scene.server.log());
        let (first, second) = tokio::join!(scene.get(&one), scene.get(&other));
        // A token may end on its way.
        assert!([200, 401].contains(&first) && [200, 401].contains(&second), "{first} {second}");
    }
    scene.assert_unharmed();
}
