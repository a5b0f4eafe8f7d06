//! A running Claviger, as a user would run it: the binary, a file, a state folder.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::binary::binary;
use crate::canary;
use crate::issuer::TokenIssuer;
use crate::origin::Origin;
use crate::peers::ca::TestCa;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a configuration, a state, a CA, a token issuer and a canary: all that a run needs.
#[derive(Debug)]
pub struct World {
    dir: TempDir,
    /// Signs upstream certificates; its root lies in `ca.pem`.
    pub ca: TestCa,
    /// Issues identity tokens; its keys lie in `jwks.json`.
    pub issuer: TokenIssuer,
    /// The secret that must be nowhere.
    pub canary: String,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// How a configuration of the tests begins: with a gateway that asks for tokens of the [`World`]'s issuer ([`CI`]).
pub const GATEWAY: &str = r#"version = 1
trust_domain = "acme.test"
state_dir = "state"

[listener.gateway]
mode = "gateway"
bind = "127.0.0.1:0"
authenticate = ["ci"]
"#;

/// The attestor of the [`World`]'s issuer, as the last line of which more of its keys may follow.
pub const CI: &str = r#"[attestor.ci]
kind = "jwt"
issuer = "https://ci.test"
audience = "claviger"
jwks = "jwks.json"
identity = "spiffe://acme.test/ci/{sub}"
"#;

/// The workload `app`, and the service `api` at `api.test`, which a port of loopback stands for; more of its keys may follow.
pub fn app_and_api(port: u16) -> String {
    format!(
        r#"[workload.app]
spiffe = "spiffe://acme.test/ci/app"

[service.api]
hosts = ["api.test"]
connect = "127.0.0.1:{port}"
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]"#
    )
}

impl World {
    /// A new folder.
    pub fn new() -> Self {
        let world = Self {
            dir: TempDir::new().unwrap(),
            ca: TestCa::new(),
            issuer: TokenIssuer::new("https://ci.test"),
            canary: canary::canary(),
        };
        world.write("ca.pem", world.ca.pem());
        world.write("jwks.json", world.issuer.jwks());
        world
    }

    /// A world with an origin that wants the canary as its bearer key, and the configuration for it.
    pub async fn with_keyed_origin() -> (Self, Origin) {
        let world = Self::new();
        let origin = Origin::keyed(&world.ca, &world.canary).await;
        world.seal("api", &world.canary, &["api.test"]);
        world.configure(&world.usual(origin.port(), ""));
        (world, origin)
    }

    /// The usual configuration: a gateway and a forward listener, tokens of the issuer, one service
    /// `api` at `api.test`, one rule for the workload `app`. `more` is appended.
    pub fn usual(&self, port: u16, more: &str) -> String {
        let api = app_and_api(port);
        format!(
            r#"{GATEWAY}
[listener.forward]
mode = "forward"
bind = "127.0.0.1:0"
authenticate = ["ci"]

{CI}
{api}
inject = ["bearer"]
secret = "secret://sealed/api"

[allow.app-api]
who = "app"
to = "api"
ops = ["GET,HEAD,POST,PUT /v1/**"]
{more}"#
        )
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Puts a file into the folder, whole at once: a proxy that looks at this moment sees the old one or the new one.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let coming = self.dir.path().join(format!(".coming-{}~", name.replace('/', "-")));
        std::fs::write(&coming, text).unwrap();
        if let Ok(present) = std::fs::metadata(&path) {
            std::fs::set_permissions(&coming, present.permissions()).unwrap();
        }
        std::fs::rename(coming, path).unwrap();
    }

    /// Writes `claviger.toml`.
    pub fn configure(&self, text: &str) {
        self.write("claviger.toml", text);
    }

    /// Seals a value through the command line, as an operator does.
    pub fn seal(&self, name: &str, value: &str, hosts: &[&str]) {
        let mut args = vec!["secret", "--state-dir", "state", "set", name];
        for host in hosts {
            args.extend(["--host", host]);
        }
        let output = self.run_with_input(&args, value);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        canary::assert_absent(value, "the output of `secret set`", &output.stdout);
        canary::assert_absent(value, "the errors of `secret set`", &output.stderr);
    }

    /// A token of the issuer for a workload.
    pub fn token(&self, sub: &str) -> String {
        self.issuer.token(sub)
    }

    /// The binary in this folder, with an empty environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args).current_dir(self.dir.path()).env_clear().env("HOME", self.dir.path());
        command
    }

    /// Runs the binary to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with_input(args, "")
    }

    /// Runs the binary to its end with something on stdin.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Output {
        let mut child =
            self.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that refuses its arguments ends before it reads.
        let written = child.stdin.take().unwrap().write_all(input.as_bytes());
        assert!(!written.is_err_and(|error| error.kind() != std::io::ErrorKind::BrokenPipe));
        child.wait_with_output().unwrap()
    }

    /// Starts the proxy and waits until it is ready.
    pub fn start(&self) -> Proxy {
        self.start_with(&["--cores", "2"])
    }

    /// As [`start`](Self::start), with other arguments for `run`.
    pub fn start_with(&self, args: &[&str]) -> Proxy {
        let all: Vec<&str> = ["run", "--config", "claviger.toml"].iter().chain(args).copied().collect();
        self.start_command(self.command(&all))
    }

    /// As [`start`](Self::start), of a command that becomes the proxy.
    pub fn start_command(&self, mut command: Command) -> Proxy {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (lines, inbox) = channel();
        for stream in [
            Box::new(child.stdout.take().unwrap()) as Box<dyn std::io::Read + Send>,
            Box::new(child.stderr.take().unwrap()),
        ] {
            let (written, lines) = (written.clone(), lines.clone());
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let mut written = written.lock().unwrap();
                    written.extend_from_slice(line.as_bytes());
                    written.push(b'\n');
                    drop(written);
                    let _ = lines.send(line);
                }
            });
        }
        let mut proxy = Proxy {
            child,
            written,
            lines: Mutex::new(inbox),
            addresses: HashMap::new(),
            folder: self.dir.path().to_owned(),
            canary: self.canary.clone(),
            stopped: false,
        };
        loop {
            let line = proxy.next_line();
            if let Some((name, address)) = listens(&line) {
                proxy.addresses.insert(name, address);
            }
            if line == "claviger: ready" {
                return proxy;
            }
        }
    }
}

/// "claviger: listener `x` listens on ADDRESS", "claviger: admin listens on ADDRESS"
fn listens(line: &str) -> Option<(String, String)> {
    let (what, address) = line.strip_prefix("claviger: ")?.split_once(" listens on ")?;
    let name = what.strip_prefix("listener `").and_then(|name| name.strip_suffix('`')).unwrap_or(what);
    Some((name.to_owned(), address.to_owned()))
}

/// A running proxy. When it is dropped it is stopped, and everything it wrote is searched for the canary.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    written: Arc<Mutex<Vec<u8>>>,
    lines: Mutex<Receiver<String>>,
    addresses: HashMap<String, String>,
    folder: PathBuf,
    canary: String,
    stopped: bool,
}

impl Proxy {
    /// The next line that it writes.
    pub fn next_line(&self) -> String {
        match self.lines.lock().unwrap().recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => panic!("the proxy said nothing more ({error}); so far:\n{}", self.output()),
        }
    }

    /// Waits for a line that contains `text`.
    pub fn wait_for_line(&self, text: &str) -> String {
        loop {
            let line = self.next_line();
            if line.contains(text) {
                return line;
            }
        }
    }

    /// All that it wrote to stdout and stderr.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// Where a listener (or `admin`) listens.
    pub fn address(&self, name: &str) -> &str {
        self.addresses.get(name).unwrap_or_else(|| panic!("no listener `{name}`: {:?}", self.addresses))
    }

    /// A URL on the gateway listener.
    pub fn gateway(&self, path: &str) -> String {
        format!("http://{}{path}", self.address("gateway"))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Ends it as a service manager does, and searches all that it left for the canary.
    pub fn stop(mut self) -> ExitStatus {
        self.finish()
    }

    fn finish(&mut self) -> ExitStatus {
        self.stopped = true;
        self.signal(rustix::process::Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the proxy does not stop:\n{}", self.output());
            std::thread::yield_now();
        };
        canary::assert_absent(&self.canary, "what the proxy printed", &self.written.lock().unwrap());
        canary::assert_absent_below(&self.canary, &self.folder);
        status
    }

    /// The ledger's records, once `count` of `kind` are there.
    pub fn records(&self, kind: &str, count: usize) -> Vec<serde_json::Value> {
        let file = self.folder.join("state/ledger/ledger.jsonl");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let records: Vec<serde_json::Value> = text
                .lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
                .filter(|record| record["type"] == kind)
                .collect();
            if records.len() >= count {
                return records;
            }
            assert!(Instant::now() < deadline, "{} of {count} `{kind}` records:\n{text}", records.len());
            std::thread::yield_now();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.stopped {
            return;
        }
        if std::thread::panicking() {
            eprintln!("--- the proxy wrote:\n{}", self.output());
            let _ = self.child.kill();
            let _ = self.child.wait();
        } else {
            let status = self.finish();
            assert!(status.success(), "the proxy ended with {status}");
        }
    }
}
