//! Clients of this machine, each by a real request through a proxy that shows certificates of an authority.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::stage::{Call, Stage, installed, script, shell_of};

/// A test's machine is slow, and runs other tests.
const PATIENCE: &str = "300";

/// What came of each client, of the checks with this id: status, and the whole.
fn outcomes(report: &Value, id: &str) -> BTreeMap<String, (String, Value)> {
    let checks = report["checks"].as_array().unwrap().iter().filter(|check| check["id"] == id);
    let word = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
    checks.map(|check| (word(check, "subject"), (word(check, "status"), check.clone()))).collect()
}

/// Makes a program of this machine known to the call, and no other.
fn offer(stage: &Stage, names: &[&str]) -> Vec<String> {
    let mut offered = Vec::new();
    for name in names {
        if let Some(file) = installed(name) {
            std::os::unix::fs::symlink(file.canonicalize().unwrap(), stage.file("bin").join(name)).unwrap();
            offered.push((*name).to_owned());
        }
    }
    offered.sort();
    offered
}

fn ask(stage: &Stage, call: &Call) -> Value {
    stage.json(call, &["--only", "clients", "--timeout", PATIENCE])
}

#[tokio::test]
async fn clients_that_are_there_work_under_exec() {
    let stage = Stage::new().await;
    let offered = offer(&stage, &["curl", "wget", "git"]);
    assert!(offered.contains(&"curl".to_owned()), "curl is there wherever these tests run");
    // What this shell exports must not matter under `exec`.
    let call = Call::default().env("HTTPS_PROXY", "http://127.0.0.1:1").env("NO_PROXY", "*");
    let found = outcomes(&ask(&stage, &call), "client.exec");
    assert_eq!(found.keys().cloned().collect::<Vec<_>>(), offered, "{found:#?}");
    for (client, (status, check)) in &found {
        assert_eq!(status, "ok", "{client}: {check:#}");
    }
}

#[tokio::test]
async fn pythons_libraries_work_under_exec() {
    let stage = Stage::new().await;
    let python = claviger_tests::peers::Installed::python();
    let found = outcomes(
        &{
            let path = format!("{}:/usr/bin:/bin", python.parent().unwrap().display());
            stage.json(&Call::default().env("PATH", path), &["--only", "clients", "--timeout", PATIENCE])
        },
        "client.exec",
    );
    for client in ["requests", "httpx", "aiohttp", "urllib3", "pip"] {
        let (status, check) = found.get(client).unwrap_or_else(|| panic!("{client}: {found:#?}"));
        assert_eq!(status, "ok", "{client}: {check:#}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_authority_is_named() {
    let stage = Stage::new().await;
    offer(&stage, &["curl"]);
    let proxy = stage.world.start();
    let call = shell_of(&proxy);
    let report = ask(&stage, &call);
    let (status, check) = &outcomes(&report, "client.trust")["curl"];
    assert_eq!(status, "error", "{check:#}");
    assert!(check["next"].as_str().unwrap().contains("claviger trust install"), "{check:#}");
    assert_eq!(stage.doctor(&call, &["--only", "clients"]).status.code(), Some(1));
    // The variable that names the authority is what was missing.
    let call = call.env("CURL_CA_BUNDLE", stage.file("state/ca.pem").display().to_string());
    let (status, check) = &outcomes(&ask(&stage, &call), "client.trust")["curl"];
    assert_eq!(status, "ok", "{check:#}");
    assert!(proxy.stop().success());
}

#[tokio::test]
async fn a_client_that_goes_around_is_named() {
    let stage = Stage::new().await;
    // It ignores the proxy of whoever calls it, under `exec` too.
    script(&stage.file("bin"), "curl", "echo 'curl: (6) Could not resolve host: curl.doctor.invalid' >&2\nexit 6");
    // A shim whose program is not installed is no client.
    script(&stage.file("bin"), "wget", "exit 127");
    let proxy = stage.world.start();
    let report = ask(&stage, &shell_of(&proxy));
    let under_exec = outcomes(&report, "client.exec");
    let (status, check) = &under_exec["curl"];
    assert_eq!(status, "error");
    assert_eq!(check["what"], "curl does not take the proxy under `claviger exec`");
    assert!(check["cause"].as_str().unwrap().contains("Could not resolve host"), "{check:#}");
    let (status, _) = &outcomes(&report, "client.proxy")["curl"];
    assert_eq!(status, "warning");
    assert!(!under_exec.contains_key("wget"), "{report:#}");
    assert!(proxy.stop().success());
}

#[tokio::test]
async fn a_client_that_never_ends_is_ended() {
    let stage = Stage::new().await;
    script(&stage.file("bin"), "curl", "/bin/sleep 3600 &\nwait");
    let report = stage.json(&Call::default(), &["--only", "clients", "--timeout", "1"]);
    let (status, check) = &outcomes(&report, "client.exec")["curl"];
    assert_eq!((status.as_str(), check["what"].as_str()), ("warning", Some("curl did not end in time")));
}
