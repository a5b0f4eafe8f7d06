//! An OAuth 2.0 authorization server that exchanges tokens (RFC 8693): PyPI's authgent-server.

use std::{net::SocketAddr, path::Path, process::Command};

use serde_json::{Value, json};

use super::{
    Installed,
    server::{Server, free_port},
};

/// Exchanges the identity tokens of one issuer for access tokens (ES256) of its own. Speaks cleartext, on loopback.
#[derive(Debug)]
pub struct Authgent {
    addr: SocketAddr,
    server: Server,
}

impl Authgent {
    /// Starts it; it takes tokens that this issuer signed for this audience, by the keys at
    /// `ISSUER/.well-known/jwks.json`.
    pub async fn start(issuer: &str, audience: &str) -> Self {
        Self::start_at(free_port(), issuer, audience, &[], None).await
    }

    /// The same at an address that is known before; what `chaining` issuers signed for this server it takes as assertions,
    /// each once (RFC 7523). `roots` are what it trusts for their TLS.
    pub async fn start_at(
        addr: SocketAddr,
        issuer: &str,
        audience: &str,
        chaining: &[&str],
        roots: Option<&Path>,
    ) -> Self {
        let url = format!("http://{addr}");
        let server = Server::spawn("authgent-server", |_| {
            let mut command = Command::new(Installed::authgent());
            command.args(["run", "--host", "127.0.0.1", "--port", &addr.port().to_string()]);
            command.env("AUTHGENT_SERVER_URL", &url).env("AUTHGENT_SECRET_KEY", "0123456789abcdef0123456789abcdef");
            command.env("AUTHGENT_TRUSTED_OIDC_ISSUERS", json!([issuer]).to_string());
            command.env("AUTHGENT_TRUSTED_OIDC_AUDIENCE", audience).env("AUTHGENT_REGISTER_RATE_LIMIT", "1000");
            command.env("AUTHGENT_TRUSTED_CHAINING_ISSUERS", json!(chaining).to_string());
            if let Some(roots) = roots {
                command.env("SSL_CERT_FILE", roots);
            }
            command
        });
        let health = format!("{url}/health");
        let client = client();
        let is_up = async || client.get(&health).send().await.is_ok_and(|answer| answer.status() == 200);
        let server = server.ready(is_up).await;
        Self { addr, server }
    }

    /// Its issuer: where its metadata and endpoints are.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Registers a client (RFC 7591) for these grants and the scopes `read` and `write`: its id and its secret.
    pub async fn register(&self, name: &str, grants: &[&str]) -> (String, String) {
        let body = json!({ "client_name": name, "grant_types": grants, "scope": "read write" });
        let answer = client().post(format!("{}/register", self.url())).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{}\n{}", answer.status(), self.log());
        let registered: Value = answer.json().await.unwrap();
        let text = |name: &str| registered[name].as_str().unwrap().to_owned();
        (text("client_id"), text("client_secret"))
    }

    /// What it says of a token (RFC 7662), to the client that it was issued to.
    pub async fn introspect(&self, token: &str, (id, secret): &(String, String)) -> Value {
        let fields = [("token", token), ("client_id", id.as_str()), ("client_secret", secret.as_str())];
        let answer = client().post(format!("{}/introspect", self.url())).form(&fields).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// What the server wrote.
    pub fn log(&self) -> String {
        self.server.log()
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}
