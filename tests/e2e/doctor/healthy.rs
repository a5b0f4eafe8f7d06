//! A machine on which nothing is wrong: nothing red, and nothing is changed by looking.

use std::collections::BTreeMap;
use std::path::Path;

use crate::stage::{Call, Stage, shell_of, text, wrong};

/// Every file below a folder with what is in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            let name = entry.path().display().to_string();
            if kind.is_dir() {
                folders.push(entry.path());
                all.insert(name, Vec::new());
            } else if kind.is_file() {
                all.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    all
}

#[tokio::test]
async fn nothing_is_wrong_with_a_healthy_machine() {
    let stage = Stage::new().await;
    let proxy = stage.world.start();
    let shell = shell_of(&proxy);
    let report = stage.json(&shell, &[]);
    // Of an older kernel it may say less good things.
    let all = wrong(&report).into_iter().filter(|(id, ..)| !id.starts_with("kernel."));
    assert_eq!(all.collect::<Vec<_>>(), [], "{report:#}");
    let ids: Vec<&str> =
        report["checks"].as_array().unwrap().iter().map(|check| check["id"].as_str().unwrap()).collect();
    for id in [
        "config.found",
        "config.loads",
        "config.files",
        "config.named",
        "state.folder",
        "state.key",
        "state.sealed",
        "state.database",
        "secrets.resolve",
        "ledger.chain",
        "process.answers",
        "process.generation",
        "process.suspended",
        "listener.bind",
        "ca.present",
        "ca.fits",
        "ca.expires",
        "ca.chain",
        "environment.proxy",
        "environment.secrets",
        "client.exec",
        "network.denied",
        "clock.build",
        "clock.ledger",
        "kernel.peer",
        "kernel.files",
    ] {
        assert!(ids.contains(&id), "{id}: {ids:?}");
    }
    let output = stage.doctor(&shell, &["--only", "configuration,state,process,authority,network,clock"]);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stdout);
    assert!(said.lines().all(|line| !line.trim_start().starts_with(['!', 'x', '✗'])), "{said}");
    assert!(said.contains("all as it should be"), "{said}");
    assert!(said.is_ascii(), "no locale is set: {said}");
    assert_eq!(stage.doctor(&shell, &["--strict", "--only", "state"]).status.code(), Some(0));
    assert!(proxy.stop().success());
}

#[tokio::test]
async fn looking_changes_nothing() {
    let stage = Stage::new().await;
    // The authority is there, and nobody runs.
    assert!(stage.world.run(&["ca", "--config", "claviger.toml"]).status.success());
    let before = files(stage.world.path());
    stage.json(&Call::default(), &[]);
    assert_eq!(files(stage.world.path()), before);
}

#[tokio::test]
async fn it_works_without_a_configuration() {
    let stage = Stage::new().await;
    std::fs::remove_file(stage.file("claviger.toml")).unwrap();
    let call = Call { unnamed: true, ..Call::default() };
    let report = stage.json(&call, &[]);
    assert_eq!(report["status"], "warning", "{report:#}");
    assert!(wrong(&report).contains(&("config.found".to_owned(), "warning".to_owned(), String::new())), "{report:#}");
    assert_eq!(stage.doctor(&call, &[]).status.code(), Some(0));
    assert_eq!(stage.doctor(&call, &["--strict"]).status.code(), Some(1));
    // One that is named has to be there.
    let report = stage.json(&Call::default(), &["--only", "configuration"]);
    assert_eq!(wrong(&report), [("config.found".to_owned(), "error".to_owned(), String::new())]);
}

#[tokio::test]
async fn how_it_is_called_and_how_it_looks() {
    let stage = Stage::new().await;
    let call = Call::default();
    for (args, code) in [
        (&["--only", "nonsense"][..], 2),
        (&["--since", "yesterday"], 2),
        (&["--timeout", "0"], 2),
        (&["--only", "kernel", "--only", "clock"], 0),
        (&["--only", "configuration", "--since", "2h"], 0),
    ] {
        assert_eq!(stage.doctor(&call, args).status.code(), Some(code), "{args:?}");
    }
    let signs = call.env("LANG", "C.UTF-8");
    let said = text(&stage.doctor(&signs, &["--only", "configuration"]).stdout);
    assert!(said.contains("  ✓ "), "{said}");
    assert!(!said.contains('\u{1b}'), "colours are for terminals: {said}");
    let said = text(&stage.doctor(&signs, &["--only", "configuration", "--ascii"]).stdout);
    assert!(said.contains("  ok ") && said.is_ascii(), "{said}");
    // A category is told alone.
    let report = stage.json(&signs, &["--only", "clock"]);
    assert!(report["checks"].as_array().unwrap().iter().all(|check| check["category"] == "clock"), "{report:#}");
}
