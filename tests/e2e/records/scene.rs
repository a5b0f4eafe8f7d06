//! A proxy with two workloads, two services and rules that refuse for every reason.

use std::process::Output;

use claviger_tests::{Origin, PATIENCE, Proxy, World, origin};
use serde_json::Value;

/// A client that ignores the environment.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// What stands behind the usual configuration. `frozen` is a path below what `app-api` allows.
pub(crate) const MORE: &str = r#"
[service.crm]
hosts = ["crm.test"]
connect = "127.0.0.1:1"
inject = ["bearer"]
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]

[workload.release]
spiffe = "spiffe://acme.test/ci/release"
match = { "ci.ref" = "refs/heads/main" }

[allow.release-api]
who = "release"
to = "api"
ops = ["POST /v1/releases"]
use = "api"

[allow.past]
who = "app"
to = "api"
ops = ["GET /v3/past"]
until = "2020-01-01T00:00:00Z"
use = "api"

[allow.inside]
who = "app"
to = "api"
ops = ["GET /v3/inside"]
when = ["source.ip in 10.0.0.0/8"]
use = "api"

[deny.frozen]
who = "*"
to = "api"
ops = ["* /v1/frozen/**"]
why = "frozen by legal"
"#;

pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) origin: Origin,
    pub(crate) text: String,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with(|text| text).await
    }

    /// The configuration may be changed before it is written.
    pub(crate) async fn with(change: impl FnOnce(String) -> String) -> Self {
        let world = World::new();
        let origin = Origin::start(&world.ca, &["api.test"], &["http/1.1"], answering()).await;
        world.seal("api", &world.canary, &["api.test"]);
        let text = world.usual(origin.port(), MORE).replace(
            "identity = \"spiffe://acme.test/ci/{sub}\"",
            "identity = \"spiffe://acme.test/ci/{sub}\"\nattributes = { \"ci.ref\" = \"ref\", \"ci.actor\" = \"actor\" }",
        );
        let text = change(text);
        world.configure(&text);
        Self { world, origin, text }
    }

    /// A token with a reference and an actor, of which rules ask for the first.
    pub(crate) fn token(&self, sub: &str, reference: &str) -> String {
        self.world.issuer.token_with(sub, serde_json::json!({ "ref": reference, "actor": "jane.doe" }))
    }

    /// Asks through the gateway; yields the status and the request's id.
    pub(crate) async fn ask(&self, proxy: &Proxy, method: &str, path: &str, token: Option<&str>) -> (u16, String) {
        let mut request = client().request(method.parse().unwrap(), proxy.gateway(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        let id = answer.headers()["claviger-request-id"].to_str().unwrap().to_owned();
        let status = answer.status().as_u16();
        let _ = answer.bytes().await;
        // Its end is on disk when a command looks for it.
        wait_for(|| self.ledger().contains(&format!("\"type\":\"finished\",\"id\":\"{id}\"")));
        (status, id)
    }

    pub(crate) fn ledger(&self) -> String {
        std::fs::read_to_string(self.world.path().join("state/ledger/ledger.jsonl")).unwrap_or_default()
    }

    /// The `decided` record of a request.
    pub(crate) fn decided(&self, id: &str) -> Value {
        let ledger = self.ledger();
        let of_it = |line: &&str| line.contains(&format!("\"type\":\"decided\",\"id\":\"{id}\""));
        serde_json::from_str(ledger.lines().find(of_it).unwrap()).unwrap()
    }

    /// Runs a command with the configuration.
    pub(crate) fn run(&self, args: &[&str]) -> Told {
        Told::of(&self.world.run(&[args, &["--config", "claviger.toml"]].concat()))
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let told = self.run(&[args, &["-o", "json"]].concat());
        serde_json::from_str(&told.out).unwrap_or_else(|error| panic!("{error}: {told:?}"))
    }

    /// The line of `[table]` in the configuration.
    pub(crate) fn line_of(&self, table: &str) -> usize {
        let header = format!("[{table}]");
        self.text.lines().position(|line| line == header).unwrap() + 1
    }
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Told {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

pub(crate) fn wait_for(done: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(std::time::Instant::now() < deadline, "it does not come to be");
        std::thread::yield_now();
    }
}

/// Takes any key, and says something under the name of the proxy's own header.
fn answering() -> origin::Handler {
    origin::handler(|_| async {
        let mut answer = http::Response::new(origin::full("{}"));
        answer.headers_mut().append("claviger-request-id", "of-upstream".parse().unwrap());
        answer.headers_mut().append("claviger-request-id", "again".parse().unwrap());
        answer
    })
}
