//! nginx, as the upstream of both legs and as the peer.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use claviger_tests::World;
use claviger_tests::peers::Installed;
use tempfile::TempDir;

/// A running nginx; ends with the value.
pub(crate) struct Nginx {
    child: Child,
    _folder: TempDir,
    pub(crate) pid: u32,
    pub(crate) port: u16,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with it only if it is asked, not if it is killed.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// An origin over TLS that wants the canary and answers a few bytes.
pub(crate) fn upstream(world: &World) -> Nginx {
    let files = world.ca.issue(&["api.test"]);
    start(1, |port| {
        format!(
            "access_log off; server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {cert}; ssl_certificate_key {key}; \
             location / {{ if ($http_authorization != \"Bearer {canary}\") {{ return 401; }} \
             return 200 \"hello world hello world\"; }} }}",
            cert = files.cert.display(),
            key = files.key.display(),
            canary = world.canary,
        )
    })
}

/// The same work as Claviger's: clear text in, verified TLS out, a key written in, a log line each.
pub(crate) fn proxy(world: &World, upstream: u16) -> Nginx {
    start(2, |port| {
        format!(
            "access_log access.log; upstream u {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000; }} \
             server {{ listen 127.0.0.1:{port} reuseport; location /api/ {{ proxy_http_version 1.1; \
             proxy_set_header Connection \"\"; proxy_set_header Host api.test; \
             proxy_set_header Authorization \"Bearer {canary}\"; proxy_ssl_server_name on; proxy_ssl_name api.test; \
             proxy_ssl_verify on; proxy_ssl_trusted_certificate {ca}; proxy_pass https://u/; }} }}",
            canary = world.canary,
            ca = world.ca.path().display(),
        )
    })
}

fn start(workers: usize, http: impl Fn(u16) -> String) -> Nginx {
    let folder = TempDir::new().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|name| format!("{name}_temp_path tmp_{name};"));
    let config = format!(
        "worker_processes {workers}; daemon off; pid nginx.pid; error_log error.log;\n\
         events {{ worker_connections 1024; }}\nhttp {{ keepalive_requests 1000000; {} {} }}\n",
        temp.join(" "),
        http(port)
    );
    std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
    let child = Command::new(Installed::nginx())
        .arg("-p")
        .arg(folder.path())
        .arg("-c")
        .arg(folder.path().join("nginx.conf"))
        .arg("-e")
        .arg(folder.path().join("error.log"))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < patience, "nginx does not answer");
        std::thread::yield_now();
    }
    Nginx { pid: child.id(), child, _folder: folder, port }
}
