//! `claviger k8s inject` over manifests in the shape of well-known projects.

use std::process::Output;

use claviger_tests::World;

use serde_json::Value;

use crate::tools::{deploy, documents_of, repository, said, validate};

/// The oldest version with native sidecars, and the newest whose schemas are at hand.
const VERSIONS: [&str; 2] = ["1.29", "1.37"];

/// Name, and how many pods there are in it.
const MANIFESTS: [(&str, usize); 10] = [
    ("backups.yaml", 2),
    ("blog-with-database.yaml", 2),
    ("boutique.yaml", 2),
    ("cache-cluster.yaml", 1),
    ("certificate-controller.yaml", 1),
    ("ci-runner.yaml", 1),
    ("exported-list.json", 1),
    ("node-metrics.yaml", 1),
    ("web-frontend.yaml", 1),
    ("workflow-engine.yaml", 2),
];

fn inject(world: &World, text: &str, args: &[&str]) -> Output {
    world.run_with_input(&[&["k8s", "inject", "-f", "-"], args].concat(), text)
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Valid before and after; a second run changes nothing; taken away again, all is as it was.
#[test]
fn manifests_of_well_known_projects() {
    let world = World::new();
    let folder = repository().join("tests/e2e/deploy/manifests");
    let mut before = Vec::new();
    let (mut files, mut originals, mut backs, mut wholes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (name, pods) in MANIFESTS {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        before.push(folder.join(name));
        for mode in ["sidecar", "gateway"] {
            let injected = inject(&world, &text, &["--mode", mode]);
            if name == "node-metrics.yaml" && mode == "sidecar" {
                assert_eq!(injected.status.code(), Some(1));
                let expected = "-:19:20: error: DaemonSet/node-exporter: `hostNetwork` is on: the sidecar would serve \
                                everything on the node as this workload\n  help: use --mode gateway, or take hostNetwork \
                                away\nclaviger: 1 error, nothing is printed\n";
                assert_eq!(said(&injected), expected);
                continue;
            }
            let injected = printed(&injected);
            let again = printed(&inject(&world, &injected, &["--mode", mode]));
            assert_eq!(again, injected, "{name} {mode}, injected twice");
            for line in text.lines().filter(|line| line.contains('#')) {
                assert!(injected.contains(line), "{name}: a comment is gone: {line}");
            }
            assert_eq!(injected.matches("--ca-dir").count(), if mode == "sidecar" { pods } else { 0 }, "{name} {mode}");
            assert_eq!(injected.matches("claviger.dev/injected").count(), pods, "{name} {mode}");
            world.write(&format!("{mode}-{name}"), &injected);
            files.push(world.path().join(format!("{mode}-{name}")));
            backs.push(printed(&inject(&world, &injected, &["--uninject"])));
            originals.push(text.clone());
            wholes.push(injected);
        }
    }
    for version in VERSIONS {
        // Each in both modes, but for the one object that has no sidecar.
        assert_eq!(validate(version, &files, &[]), 2 * validate(version, &before, &[]) - 1);
    }
    let parse = |texts: &[String]| documents_of(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    for (back, original) in parse(&backs).into_iter().zip(parse(&originals)) {
        assert_eq!(pruned(back.into()), pruned(original.into()));
    }
    assert!(parse(&wholes).iter().flatten().count() > 30);
}

/// What was empty before may be absent afterwards: the two mean the same.
fn pruned(value: Value) -> Value {
    let is_something = |value: &Value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    };
    match value {
        Value::Array(items) => items.into_iter().map(pruned).collect(),
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| (key, pruned(value)))
            .filter(|(_, value)| is_something(value))
            .collect(),
        other => other,
    }
}

/// What the file of `deploy/` says of itself.
#[test]
fn the_sidecar_manifest_is_the_application_injected() {
    let world = World::new();
    let app = std::fs::read_to_string(deploy("kubernetes/app.yaml")).unwrap();
    let injected = printed(&inject(&world, &app, &["--secret", "claviger-credentials"]));
    let written = std::fs::read_to_string(deploy("kubernetes/sidecar.yaml")).unwrap();
    assert!(
        injected == written,
        "deploy/kubernetes/sidecar.yaml is not of this version; make it anew:\n  \
         claviger k8s inject --secret claviger-credentials -f app.yaml > sidecar.yaml"
    );
    for version in VERSIONS {
        assert_eq!(validate(version, &[deploy("kubernetes/sidecar.yaml")], &[]), 2);
    }
}

/// Files, standard input, and what is wrong with either.
#[test]
fn the_command_says_what_it_was_asked() {
    let world = World::new();
    world.write(
        "pod.yaml",
        "kind: Pod\nspec:\n  containers:\n  - name: a\n    env:\n    - {name: NO_PROXY, value: x}\n",
    );
    let output = world.run(&["k8s", "inject", "-f", "pod.yaml"]);
    assert!(output.status.success());
    let notes = String::from_utf8(output.stderr).unwrap();
    assert_eq!(notes, "pod.yaml:6: note: Pod/?: container `a` sets `NO_PROXY` itself: left as it is\n");
    for (text, expected) in [
        ("a: [", "-:2:1: error: "),
        (
            "kind: Pod\nmetadata:\n  name: {{ .Values.name }}\n",
            "-:3:10: error: a key that is no text\n  help: is it a template? ",
        ),
        ("kind: Pod\nspec: {}\n", "-:2:7: error: Pod/?: the pod has no `containers`\n"),
    ] {
        let output = inject(&world, text, &[]);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(output.stdout.is_empty() && said(&output).starts_with(expected), "{}", said(&output));
    }
    let output = world.run(&["k8s", "inject", "-f", "missing.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("failed to read `missing.yaml`"));
}
