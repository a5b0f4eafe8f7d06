//! A proxy, an origin, and one client at a time between them, in each of three ways.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use claviger_tests::origin::Origin;
use claviger_tests::peers::{Client, Installed, Ran};
use claviger_tests::{Proxy, World, canary};

use crate::origin::{self, Content};
use crate::packages;
use crate::relay::{Met, Relay};
use crate::rows::{Program, Row};

/// What stands where a program thinks that its key goes.
const NO_KEY: &str = "placeholder-0123456789";

/// How a client comes to Claviger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Exec,
    Forward,
    Gateway,
}

/// What became of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Whether the client printed what only the origin knows, and the origin saw nothing wrong.
    pub(crate) works: bool,
    /// What the proxy met of the client, where it was asked by hand.
    pub(crate) met: Option<Met>,
    /// All that helps when it should have been otherwise.
    pub(crate) told: String,
}

pub(crate) struct Scene {
    world: World,
    proxy: Proxy,
    origin: Origin,
    said: String,
    wrong: Arc<Mutex<Vec<String>>>,
}

impl Scene {
    pub(crate) async fn start() -> Self {
        let world = World::new();
        let said = canary::canary().replace('/', "-").replace("canary", "said");
        let wrong: Arc<Mutex<Vec<String>>> = Arc::default();
        let repositories = world.path().join("repositories");
        repository(&repositories, &said);
        let content = Content {
            key: world.canary.clone(),
            said: said.clone(),
            repositories,
            wheel: packages::wheel(&said),
            tarball: packages::tarball("package", "package.json", r#"{"name":"said","version":"1.0.0"}"#, &said),
            krate: packages::tarball(
                "said-1.0.0",
                "Cargo.toml",
                "[package]\nname = \"said\"\nversion = \"1.0.0\"\nedition = \"2021\"\n",
                &said,
            ),
            wrong: wrong.clone(),
        };
        let origin = origin::start(&world, content).await;
        let hosts: Vec<&str> = origin::HOSTS.to_vec();
        world.seal("key", &world.canary, &hosts);
        world.configure(&configuration(origin.port()));
        let proxy = world.start();
        for (file, more) in [("authority.pem", &[][..]), ("bundle.pem", &["--bundle"])] {
            let made = world.run(&[&["ca", "--config", "claviger.toml"], more].concat());
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            world.write(file, made.stdout);
        }
        let bundle = world.path().join("bundle.pem");
        world.write("wgetrc", format!("ca_certificate = {}\n", bundle.display()));
        Self { world, proxy, origin, said, wrong }
    }

    /// A program under `exec`, as whoever writes a test types it.
    pub(crate) fn exec(&self, arguments: &[&str]) -> Client {
        self.session(&[], arguments)
    }

    /// The same without a sandbox.
    pub(crate) fn exec_open(&self, arguments: &[&str]) -> Client {
        self.session(&["--sandbox", "off"], arguments)
    }

    fn session(&self, options: &[&str], arguments: &[&str]) -> Client {
        let config = self.world.path().join("claviger.toml").display().to_string();
        let mut all: Vec<String> = vec![claviger_tests::binary::binary().display().to_string()];
        let usual = ["exec", "--quiet", "--config", &config, "--as", "child"];
        let words = usual.iter().chain(options).chain(&["--"]).chain(arguments);
        all.extend(words.map(|word| (*word).to_owned()));
        client(&all).env("API_KEY", NO_KEY)
    }

    /// What the origin says.
    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    /// The secret.
    pub(crate) fn key(&self) -> &str {
        &self.world.canary
    }

    /// The command line of a client that calls its service by the service's own address.
    pub(crate) fn command_line(row: &Row) -> Vec<String> {
        arguments(row.program, &format!("https://{}.test", row.service))
    }

    /// Runs the client of a row in this way. `without`: variables that are taken away again under `exec`.
    pub(crate) async fn run(&self, row: &Row, way: Way, without: &[&str]) -> Outcome {
        let token = self.world.token("app");
        let base = match way {
            Way::Exec | Way::Forward => format!("https://{}.test", row.service),
            Way::Gateway if row.program.has_user_in_base() => {
                format!("http://jwt:{token}@{}/{}", self.proxy.address("gateway"), row.service)
            }
            Way::Gateway => format!("http://{}/{}", self.proxy.address("gateway"), row.service),
        };
        let arguments = arguments(row.program, &base);
        let key = if way == Way::Gateway { token.as_str() } else { NO_KEY };
        let mut relay = None;
        let client = match way {
            Way::Gateway => client(&arguments),
            Way::Forward => {
                let between = Relay::start(self.proxy.address("forward")).await;
                let url = format!("http://jwt:{token}@{}", between.address());
                let client = row.forward.iter().fold(client(&arguments), |client, variable| {
                    client.env(variable, self.by_hand(variable, &url, between.address().port()))
                });
                relay = Some(between);
                client
            }
            Way::Exec => {
                let taken = without.iter().flat_map(|name| ["-u", name]);
                let all = ["env"].into_iter().chain(taken).chain(arguments.iter().map(String::as_str));
                self.exec(&all.collect::<Vec<_>>())
            }
        };
        let client = client.env("API_KEY", key);
        self.wrong.lock().unwrap().clear();
        let before = self.origin.seen().len();
        let ran = client.run_without(&[&self.world.canary]).await;
        self.judge(&ran, before, relay)
    }

    fn judge(&self, ran: &Ran, before: usize, relay: Option<Relay>) -> Outcome {
        let wrong = self.wrong.lock().unwrap().clone();
        let seen = self.origin.seen().len() - before;
        let works = ran.status.success() && ran.stdout.trim() == self.said && wrong.is_empty() && seen > 0;
        let told = format!(
            "{}\nstdout: {}\nstderr: {}\nwrong at the origin: {wrong:?}",
            ran.status,
            ran.stdout,
            ran.stderr.chars().take(4000).collect::<String>()
        );
        Outcome { works, met: relay.map(|relay| relay.met(seen > 0)), told }
    }

    /// What a user writes into a variable by hand.
    fn by_hand(&self, variable: &str, proxy: &str, port: u16) -> String {
        let file = |name: &str| self.world.path().join(name).display().to_string();
        match variable {
            "WGETRC" => file("wgetrc"),
            "NODE_USE_ENV_PROXY" => "1".to_owned(),
            "NODE_EXTRA_CA_CERTS" => file("authority.pem"),
            "JAVA_TOOL_OPTIONS" => {
                let store = self.world.path().join("truststore.p12");
                if !store.exists() {
                    keytool(&self.world.path().join("authority.pem"), &store);
                }
                format!(
                    "-Djavax.net.ssl.trustStore={} -Djavax.net.ssl.trustStorePassword=changeit \
                     -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort={port}",
                    store.display()
                )
            }
            _ if variable.to_ascii_lowercase().ends_with("_proxy") => proxy.to_owned(),
            _ => file("bundle.pem"),
        }
    }

    /// Ends the proxy, which says whether the credential was anywhere.
    pub(crate) fn end(self) {
        assert!(self.proxy.stop().success());
    }
}

fn client(arguments: &[String]) -> Client {
    let (program, rest) = arguments.split_first().unwrap();
    let python = Installed::python();
    let client = Client::new(program).args(rest).env("PYTHONDONTWRITEBYTECODE", "1");
    let client = client.env("PYTHON", &python).env("UV", python.with_file_name("uv"));
    let client = client.env("NODE", Installed::node()).env("NPM", Installed::npm());
    // Not by `rustup`, which looks for its toolchains in the home folder.
    let cargo = Path::new(env!("CARGO"));
    client.env("CARGO", cargo).env("RUSTC", cargo.with_file_name("rustc"))
}

/// What a user types.
fn arguments(program: Program, base: &str) -> Vec<String> {
    let ours = |name: &str| program_file(name).display().to_string();
    let words: Vec<String> = match program {
        Program::Curl => {
            let call = format!("exec curl -sS --fail -H \"Authorization: Bearer $API_KEY\" {base}/v1/said");
            vec!["/bin/sh".into(), "-c".into(), call]
        }
        Program::Wget => {
            let call =
                format!("exec wget -q -O - --tries=1 --header \"Authorization: Bearer $API_KEY\" {base}/v1/said");
            vec!["/bin/sh".into(), "-c".into(), call]
        }
        Program::Git => vec!["/bin/sh".into(), ours("git.sh"), base.into()],
        Program::Packages(manager) => vec!["/bin/sh".into(), ours("packages.sh"), manager.into(), base.into()],
        Program::Python(client) => {
            vec![Installed::python().display().to_string(), ours("clients.py"), client.into(), base.into()]
        }
        Program::Node20(client) | Program::Node24(client) => {
            let is_20 = matches!(program, Program::Node20(_));
            let node = if is_20 { Installed::node20() } else { Installed::node() };
            let modules = Installed::node_modules_parent().display().to_string();
            vec![node.display().to_string(), ours("clients.mjs"), client.into(), base.into(), modules]
        }
        Program::Java(client) => vec!["java".into(), ours("Http.java"), client.into(), base.into()],
    };
    words
}

fn program_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/clients/programs").join(name)
}

/// `notes.git`, whose `main` holds `said.txt`.
fn repository(folder: &Path, said: &str) {
    let work = folder.join("work");
    fs::create_dir_all(&work).unwrap();
    fs::write(work.join("said.txt"), said).unwrap();
    let git = |folder: &Path, arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).current_dir(folder);
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "tester").env(format!("GIT_{who}_EMAIL"), "tester@example.test");
        }
        let ran = command.args(arguments).output().unwrap();
        assert!(ran.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    };
    git(&work, &["init", "-q", "--initial-branch", "main"]);
    git(&work, &["add", "."]);
    git(&work, &["commit", "-q", "-m", "Say it"]);
    git(folder, &["clone", "-q", "--bare", "work", "notes.git"]);
    git(&folder.join("notes.git"), &["config", "http.receivepack", "true"]);
}

/// A trust store as Java's own tool makes it.
fn keytool(certificate: &Path, store: &Path) {
    let ran = std::process::Command::new("keytool")
        .args(["-importcert", "-noprompt", "-alias", "claviger", "-storetype", "PKCS12", "-storepass", "changeit"])
        .arg("-file")
        .arg(certificate)
        .arg("-keystore")
        .arg(store)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
}

fn configuration(port: u16) -> String {
    let mut text = r#"version = 1
trust_domain = "acme.test"
state_dir = "state"

[listener.gateway]
mode = "gateway"
bind = "127.0.0.1:0"
authenticate = ["ci"]

[listener.forward]
mode = "forward"
bind = "127.0.0.1:0"
authenticate = ["ci"]

[attestor.ci]
kind = "jwt"
issuer = "https://ci.test"
audience = "claviger"
jwks = "jwks.json"
identity = "spiffe://acme.test/ci/{sub}"

[workload]
app = { spiffe = "spiffe://acme.test/ci/app" }
child = { spiffe = "spiffe://acme.test/exec/child", exec = true }

[credential.key]
kind = "static"
value = "secret://sealed/key"
"#
    .to_owned();
    for host in origin::HOSTS {
        // As each wants its credential.
        let name = host.strip_suffix(".test").unwrap();
        let how = match name {
            "llm" => "preset = \"openai\"",
            "claude" => "preset = \"anthropic\"",
            "git" | "pypi" => "inject = { basic = \"x\" }",
            _ => "inject = [\"bearer\"]\nstrip = [\"x-api-key\"]",
        };
        text.push_str(&format!(
            "\n[service.{name}]\n{how}\nhosts = [\"{host}\"]\nconnect = \"127.0.0.1:{port}\"\nca = \"ca.pem\"\n\
             allow_addresses = [\"127.0.0.1\"]\n\n[allow.{name}]\nwho = [\"app\", \"child\"]\nto = \"{name}\"\nops = \"*\"\n\
             use = \"key\"\n"
        ));
    }
    text
}
