//! `claviger doctor -- CMD`: a command under `exec`, and what became of its requests.

use std::process::Command;

use serde_json::Value;

use crate::stage::{Call, Stage, text};

/// Who a command is, and what it may.
const MORE: &str = r#"
[workload.me]
spiffe = "spiffe://acme.test/me"
exec = true

[allow.me-api]
who = "me"
to = "api"
ops = ["GET /v1/**"]
"#;

async fn stage() -> Stage {
    let stage = Stage::new().await;
    stage.world.configure(&stage.usual(MORE));
    stage
}

/// A call in which the programs of this machine are found.
fn call() -> Call {
    Call::default().env("PATH", std::env::var("PATH").unwrap())
}

/// The checks of a command that a shell reads: id and status of each, and all of it.
fn after(stage: &Stage, script: &str) -> (Vec<(String, String)>, Value) {
    let report = stage.json(&call(), &["--", "sh", "-c", script]);
    let word = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
    let checks = report["checks"].as_array().unwrap().iter();
    (checks.map(|check| (word(check, "id"), word(check, "status"))).collect(), report)
}

fn has(checks: &[(String, String)], id: &str, status: &str) -> bool {
    checks.iter().any(|(is, was)| is == id && was == status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_and_what_is_refused_is_told() {
    let stage = stage().await;
    let (checks, report) = after(&stage, "curl -q -sS https://api.test/v1/hello");
    assert_eq!(checks.len(), 2, "{report:#}");
    assert!(has(&checks, "command.ended", "ok") && has(&checks, "command.allowed", "ok"), "{report:#}");
    assert!(report.to_string().contains("1 request passed"), "{report:#}");

    let output =
        stage.doctor(&call(), &["--ascii", "--", "curl", "-q", "-sS", "-X", "DELETE", "https://api.test/v1/x"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}{}", text(&output.stderr));
    assert!(said.contains("  x  refused: DELETE api.test:443/v1/x (no_rule)"), "{said}");
    assert!(said.contains("`claviger suggest "), "{said}");

    // What earlier commands did is not this one's.
    let (checks, report) = after(&stage, "true");
    assert_eq!(checks.len(), 2, "{report:#}");
    assert!(report.to_string().contains("it has sent no request"), "{report:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_trust_the_session_is_told() {
    let stage = stage().await;
    let other = stage.file("ca.pem").display().to_string();
    let (checks, report) = after(&stage, &format!("curl -q -sS --cacert {other} https://api.test/v1/hello"));
    assert!(has(&checks, "command.tls", "error"), "{report:#}");
    assert!(has(&checks, "command.ended", "warning"), "{report:#}");
    assert!(report.to_string().contains("certificate for api.test:443"), "{report:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_around_is_told() {
    // Only with a network of its own a command can be seen going around.
    let has_namespaces =
        Command::new("unshare").args(["-Urn", "true"]).output().is_ok_and(|done| done.status.success());
    if !has_namespaces {
        eprintln!("skipped: this machine lets no process have a network of its own");
        return;
    }
    let stage = stage().await;
    let (checks, report) = after(&stage, "curl -q -sS --noproxy '*' --max-time 20 https://api.test/v1/hello");
    assert!(has(&checks, "command.bypassed", "error"), "{report:#}");
    assert!(report.to_string().contains("went around the proxy: api.test:443"), "{report:#}");
    // The record is there for whoever looks later.
    let report = stage.json(&Call::default(), &["--only", "network"]);
    assert!(report.to_string().contains("\"network.bypassed\""), "{report:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_does_not_run_is_told() {
    let stage = stage().await;
    for (command, status) in [("exit 7", "warning"), ("exit 0", "ok"), ("kill -9 $$", "warning")] {
        let (checks, report) = after(&stage, command);
        assert!(has(&checks, "command.ended", status), "{command}: {report:#}");
    }
    let output = stage.doctor(&call(), &["--", "there-is-no-such-program"]);
    assert!(text(&output.stdout).contains("ended with exit code 127"), "{}", text(&output.stdout));
    // Nobody whom it could be.
    stage.world.configure(&stage.usual(""));
    let output = stage.doctor(&call(), &["--", "true"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("the command was not started"), "{}", text(&output.stdout));
    // Checks and a command do not go together.
    assert_eq!(stage.doctor(&call(), &["--only", "clock", "--", "true"]).status.code(), Some(2));
}
