//! The pages under `docs/journeys`, typed word for word; and the attestors that they rest on, over the real binary.

mod attestors;
mod document;
mod terminal;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use claviger_tests::peers::Installed;

use crate::document::{Step, matches};
use crate::terminal::Terminal;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/journeys")
}

#[test]
fn a_sidecar() {
    travel("sidecar.md");
}

#[test]
fn a_gateway_for_teams() {
    travel("gateway.md");
}

#[test]
fn a_rotation() {
    travel("rotation.md");
}

#[test]
fn an_incident() {
    travel("incident.md");
}

#[test]
fn a_laptop() {
    travel("laptop.md");
}

#[test]
fn a_coding_agent() {
    travel("agent.md");
}

/// Each page has a test of its name here, and a link from the README.
#[test]
fn every_page_is_typed() {
    let tests = include_str!("main.rs");
    let readme = std::fs::read_to_string(folder().join("../../README.md")).unwrap();
    let mut pages = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".md") {
            continue;
        }
        pages += 1;
        assert!(tests.contains(&format!("travel(\"{name}\")")), "{name} is not typed by a test");
        assert!(readme.contains(&format!("docs/journeys/{name}")), "{name} is not linked from the README");
    }
    assert!(pages > 0);
}

/// Types a page into an empty folder, and compares what is shown.
fn travel(page: &str) {
    // The pages name ports: one at a time, also of another run on this machine.
    let name = format!("claviger-journeys-{}.lock", rustix::process::getuid().as_raw());
    let lock = File::create(std::env::temp_dir().join(name)).unwrap();
    lock.lock().unwrap();
    let text = std::fs::read_to_string(folder().join(page)).unwrap();
    let steps = document::parse(&text);
    assert!(steps.len() > 3, "{page} has no steps");
    let scratch = tempfile::TempDir::new().unwrap();
    std::fs::copy(folder().join("standin.py"), scratch.path().join("standin.py")).unwrap();
    let programs = programs();
    let mut terminals: HashMap<String, Terminal> = HashMap::new();
    for step in steps {
        match step {
            Step::Shown { terminal, line, shown } => {
                let watched = terminals.get_mut(&terminal).unwrap_or_else(|| panic!("{page}:{line}: no `{terminal}`"));
                let said = watched.wait(|said| matches(&shown, said));
                eprintln!("({terminal})\n{said}");
            }
            Step::File { name, text } => {
                let file = scratch.path().join(name);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, text).unwrap();
            }
            Step::Command { terminal, line, text, shown } => {
                let is_first = terminal.is_empty();
                let typed =
                    terminals.entry(terminal).or_insert_with(|| Terminal::open(scratch.path(), programs.path()));
                // In the first terminal each command ends; elsewhere something may go on running.
                let enough = |said: &str| !is_first && !shown.is_empty() && matches(&shown, said);
                let mut said = typed.run(&text, enough);
                // The ledger is written moments after an answer: a reader who is that fast looks again.
                let deadline = Instant::now() + claviger_tests::PATIENCE;
                while text.starts_with("claviger ledger ") && !matches(&shown, &said) && Instant::now() < deadline {
                    said = typed.run(&text, enough);
                }
                // What a reader would have before them when a later step fails.
                eprintln!("$ {text}\n{said}");
                assert!(
                    matches(&shown, &said),
                    "docs/journeys/{page}:{line}: `{text}` shows\n{said}\n--- and not\n{}",
                    shown.join("\n")
                );
            }
        }
    }
    let screens: Vec<String> = terminals.values().map(Terminal::screen).collect();
    drop(terminals);
    for secret in secrets(scratch.path()) {
        for screen in &screens {
            assert!(!screen.contains(&secret), "{page}: a key is on the screen:\n{screen}");
        }
        // Where the page says, or where it is by itself.
        let states = ["state", ".local/state/claviger"].map(|state| scratch.path().join(state));
        assert!(states.iter().any(|state| state.is_dir()), "{page}: there is no state");
        for state in states.iter().filter(|state| state.is_dir()) {
            claviger_tests::canary::assert_absent_below(&secret, state);
        }
    }
}

/// What a reader has installed, as the pages ask for it: node and npm, whatever this machine has.
fn programs() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::TempDir::new().unwrap();
    let (node, npm) = (Installed::node(), Installed::npm());
    for (name, before) in [("node", String::new()), ("npm", format!("'{}' ", npm.display()))] {
        let program = folder.path().join(name);
        std::fs::write(&program, format!("#!/bin/sh\nexec '{}' {before}\"$@\"\n", node.display())).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

/// The values that the stand-ins ask for.
fn secrets(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let keys = files.filter(|file| file.extension().is_some_and(|extension| extension == "keys"));
    let lines: Vec<String> = keys
        .flat_map(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    // `name: value`, perhaps with ` # whose`.
    let value = |line: &String| Some(line.split(" # ").next()?.rsplit(' ').next()?.to_owned());
    let secrets: Vec<String> = lines.iter().filter_map(value).collect();
    assert!(!secrets.is_empty() && secrets.iter().all(|secret| secret.len() >= 12), "{secrets:?}");
    secrets
}
