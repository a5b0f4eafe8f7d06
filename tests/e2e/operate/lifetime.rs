//! A suspension outlives reloads, restarts and crashes; it ends when it is resumed or its time is over.

use std::time::Instant;

use claviger_tests::PATIENCE;

use crate::scene::{claviger, configuration, get, ok, passes, prepared, said, scene, system};

#[tokio::test(flavor = "multi_thread")]
async fn reloads_neither_end_nor_hinder_it() {
    let (world, origin, proxy) = scene("").await;
    ok(&world, &["suspend", "service", "api"]);
    let (out, _) = ok(&world, &["reload"]);
    assert_eq!(out, "generation 2 is in force\n");
    assert!(!passes(&world, &proxy, "app", "/api/v1/x").await);
    // The file is broken: what is suspended stays so, and more can be.
    world.configure(&format!("{}\n[service.api]\nhosts = [\"twice.test\"]\n", configuration(&world, &origin, "")));
    proxy.wait_for_line("the configuration was not reloaded");
    assert!(!passes(&world, &proxy, "app", "/api/v1/x").await);
    ok(&world, &["suspend", "service", "crm", "--state-dir", "state"]);
    assert!(!passes(&world, &proxy, "app", "/crm/v1/x").await);
    ok(&world, &["resume", "service", "api", "--state-dir", "state"]);
    assert!(passes(&world, &proxy, "app", "/api/v1/x").await);
    // Of a file that cannot be read at all, only the places are asked for.
    world.configure("version = ");
    let output = claviger(&world, &["suspend", "list"]);
    let (_, err) = said(&output);
    assert!(output.status.code() == Some(2) && err.contains("say it with `--state-dir FOLDER`"), "{err}");
    assert!(ok(&world, &["suspend", "list", "--state-dir", "state"]).0.starts_with("service    crm  since "));
}

/// Whatever way the process ended.
#[tokio::test(flavor = "multi_thread")]
async fn restarts_do_not_end_it() {
    let (world, _origin) = prepared("").await;
    let proxy = world.start();
    ok(&world, &["suspend", "principal", "spiffe://acme.test/ci/app", "--reason", "stolen laptop"]);
    assert!(proxy.stop().success());
    let proxy = world.start();
    assert!(!passes(&world, &proxy, "app", "/api/v1/x").await);
    assert!(passes(&world, &proxy, "other", "/api/v1/x").await);
    ok(&world, &["suspend", "service", "crm"]);
    let mut command = world.command(&["suspend", "list", "--config", "claviger.toml"]);
    proxy.signal(rustix::process::Signal::KILL);
    proxy.stop();
    let (out, err) = said(&command.output().unwrap());
    assert!(out.lines().count() == 2 && err.contains("no process answers"), "{out}{err}");
    let proxy = world.start();
    assert!(!passes(&world, &proxy, "app", "/api/v1/x").await);
    assert!(!passes(&world, &proxy, "other", "/crm/v1/x").await);
    assert!(passes(&world, &proxy, "other", "/api/v1/x").await);
}

/// Where no process runs, the next one knows, and records what was done meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_set_while_no_process_runs() {
    let (world, _origin) = prepared("").await;
    drop(world.start());
    let (out, err) = ok(&world, &["suspend", "service", "apj", "--reason", "planned"]);
    assert_eq!(out, "service `apj` is suspended\n");
    assert!(err.contains("no process answers at ") && err.contains("did you mean `api`?"), "{err}");
    ok(&world, &["resume", "service", "apj"]);
    ok(&world, &["suspend", "service", "api"]);
    let output = claviger(&world, &["resume", "service", "apj"]);
    assert_eq!(
        (output.status.code(), said(&output).1.as_str()),
        (Some(1), "claviger: service `apj` is not suspended\n")
    );
    let output = claviger(&world, &["status"]);
    assert!(output.status.code() == Some(1) && said(&output).1.contains("no running process answers at"));
    let proxy = world.start();
    assert!(!passes(&world, &proxy, "app", "/api/v1/x").await);
    let (suspended, resumed) = (system(&proxy, "suspended", 2), system(&proxy, "resumed", 1));
    assert_eq!(suspended.len() + resumed.len(), 3);
    assert!(suspended[0]["detail"].as_str().unwrap().ends_with("`apj`: planned"));
    // Each is recorded once, however often the process starts.
    drop(proxy);
    let proxy = world.start();
    assert!(!passes(&world, &proxy, "app", "/api/v1/x").await);
    assert_eq!(system(&proxy, "suspended", 2).len(), 2);
    ok(&world, &["ledger", "verify"]);
}

/// Written into the state behind a running process, as by one that was about to start.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_process_takes_up_what_others_write() {
    let (world, _origin, proxy) = scene("").await;
    let aside = ["--socket", "nobody-listens-here.sock"];
    let (_, err) = ok(&world, &[&["suspend", "service", "api"][..], &aside].concat());
    assert!(err.contains("no process answers at `nobody-listens-here.sock`"), "{err}");
    claviger_tests::until("it is suspended", async || !passes(&world, &proxy, "app", "/api/v1/x").await).await;
    ok(&world, &[&["resume", "service", "api"][..], &aside].concat());
    claviger_tests::until("it is resumed", async || passes(&world, &proxy, "app", "/api/v1/x").await).await;
    system(&proxy, "resumed", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_by_itself_when_its_time_is_over() {
    let (world, _origin, proxy) = scene("").await;
    let begun = Instant::now();
    ok(&world, &["suspend", "service", "api", "--for", "2s"]);
    let first = passes(&world, &proxy, "app", "/api/v1/x").await;
    // On a machine that took two seconds for this, it may be over already.
    assert!(!first || begun.elapsed().as_secs() >= 2);
    claviger_tests::until("it is over", async || passes(&world, &proxy, "app", "/api/v1/x").await).await;
    assert!(begun.elapsed().as_millis() >= 1_990, "over after {:?}", begun.elapsed());
    let resumed = system(&proxy, "resumed", 1);
    assert_eq!(resumed[0]["actor"], "claviger");
    assert!(resumed[0]["detail"].as_str().unwrap().ends_with("; its time was over"), "{}", resumed[0]);
    assert_eq!(ok(&world, &["suspend", "list"]).0, "nothing is suspended\n");
}

/// A process that drains lets its streams end; what is suspended meanwhile ends at once, and so does the draining.
#[tokio::test(flavor = "multi_thread")]
async fn it_holds_while_the_process_drains() {
    let (world, _origin, proxy) = scene("[limits]\ndrain_timeout = \"5m\"\n").await;
    let request = crate::scene::client().get(proxy.gateway("/api/v1/stream")).bearer_auth(world.token("app"));
    let mut stream = request.send().await.unwrap();
    assert!(stream.chunk().await.unwrap().is_some());
    proxy.signal(rustix::process::Signal::TERM);
    proxy.wait_for_line("draining");
    let (out, _) = ok(&world, &["status"]);
    assert!(out.contains("draining"), "{out}");
    let output = claviger(&world, &["reload"]);
    assert!(output.status.code() == Some(1) && said(&output).1.contains("the process is draining"), "{output:?}");
    ok(&world, &["suspend", "service", "api"]);
    let end = tokio::time::timeout(PATIENCE, stream.chunk()).await.expect("the stream goes on");
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");
    assert!(proxy.stop().success());
    drop(stream);
}

/// Time is asked for at each request: nobody has to notice that it is over.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_over_before_the_start_is_not_in_force() {
    let (world, _origin) = prepared("").await;
    drop(world.start());
    ok(&world, &["suspend", "service", "api", "--for", "1s"]);
    let over = Instant::now() + std::time::Duration::from_millis(1_100);
    claviger_tests::until("a second is over", async || Instant::now() >= over).await;
    let proxy = world.start();
    assert_eq!(get(&world, &proxy, "app", "/api/v1/x").await.0, 200);
    assert_eq!(system(&proxy, "resumed", 1)[0]["actor"], "claviger");
}
