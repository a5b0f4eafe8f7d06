//! Faults that are seeded, one at a time: each is named by its id, and by a line with a cause and a next command.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use claviger_tests::{Proxy, World};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::stage::{Call, Stage, shell_of, wrong};

/// A machine on which one thing is wrong.
struct Fault {
    /// What was done to it.
    name: &'static str,
    /// What it is told by.
    id: &'static str,
    status: &'static str,
    /// Stands in the line for people.
    says: &'static str,
    /// Whether a proxy runs while it is looked at.
    runs: bool,
    seed: fn(&Stage, Option<&Proxy>) -> Call,
}

/// An authority's certificate that is valid from and until so many days from now.
fn authority(from: i64, until: i64) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "somebody else's");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = OffsetDateTime::now_utc() + Duration::days(from);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(until);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

fn mode(file: &Path, mode: u32) {
    std::fs::set_permissions(file, PermissionsExt::from_mode(mode)).unwrap();
}

fn make_authority(world: &World) {
    assert!(world.run(&["ca", "--config", "claviger.toml"]).status.success());
}

/// A line behind the ledger's last one. It is in no chain; what is looked at is what it says.
fn record(stage: &Stage, record: &serde_json::Value) {
    std::fs::create_dir_all(stage.file("state/ledger")).unwrap();
    let file = stage.file("state/ledger/ledger.jsonl");
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    std::fs::write(file, format!("{text}{record}\n")).unwrap();
}

fn at(seconds: i64) -> String {
    let at = OffsetDateTime::now_utc() + Duration::seconds(seconds);
    at.format(&time::format_description::well_known::Rfc3339).unwrap()
}

fn plain() -> Call {
    Call::default()
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "the authority has expired",
        id: "ca.expires",
        status: "error",
        says: "the certificate has expired on ",
        runs: false,
        seed: |stage, _| {
            make_authority(&stage.world);
            stage.world.write("state/ca.pem", authority(-10, -1));
            plain()
        },
    },
    Fault {
        name: "the authority is about to expire",
        id: "ca.expires",
        status: "warning",
        says: "the certificate expires in ",
        runs: false,
        seed: |stage, _| {
            make_authority(&stage.world);
            stage.world.write("state/ca.pem", authority(-10, 20));
            plain()
        },
    },
    Fault {
        name: "the authority's key is another's",
        id: "ca.fits",
        status: "error",
        says: "the root's key is not the key of its certificate",
        runs: false,
        seed: |stage, _| {
            make_authority(&stage.world);
            stage.world.write("state/ca.pem", authority(-1, 900));
            plain()
        },
    },
    Fault {
        name: "the sealing key may be read by all",
        id: "state.key",
        status: "error",
        says: "is open to others (mode 0644)",
        runs: false,
        seed: |stage, _| {
            mode(&stage.file("state/keys/sealed.key"), 0o644);
            plain()
        },
    },
    Fault {
        name: "the sealing key is gone",
        id: "state.key",
        status: "error",
        says: "is missing",
        runs: false,
        seed: |stage, _| {
            std::fs::remove_file(stage.file("state/keys/sealed.key")).unwrap();
            plain()
        },
    },
    Fault {
        name: "a sealed file was changed",
        id: "state.sealed",
        status: "error",
        says: "the sealed store cannot be read",
        runs: false,
        seed: |stage, _| {
            let file = stage.file("state/sealed/api.age");
            let mut bytes = std::fs::read(&file).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(file, bytes).unwrap();
            plain()
        },
    },
    Fault {
        name: "a secret reference has no value",
        id: "secrets.resolve",
        status: "error",
        says: "-> run `claviger secret set missing --for api --config claviger.toml`",
        runs: false,
        seed: |stage, _| {
            stage.world.configure(&stage.usual("").replace("secret://sealed/api", "secret://sealed/missing"));
            plain()
        },
    },
    Fault {
        name: "the file of a secret may be read by all",
        id: "secrets.files",
        status: "warning",
        says: "others may read the value",
        runs: false,
        seed: |stage, _| {
            stage.world.write("key.txt", "a-value-of-no-meaning");
            mode(&stage.file("key.txt"), 0o644);
            let more = "\n[service.other]\nhosts = [\"other.test\"]\ninject = [\"bearer\"]\nca = \"ca.pem\"\n\
                        secret = \"secret://file/key.txt\"\n";
            stage.world.configure(&stage.usual(more));
            plain()
        },
    },
    Fault {
        name: "the configuration has an error",
        id: "config.loads",
        status: "error",
        says: "it does not load: 1 error",
        runs: false,
        seed: |stage, _| {
            stage.world.configure(&stage.usual("\n[limits]\nnonsense = 1\n"));
            plain()
        },
    },
    Fault {
        name: "the configuration cannot even be read",
        id: "state.folder",
        status: "warning",
        says: "where the state is cannot be known",
        runs: false,
        seed: |stage, _| {
            stage.world.configure(&stage.usual("\n[service.api]\n"));
            plain()
        },
    },
    Fault {
        name: "a file that the configuration names is gone",
        id: "config.named",
        status: "error",
        says: "jwks.json`, which cannot be read",
        runs: false,
        seed: |stage, _| {
            std::fs::remove_file(stage.file("jwks.json")).unwrap();
            plain()
        },
    },
    Fault {
        name: "everybody may write the configuration",
        id: "config.files",
        status: "error",
        says: "everybody may write `claviger.toml`",
        runs: false,
        seed: |stage, _| {
            mode(&stage.file("claviger.toml"), 0o666);
            plain()
        },
    },
    Fault {
        name: "a project's file that nobody has allowed",
        id: "config.trusted",
        status: "error",
        says: "nobody has allowed it",
        runs: false,
        seed: |_, _| Call { unnamed: true, ..plain() },
    },
    Fault {
        name: "a project's file that was changed since it was allowed",
        id: "config.trusted",
        status: "error",
        says: "has changed since it was allowed",
        runs: false,
        seed: |stage, _| {
            let allowed = stage.world.run(&["config", "allow", "--yes"]);
            assert!(allowed.status.success(), "{}", String::from_utf8_lossy(&allowed.stderr));
            stage.world.configure(&stage.usual("\n# another word\n"));
            Call { unnamed: true, ..plain() }
        },
    },
    Fault {
        name: "the state folder is open to all",
        id: "state.folder",
        status: "error",
        says: "is open to others (mode 0777)",
        runs: false,
        seed: |stage, _| {
            mode(&stage.file("state"), 0o777);
            plain()
        },
    },
    Fault {
        name: "another process has the port",
        id: "listener.bind",
        status: "error",
        says: "`listener.gateway` cannot have 127.0.0.1:",
        runs: false,
        seed: |stage, _| {
            let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let taken = other.local_addr().unwrap();
            let text = stage.usual("").replacen("bind = \"127.0.0.1:0\"", &format!("bind = \"{taken}\""), 1);
            stage.world.configure(&text);
            plain().hold(other)
        },
    },
    Fault {
        name: "the file is not in force",
        id: "process.generation",
        status: "error",
        says: "generation 1 is in force, and the files say something else",
        runs: true,
        seed: |stage, proxy| {
            // It loads, and cannot be taken up: its port is another's.
            let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let taken = other.local_addr().unwrap();
            let more = format!("\n[listener.more]\nmode = \"gateway\"\nbind = \"{taken}\"\nauthenticate = [\"ci\"]\n");
            stage.world.configure(&stage.usual(&more));
            proxy.unwrap().wait_for_line("was not reloaded");
            plain().hold(other)
        },
    },
    Fault {
        name: "the file does not load any more",
        id: "process.generation",
        status: "error",
        says: "generation 1 is in force, and the files do not load any more",
        runs: true,
        seed: |stage, proxy| {
            stage.world.configure(&stage.usual("\n[limits]\nnonsense = 1\n"));
            proxy.unwrap().wait_for_line("was not reloaded");
            plain()
        },
    },
    Fault {
        name: "a credential is suspended",
        id: "process.suspended",
        status: "warning",
        says: "-> when it may serve again: `claviger resume credential api --config claviger.toml`",
        runs: true,
        seed: |stage, _| {
            let done =
                stage.world.run(&["suspend", "credential", "api", "--config", "claviger.toml", "--reason", "leaked"]);
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            plain()
        },
    },
    Fault {
        name: "no proxy runs",
        id: "process.answers",
        status: "warning",
        says: "no proxy runs with this state folder",
        runs: false,
        seed: |_, _| plain(),
    },
    Fault {
        name: "the shell does not export the proxy",
        id: "environment.proxy",
        status: "warning",
        says: "HTTPS_PROXY is not set in this shell",
        runs: true,
        seed: |_, _| plain(),
    },
    Fault {
        name: "the proxy variable leads nowhere",
        id: "environment.proxy",
        status: "error",
        says: "HTTPS_PROXY names 127.0.0.1:1, where nobody listens",
        runs: false,
        seed: |_, _| {
            let url = format!("http://me:{NOT_TOLD}@127.0.0.1:1");
            plain().env("HTTPS_PROXY", &url).env("https_proxy", url)
        },
    },
    Fault {
        name: "NO_PROXY excepts a service",
        id: "environment.no_proxy",
        status: "error",
        says: "NO_PROXY excepts `api.test` of service.api from the proxy",
        runs: true,
        seed: |_, proxy| shell_of(proxy.unwrap()).env("NO_PROXY", "localhost,.test"),
    },
    Fault {
        name: "a variable names no certificates",
        id: "environment.ca",
        status: "error",
        says: "SSL_CERT_FILE names `/there/is/none.pem`, which is no file of certificates",
        runs: false,
        seed: |_, _| plain().env("SSL_CERT_FILE", "/there/is/none.pem"),
    },
    Fault {
        name: "a real secret in the environment",
        id: "environment.secrets",
        status: "warning",
        says: "may hold real secrets: OPENAI_API_KEY",
        runs: false,
        seed: |stage, _| plain().env("OPENAI_API_KEY", stage.world.canary.clone()),
    },
    Fault {
        name: "a token that is not valid yet",
        id: "clock.tokens",
        status: "error",
        says: "is not valid yet: it begins in ",
        runs: false,
        seed: |stage, _| {
            let later = OffsetDateTime::now_utc().unix_timestamp() + 7_200;
            stage.world.write("own.jwt", stage.world.issuer.token_with("app", json!({ "iat": later, "nbf": later })));
            let more =
                "\n[attestor.own]\nkind = \"locality\"\ntoken = \"own.jwt\"\nverify = \"ci\"\nloopback = \"private\"\n";
            stage.world.configure(&stage.usual(more));
            plain()
        },
    },
    Fault {
        name: "the clock was put back",
        id: "clock.ledger",
        status: "error",
        says: "s ahead of the clock",
        runs: false,
        seed: |stage, _| {
            record(stage, &json!({ "seq": 1, "at": at(3_600), "type": "system", "kind": "started" }));
            plain()
        },
    },
    Fault {
        name: "the ledger was edited",
        id: "ledger.chain",
        status: "error",
        says: "the ledger's chain is broken",
        runs: false,
        seed: |stage, _| {
            let proxy = stage.world.start();
            proxy.records("system", 1);
            assert!(proxy.stop().success());
            let file = stage.file("state/ledger/ledger.jsonl");
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::write(file, text.replacen("\"started\"", "\"stopped\"", 1)).unwrap();
            plain()
        },
    },
    Fault {
        name: "a request was denied",
        id: "network.denied",
        status: "warning",
        says: "refused: DELETE api.test:443/v1/files (no_rule)",
        runs: true,
        seed: |stage, proxy| {
            let proxy = proxy.unwrap();
            let token = stage.world.token("app");
            let url = proxy.gateway("/api/v1/files");
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let sent = client.delete(url).header("proxy-authorization", format!("Bearer {token}")).send();
            let status =
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(sent)).unwrap().status();
            assert_eq!(status, 403);
            proxy.records("finished", 1);
            plain()
        },
    },
    Fault {
        name: "a client went around the proxy",
        id: "network.bypassed",
        status: "error",
        says: "went around the proxy: api.test:443",
        runs: false,
        seed: |stage, _| {
            let detail = "`api.test:443`: a connection without the proxy";
            let event = json!({ "seq": 1, "at": at(-1), "type": "connection", "listener": "exec", "peer": "127.0.0.1",
                                "code": "bypassed", "detail": detail });
            record(stage, &event);
            plain()
        },
    },
];

/// The password of a proxy.
const NOT_TOLD: &str = "the-password-of-a-proxy";

/// What is missing from what is told of a fault.
async fn check(fault: &Fault) -> Vec<String> {
    let stage = Stage::new().await;
    let proxy = fault.runs.then(|| stage.world.start());
    let call = (fault.seed)(&stage, proxy.as_ref());
    let report = stage.json(&call, &[]);
    let (found, mut missing) = (wrong(&report), Vec::new());
    let mut demand = |holds: bool, what: String| {
        if !holds {
            missing.push(format!("{}: {what}", fault.name));
        }
    };
    let is_named = found.iter().any(|(id, status, _)| id == fault.id && status == fault.status);
    demand(is_named, format!("{} is not told: {found:#?}", fault.id));
    let said = stage.text(&call, &[]);
    demand(said.contains(fault.says), format!("no line says `{}`:\n{said}", fault.says));
    demand(!said.contains(NOT_TOLD) && !report.to_string().contains(NOT_TOLD), "a password is told".to_owned());
    // Whatever is wrong has a cause and something to do.
    for one in report["checks"].as_array().unwrap().iter().filter(|one| one["status"] != "ok") {
        let has = |name: &str| one[name].as_str().is_some_and(|text| !text.is_empty());
        demand(has("cause") && has("next"), one.to_string());
    }
    let code = |args: &[&str]| stage.doctor(&call, args).status.code();
    let expected = i32::from(found.iter().any(|(_, status, _)| status == "error"));
    demand(code(&[]) == Some(expected), format!("the exit code is not {expected}"));
    demand(code(&["--strict"]) == Some(1), "`--strict` takes no notice".to_owned());
    if let Some(proxy) = proxy {
        assert!(proxy.stop().success());
    }
    missing
}

/// A part of the faults: each part is a test, so that they run side by side.
async fn part(number: usize) {
    let mut missing = Vec::new();
    for fault in FAULTS.iter().skip(number).step_by(PARTS) {
        missing.extend(check(fault).await);
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

const PARTS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeded_faults_are_named_1() {
    part(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeded_faults_are_named_2() {
    part(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeded_faults_are_named_3() {
    part(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeded_faults_are_named_4() {
    part(3).await;
}

#[test]
fn there_are_enough_faults() {
    let ids: std::collections::BTreeSet<&str> = FAULTS.iter().map(|fault| fault.id).collect();
    assert!(ids.len() >= 20, "{ids:?}");
}
