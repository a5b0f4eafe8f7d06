//! nginx, as the upstream of all legs and as a peer.

use std::path::Path;
use std::process::Command;

use claviger_tests::World;

use super::{Doors, PREFIX, gateway};
use crate::door::{HOST, Problem};
use crate::scene::{Scene, WORKERS, free_port};
use crate::server::{Server, library_path, program};

/// What a language model answers.
const CHAT: &str = r#"{"id":"chatcmpl-9","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"the quick brown fox jumps over the lazy dog"},"finish_reason":"stop"}],"usage":{"prompt_tokens":512,"completion_tokens":9,"total_tokens":521}}"#;

/// An upstream over TLS that wants the secret: `/v1/hello` and `/v1/chat/completions` are its own; the rest is of the
/// origin at that port. It passes a body on once it has it whole, so that an answer never overtakes its request.
pub(crate) fn upstream(world: &World, origin: u16) -> Result<(Server, u16), Problem> {
    let files = world.ca.issue(&[HOST, "*.wide.test"]);
    let port = free_port();
    let server = spawn(1, |_| {
        format!(
            "access_log off; client_max_body_size 0; client_body_buffer_size 2m; server {{ listen 127.0.0.1:{port} ssl; \
             ssl_certificate {cert}; ssl_certificate_key {key}; default_type application/json; \
             if ($http_authorization != \"Bearer {canary}\") {{ return 401; }} \
             location = /v1/hello {{ return 200 \"hello world hello world\"; }} \
             location = /v1/chat/completions {{ return 200 '{CHAT}'; }} \
             location / {{ proxy_pass http://127.0.0.1:{origin}; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
             proxy_buffering off; proxy_read_timeout 600s; }} }}",
            cert = files.cert.display(),
            key = files.key.display(),
            canary = world.canary,
        )
    })?;
    Ok((server.listening(([127, 0, 0, 1], port).into())?, port))
}

/// In clear text, and with client certificates.
pub(crate) fn launch(scene: &Scene) -> Result<(Server, Doors), Problem> {
    let (clear, mutual) = (free_port(), free_port());
    let location = format!(
        "location {PREFIX}/ {{ proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host {HOST}; \
         proxy_set_header Authorization \"{authorization}\"; proxy_ssl_server_name on; proxy_ssl_name {HOST}; \
         proxy_ssl_verify on; proxy_ssl_trusted_certificate {ca}; proxy_pass https://u/; \
         location {PREFIX}/v1/mebibyte {{ proxy_buffering off; proxy_request_buffering off; \
         proxy_pass https://u/v1/mebibyte; }} \
         location {PREFIX}/v1/events {{ proxy_buffering off; proxy_pass https://u/v1/events; }} }}",
        authorization = scene.authorization(),
        ca = scene.world.ca.path().display(),
    );
    let server = spawn(WORKERS, |_| {
        format!(
            "access_log access.log; client_max_body_size 0; \
             upstream u {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 1000000000; }} \
             server {{ listen 127.0.0.1:{clear} reuseport; {location} }} \
             server {{ listen 127.0.0.1:{mutual} ssl http2 reuseport; ssl_certificate {cert}; ssl_certificate_key {key}; \
             ssl_client_certificate {bundle}; ssl_verify_client on; {location} }}",
            upstream = scene.upstream,
            cert = scene.server.cert.display(),
            key = scene.server.key.display(),
            bundle = scene.bundle().display(),
        )
    })?;
    Ok((server, gateway(scene, clear, mutual)))
}

fn spawn(workers: usize, http: impl FnOnce(&Path) -> String) -> Result<Server, Problem> {
    let nginx = program("nginx")?;
    Server::spawn(|folder| {
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temp: String = temp.iter().map(|name| format!("{name}_temp_path tmp_{name}; ")).collect();
        let config = format!(
            "worker_processes {workers}; daemon off; user root; pid nginx.pid; error_log error.log;\n\
             events {{ worker_connections 8192; }}\n\
             http {{ keepalive_requests 1000000000; keepalive_timeout 600s; {temp} {} }}\n",
            http(folder)
        );
        std::fs::write(folder.join("nginx.conf"), config).unwrap();
        let mut command = Command::new(&nginx);
        command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
        command.arg("-e").arg(folder.join("error.log"));
        library_path(&nginx).map(|path| command.env("LD_LIBRARY_PATH", path));
        command
    })
}
