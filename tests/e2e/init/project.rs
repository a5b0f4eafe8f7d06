//! A project of somebody who has keys lying about, and what `claviger init` does with it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use claviger_tests::binary;
use tempfile::TempDir;

/// A home folder, and a project in it.
#[derive(Debug)]
pub(crate) struct Project {
    home: TempDir,
    variables: BTreeMap<String, String>,
    /// Every key that was put somewhere: none may be printed.
    keys: Vec<String>,
}

/// What a command said and did.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }

    /// Both, as they stand on a screen.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// A key of this kind, unlike any other.
pub(crate) fn key(prefix: &str) -> String {
    let mut bytes = [0_u8; 18];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // Letters of both cases and a digit, as keys have them.
    format!("{prefix}a1Z{hex}")
}

impl Project {
    pub(crate) fn new() -> Self {
        let home = TempDir::new().unwrap();
        fs::create_dir(home.path().join("shop")).unwrap();
        Self { home, variables: BTreeMap::new(), keys: Vec::new() }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.home.path().join("shop")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.home.path().join(".local/state/claviger")
    }

    /// A file of the project.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.folder().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder().join(name)).unwrap()
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.folder().join(name)).unwrap().permissions().mode() & 0o7777
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.folder().join(name).exists()
    }

    /// The names of all files in the project's folder.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A variable of the shell.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A key that must be printed by nobody.
    pub(crate) fn key(&mut self, prefix: &str) -> String {
        let key = key(prefix);
        self.keys.push(key.clone());
        key
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args);
        self.place(&mut command);
        command
    }

    /// Sets folder and environment.
    pub(crate) fn place(&self, command: &mut Command) {
        let path = std::env::var("PATH").unwrap();
        command.current_dir(self.folder()).env_clear().stdin(Stdio::null());
        command.env("HOME", self.home()).env("PATH", path).env("TERM", "dumb").envs(&self.variables);
    }

    /// Runs a command of claviger's, and looks for keys in what it says.
    pub(crate) fn run(&self, args: &[&str]) -> Said {
        self.said(&self.command(args).output().unwrap())
    }

    /// With something on stdin.
    pub(crate) fn run_with(&self, args: &[&str], stdin: &str) -> Said {
        use std::io::Write;
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        self.said(&child.wait_with_output().unwrap())
    }

    pub(crate) fn said(&self, output: &Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let said =
            Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) };
        self.no_key_in(&said.all());
        said
    }

    /// Nothing of a key beyond its prefix: no eight characters of it in a row.
    pub(crate) fn no_key_in(&self, text: &str) {
        for key in &self.keys {
            claviger_tests::canary::assert_absent(key, "what was printed", text.as_bytes());
            let secret = &key.as_bytes()[key.len() - 36..];
            for part in secret.windows(8) {
                let part = std::str::from_utf8(part).unwrap();
                assert!(!text.contains(part), "a part of a key was printed: {text}");
            }
        }
    }

    /// What is sealed, by name, with its hosts.
    pub(crate) fn sealed(&self) -> BTreeMap<String, Vec<String>> {
        let listed =
            self.run(&["secret", "--state-dir", self.state().to_str().unwrap(), "list", "-o", "json"]).ok().json();
        let hosts = |entry: &serde_json::Value| {
            entry["hosts"].as_array().unwrap().iter().map(|host| host.as_str().unwrap().to_owned()).collect()
        };
        let entries = listed.as_array().unwrap().iter();
        entries.map(|entry| (entry["name"].as_str().unwrap().to_owned(), hosts(entry))).collect()
    }

    /// Whether the file here allows this to what is started by `claviger exec`.
    pub(crate) fn allows(&self, request: &str) -> bool {
        let (method, url) = request.split_once(' ').unwrap();
        let said = self.run(&["explain", "--as", "spiffe://home.internal/app", method, url]);
        assert!(said.code == 0 || said.code == 1, "{}", said.all());
        said.code == 0
    }
}
