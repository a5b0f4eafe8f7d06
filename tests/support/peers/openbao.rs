//! OpenBao, which speaks Vault's API: over TLS, with storage that survives a restart.

use std::{fs, process::Command};

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    Installed, TestCa,
    server::{Endpoint, Server, free_port, text},
};

/// A running server, unsealed. Its root token is for the test, never for Claviger.
#[derive(Debug)]
pub struct OpenBao {
    endpoint: Endpoint,
    /// Its configuration and storage, which a restart finds again.
    dir: TempDir,
    server: Option<Server>,
    http: reqwest::Client,
    root: String,
    key: String,
}

impl OpenBao {
    /// Starts it with a certificate of `ca`, for loopback; initialised, unsealed, with nothing in it.
    pub async fn start(ca: &TestCa) -> Self {
        let endpoint = Endpoint::reserve("openbao.test");
        let files = ca.issue(&[&endpoint.name, "localhost", "127.0.0.1"]);
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        let (address, cluster) = (endpoint.addr, free_port());
        let configuration = json!({
            "storage": { "raft": { "path": dir.path().join("data"), "node_id": "one", "performance_multiplier": 1 } },
            "listener": [{ "tcp": {
                "address": address, "cluster_address": cluster, "tls_cert_file": files.cert, "tls_key_file": files.key,
            } }],
            "api_addr": format!("https://{address}"),
            "cluster_addr": format!("https://{cluster}"),
        });
        fs::write(dir.path().join("openbao.json"), configuration.to_string()).unwrap();
        let http = ca.http().build().unwrap();
        let mut bao = Self { endpoint, dir, server: None, http, root: String::new(), key: String::new() };
        bao.run(501).await;
        let made = bao.expect(Method::PUT, "sys/init", &json!({ "secret_shares": 1, "secret_threshold": 1 })).await;
        made["root_token"].as_str().unwrap().clone_into(&mut bao.root);
        made["keys"][0].as_str().unwrap().clone_into(&mut bao.key);
        bao.unseal().await;
        bao
    }

    /// What a configuration of Claviger has as `address`.
    pub fn address(&self) -> String {
        self.endpoint.url_by_address("")
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.endpoint.addr.port()
    }

    /// `POST` as root; the answer's body. Anything but success ends the test.
    pub async fn write(&self, path: &str, body: &Value) -> Value {
        self.expect(Method::POST, path, body).await
    }

    /// As [`write`](Self::write), in a namespace.
    pub async fn write_in(&self, namespace: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask_with(&[("x-vault-namespace", namespace)], Method::POST, path, body).await;
        assert!(status < 300, "{namespace} {path}: {status} {answer}");
        answer
    }

    /// As [`read`](Self::read), in a namespace.
    pub async fn read_in(&self, namespace: &str, path: &str) -> Value {
        let (status, answer) =
            self.ask_with(&[("x-vault-namespace", namespace)], Method::GET, path, &Value::Null).await;
        assert!(status < 300, "{namespace} {path}: {status} {answer}");
        answer
    }

    /// As [`write`](Self::write), but what is answered is a token that yields the answer, once.
    pub async fn write_wrapped(&self, path: &str, body: &Value) -> String {
        let (status, answer) = self.ask_with(&[("x-vault-wrap-ttl", "10m")], Method::POST, path, body).await;
        assert!(status < 300, "{path}: {status} {answer}");
        answer["wrap_info"]["token"].as_str().unwrap().to_owned()
    }

    /// `GET` as root; the answer's body.
    pub async fn read(&self, path: &str) -> Value {
        self.expect(Method::GET, path, &Value::Null).await
    }

    /// `DELETE` as root.
    pub async fn delete(&self, path: &str) {
        self.expect(Method::DELETE, path, &Value::Null).await;
    }

    /// Any request as root: the status and the body, which is null if it is no JSON.
    pub async fn ask(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        self.ask_with(&[], method, path, body).await
    }

    /// Takes its storage away from everybody, as an operator does in an incident.
    pub async fn seal(&self) {
        self.write("sys/seal", &Value::Null).await;
        self.until(503).await;
    }

    /// Opens its storage again.
    pub async fn unseal(&self) {
        self.expect(Method::PUT, "sys/unseal", &json!({ "key": self.key })).await;
        self.until(200).await;
    }

    /// Kills the process, without a word.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Starts it again after [`kill`](Self::kill), and unseals it.
    pub async fn restart(&mut self) {
        self.run(503).await;
        self.unseal().await;
    }

    /// What the process wrote.
    pub fn log(&self) -> String {
        self.server.as_ref().map(Server::log).unwrap_or_default()
    }

    async fn run(&mut self, health: u16) {
        let configuration = self.dir.path().join("openbao.json");
        let server = Server::spawn("openbao", |_| {
            let mut command = Command::new(Installed::openbao());
            command.args(["server", "-config", text(&configuration)]);
            command
        });
        self.server = Some(server.ready(async || self.health().await == Some(health)).await);
    }

    async fn until(&self, health: u16) {
        let deadline = tokio::time::Instant::now() + crate::PATIENCE;
        while self.health().await != Some(health) {
            assert!(tokio::time::Instant::now() < deadline, "it does not become {health}:\n{}", self.log());
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    async fn health(&self) -> Option<u16> {
        let answer = self.http.get(self.endpoint.url_by_address("/v1/sys/health")).send().await;
        answer.ok().map(|answer| answer.status().as_u16())
    }

    async fn expect(&self, method: Method, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(method, path, body).await;
        assert!(status < 300, "{path}: {status} {answer}");
        answer
    }

    /// Asks again while an engine that was just mounted is not ready: KV of version 2 says so by a 400.
    async fn ask_with(&self, headers: &[(&str, &str)], method: Method, path: &str, body: &Value) -> (u16, Value) {
        let deadline = tokio::time::Instant::now() + crate::PATIENCE;
        loop {
            let (status, answer) = self.ask_once(headers, method.clone(), path, body).await;
            let is_upgrading = |error: &Value| error.as_str().is_some_and(|error| error.starts_with("Upgrading from"));
            let waits =
                status == 400 && answer["errors"].as_array().is_some_and(|errors| errors.iter().any(is_upgrading));
            if !waits || tokio::time::Instant::now() > deadline {
                return (status, answer);
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    async fn ask_once(&self, headers: &[(&str, &str)], method: Method, path: &str, body: &Value) -> (u16, Value) {
        let mut request = self.http.request(method, self.endpoint.url_by_address(&format!("/v1/{path}")));
        if !self.root.is_empty() {
            request = request.header("x-vault-token", &self.root);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}
