//! A gateway with an issuer, and what is asked of both.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_tests::{CI, Proxy, World};
use serde_json::Value;

/// A configuration: an issuer with these keys, a service `api` at this port with tokens of kind `jwt`, and what follows.
pub(crate) fn configure(world: &World, issuer: &str, port: u16, more: &str) {
    let files = world.ca.issue(&["tokens.test"]);
    world.write("tokens.pem", std::fs::read(&files.cert).unwrap());
    world.write("tokens.key", std::fs::read(&files.key).unwrap());
    world.configure(&format!(
        r#"version = 1
trust_domain = "acme.test"
state_dir = "state"

[issuer]
url = "https://tokens.test"
bind = "127.0.0.1:0"
tls = {{ certificate = "tokens.pem", key = "tokens.key" }}
{issuer}
[listener.gateway]
mode = "gateway"
bind = "127.0.0.1:0"
authenticate = ["ci"]

{CI}attributes = {{ "ci.team" = "team" }}

[workload.app]
spiffe = "spiffe://acme.test/ci/**"

[service.api]
hosts = ["api.test"]
connect = "127.0.0.1:{port}"
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
inject = ["bearer"]

[credential.api]
kind = "jwt"
audience = "warehouse"
lifetime = "10m"
claims = {{ client_id = "{{spiffe.path}}", team = "{{ci.team}}" }}
hosts = ["api.test"]

[allow.api]
who = "app"
to = "api"
ops = ["GET /v1/**"]
use = "api"
{more}"#
    ));
}

/// Where the issuer's documents are really served.
pub(crate) fn port(proxy: &Proxy) -> u16 {
    proxy.address("issuer").rsplit(':').next().unwrap().parse().unwrap()
}

/// A client that finds `tokens.test` there.
pub(crate) fn client(world: &World, port: u16) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(world.ca.pem().as_bytes()).unwrap();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(claviger_tests::PATIENCE)
        .tls_certs_only([root])
        .resolve("tokens.test", std::net::SocketAddr::from(([127, 0, 0, 1], port)))
        .build()
        .unwrap()
}

/// A request through the gateway with a proof: the status and the answer.
pub(crate) async fn get(proxy: &Proxy, proof: &str, path: &str) -> (u16, Value) {
    let client =
        reqwest::Client::builder().no_proxy().user_agent("test").timeout(claviger_tests::PATIENCE).build().unwrap();
    let answer = client.get(proxy.gateway(path)).bearer_auth(proof).send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// One part of a token: 0 its header, 1 its claims.
pub(crate) fn part(token: &str, at: usize) -> Value {
    let token = token.trim_start_matches("Bearer ");
    let decoded = URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap();
    serde_json::from_slice(&decoded).unwrap()
}

/// The records of the process itself, by kind.
pub(crate) fn told(proxy: &Proxy, kind: &str) -> Vec<String> {
    let of =
        |record: &Value| (record["kind"] == kind).then(|| record["detail"].as_str().unwrap_or_default().to_owned());
    proxy.records("system", 1).iter().filter_map(of).collect()
}

/// Waits for a record of the process itself.
pub(crate) async fn wait_for(proxy: &Proxy, kind: &str, count: usize) {
    claviger_tests::until(&format!("{count} records `{kind}`"), async || told(proxy, kind).len() >= count).await;
}
