//! What the tests have in common: a proxy with every kind of listener, and clients that reach a service through it.

use std::{path::PathBuf, sync::Mutex};

use claviger_tests::{
    Proxy, World, canary,
    peers::{Client, Endpoint, Ran},
};
use serde_json::Value;

/// How a client comes to Claviger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Its base URL is the gateway's, over clear text on loopback.
    Gateway,
    /// The same over TLS, where h2 can be negotiated.
    SecureGateway,
    /// `HTTPS_PROXY`, and it trusts the interception root.
    Forward,
}

pub(crate) const MODES: [Mode; 3] = [Mode::Gateway, Mode::SecureGateway, Mode::Forward];

/// What a client shows where it thinks that its API key goes, when its proof of identity is elsewhere or missing.
pub(crate) const NO_KEY: &str = "not-a-key";

/// A running proxy and the tokens that were issued for its clients.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) proxy: Proxy,
    root: PathBuf,
    tokens: Mutex<Vec<String>>,
}

impl Stage {
    /// Starts it with these services, credentials and rules. There are the workloads `app`, `reader` and `other`, and
    /// `me`: who runs this test, by the kernel's word.
    pub(crate) fn start(world: World, services: &str) -> Self {
        let tls = world.ca.issue(&["localhost", "127.0.0.1"]);
        world.configure(&format!(
            r#"version = 1
trust_domain = "acme.test"
state_dir = "state"

[listener.gateway]
mode = "gateway"
bind = "127.0.0.1:0"
authenticate = ["ci"]

[listener.secure]
mode = "gateway"
bind = "127.0.0.1:0"
authenticate = ["ci"]
tls = {{ certificate = "{cert}", key = "{key}" }}

[listener.forward]
mode = "forward"
bind = "127.0.0.1:0"
authenticate = ["ci"]

[listener.local]
mode = "gateway"
bind = "unix:claviger.sock"
authenticate = ["kernel"]

[attestor.ci]
kind = "jwt"
issuer = "https://ci.test"
audience = "claviger"
jwks = "jwks.json"
identity = "spiffe://acme.test/ci/{{sub}}"

[attestor.kernel]
kind = "unix-peer"
identity = "spiffe://acme.test/unix/{{uid}}"

[workload]
app = {{ spiffe = "spiffe://acme.test/ci/app" }}
reader = {{ spiffe = "spiffe://acme.test/ci/reader" }}
me = {{ spiffe = "spiffe://acme.test/unix/{uid}" }}
{services}"#,
            cert = tls.cert.display(),
            key = tls.key.display(),
            uid = rustix::process::getuid().as_raw(),
        ));
        let proxy = world.start();
        let root = world.run(&["ca", "--config", "claviger.toml"]);
        assert!(root.status.success(), "{}", String::from_utf8_lossy(&root.stderr));
        world.write("root.pem", root.stdout);
        let root = world.path().join("root.pem");
        Self { world, proxy, root, tokens: Mutex::default() }
    }

    /// A token of this workload.
    pub(crate) fn token(&self, workload: &str) -> String {
        let token = self.world.token(workload);
        self.tokens.lock().unwrap().push(token.clone());
        token
    }

    /// The base URL by which a client in this mode knows a service.
    pub(crate) fn base(&self, mode: Mode, service: &str, host: &str) -> String {
        match mode {
            Mode::Gateway => format!("http://{}/{service}", self.proxy.address("gateway")),
            Mode::SecureGateway => format!("https://{}/{service}", self.proxy.address("secure")),
            Mode::Forward => format!("https://{host}"),
        }
    }

    /// Prepares a client for this mode, with a proof of identity where its proxy URL has room for one. Returns with it
    /// what stands in the API key's place.
    pub(crate) fn reach(&self, mode: Mode, client: Client, token: Option<&str>) -> (Client, String) {
        match (mode, token) {
            (Mode::Gateway, _) => (client, token.unwrap_or(NO_KEY).to_owned()),
            (Mode::SecureGateway, _) => {
                let client = client.trust(&self.world.ca.path());
                (client, token.unwrap_or(NO_KEY).to_owned())
            }
            (Mode::Forward, token) => {
                let user = token.map_or_else(String::new, |token| format!("jwt:{token}@"));
                let client = client.trust(&self.root).proxy(&format!("http://{user}{}", self.proxy.address("forward")));
                (client, NO_KEY.to_owned())
            }
        }
    }

    /// Runs a client to its end; the server's key is in nothing that it was given and in nothing that it wrote.
    pub(crate) async fn run(&self, client: Client) -> Ran {
        client.run_without(&[&self.world.canary]).await
    }

    /// The reasons of all refusals so far, once there are this many.
    pub(crate) fn refusals(&self, count: usize) -> Vec<String> {
        let mut at_least = count;
        loop {
            let decided = self.proxy.records("decided", at_least);
            let denied = decided.iter().filter(|record| record["decision"] == "deny");
            let codes: Vec<String> = denied.map(|record| record["code"].as_str().unwrap().to_owned()).collect();
            if codes.len() >= count {
                return codes;
            }
            at_least = decided.len() + 1;
        }
    }

    /// Ends the proxy. Nothing that it wrote holds the server's key, a token of a client, or these.
    pub(crate) fn end(self, secrets: &[&str]) {
        let Self { world, proxy, tokens, .. } = self;
        let printed = proxy.output();
        assert!(proxy.stop().success());
        for secret in tokens.into_inner().unwrap().iter().map(String::as_str).chain(secrets.iter().copied()) {
            canary::assert_absent(secret, "what the proxy printed", printed.as_bytes());
            canary::assert_absent_below(secret, world.path());
        }
    }
}

/// The keys of a service that is really at this endpoint.
pub(crate) fn at(endpoint: &Endpoint) -> String {
    format!(
        "hosts = [\"{}\"]\nconnect = \"{}\"\nca = \"ca.pem\"\nallow_addresses = [\"127.0.0.1\"]",
        endpoint.name, endpoint.addr
    )
}

/// curl, silent but for errors, that prints the status and the HTTP version after the body.
pub(crate) fn curl() -> Client {
    Client::new("curl").args(["-sS", "-w", "\n%{http_code} %{http_version}"])
}

/// Body, and status with HTTP version, of such a run.
#[track_caller]
pub(crate) fn answer(ran: &Ran) -> (&str, &str) {
    ran.stdout.rsplit_once('\n').unwrap_or_else(|| panic!("no status line: {} {}", ran.stdout, ran.stderr))
}

/// The code of a refusal's body.
#[track_caller]
pub(crate) fn code(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    body["error"]["code"].as_str().unwrap_or_else(|| panic!("no code: {body}")).to_owned()
}
