//! A machine to look at, and what `doctor` says of it.

use std::path::{Path, PathBuf};
use std::process::Output;

use claviger_tests::{Origin, Proxy, World, canary};
use serde_json::Value;

/// What is around one call of `doctor`.
#[derive(Default)]
pub(crate) struct Call {
    pub(crate) env: Vec<(String, String)>,
    /// Without `--config`.
    pub(crate) unnamed: bool,
    /// Lives until the call is over.
    pub(crate) held: Vec<Box<dyn std::any::Any>>,
}

impl Call {
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn hold(mut self, held: impl std::any::Any) -> Self {
        self.held.push(Box::new(held));
        self
    }
}

/// A world with an API behind it.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) origin: Origin,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let (world, origin) = World::with_keyed_origin().await;
        // Found by no client: those are for `clients.rs`.
        std::fs::create_dir(world.path().join("bin")).unwrap();
        Self { world, origin }
    }

    /// The usual configuration with more behind it.
    pub(crate) fn usual(&self, more: &str) -> String {
        self.world.usual(self.origin.port(), more)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.world.path().join(name)
    }

    /// Runs `doctor`. No word of it holds the canary.
    pub(crate) fn doctor(&self, call: &Call, more: &[&str]) -> Output {
        let mut args = vec!["doctor"];
        if !call.unnamed {
            args.extend(["--config", "claviger.toml"]);
        }
        args.extend(more);
        let mut command = self.world.command(&args);
        command.env("PATH", self.file("bin")).envs(call.env.iter().map(|(name, value)| (name, value)));
        let output = command.output().unwrap();
        canary::assert_absent(&self.world.canary, "what doctor printed", &output.stdout);
        canary::assert_absent(&self.world.canary, "what doctor complained of", &output.stderr);
        output
    }

    /// What it says for programs.
    pub(crate) fn json(&self, call: &Call, more: &[&str]) -> Value {
        let all: Vec<&str> = ["-o", "json"].iter().chain(more).copied().collect();
        let output = self.doctor(call, &all);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)))
    }

    /// What it says for people, with letters.
    pub(crate) fn text(&self, call: &Call, more: &[&str]) -> String {
        let all: Vec<&str> = ["--ascii"].iter().chain(more).copied().collect();
        text(&self.doctor(call, &all).stdout)
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The checks that are not as they should be: id, status, subject.
pub(crate) fn wrong(report: &Value) -> Vec<(String, String, String)> {
    let word = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
    let checks = report["checks"].as_array().unwrap().iter();
    let bad = checks.filter(|check| check["status"] != "ok");
    bad.map(|check| (word(check, "id"), word(check, "status"), word(check, "subject"))).collect()
}

/// The variables of a shell that is set up for this proxy.
pub(crate) fn shell_of(proxy: &Proxy) -> Call {
    let url = format!("http://{}", proxy.address("forward"));
    Call::default().env("HTTPS_PROXY", &url).env("https_proxy", url)
}

/// A program that does as the script says.
pub(crate) fn script(folder: &Path, name: &str, text: &str) {
    let file = folder.join(name);
    std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

/// Where a program of this machine lies, if it is there.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin".into()]).map(|folder| folder.join(name)).find(|file| file.is_file())
}
