//! An installation with two teams, `payments` and `ads`, that lie side by side.

use std::process::Output;

use claviger_tests::{Origin, Proxy, World};
use serde_json::Value;

/// The platform's file.
pub(crate) const PLATFORM: &str = r#"version = 1
trust_domain = "acme.test"
state_dir = "state"

[admin]
bind = "127.0.0.1:0"

[listener.gateway]
mode = "gateway"
bind = "127.0.0.1:0"
authenticate = ["ci"]

[attestor.ci]
kind = "jwt"
issuer = "https://ci.test"
audience = "claviger"
jwks = "jwks.json"
identity = "spiffe://acme.test/{team}/{sub}"
attributes = { "ci.ref" = "ref" }

[workload.docs]
spiffe = "spiffe://acme.test/docs/*"

[service.api]
hosts = ["api.test"]
connect = "127.0.0.1:PORT"
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
inject = ["bearer"]
operations = { read = ["GET /v1/**"] }

[service.billing]
hosts = ["billing.test"]
connect = "127.0.0.1:PORT"
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
inject = ["bearer"]
operations = { pay = ["POST /v1/pay"] }

[credential.api]
kind = "static"
value = "secret://sealed/api"

[credential.billing]
kind = "static"
value = "secret://sealed/billing"

[credential.shared]
kind = "static"
value = "secret://sealed/api"

[allow.docs]
who = "docs"
to = "api"
ops = ["@read"]
use = "api"

[deny.locked]
who = "*"
to = "*"
ops = ["* /v1/locked/**"]

[team.payments]
files = "teams/payments/*.toml"
owner = "payments@acme.test"
identities = ["spiffe://acme.test/payments/**"]
services = ["api"]
secrets = ["secret://sealed/payments/**", "secret://env/PAYMENTS_*", "secret://env/COMMON#payments", "secret://file/keys/**"]
credentials = ["shared"]
priority_max = 10
token_hosts = ["login.test"]

[team.ads]
files = "teams/ads/*.toml"
identities = ["spiffe://acme.test/ads/**"]
services = ["api", "billing"]
secrets = ["secret://sealed/ads/**"]
"#;

/// What team `ads` says, which nobody may touch.
pub(crate) const ADS: &str = r#"[workload.app]
spiffe = "spiffe://acme.test/ads/app"
[credential.key]
kind = "static"
value = "secret://sealed/ads/key"
hosts = ["api.test"]
[allow.read]
who = "app"
to = "api"
ops = ["GET /v1/**"]
use = "key"
"#;

/// What team `payments` says when it is right.
pub(crate) const PAYMENTS: &str = r#"[workload.app]
spiffe = "spiffe://acme.test/payments/app"
[credential.key]
kind = "static"
value = "secret://sealed/payments/key"
hosts = ["api.test"]
[allow.read]
who = "app"
to = "api"
ops = ["GET /v1/**"]
use = "key"
"#;

pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) origin: Origin,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let world = World::new();
        let origin = Origin::keyed(&world.ca, &world.canary).await;
        for name in ["api", "payments/key", "ads/key"] {
            world.seal(name, &world.canary, &["api.test"]);
        }
        world.seal("billing", &world.canary, &["billing.test"]);
        world.write("teams/ads/app.toml", ADS);
        world.write("teams/payments/app.toml", PAYMENTS);
        let stage = Self { world, origin };
        stage.world.configure(&stage.platform());
        stage
    }

    pub(crate) fn platform(&self) -> String {
        PLATFORM.replace("PORT", &self.origin.port().to_string())
    }

    /// Runs the binary with the variables that teams may read, and others.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let canary = &self.world.canary;
        let mut command = self.world.command(args);
        command.envs([("PAYMENTS_KEY", canary), ("ADS_KEY", canary), ("COMMON", canary)]);
        command.env("PAYMENTS_SHORT", "short");
        command.output().unwrap()
    }

    /// What `claviger check` finds, and its code.
    pub(crate) fn check(&self, more: &[&str]) -> (i32, Vec<Value>) {
        let output = self.run(&[&["check", "--config", "claviger.toml", "-o", "json"], more].concat());
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!err.contains("panicked") && !out.contains(&self.world.canary), "{err}");
        let mut found: Vec<Value> = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
        found.retain(|one| one["severity"] != "note");
        (output.status.code().unwrap(), found)
    }

    /// `allowed` or `denied`, and what explains it.
    pub(crate) fn explain(&self, who: &str, request: &str) -> String {
        let (method, url) = request.split_once(' ').unwrap();
        let id = format!("spiffe://acme.test/{who}");
        let output = self.run(&["explain", "--config", "claviger.toml", "--as", &id, method, url]);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        format!("{out}{err}")
    }

    pub(crate) fn start(&self) -> Proxy {
        self.world.start()
    }

    /// The status of a request of `who` (`TEAM/NAME`) through the proxy.
    pub(crate) async fn ask(&self, proxy: &Proxy, who: &str, method: &str, path: &str) -> u16 {
        let (team, name) = who.split_once('/').unwrap();
        let token = self.world.issuer.token_with(name, serde_json::json!({ "team": team }));
        let client = reqwest::Client::builder().no_proxy().timeout(claviger_tests::PATIENCE).build().unwrap();
        let request = client.request(method.parse().unwrap(), proxy.gateway(path)).bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    }
}
