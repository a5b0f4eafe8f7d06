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

/// Whose tokens an API takes.
#[derive(Debug)]
pub struct TrustedIssuer {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// The URL of its key set.
    pub keys: String,
    /// The name in its certificate.
    pub name: String,
    /// Where it listens on loopback.
    pub port: u16,
    /// For how long its keys are kept.
    pub cache: &'static str,
}

impl JwtApi {
    /// Starts it as `name`; it fetches the keys from `oidc` before it listens.
    pub async fn start(ca: &TestCa, name: &str, oidc: &OidcProvider) -> Self {
        let trusted = TrustedIssuer {
            issuer: oidc.issuer(),
            audience: oidc.audience().to_owned(),
            keys: format!("{}/jwks", oidc.issuer()),
            name: oidc.endpoint().name.clone(),
            port: oidc.endpoint().addr.port(),
            cache: "600s",
        };
        Self::trusting(ca, name, &trusted).await
    }

    /// Starts it as `name`, for tokens of any issuer whose keys can be fetched.
    pub async fn trusting(ca: &TestCa, name: &str, trusted: &TrustedIssuer) -> Self {
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
                    ("ISSUER", &trusted.issuer),
                    ("AUDIENCE", &trusted.audience),
                    ("JWKS", &trusted.keys),
                    ("CACHE", trusted.cache),
                    ("OIDC_NAME", &trusted.name),
                    ("OIDC_PORT", &trusted.port.to_string()),
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
