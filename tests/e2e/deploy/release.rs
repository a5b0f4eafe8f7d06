//! What the release script leaves, of the development build: the same steps as for a release.

use std::process::Command;

use serde_json::Value;

use crate::tools::{deploy, installed, said, static_binary, succeed};

#[test]
fn the_binary_is_static_and_says_its_version() {
    let headers = succeed(Command::new("readelf").args(["--program-headers", "--wide"]).arg(static_binary()));
    assert!(headers.contains("LOAD") && !headers.contains("INTERP"), "{headers}");
    let said = succeed(Command::new(static_binary()).arg("--version"));
    assert_eq!(said, format!("claviger {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn checksums_hold() {
    let folder = installed("release");
    let said = succeed(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&folder));
    assert!(said.contains("claviger-linux-") && said.contains("claviger.cdx.json: OK"), "{said}");
}

/// CycloneDX, with every crate that the binary is linked from, and nothing of the machine that made it.
#[test]
fn the_sbom_names_every_crate() {
    let text = std::fs::read_to_string(installed("release/claviger.cdx.json")).unwrap();
    let sbom: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&sbom["bomFormat"], &sbom["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    let named: Vec<(&str, &str)> = sbom["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["version"].as_str().unwrap()))
        .collect();
    let tree = succeed(
        Command::new(env!("CARGO"))
            .args([
                "tree",
                "--offline",
                "--package",
                "claviger",
                "--edges",
                "normal",
                "--prefix",
                "none",
                "--format",
                "{p}",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR")),
    );
    let mut crates = 0;
    for line in tree.lines().filter(|line| !line.starts_with("claviger v")) {
        let mut words = line.split_whitespace();
        let (name, version) = (words.next().unwrap(), words.next().unwrap().trim_start_matches('v'));
        assert!(named.contains(&(name, version)), "{name} {version} is not in the SBOM");
        crates += 1;
    }
    assert!(crates > 100, "{crates}");
    let home = std::env::var("HOME").unwrap_or_else(|_| "/nowhere".to_owned());
    let here = env!("CARGO_MANIFEST_DIR").trim_end_matches("/tests");
    for place in [home.as_str(), here] {
        assert!(place == "/" || !text.contains(place), "{place} is in the SBOM");
    }
}

/// Refused before anything is built.
#[test]
fn what_cannot_be_built_is_said() {
    let out = tempfile::TempDir::new().unwrap();
    let build =
        |args: &[&str]| Command::new(deploy("release/build")).args(args).arg("--out").arg(out.path()).output().unwrap();
    let output = build(&["--targets", "x"]);
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(2), "build: unknown argument `--targets`\n"));
    let output = build(&["--target", "powerpc-unknown-linux-gnu"]);
    assert_eq!(
        (output.status.code(), said(&output).as_str()),
        (Some(1), "build: unknown target powerpc-unknown-linux-gnu\n")
    );
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
}
