//! An OAuth 2.0 authorization server: npm's oidc-provider.

use std::{fs, process::Command};

use serde_json::{Value, json};

use super::{
    Installed, TestCa,
    server::{Endpoint, Server},
};

/// How a client shows its secret at the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretIn {
    /// In `Authorization: Basic`.
    Basic,
    /// In the form.
    Post,
}

/// Issues JWT access tokens (ES256) for one audience; scopes `read` and `write`.
#[derive(Debug)]
pub struct OidcProvider {
    endpoint: Endpoint,
    audience: String,
    server: Server,
}

impl OidcProvider {
    /// Starts it as `name`, issuing tokens for `audience` that live this many seconds, to these clients (id and secret).
    /// Every client may show its secret in either way; one that is shown in both ways is refused.
    pub async fn start(ca: &TestCa, name: &str, audience: &str, ttl_seconds: u32, clients: &[(&str, &str)]) -> Self {
        let clients: Vec<_> = clients.iter().map(|(id, secret)| json!({ "id": id, "secret": secret })).collect();
        Self::start_for(ca, name, audience, ttl_seconds, &clients).await
    }

    /// As [`start`](Self::start), for clients of any kind: `id`, `secret` where they have one, and their `metadata` by the
    /// names that RFC 7591 registers. Certificates of clients are trusted if `ca` signed them. A token for a resource that
    /// ends with `/opaque` is none that others could verify, and can be revoked.
    pub async fn start_for(ca: &TestCa, name: &str, audience: &str, ttl_seconds: u32, clients: &[Value]) -> Self {
        Self::start_at(ca, Endpoint::reserve(name), audience, ttl_seconds, clients, &json!({})).await
    }

    /// As [`start_for`](Self::start_for), at an endpoint that is known before; it exchanges tokens of `trusted` issuers (RFC
    /// 8693), which it has the key sets of by their names, if they are for it.
    pub async fn start_at(
        ca: &TestCa,
        endpoint: Endpoint,
        audience: &str,
        ttl_seconds: u32,
        clients: &[Value],
        trusted: &Value,
    ) -> Self {
        let name = endpoint.name.as_str();
        let files = ca.issue(&[name, "localhost", "127.0.0.1"]);
        let settings = json!({
            "modules": Installed::node_modules_parent(),
            "port": endpoint.addr.port(),
            "issuer": endpoint.url(""),
            "cert": files.cert,
            "key": files.key,
            "ca": ca.path(),
            "audience": audience,
            "ttl": ttl_seconds,
            "clients": clients,
            "trusted": trusted,
        });
        let server = Server::spawn("oidc-provider", |dir| {
            fs::write(dir.join("settings.json"), settings.to_string()).unwrap();
            let mut command = Command::new(Installed::node());
            command.arg(Installed::sources().join("oidc-provider.mjs")).arg(dir.join("settings.json"));
            command
        });
        let discovery = "/.well-known/openid-configuration";
        let server = server.ready(async || endpoint.answers(ca.http(), discovery, 200).await).await;
        Self { endpoint, audience: audience.to_owned(), server }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The issuer in its tokens; discovery lies below it.
    pub fn issuer(&self) -> String {
        self.endpoint.url("")
    }

    /// The token endpoint.
    pub fn token_url(&self) -> String {
        self.endpoint.url("/token")
    }

    /// The keys that verify its tokens.
    pub fn jwks_url(&self) -> String {
        self.endpoint.url("/jwks")
    }

    /// The audience of its tokens.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// How many tokens it has issued to this client when it showed its secret in this way.
    pub fn granted(&self, client: &str, secret_in: SecretIn) -> usize {
        let way = match secret_in {
            SecretIn::Basic => "basic",
            SecretIn::Post => "post",
        };
        let wanted = format!("granted {client} {way}");
        self.server.log().lines().filter(|line| *line == wanted).count()
    }

    /// How many tokens it has issued to this client, which proves itself in this way (as RFC 7591 calls it).
    pub fn granted_by(&self, client: &str, auth: &str) -> usize {
        let wanted = format!("granted {client} {auth}");
        self.server.log().lines().filter(|line| *line == wanted).count()
    }

    /// What it says of a token (RFC 7662) to a client that shows its secret.
    pub async fn introspect(&self, ca: &TestCa, token: &str, (id, secret): (&str, &str)) -> Value {
        let fields = [("token", token), ("client_id", id), ("client_secret", secret)];
        let url = format!("https://{}/token/introspection", self.endpoint.addr);
        let answer = ca.http().build().unwrap().post(url).form(&fields).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", self.log());
        answer.json().await.unwrap()
    }

    /// What the server wrote.
    pub fn log(&self) -> String {
        self.server.log()
    }
}
