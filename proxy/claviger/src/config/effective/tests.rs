//! The defaults that are shown are those that hold.

use claviger_ledger::LedgerSettings;
use claviger_policy::document::{SourceFile, parse};
use claviger_wire::{Limits, ListenerSettings};

use super::*;
use crate::config::{Texts, files, services};

/// Nothing but what must be written.
const LEAST: &str = r#"version = 1
trust_domain = "acme.test"
[listener.gateway]
mode = "gateway"
bind = "127.0.0.1:7070"
authenticate = ["ci"]
[listener.forward]
mode = "forward"
bind = "unix:forward.sock"
authenticate = ["ci"]
[service.api]
hosts = ["api.test"]
inject = "bearer"
[ledger]
[limits]
"#;

fn shown(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claviger.toml");
    std::fs::write(&path, text).unwrap();
    let mut out = Diagnostics::default();
    let files = files(&path, &mut Texts::default(), &mut out).unwrap();
    Effective::of(&files).unwrap().unwrap().to_toml()
}

/// What the parts make of a text.
fn settings(text: &str) -> Vec<String> {
    let mut out = Diagnostics::default();
    let mut root = parse(&SourceFile::new("claviger.toml", text), &mut out).unwrap();
    let mut all = vec![format!("{:?}", Limits::take(&mut root, &mut out))];
    all.push(format!("{:?}", LedgerSettings::take(&mut root, Path::new("state"), &mut out)));
    for one in ListenerSettings::take_all(&mut root, &mut out) {
        all.push(format!(
            "{} {:?} {:o} {:?} {:?} {:?} {} {:?}",
            one.name,
            one.bind,
            one.socket_mode,
            one.authenticate_at,
            one.unmatched,
            one.tunnel_guard,
            one.connections_max,
            one.unenforced,
        ));
    }
    for one in services::take(&mut root, &mut out).0 {
        let (route, wire) = (&one.route, &one.settings);
        all.push(format!(
            "{:?} {:?} {:?} {:?} {} {:?} {:?} {}",
            route.hosts(),
            route.scheme(),
            wire.connect,
            wire.allow_addresses,
            wire.http2,
            wire.response_timeout,
            wire.body_max,
            one.plan.guards(),
        ));
    }
    assert!(!out.has_errors(), "{out:?}\n{text}");
    all
}

#[test]
fn the_defaults_that_are_shown_are_those_that_hold() {
    let shown = shown(LEAST);
    for key in ["connections_max", "unmatched", "socket_mode", "http2", "response_timeout", "ring", "headers_max"] {
        assert!(!LEAST.contains(key) && shown.contains(key), "{key} is not in\n{shown}");
    }
    assert_eq!(settings(LEAST), settings(&shown), "{shown}");
}
