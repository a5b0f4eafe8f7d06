//! kill -9 while a refresh token is being sent: the server gives each out once, and ends the grant when one comes twice.

use claviger_tests::{PATIENCE, Proxy};
use rustix::process::{Pid, Signal, kill_process};

use crate::gate::Hold;
use crate::scene::Scene;

/// A proxy whose request is waiting for a renewal that is held back.
async fn renewing(scene: &Scene, hold: Hold) -> Proxy {
    scene.log_in().await;
    let proxy = scene.world.start();
    assert_eq!(scene.get(&proxy).await, 200);
    let before = scene.gate.came();
    scene.gate.hold(hold);
    scene.refuse(&scene.arrived());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.get(proxy.gateway("/api/v1/events")).bearer_auth(scene.world.token("app"));
    tokio::spawn(async move { drop(request.send().await) });
    match hold {
        Hold::Answers => scene.gate.until(|came| came.answers > before.answers).await,
        _ => scene.gate.until(|came| came.requests > before.requests).await,
    }
    proxy
}

/// The process that sends the token, which is a child of the proxy.
fn renewer(proxy: &Proxy) -> Pid {
    let parent = format!("\nPPid:\t{}\n", proxy.pid());
    let is_it = |pid: &String| {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        read("status").contains(&parent) && read("cmdline").contains("renew-grant")
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let found: Vec<String> = all.filter(is_it).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    Pid::from_raw(found[0].parse().unwrap()).unwrap()
}

/// Starts anew, and renews once more with what was saved.
async fn goes_on(scene: &Scene, renewals: usize) {
    let proxy = scene.world.start();
    assert_eq!(scene.get(&proxy).await, 200);
    assert_eq!(scene.renewals(), renewals, "{}", scene.server.log());
    proxy.stop();
    let proxy = scene.world.start();
    scene.refuse(&scene.arrived());
    assert_eq!(scene.get(&proxy).await, 200);
    assert_eq!(scene.renewals(), renewals + 1, "{}", scene.server.log());
    scene.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_server_has_the_token() {
    let scene = Scene::new().await;
    let proxy = renewing(&scene, Hold::Requests).await;
    proxy.signal(Signal::KILL);
    proxy.stop();
    scene.gate.hold(Hold::Nothing);
    goes_on(&scene, 1).await;
}

/// The worst moment: the old token is spent, and the new one is known to the server alone.
#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_answer_arrives() {
    let scene = Scene::new().await;
    let proxy = renewing(&scene, Hold::Answers).await;
    assert_eq!(scene.renewals(), 1);
    proxy.signal(Signal::KILL);
    proxy.stop();
    scene.gate.hold(Hold::Nothing);
    goes_on(&scene, 1).await;
}

/// Whoever starts while the answer is still under way waits for it, and sends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn started_anew_before_the_answer_arrives() {
    let scene = Scene::new().await;
    let proxy = renewing(&scene, Hold::Answers).await;
    proxy.signal(Signal::KILL);
    proxy.stop();
    let before = scene.gate.came();
    let proxy = scene.world.start();
    let (answered, ()) = tokio::join!(scene.get(&proxy), async {
        // Not until the API has refused the token that is still sealed.
        let seen = scene.api.seen().len();
        let deadline = std::time::Instant::now() + PATIENCE;
        while scene.api.seen().len() <= seen {
            assert!(std::time::Instant::now() < deadline, "no request arrived");
            tokio::task::yield_now().await;
        }
        scene.gate.hold(Hold::Nothing);
    });
    assert_eq!(answered, 200);
    assert_eq!(scene.gate.came().requests, before.requests);
    proxy.stop();
    goes_on(&scene, 1).await;
}

/// Both processes end, as when a container or a machine does; the server never saw the token.
#[tokio::test(flavor = "multi_thread")]
async fn all_is_killed_and_the_token_never_arrived() {
    let scene = Scene::new().await;
    let proxy = renewing(&scene, Hold::Requests).await;
    let renewer = renewer(&proxy);
    kill_process(renewer, Signal::KILL).unwrap();
    proxy.signal(Signal::KILL);
    proxy.stop();
    scene.gate.hold(Hold::Lose);
    scene.gate.hold(Hold::Nothing);
    let proxy = scene.world.start();
    // The token that is sealed is refused by the API, so that it has to be renewed.
    assert_eq!(scene.get(&proxy).await, 200);
    assert_eq!(scene.renewals(), 1, "{}", scene.server.log());
    scene.assert_unharmed();
}

/// Both processes end, and with them the only copy of the answer. No client can save this grant: it is said what to do.
#[tokio::test(flavor = "multi_thread")]
async fn all_is_killed_and_the_answer_is_lost() {
    let scene = Scene::new().await;
    let proxy = renewing(&scene, Hold::Answers).await;
    let renewer = renewer(&proxy);
    kill_process(renewer, Signal::KILL).unwrap();
    proxy.signal(Signal::KILL);
    proxy.stop();
    scene.gate.hold(Hold::Nothing);
    let proxy = scene.world.start();
    scene.get(&proxy).await;
    let lost = "the answer to an earlier use of it was lost";
    scene.wait_for_detail(&proxy, &[lost, "run `claviger login calendar`"]);
    let listed = scene.world.run(&["secret", "list", "--config", "claviger.toml"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("run `claviger login calendar`"), "{listed}");
    scene.log_in().await;
    assert_eq!(scene.get(&proxy).await, 200);
}

/// A process that is asked to end does so when the answer is sealed: nothing of its container lives on after it.
#[tokio::test(flavor = "multi_thread")]
async fn asked_to_end_before_the_answer_arrives() {
    let scene = Scene::new().await;
    let proxy = renewing(&scene, Hold::Answers).await;
    let renewer = renewer(&proxy);
    // As a service manager does, which tells every process of the service.
    kill_process(renewer, Signal::TERM).unwrap();
    proxy.signal(Signal::TERM);
    proxy.wait_for_line("draining");
    scene.gate.hold(Hold::Nothing);
    assert!(proxy.stop().success());
    goes_on(&scene, 1).await;
}
