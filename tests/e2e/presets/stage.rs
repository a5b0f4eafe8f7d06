//! One preset on stage: Claviger with it, the double of its service, and clients that take their turns.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use claviger_tests::peers::Installed;
use claviger_tests::{CI, PATIENCE, Proxy, World, canary};
use tempfile::TempDir;

use crate::preset::Written;
use crate::proof::{Driver, Place, Proof};

/// A running proxy with the preset's service.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) proof: Proof,
    pub(crate) written: Written,
    world: World,
    proxy: Proxy,
    /// Where the service is on loopback.
    port: u16,
    root: PathBuf,
    generation: u32,
}

/// What a client shows of its own, where it should show nothing.
pub(crate) const OWN: &str = "claviger-own-token";

/// A value that opens nothing.
pub(crate) const WRONG: &str = "a-key-that-opens-nothing-at-all";

impl Stage {
    /// With the service at this port of loopback, in a world whose canary is the proof's first key.
    pub(crate) fn start(proof: Proof, world: World, port: u16) -> Self {
        let written = Written::read(proof.preset);
        world.configure(&configuration(&proof, &written, port, ""));
        for (field, value) in &proof.keys {
            let output =
                world.run_with_input(&["secret", "--config", "claviger.toml", "set", field, "--for", "it"], value);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let proxy = world.start();
        let root = world.run(&["ca", "--config", "claviger.toml"]);
        assert!(root.status.success(), "{}", String::from_utf8_lossy(&root.stderr));
        world.write("root.pem", root.stdout);
        let root = world.path().join("root.pem");
        Self { proof, written, world, proxy, port, root, generation: 1 }
    }

    /// Sets keys of the service beside those of the preset, and waits until they hold; `false` if they do not load.
    pub(crate) fn change(&mut self, service: &str) -> bool {
        self.world.configure(&configuration(&self.proof, &self.written, self.port, service));
        let (holds, refused) = (format!("generation {} is in force", self.generation + 1), " stays");
        loop {
            let line = self.proxy.next_line();
            if line.contains(refused) {
                return false;
            }
            if line.contains(&holds) {
                self.generation += 1;
                return true;
            }
        }
    }

    fn proxy_url(&self, workload: &str) -> String {
        format!("http://jwt:{}@{}", self.world.token(workload), self.proxy.address("forward"))
    }

    /// Starts a client with the environment that the preset asks for.
    pub(crate) fn client(&self, driver: &Driver) -> Actor {
        Actor::start(driver, &self.written, &self.root, &self.proxy_url("app"))
    }

    /// A client of this test's own that trusts the proxy's root and goes through it.
    pub(crate) fn curl(&self, workload: &str) -> reqwest::Client {
        let root = reqwest::Certificate::from_pem(&std::fs::read(&self.root).unwrap()).unwrap();
        reqwest::Client::builder()
            .proxy(reqwest::Proxy::all(self.proxy_url(workload)).unwrap())
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .tls_certs_only([root])
            .build()
            .unwrap()
    }

    /// The first call of the proof, as a curl line makes it, with something of the client's own in each of these places.
    pub(crate) async fn shows(&self, places: &[String]) -> reqwest::Response {
        let route = self.proof.routes.iter().find(|route| route.key.iter().any(Place::holds_key)).unwrap();
        let scheme = if self.proof.cleartext { "http" } else { "https" };
        let mark = self.written.placeholder().unwrap_or(OWN);
        let path = self.proof.keys.iter().fold(route.path.replace("**", "x").replace('*', "x"), |path, (field, _)| {
            path.replace(&format!("{{{field}}}"), mark)
        });
        let mut query: Vec<(&str, &str)> = route.query.iter().map(|(name, value)| (*name, example(value))).collect();
        query.extend(places.iter().filter_map(|place| Some((place.strip_prefix("query:")?, OWN))));
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let url = format!("{scheme}://{}{path}{query}", route.host);
        let mut request = self.curl("app").request(route.method.parse().unwrap(), url);
        for (name, value) in &route.headers {
            request = request.header(*name, example(value));
        }
        for name in places.iter().filter(|place| !place.starts_with("query:")) {
            request = request.header(name, OWN);
        }
        for place in &route.key {
            // The user is the client's to say; what it says as password is replaced.
            if let Place::Basic(text) = place {
                request = request.basic_auth(text.split(':').next().unwrap(), Some(mark));
            }
        }
        let placed = route.key.iter().find_map(|place| match place {
            Place::Body(text) => Some(text.replace("{key}", mark)),
            Place::Header(..) | Place::Basic(_) | Place::Path(_) | Place::Issued(..) => None,
        });
        // What stands for the credential is looked for in JSON; the texts of such a route are strings of JSON.
        let body = match placed {
            Some(placed) => format!("[{},{placed}]", route.body.join(",")),
            None => route.body.concat(),
        };
        request.body(body).send().await.unwrap()
    }

    /// Whether the service takes this value for a field, as its `check` says, and what is said of it.
    pub(crate) fn probe(&self, field: &str, value: &str) -> (bool, String) {
        let args = ["secret", "--config", "claviger.toml", "set", field, "--for", "it", "--probe"];
        let output = self.world.run_with_input(&args, value);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), said)
    }

    /// Ends the proxy; no credential stands in anything that it wrote.
    pub(crate) fn end(self) {
        let printed = self.proxy.output();
        assert!(self.proxy.stop().success());
        for (_, value) in &self.proof.keys {
            canary::assert_absent(value, "what the proxy printed", printed.as_bytes());
            canary::assert_absent_below(value, self.world.path());
        }
    }
}

/// A value that such a pattern takes.
fn example(pattern: &str) -> &str {
    pattern.trim_end_matches('*')
}

/// The configuration, with more keys of the service; what stands there goes before what the preset says.
fn configuration(proof: &Proof, written: &Written, port: u16, service: &str) -> String {
    let fields: Vec<String> =
        proof.keys.iter().map(|(field, _)| format!("{field} = \"secret://sealed/{field}\"")).collect();
    let value = match fields.as_slice() {
        [_] => "\"secret://sealed/key\"".to_owned(),
        fields => format!("{{ {} }}", fields.join(", ")),
    };
    let sets: String = written
        .sets()
        .iter()
        .map(|set| {
            format!(
                "[workload.set-{set}]\nspiffe = \"spiffe://acme.test/ci/set-{set}\"\n\
                 [allow.set-{set}]\nwho = \"set-{set}\"\nto = \"it\"\nops = [\"@{set}\"]\nuse = \"it\"\n"
            )
        })
        .collect();
    format!(
        r#"version = 1
trust_domain = "acme.test"
state_dir = "state"

[listener.forward]
mode = "forward"
bind = "127.0.0.1:0"
authenticate = ["ci"]

{CI}
[workload.app]
spiffe = "spiffe://acme.test/ci/app"

[service.it]
preset = "{preset}"
connect = "127.0.0.1:{port}"
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
{settings}
{service}

[credential.it]
kind = "static"
value = {value}

[allow.everything]
who = "app"
to = "it"
ops = "*"
use = "it"
{sets}"#,
        preset = proof.preset,
        settings = proof.settings,
    )
}

/// A running client. Each time it is given a turn it makes all its calls.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) driver: Driver,
    child: Child,
    turns: Option<ChildStdin>,
    lines: Receiver<String>,
    said: Vec<String>,
    home: TempDir,
}

impl Actor {
    fn start(driver: &Driver, written: &Written, root: &Path, proxy: &str) -> Self {
        let home = TempDir::new().unwrap();
        let mut command = program(driver.script);
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        command.env_clear().env("PATH", path).env("HOME", home.path());
        for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
            command.env(name, proxy);
        }
        for name in TRUST {
            command.env(name, root);
        }
        command.env("NODE_USE_ENV_PROXY", "1").env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
        // What `claviger exec` gives to clients that know neither proxy nor roots of their environment.
        let python = std::env::join_paths([bootstraps().join("python"), clients()]).unwrap();
        let node = format!("--require \"{}\"", bootstraps().join("node/bootstrap.cjs").display());
        command.env("PYTHONPATH", python).env("NODE_OPTIONS", node);
        command.env("VENV", Installed::python().parent().unwrap()).env("NODE", Installed::node());
        command.env("CARGO", std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.envs(written.environment()).envs(driver.env.iter().copied());
        // Node finds packages from the folder in which it runs; the others write where they run.
        let folder =
            if driver.script.ends_with(".mjs") { Installed::node_modules_parent() } else { home.path().into() };
        command.current_dir(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (sender, lines) = channel();
        for stream in [
            Box::new(child.stdout.take().unwrap()) as Box<dyn std::io::Read + Send>,
            Box::new(child.stderr.take().unwrap()),
        ] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        Self { driver: driver.clone(), turns: child.stdin.take(), child, lines, said: Vec::new(), home }
    }

    /// Gives it a turn; returns whether all its calls were answered as it wants.
    pub(crate) fn turn(&mut self) -> bool {
        let asked = self.turns.as_mut().unwrap().write_all(b"go\n");
        asked.unwrap_or_else(|error| panic!("{}: {error}: {}", self.driver.script, self.said()));
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line == "turn: done" => return true,
                Ok(line) if line == "turn: failed" => return false,
                Ok(line) => self.said.push(line),
                Err(error) => panic!("{} says nothing more ({error}): {}", self.driver.script, self.said()),
            }
        }
    }

    /// What it wrote.
    pub(crate) fn said(&self) -> String {
        self.said.join("\n")
    }

    /// Ends it. No credential stands in its environment, its output or a file that it wrote.
    pub(crate) fn end(mut self, proof: &Proof) {
        // Read while it lives: what it has set for itself since does not show, what it was given does.
        #[cfg(target_os = "linux")]
        let environment = std::fs::read(format!("/proc/{}/environ", self.child.id())).unwrap();
        #[cfg(not(target_os = "linux"))]
        let environment = Vec::new();
        drop(self.turns.take());
        let status = self.child.wait().unwrap();
        self.said.extend(self.lines.try_iter());
        assert!(status.success(), "{}: {status}: {}", self.driver.script, self.said());
        for (_, value) in &proof.keys {
            canary::assert_absent(value, "a client's environment", &environment);
            canary::assert_absent(value, "a client's output", self.said().as_bytes());
            canary::assert_absent_below(value, self.home.path());
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every variable by which one of the clients is told whom to trust.
const TRUST: [&str; 8] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO",
    "PIP_CERT",
    "npm_config_cafile",
];

fn clients() -> PathBuf {
    Installed::sources().join("clients/presets")
}

fn bootstraps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy/claviger/src/environment")
}

fn program(script: &str) -> Command {
    let file = clients().join(script);
    assert!(file.is_file(), "`{}` is missing", file.display());
    let extension = file.extension().unwrap().to_str().unwrap().to_owned();
    match extension.as_str() {
        "py" => {
            let mut command = Command::new(Installed::python());
            command.arg(file);
            command
        }
        // As text and not as a file, so that the packages are looked for where it runs.
        "mjs" => {
            let read = |name: &str| std::fs::read_to_string(clients().join(name)).unwrap();
            let mut command = Command::new(Installed::node());
            command.args(["--input-type=module", "--eval"]).arg(read(script) + &read("turns.mjs"));
            command
        }
        "sh" => {
            let mut command = Command::new("/bin/sh");
            command.arg(clients().join("turns.sh")).arg(file);
            command
        }
        other => panic!("nothing is known to run `.{other}`"),
    }
}
