//! Packages of one file, `said.txt`, for each package manager.

use std::process::Command;

use claviger_tests::peers::Installed;

/// Name and bytes of a wheel (PEP 427) that installs `said.txt`.
pub(crate) fn wheel(said: &str) -> (String, Vec<u8>) {
    let script = r#"
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    wheel.writestr("said.txt", sys.argv[2])
    info = "said-1.0.0.dist-info/"
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: said\nVersion: 1.0.0\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    names = ["said.txt", info + "METADATA", info + "WHEEL", info + "RECORD"]
    wheel.writestr(info + "RECORD", "".join(f"{name},,\n" for name in names))
"#;
    let folder = tempfile::tempdir().unwrap();
    let name = "said-1.0.0-py3-none-any.whl".to_owned();
    let file = folder.path().join(&name);
    let ran = Command::new(Installed::python()).args(["-c", script]).arg(&file).arg(said).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    (name, std::fs::read(file).unwrap())
}

/// A gzipped tar of `FOLDER/MANIFEST` and `FOLDER/said.txt`, and of what a crate wants besides.
pub(crate) fn tarball(folder: &str, manifest: &str, text: &str, said: &str) -> Vec<u8> {
    let root = tempfile::tempdir().unwrap();
    let inner = root.path().join(folder);
    std::fs::create_dir_all(inner.join("src")).unwrap();
    std::fs::write(inner.join(manifest), text).unwrap();
    std::fs::write(inner.join("said.txt"), said).unwrap();
    std::fs::write(inner.join("src/lib.rs"), "").unwrap();
    let ran = Command::new("tar").arg("-cz").arg("-C").arg(root.path()).arg(folder).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}
