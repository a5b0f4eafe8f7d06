//! nginx, as TLS in front of a server that speaks cleartext; [`super::GitHttps`] uses it too.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use super::{
    Installed, Seen, Sees, TestCa, seen,
    server::{Endpoint, Server, render, text},
};

/// TLS, h2 and HTTP/1.1 by ALPN, in front of a cleartext server. It buffers nothing.
#[derive(Debug)]
pub struct TlsFront {
    endpoint: Endpoint,
    server: Server,
}

impl TlsFront {
    /// Starts it as `name` in front of `upstream`.
    pub async fn start(ca: &TestCa, name: &str, upstream: SocketAddr) -> Self {
        let endpoint = Endpoint::reserve(name);
        let server = start(ca, &endpoint, "tls.server.conf", &[("UPSTREAM", &upstream.to_string())]).await;
        Self { endpoint, server }
    }
}

impl Sees for TlsFront {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn seen(&self) -> Vec<Seen> {
        seen::read(&self.server)
    }
}

/// A server that knows its clients by certificates of one authority. It answers with the serial number of the certificate
/// that it was shown, a space, and the number of the connection; 403 without one.
#[derive(Debug)]
pub struct MutualTls {
    endpoint: Endpoint,
    server: Server,
}

impl MutualTls {
    /// Starts it as `name`; `clients` is the authority that it trusts for clients.
    pub async fn start(ca: &TestCa, name: &str, clients: &TestCa) -> Self {
        Self::trusting(ca, name, &clients.path()).await
    }

    /// As [`start`](Self::start); `clients` is the root for clients, in PEM.
    pub async fn trusting(ca: &TestCa, name: &str, clients: &Path) -> Self {
        let endpoint = Endpoint::reserve(name);
        let server = start(ca, &endpoint, "mtls.server.conf", &[("CLIENTS", text(clients))]).await;
        Self { endpoint, server }
    }
}

impl Sees for MutualTls {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn seen(&self) -> Vec<Seen> {
        seen::read(&self.server)
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
