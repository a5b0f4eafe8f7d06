//! Dashboard and alerts: by Prometheus' own tool, and by the metrics that a running proxy has.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use claviger_tests::World;
use serde_json::Value;

use crate::tools::{deploy, documents, installed, succeed};

/// Labels that Prometheus adds when it scrapes, or makes itself.
const OF_PROMETHEUS: [&str; 4] = ["instance", "job", "le", "quantile"];

#[test]
fn the_alerts_fire_when_they_should() {
    let promtool = installed("deploy-debian/usr/bin/promtool");
    let rules = Command::new(&promtool).args(["check", "rules"]).arg(deploy("monitoring/rules.yml")).output().unwrap();
    assert!(rules.status.success(), "{}", crate::tools::said(&rules));
    succeed(Command::new(&promtool).args(["test", "rules"]).arg(deploy("monitoring/rules.test.yml")));
}

/// An expression of PromQL: which metrics are in it, and with which labels.
fn used(expression: &str, metrics: &mut BTreeMap<String, BTreeSet<String>>) {
    let words: Vec<&str> = expression
        .split(|one: char| !(one.is_ascii_alphanumeric() || one == '_'))
        .filter(|word| word.starts_with("claviger_"))
        .collect();
    let mut labels = BTreeSet::new();
    for (open, close, separator) in [('{', '}', '='), ('(', ')', ',')] {
        for part in expression.split(open).skip(1).filter_map(|part| part.split_once(close)).map(|(part, _)| part) {
            for one in part.split(',') {
                let name: String =
                    one.trim().chars().take_while(|one| one.is_ascii_alphanumeric() || *one == '_').collect();
                let is_label = separator == ',' || one.contains(separator);
                if is_label && !name.starts_with("claviger_") && !name.is_empty() {
                    labels.insert(name);
                }
            }
        }
    }
    for word in words {
        metrics.entry(word.to_owned()).or_default().extend(labels.iter().cloned());
    }
}

/// Every expression of the dashboard and the alerts.
fn expressions() -> Vec<String> {
    let rules = documents(&std::fs::read_to_string(deploy("monitoring/rules.yml")).unwrap());
    let dashboard: Value =
        serde_json::from_slice(&std::fs::read(deploy("monitoring/dashboard.json")).unwrap()).unwrap();
    let rules = rules[0]["groups"][0]["rules"].as_array().unwrap().iter().map(|rule| &rule["expr"]);
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let targets: Vec<Value> = targets.map(|target| target["expr"].clone()).collect();
    rules.chain(&targets).map(|expression| expression.as_str().unwrap().to_owned()).collect()
}

/// Series of `/metrics`: names with their labels.
fn scraped(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.split("\",").filter_map(|label| label.split_once("=\"")).map(|(label, _)| label.to_owned());
        found.entry(name.to_owned()).or_default().extend(labels);
    }
    found
}

const MORE: &str = r#"
[listener.lax]
mode = "gateway"
bind = "127.0.0.1:0"
authenticate = ["ci"]
enforce = false

[admin]
bind = "127.0.0.1:0"
"#;

/// Traffic of every sort that a metric counts, then each name and label that is asked for is looked up.
#[tokio::test]
async fn every_metric_and_label_is_there() {
    let (world, origin) = World::with_keyed_origin().await;
    world.configure(&world.usual(origin.port(), MORE));
    let proxy = world.start();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let token = world.token("app");
    let get =
        async |url: String, token: &str| client.get(url).bearer_auth(token).send().await.unwrap().status().as_u16();
    assert_eq!(get(proxy.gateway("/api/v1/x"), &token).await, 200);
    assert_eq!(get(proxy.gateway("/api/other"), &token).await, 403);
    assert_ne!(get(format!("http://{}/api/other", proxy.address("lax")), &token).await, 403);
    let suspended = world.run(&["suspend", "principal", "spiffe://acme.test/ci/app", "--config", "claviger.toml"]);
    assert!(suspended.status.success(), "{}", crate::tools::said(&suspended));
    assert_eq!(get(proxy.gateway("/api/v1/x"), &token).await, 403);
    // Inside of the tunnel there is no TLS.
    refuse_the_root(proxy.address("forward"), &world.token("other"));
    proxy.records("connection", 1);
    let text =
        client.get(format!("http://{}/metrics", proxy.address("admin"))).send().await.unwrap().text().await.unwrap();
    let there = scraped(&text);
    let mut wanted = BTreeMap::new();
    for expression in expressions() {
        used(&expression, &mut wanted);
    }
    assert!(wanted.len() > 12, "{wanted:?}");
    for (metric, labels) in wanted {
        let Some(has) = there.get(&metric) else { panic!("`{metric}` is not there:\n{text}") };
        for label in labels.iter().filter(|label| !OF_PROMETHEUS.contains(&label.as_str())) {
            // A label of one metric may group an expression that names another too.
            let known = has.contains(label) || there.values().any(|labels| labels.contains(label));
            assert!(known, "`{metric}` has no label `{label}`: {has:?}");
        }
    }
}

/// A client that does not trust the interception root ends the handshake.
fn refuse_the_root(address: &str, token: &str) {
    let proxy = format!("http://any:{token}@{address}");
    let status = Command::new("curl")
        .args(["--silent", "--output", "/dev/null", "--proxy", &proxy, "https://api.test/v1/x"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(60), "curl trusts it");
}

/// Codes in matchers are codes that clients are told, or that end records.
#[test]
fn every_code_is_a_code() {
    let errors = std::fs::read_to_string(crate::tools::repository().join("docs/errors.md")).unwrap();
    let operations = std::fs::read_to_string(crate::tools::repository().join("docs/operations.md")).unwrap();
    let mut codes = 0;
    for expression in expressions() {
        for part in expression.split("code").skip(1) {
            let Some(values) = part.strip_prefix("=~\"").or(part.strip_prefix("=\"")) else { continue };
            for code in values.split('"').next().unwrap().split('|') {
                let known = match code.strip_suffix(".*") {
                    Some(start) => errors.contains(&format!("\n## {start}")),
                    None => errors.contains(&format!("\n## {code}\n")) || operations.contains(&format!("`{code}`")),
                };
                assert!(known, "{code}: {expression}");
                codes += 1;
            }
        }
    }
    assert!(codes > 10);
}
