//! Git over HTTPS: nginx, fcgiwrap and git's own `git-http-backend`.

use std::{fs, os::unix::net::UnixStream, path::PathBuf, process::Command};

use super::{
    Installed, Seen, Sees, TestCa, nginx, seen,
    server::{Endpoint, Server, text},
};

/// A host of bare repositories that one user may clone and push, by basic auth.
#[derive(Debug)]
pub struct GitHttps {
    endpoint: Endpoint,
    nginx: Server,
    fcgiwrap: Server,
}

impl GitHttps {
    /// Starts it as `name` for this user and password, with no repository.
    pub async fn start(ca: &TestCa, name: &str, user: &str, password: &str) -> Self {
        let fcgiwrap = Server::spawn("fcgiwrap", |dir| {
            fs::create_dir(dir.join("repos")).unwrap();
            fs::write(dir.join("htpasswd"), format!("{user}:{{PLAIN}}{password}\n")).unwrap();
            let mut command = Command::new(Installed::fcgiwrap());
            command.env("LD_LIBRARY_PATH", Installed::library_path());
            command.args(["-c", "2", "-s"]).arg(format!("unix:{}", dir.join("fcgi.sock").display()));
            command
        });
        let dir = fcgiwrap.dir().to_owned();
        let fcgiwrap = fcgiwrap.ready(async || UnixStream::connect(dir.join("fcgi.sock")).is_ok()).await;
        let endpoint = Endpoint::reserve(name);
        let backend = Installed::git_http_backend();
        let values = [("FILES", text(&dir)), ("BACKEND", text(&backend))];
        let nginx = nginx::start(ca, &endpoint, "git.server.conf", &values).await;
        Self { endpoint, nginx, fcgiwrap }
    }

    /// Makes an empty bare repository that takes pushes; its URL path is `/NAME.git`. Returns its folder.
    pub fn repository(&self, name: &str) -> PathBuf {
        let folder = self.fcgiwrap.dir().join("repos").join(format!("{name}.git"));
        git(&["init", "-q", "--bare", "--initial-branch", "main", text(&folder)]);
        git(&["--git-dir", text(&folder), "config", "http.receivepack", "true"]);
        folder
    }

    /// What git's backend wrote.
    pub fn log(&self) -> String {
        self.fcgiwrap.log()
    }
}

impl Sees for GitHttps {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn seen(&self) -> Vec<Seen> {
        seen::read(&self.nginx)
    }
}

fn git(args: &[&str]) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let output = Command::new("git").args(args).env_clear().env("PATH", path).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
