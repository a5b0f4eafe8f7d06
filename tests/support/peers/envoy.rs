//! An API behind Envoy's JWT check.

use std::{fs, process::Command};

use super::{
    Installed, OidcProvider, TestCa,
    server::{Endpoint, Server, free_port, render, text},
};

/// An API that wants an access token of one [`OidcProvider`]: it answers any path with a JSON object of `client` (the
/// token's `client_id`), `audience`, `method`, `path` and `protocol`; `/reflect` sends the `Authorization` header back.
#[derive(Debug)]
pub struct JwtApi {
    endpoint: Endpoint,
    server: Server,
}

impl JwtApi {
    /// Starts it as `name`; it fetches the keys from `oidc` before it listens.
    pub async fn start(ca: &TestCa, name: &str, oidc: &OidcProvider) -> Self {
        let endpoint = Endpoint::reserve(name);
        let files = ca.issue(&[name, "localhost", "127.0.0.1"]);
        let admin = free_port();
        let config = render(
            "envoy-jwt.yaml",
            &[
                ("ADMIN_PORT", &admin.port().to_string()),
                ("PORT", &endpoint.addr.port().to_string()),
                ("CERT", text(&files.cert)),
                ("KEY", text(&files.key)),
                ("CA", text(&ca.path())),
                ("ISSUER", &oidc.issuer()),
                ("AUDIENCE", oidc.audience()),
                ("OIDC_NAME", &oidc.endpoint().name),
                ("OIDC_PORT", &oidc.endpoint().addr.port().to_string()),
            ],
        );
        let server = Server::spawn("envoy", |dir| {
            fs::write(dir.join("envoy.yaml"), config).unwrap();
            let mut command = Command::new(Installed::envoy());
            command.arg("--config-path").arg(dir.join("envoy.yaml"));
            command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]);
            command
        });
        let server = server.ready(async || endpoint.answers(ca.http(), "/", 401).await).await;
        Self { endpoint, server }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What Envoy wrote.
    pub fn log(&self) -> String {
        self.server.log()
    }
}
