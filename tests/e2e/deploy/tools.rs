//! Programs that `tests/run` installed, and how they are called.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A file or folder of `deploy/`.
pub(crate) fn deploy(path: &str) -> PathBuf {
    repository().join("deploy").join(path)
}

/// What `tests/run` put under `tests/.peers`.
pub(crate) fn installed(path: &str) -> PathBuf {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers").join(path);
    assert!(found.exists(), "`{}` is missing: run `tests/run` first", found.display());
    found
}

/// The static binary of the release script.
pub(crate) fn static_binary() -> PathBuf {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    installed(&format!("release/claviger-linux-{arch}"))
}

/// A script of `tests/deploy`, run by the Python that has the validators.
pub(crate) fn python(script: &str) -> Command {
    let mut command = Command::new(installed("deploy-venv/bin/python"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(script)).stdin(Stdio::null());
    command
}

/// Runs to the end, which must be a good one.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// All that a program printed.
pub(crate) fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

/// Validates the objects of files against the schemas of a Kubernetes version; how many there were.
pub(crate) fn validate(version: &str, files: &[PathBuf], more: &[&str]) -> usize {
    succeed(python("validate.py").arg(version).args(files).args(more)).trim().parse().unwrap()
}

/// The YAML documents of a text, as JSON.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    documents_of(&[text]).remove(0)
}

/// As [`documents`], of several texts.
pub(crate) fn documents_of(texts: &[&str]) -> Vec<Vec<Value>> {
    let script = "import json, sys, yaml\n\
                  print(json.dumps([list(yaml.load_all(text, yaml.CSafeLoader)) for text in json.load(sys.stdin)]))";
    let mut child = Command::new(installed("deploy-venv/bin/python"))
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let texts = serde_json::to_vec(texts).unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &texts).unwrap();
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}
