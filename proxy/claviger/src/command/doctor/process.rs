//! The running proxy, and the addresses that it has or wants.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;

use claviger_wire::Bind;
use serde_json::Value;

use super::check::{Check, Id};
use super::scene::{Listening, Scene};
use crate::admin::client::{Client, ClientError};
use crate::os;

/// All of this category.
pub(crate) fn checks(scene: &Scene<'_>) -> Vec<Check> {
    if scene.blind {
        return Vec::new();
    }
    let mut all = vec![answers(scene)];
    if let Ok(status) = scene.status() {
        all.extend(generation(scene, status));
        all.extend(health(status));
    }
    all.extend(suspended(scene));
    all.extend(addresses(scene));
    all
}

fn text<'v>(value: &'v Value, path: &str) -> &'v str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or_default()
}

fn answers(scene: &Scene<'_>) -> Check {
    match scene.status() {
        Ok(status) => {
            let (version, pid) = (text(status, "/version"), number(status, "/pid"));
            if text(status, "/phase") != "serving" {
                let what = format!("the proxy (pid {pid}) is draining");
                let next = "start it again when it has ended: `claviger run`";
                return Check::warning(Id::ProcessAnswers, what, "it was asked to stop", next);
            }
            if version != env!("CARGO_PKG_VERSION") {
                let what = format!("the proxy (pid {pid}) is of version {version}");
                let cause = format!("this command is of version {}", env!("CARGO_PKG_VERSION"));
                return Check::warning(Id::ProcessAnswers, what, cause, "restart the proxy, or use its own command");
            }
            Check::ok(Id::ProcessAnswers, format!("a proxy runs here (pid {pid}, version {version})"))
        }
        Err(ClientError::NotRunning(_)) if scene.leaves.iter().any(|(key, _)| key.starts_with("listener.")) => {
            let cause = format!("nobody answers at `{}`", scene.socket.display());
            let next = "`claviger run` starts it; `claviger exec` needs none";
            Check::warning(Id::ProcessAnswers, "no proxy runs with this state folder", cause, next)
        }
        Err(ClientError::NotRunning(_)) => {
            Check::ok(Id::ProcessAnswers, "no proxy runs here, and the configuration asks for none")
        }
        Err(error) => {
            let what = "the running proxy does not say how it is";
            let next = "run this as the user of the proxy, or as root";
            Check::warning(Id::ProcessAnswers, what, error.to_string(), next)
        }
    }
}

/// Whether what lies in the files is what is in force.
fn generation(scene: &Scene<'_>, status: &Value) -> Option<Check> {
    let running = text(status, "/configuration");
    let number = number(status, "/generation");
    let frozen = scene.teams.iter().flat_map(|teams| teams.iter()).any(|(_, team)| team.frozen.is_some());
    let wanted = scene.compiled.as_ref().map(|compiled| &*compiled.generation.configuration);
    Some(match wanted {
        Some(wanted) if wanted == running => {
            Check::ok(Id::ProcessGeneration, format!("what the files say is in force (generation {number})"))
        }
        // A running proxy may keep a team's last good files, which nobody else knows.
        Some(_) if frozen => return None,
        Some(_) => Check::error(
            Id::ProcessGeneration,
            format!("generation {number} is in force, and the files say something else"),
            "they were changed, and the proxy has not taken them up",
            "`claviger reload`, which says why if it cannot",
        ),
        None => Check::error(
            Id::ProcessGeneration,
            format!("generation {number} is in force, and the files do not load any more"),
            "the proxy goes on with what it had, and would not start again",
            "put the file right (`claviger check`), then `claviger reload`",
        ),
    })
}

fn health(status: &Value) -> Vec<Check> {
    let complaint = |part: &str, next: &str| {
        let why = text(status, &format!("/{part}/complaint"));
        let what = format!("the running proxy complains of its {part}");
        (!why.is_empty()).then(|| Check::error(Id::ProcessHealth, what, why, next).of(part))
    };
    let all = [
        complaint("state", "nothing can be suspended or resumed until the file is back"),
        complaint("ledger", "make room on the disk, or let the proxy write there"),
    ];
    all.into_iter().flatten().collect()
}

/// What an operator has stopped: on purpose, and a reason why something does not work.
fn suspended(scene: &Scene<'_>) -> Vec<Check> {
    if scene.status().is_err() {
        return Vec::new();
    }
    let listed = Client::at(&scene.socket).get("/v1/suspensions").unwrap_or_default();
    let listed = listed.get("suspensions").and_then(Value::as_array).cloned().unwrap_or_default();
    let all: Vec<_> = listed.iter().map(one_suspended).collect();
    if all.is_empty() { vec![Check::ok(Id::ProcessSuspended, "nothing is suspended")] } else { all }
}

fn one_suspended(one: &Value) -> Check {
    let (kind, name) = (text(one, "/kind"), text(one, "/name"));
    let reason = text(one, "/reason");
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let cause = format!("by {}{reason}", text(one, "/actor"));
    let next = format!("when it may serve again: `claviger resume {kind} {name}`");
    Check::warning(Id::ProcessSuspended, format!("{kind} `{name}` is suspended"), cause, next)
        .of(format!("{kind} {name}"))
}

fn addresses(scene: &Scene<'_>) -> Vec<Check> {
    scene.listening().into_iter().map(|one| address(&one, scene)).collect()
}

fn address(one: &Listening, scene: &Scene<'_>) -> Check {
    let (key, bind) = (&one.key, &one.bind);
    if let Some(bound) = scene.bound(key) {
        return Check::ok(Id::ListenerBind, format!("`{key}` has {bind}", bind = bound)).of(key);
    }
    if key == "admin" && scene.status().is_ok() {
        return Check::ok(Id::ListenerBind, format!("`{key}` has {bind}")).of(key);
    }
    let taken = match bind {
        Bind::Tcp(address) => refused(*address),
        Bind::Unix(file) => UnixStream::connect(file).is_ok().then(|| "another process answers there".to_owned()),
    };
    match taken {
        None => Check::ok(Id::ListenerBind, format!("`{key}` can have {bind}")).of(key),
        Some(why) => {
            let next = format!("end what holds it, or write another address at `{key}.bind`");
            Check::error(Id::ListenerBind, format!("`{key}` cannot have {bind}"), why, next).of(key)
        }
    }
}

/// Why this process cannot have the address. It is bound for a moment, and nobody can connect to it in that moment.
fn refused(address: SocketAddr) -> Option<String> {
    let error = TcpListener::bind(address).err()?;
    Some(match error.kind() {
        ErrorKind::AddrInUse => match os::holder_of(address.port()) {
            Some((pid, program)) => format!("`{program}` (pid {pid}) listens there"),
            None => "another process listens there".to_owned(),
        },
        ErrorKind::PermissionDenied => format!("this user may not bind port {}", address.port()),
        ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        _ => error.to_string(),
    })
}
