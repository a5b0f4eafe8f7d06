//! An API behind Envoy's JWT check.

use std::{fs, process::Command};

use super::{
    Installed, OidcProvider, Seen, Sees, TestCa, seen,
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
        let server = Server::spawn("envoy", |dir| {
            let config = render(
                "envoy-jwt.yaml",
                &[
                    ("ACCESS_LOG", text(&dir.join("access.log"))),
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
            fs::write(dir.join("envoy.yaml"), config).unwrap();
            let mut command = Command::new(Installed::envoy());
            command.arg("--config-path").arg(dir.join("envoy.yaml"));
            command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]);
            // Its default is ten seconds.
            command.args(["--file-flush-interval-msec", "10"]);
            command
        });
        let server = server.ready(async || endpoint.answers(ca.http(), seen::PROBE, 401).await).await;
        Self { endpoint, server }
    }

    /// What Envoy wrote.
    pub fn log(&self) -> String {
        self.server.log()
    }
}

impl Sees for JwtApi {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn seen(&self) -> Vec<Seen> {
        seen::read(&self.server)
    }
}
