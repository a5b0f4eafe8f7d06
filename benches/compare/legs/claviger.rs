//! Claviger with everything on: a policy of a thousand rules, ledger, metrics, echo guard.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use claviger_tests::svid::tls_client;
use http::HeaderValue;

use super::{Doors, PREFIX};
use crate::door::{Door, Layer, Problem};
use crate::scene::{Scene, WORKERS, free_port};
use crate::server::Server;

/// How a Claviger differs from the usual one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    pub(crate) workers: usize,
    pub(crate) rules: usize,
    /// Workloads that take turns.
    pub(crate) principals: usize,
}

/// What is compared with peers.
pub(crate) const USUAL: Variant = Variant { workers: WORKERS, rules: 1_000, principals: 1 };

/// The usual Claviger.
pub(crate) fn launch(scene: &Scene) -> Result<(Server, Doors), Problem> {
    variant(scene, &claviger_tests::binary(), USUAL)
}

/// Another build of it, to compare with: what `CLAVIGER_BEFORE` names.
pub(crate) fn before(scene: &Scene) -> Result<(Server, Doors), Problem> {
    let binary = std::env::var_os("CLAVIGER_BEFORE").ok_or("`CLAVIGER_BEFORE` names no binary")?;
    let binary = std::fs::canonicalize(PathBuf::from(binary)).map_err(|error| format!("CLAVIGER_BEFORE: {error}"))?;
    variant(scene, &binary, USUAL)
}

/// One that differs.
pub(crate) fn variant(scene: &Scene, binary: &Path, variant: Variant) -> Result<(Server, Doors), Problem> {
    static LAUNCHED: AtomicU32 = AtomicU32::new(0);
    let world = &scene.world;
    if !world.path().join("state").exists() {
        world.write("bundle.pem", scene.domain.bundle());
        world.write("gateway.pem", std::fs::read(&scene.server.cert).unwrap());
        world.write("gateway.key", std::fs::read(&scene.server.key).unwrap());
        world.seal("api", &world.canary, &["api.test", "*.wide.test"]);
    }
    // Several run side by side, each in a state of its own.
    let name = format!("c{}", LAUNCHED.fetch_add(1, Ordering::Relaxed));
    let copied = Command::new("cp").args(["-a", "state", &format!("state-{name}")]).current_dir(world.path()).status();
    assert!(copied.unwrap().success());
    let ports: [u16; 3] = std::array::from_fn(|_| free_port());
    let file = format!("{name}.toml");
    world.write(&file, configuration(scene, &name, ports, variant.rules));
    let root = world.run(&["ca", "--config", &file]);
    if !root.status.success() {
        return Err(String::from_utf8_lossy(&root.stderr).into_owned());
    }
    let tls = Arc::new(tls_client(&String::from_utf8(root.stdout).unwrap(), None, &["http/1.1"]));
    let bearer = |n: usize| HeaderValue::from_str(&format!("Bearer {}", scene.token(&format!("app-{n}")))).unwrap();
    let authorizations: Arc<[HeaderValue]> = (0..variant.principals).map(bearer).collect();
    let proof = Some(format!("Bearer {}", scene.token("app-0")));

    let server = Server::spawn(|_| {
        let mut command = Command::new(binary);
        command.current_dir(world.path()).env_clear().env("HOME", world.path());
        command.args(["run", "--config", &file, "--cores", &variant.workers.to_string()]);
        command
    })?;
    let [clear, mutual, forward] = ports;
    let doors = Doors {
        clear: Some(Door { authorizations, ..Door::new(clear, Layer::Clear, PREFIX) }),
        mutual: Some(Door::new(mutual, Layer::Tls(scene.mutual(&["http/1.1"])), PREFIX)),
        mutual_h2: Some(Door::new(mutual, Layer::Tls(scene.mutual(&["h2"])), PREFIX)),
        connect: Some(Door::new(forward, Layer::Connect { port: 443, proof, tls }, "")),
    };
    Ok((server, doors))
}

/// The whole file.
fn configuration(scene: &Scene, name: &str, ports: [u16; 3], count: usize) -> String {
    let [clear, mutual, forward] = ports;
    let usual = scene.world.usual(scene.upstream, "");
    let mut text = usual
        .replacen("127.0.0.1:0", &format!("127.0.0.1:{clear}"), 1)
        .replacen("127.0.0.1:0", &format!("127.0.0.1:{forward}"), 1)
        .replace("state_dir = \"state\"", &format!("state_dir = \"state-{name}\""));
    let _ = write!(
        text,
        r#"
[admin]
bind = "127.0.0.1:0"

[listener.mesh]
mode = "gateway"
bind = "127.0.0.1:{mutual}"
authenticate = ["mesh"]
tls = {{ certificate = "gateway.pem", key = "gateway.key" }}

[attestor.mesh]
kind = "x509-svid"
bundle = {{ "acme.test" = "bundle.pem" }}

[workload.apps]
spiffe = ["spiffe://acme.test/app", "spiffe://acme.test/ci/*"]

[allow.apps-api]
who = "apps"
to = "api"
ops = ["GET,POST /v1/**"]

[service.wide]
hosts = ["*.wide.test"]
connect = "127.0.0.1:{port}"
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
inject = ["bearer"]
secret = "secret://sealed/api"

[allow.apps-wide]
who = "apps"
to = "wide"
ops = ["GET,POST /v1/**"]
"#,
        port = scene.upstream,
    );
    rules(&mut text, count.saturating_sub(3));
    text
}

/// So many rules of other teams, and for each ten of them one of the workload that is measured.
fn rules(text: &mut String, count: usize) {
    let teams = count.div_ceil(20);
    for n in 0..20.min(count) {
        let _ = write!(text, "\n[service.s{n}]\nhosts = [\"s{n}.test\"]\n");
    }
    for n in 0..teams {
        let _ = write!(text, "\n[workload.team-{n}]\nspiffe = \"spiffe://acme.test/ci/team-{n}\"\n");
    }
    for n in 0..count {
        let (team, service) = (n / 20, n % 20);
        let who = if n % 10 == 0 { "apps".to_owned() } else { format!("team-{team}") };
        let _ = write!(
            text,
            "\n[allow.r{n}]\nwho = \"{who}\"\nto = \"s{service}\"\nops = [\"GET,POST /v1/t{team}/**\"]\nuse = \"none\"\n"
        );
    }
}
