//! One run of an unmodified client.

use std::{
    ffi::OsStr,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

use super::Installed;
use crate::canary;

const RUN_SECONDS_MAX: u64 = 150;

/// A client program with an environment that holds a path, an empty home folder and what is set here; nothing else.
#[derive(Debug)]
pub struct Client {
    command: Command,
    home: TempDir,
}

/// How the client ended and what it wrote.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Its home folder, which goes with this value: what it wrote there can be looked at.
    pub home: TempDir,
}

impl Client {
    /// A program on the path, such as `curl` or `git`.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let home = TempDir::new().unwrap();
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        command.env_clear().env("PATH", path).env("HOME", home.path()).current_dir(home.path());
        command.stdin(Stdio::null()).kill_on_drop(true);
        Self { command, home }
    }

    /// A Python script of `tests/peers/clients`, which prints one JSON object.
    pub fn python(script: &str) -> Self {
        // The SDKs were compiled when they were installed; the scripts leave nothing behind in the source tree.
        let python = Self::new(Installed::python()).env("PYTHONDONTWRITEBYTECODE", "1");
        python.arg(Installed::sources().join("clients").join(script))
    }

    /// A shell script of `tests/peers/clients`.
    pub fn shell(script: &str) -> Self {
        Self::new("/bin/sh").arg(Installed::sources().join("clients").join(script))
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable.
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Makes it trust these roots (a PEM file), by every variable that one of our clients reads.
    pub fn trust(mut self, roots: &Path) -> Self {
        for key in ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"] {
            self.command.env(key, roots);
        }
        self
    }

    /// Sends its HTTPS requests through this proxy (`http://user:token@127.0.0.1:port`, say), also for loopback hosts.
    pub fn proxy(mut self, url: &str) -> Self {
        for key in ["HTTPS_PROXY", "https_proxy"] {
            self.command.env(key, url);
        }
        self
    }

    /// As [`run`](Self::run). Fails the test if a secret stands in what it was given or in anything that it wrote.
    pub async fn run_without(self, secrets: &[&str]) -> Ran {
        let command = self.command.as_std();
        let given = command.get_args().chain(command.get_envs().filter_map(|(_, value)| value));
        let given: Vec<u8> = given.flat_map(|text| [text.as_encoded_bytes(), b"\n"].concat()).collect();
        let ran = self.run().await;
        for secret in secrets {
            canary::assert_absent(secret, "what a client was given", &given);
            ran.assert_without(secret);
        }
        ran
    }

    /// Runs it to its end.
    pub async fn run(mut self) -> Ran {
        let run = timeout(Duration::from_secs(RUN_SECONDS_MAX), self.command.output());
        let output =
            run.await.unwrap_or_else(|_| panic!("still running after {RUN_SECONDS_MAX} s: {:?}", self.command));
        let output = output.unwrap_or_else(|error| panic!("does not start: {:?}: {error}", self.command));
        Ran {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            home: self.home,
        }
    }
}

impl Ran {
    /// The same, if it ended well; its output fails the test otherwise.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "{}\n{}\n{}", self.status, self.stdout, self.stderr);
        self
    }

    /// Fails the test if the secret stands in its output or in a file that it wrote.
    pub fn assert_without(&self, secret: &str) {
        canary::assert_absent(secret, "a client's output", self.stdout.as_bytes());
        canary::assert_absent(secret, "a client's errors", self.stderr.as_bytes());
        canary::assert_absent_below(secret, self.home.path());
    }

    /// Standard output, parsed.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }
}
