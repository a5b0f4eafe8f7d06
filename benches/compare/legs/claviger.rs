//! Claviger with everything on: a policy of a thousand rules, ledger, metrics, echo guard.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use claviger_tests::svid::tls_client;
use http::HeaderValue;

use super::{Leg, PREFIX};
use crate::door::{Door, Layer, Problem};
use crate::scene::{Scene, WORKERS};

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
pub(crate) fn start(scene: &Scene) -> Result<Leg, Problem> {
    variant(scene, "claviger", &claviger_tests::binary(), USUAL)
}

/// Another build of it, to compare with: what `CLAVIGER_BEFORE` names.
pub(crate) fn before(scene: &Scene) -> Result<Leg, Problem> {
    let binary = std::env::var_os("CLAVIGER_BEFORE").ok_or("`CLAVIGER_BEFORE` names no binary")?;
    let binary = std::fs::canonicalize(PathBuf::from(binary)).map_err(|error| format!("CLAVIGER_BEFORE: {error}"))?;
    variant(scene, "before", &binary, USUAL)
}

/// One that differs.
pub(crate) fn variant(scene: &Scene, name: &'static str, binary: &Path, variant: Variant) -> Result<Leg, Problem> {
    let world = &scene.world;
    if !world.path().join("state").exists() {
        world.seal("api", &world.canary, &["api.test", "*.wide.test"]);
    }
    world.write("bundle.pem", scene.domain.bundle());
    world.write("gateway.pem", std::fs::read(&scene.server.cert).unwrap());
    world.write("gateway.key", std::fs::read(&scene.server.key).unwrap());
    let file = format!("{name}.toml");
    world.write(&file, configuration(scene, name, variant));
    let mut command = Command::new(binary);
    command.current_dir(world.path()).env_clear().env("HOME", world.path());
    let workers = variant.workers.to_string();
    command.args(["run", "--config", &file, "--cores", &workers]);
    let proxy = world.start_command(command);

    let bearer = |n: usize| HeaderValue::from_str(&format!("Bearer {}", scene.token(&principal(n)))).unwrap();
    let authorizations: Arc<[HeaderValue]> = (0..variant.principals).map(bearer).collect();
    let root = world.run(&["ca", "--config", &file]);
    let root = String::from_utf8(root.stdout).unwrap();
    let tls = Arc::new(tls_client(&root, None, &["http/1.1"]));
    let proof = format!("Bearer {}", scene.token(&principal(0)));
    let door = |listener, layer, prefix, authorizations| {
        Some(Door { address: proxy.address(listener).parse().unwrap(), layer, prefix, authorizations })
    };
    Ok(Leg {
        name,
        clear: door("gateway", Layer::Clear, PREFIX, authorizations),
        mutual: door("mesh", Layer::Tls(scene.mutual(&["http/1.1"])), PREFIX, [].into()),
        mutual_h2: door("mesh", Layer::Tls(scene.mutual(&["h2"])), PREFIX, [].into()),
        connect: door("forward", Layer::Connect { port: 443, proof: Some(proof), tls }, "", [].into()),
        running: Box::new(proxy),
    })
}

fn principal(n: usize) -> String {
    if n == 0 { "app".to_owned() } else { format!("app-{n}") }
}

/// The whole file.
fn configuration(scene: &Scene, name: &str, variant: Variant) -> String {
    let usual = scene.world.usual(scene.upstream, "");
    // Each process has a ledger of its own: one chain has one writer.
    let mut text = usual.replace("state_dir = \"state\"", "state_dir = \"state\"\n");
    let _ = write!(
        text,
        r#"
[ledger]
path = "ledger-{name}/ledger.jsonl"

[admin]
bind = "127.0.0.1:0"
socket = "unix:{name}.sock"

[listener.mesh]
mode = "gateway"
bind = "127.0.0.1:0"
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
priority = -1

[service.wide]
hosts = ["*.wide.test"]
connect = "127.0.0.1:{port}"
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
inject = ["bearer"]
secret = "secret://sealed/api"

[allow.app-wide]
who = "app"
to = "wide"
ops = ["GET,POST /v1/**"]
"#,
        port = scene.upstream,
    );
    rules(&mut text, variant.rules.saturating_sub(3));
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
        let who = if n % 10 == 0 { "app".to_owned() } else { format!("team-{team}") };
        let _ = write!(
            text,
            "\n[allow.r{n}]\nwho = \"{who}\"\nto = \"s{service}\"\nops = [\"GET,POST /v1/t{team}/**\"]\nuse = \"none\"\n"
        );
    }
}
