//! nginx, as TLS in front of a server that speaks cleartext; [`super::GitHttps`] uses it too.

use std::{fs, net::SocketAddr, process::Command};

use serde::Deserialize;

use super::{
    Installed, TestCa,
    server::{Endpoint, Server, render, text},
};

/// TLS, h2 and HTTP/1.1 by ALPN, in front of a cleartext server. It buffers nothing.
#[derive(Debug)]
pub struct TlsFront {
    endpoint: Endpoint,
    server: Server,
}

/// A request as nginx saw it, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Seen {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub uri: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: String,
    /// The `Host` header.
    pub host: String,
    /// The answer's status.
    pub status: u16,
    /// The user of basic auth.
    pub user: String,
    /// The whole `Authorization` header; empty when there was none. Likewise those below.
    pub authorization: String,
    /// `x-api-key`.
    pub x_api_key: String,
    /// `Proxy-Authorization`.
    pub proxy_authorization: String,
    /// `Cookie`.
    pub cookie: String,
}

impl TlsFront {
    /// Starts it as `name` in front of `upstream`.
    pub async fn start(ca: &TestCa, name: &str, upstream: SocketAddr) -> Self {
        let endpoint = Endpoint::reserve(name);
        let server = start(ca, &endpoint, "tls.server.conf", &[("UPSTREAM", &upstream.to_string())]).await;
        Self { endpoint, server }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The requests that it has finished, in order.
    pub fn seen(&self) -> Vec<Seen> {
        seen(&self.server)
    }
}

/// nginx at this endpoint with the server part of this template.
pub(super) async fn start(ca: &TestCa, endpoint: &Endpoint, part: &str, values: &[(&str, &str)]) -> Server {
    let files = ca.issue(&[&endpoint.name, "localhost", "127.0.0.1"]);
    let part = render(part, values);
    let server = Server::spawn("nginx", |dir| {
        let config = render(
            "nginx.conf",
            &[
                ("SERVER", &part),
                ("DIR", text(dir)),
                ("PORT", &endpoint.addr.port().to_string()),
                ("NAME", &endpoint.name),
                ("CERT", text(&files.cert)),
                ("KEY", text(&files.key)),
            ],
        );
        fs::write(dir.join("nginx.conf"), config).unwrap();
        let mut command = Command::new(Installed::nginx());
        command.arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf")).arg("-e").arg(dir.join("error.log"));
        command
    });
    server.ready(async || endpoint.answers(ca.http(), "/.ready", 204).await).await
}

/// The access log of such a server.
pub(super) fn seen(server: &Server) -> Vec<Seen> {
    let log = fs::read_to_string(server.dir().join("access.log")).unwrap();
    log.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}
