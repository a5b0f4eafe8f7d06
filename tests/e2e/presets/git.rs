//! A git server over HTTP: git's own backend, run for each request.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use claviger_tests::peers::Installed;
use tempfile::TempDir;

use crate::proof::{Answer, Asked};

/// Bare repositories in a folder of their own.
#[derive(Clone, Debug)]
pub(crate) struct Repositories(Arc<TempDir>);

impl Repositories {
    /// With an empty one, at this path below the server's root.
    pub(crate) fn with(path: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let repository = folder.path().join(path);
        let path = repository.to_str().unwrap();
        run(&["init", "-q", "--bare", "--initial-branch", "main", path]);
        run(&["--git-dir", path, "config", "http.receivepack", "true"]);
        Self(Arc::new(folder))
    }

    /// What git answers to a request (RFC 3875).
    pub(crate) fn answer(&self, asked: &Asked) -> Answer {
        let head = &asked.head;
        let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let mut command = Command::new(Installed::git_http_backend());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("GIT_PROJECT_ROOT", self.0.path()).env("GIT_HTTP_EXPORT_ALL", "1").env("REMOTE_USER", "me");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", self.0.path());
        command.env("REQUEST_METHOD", head.method.as_str()).env("PATH_INFO", head.uri.path());
        command.env("QUERY_STRING", head.uri.query().unwrap_or_default());
        command.env("CONTENT_TYPE", header("content-type").unwrap_or_default());
        command.env("CONTENT_LENGTH", asked.body.len().to_string());
        for (variable, name) in [("HTTP_CONTENT_ENCODING", "content-encoding"), ("GIT_PROTOCOL", "git-protocol")] {
            command.envs(header(name).map(|value| (variable, value)));
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&asked.body).unwrap();
        parse(&child.wait_with_output().unwrap().stdout)
    }
}

fn parse(output: &[u8]) -> Answer {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let (head, body) = (String::from_utf8_lossy(&output[..end]).into_owned(), output[end + 4..].to_vec());
    let mut answer = Answer::new(200, "", body);
    answer.headers.clear();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        if name == "Status" {
            answer.status = value[..3].parse().unwrap();
        } else {
            answer = answer.header(name, value);
        }
    }
    answer
}

fn run(args: &[&str]) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let output = Command::new("git").args(args).env_clear().env("PATH", path).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
