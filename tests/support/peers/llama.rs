//! llama.cpp's server with a tiny random model.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, process::Command};

use super::{
    Installed, Seen, Sees, TestCa, TlsFront,
    server::{Endpoint, Server, free_port},
};

/// Random weights say anything; this makes it printable, and bounds it.
const GRAMMAR: &str = "root ::= [a-z ]{4,40}";

/// An LLM API with a key: `/v1/chat/completions`, `/v1/responses`, `/v1/messages`, `/v1/models`, each also as SSE.
/// It takes the key as `Authorization: Bearer` and as `x-api-key`, and answers 401 to any other.
#[derive(Debug)]
pub struct Llama {
    cleartext: SocketAddr,
    server: Server,
    front: TlsFront,
}

impl Llama {
    /// The name of the one model that it has; it takes any other name for this one.
    pub const MODEL: &str = "tiny";

    /// Starts it with this API key, behind TLS as `name`.
    pub async fn start(ca: &TestCa, name: &str, key: &str) -> Self {
        let cleartext = free_port();
        let server = Server::spawn("llama-server", |dir| command(dir, cleartext, key));
        let http = ca.http().build().unwrap();
        let health = format!("http://{cleartext}/health");
        let answers = async || http.get(&health).send().await.is_ok_and(|answer| answer.status() == 200);
        let server = server.ready(answers).await;
        let front = TlsFront::start(ca, name, cleartext).await;
        Self { cleartext, server, front }
    }

    /// Where it speaks cleartext.
    pub fn cleartext(&self) -> SocketAddr {
        self.cleartext
    }

    /// What the server wrote.
    pub fn log(&self) -> String {
        self.server.log()
    }
}

impl Sees for Llama {
    fn endpoint(&self) -> &Endpoint {
        self.front.endpoint()
    }

    fn seen(&self) -> Vec<Seen> {
        self.front.seen()
    }
}

fn command(dir: &Path, addr: SocketAddr, key: &str) -> Command {
    let keys = dir.join("keys");
    fs::write(&keys, key).unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
    let program = Installed::llama_server();
    let mut command = Command::new(&program);
    command.env("LD_LIBRARY_PATH", program.parent().unwrap());
    command.arg("--model").arg(Installed::model()).args(["--alias", Llama::MODEL]);
    command.args(["--host", &addr.ip().to_string(), "--port", &addr.port().to_string()]);
    command.arg("--api-key-file").arg(keys);
    command.args([
        "--ctx-size",
        "1024",
        "--parallel",
        "1",
        "--threads",
        "1",
        "--device",
        "none",
        "--n-gpu-layers",
        "0",
    ]);
    command.args(["--no-ui", "--grammar", GRAMMAR]);
    command
}
