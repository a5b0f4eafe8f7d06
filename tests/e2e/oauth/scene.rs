//! A gateway with one service `api`, and one rule and credential for each path of it.

use claviger_tests::{Origin, Proxy, World};
use serde_json::Value;

/// The configuration: `api` at this port, tokens of workloads from this issuer, and what follows.
pub(crate) fn configure(world: &World, issuer: &str, port: u16, more: &str) {
    world.configure(&format!(
        r#"version = 1
trust_domain = "acme.test"
state_dir = "state"

[listener.gateway]
mode = "gateway"
bind = "127.0.0.1:0"
authenticate = ["ci"]

[attestor.ci]
kind = "jwt"
issuer = "{issuer}"
audience = "claviger"
jwks = "jwks.json"
identity = "spiffe://acme.test/ci/{{sub}}"

[workload]
app = {{ spiffe = "spiffe://acme.test/ci/app" }}
job = {{ spiffe = "spiffe://acme.test/ci/job" }}

[service.api]
hosts = ["api.test"]
connect = "127.0.0.1:{port}"
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
inject = ["bearer"]
{more}"#
    ));
}

/// A credential, and the rule that uses it for its own path.
pub(crate) fn credential(name: &str, keys: &str) -> String {
    credential_of("oauth2", name, keys)
}

/// As [`credential`], of another kind.
pub(crate) fn credential_of(kind: &str, name: &str, keys: &str) -> String {
    format!(
        r#"
[credential.{name}]
kind = "{kind}"
hosts = ["api.test"]
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
{keys}
[allow.{name}]
who = ["app", "job"]
to = "api"
ops = ["GET /v1/{name}"]
use = "{name}"
"#
    )
}

/// A request of a workload for the path of a credential: the status and the answer.
pub(crate) async fn get(proxy: &Proxy, proof: &str, name: &str) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().timeout(claviger_tests::PATIENCE).build().unwrap();
    let url = proxy.gateway(&format!("/api/v1/{name}"));
    let answer = client.get(url).bearer_auth(proof).send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Why the last mint of a credential failed, as its record has it.
pub(crate) fn failure(proxy: &Proxy, credential: &str) -> String {
    let deadline = std::time::Instant::now() + claviger_tests::PATIENCE;
    let mut count = 1;
    loop {
        let records = proxy.records("credential", count);
        let failed =
            records.iter().rev().find(|one| one["credential"]["name"] == credential && one["kind"] == "failed");
        if let Some(failed) = failed {
            return failed["detail"].as_str().unwrap().to_owned();
        }
        assert!(std::time::Instant::now() < deadline, "{records:#?}");
        count = records.len() + 1;
    }
}

/// The tokens that arrived at an API for the path of a credential, each once, in order.
pub(crate) fn arrived(api: &Origin, name: &str) -> Vec<String> {
    let path = format!("/v1/{name}");
    let seen = api.seen();
    let own = seen.iter().filter(|one| one.uri.path() == path);
    let mut tokens: Vec<_> = own.map(|one| one.header("authorization").unwrap().replace("Bearer ", "")).collect();
    tokens.dedup();
    tokens
}
