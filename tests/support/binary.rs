//! The binary under test.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The `claviger` that was built beside this test; built now if it is not there.
pub fn binary() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let test = std::env::current_exe().unwrap();
            // target/<profile>/deps/<test>, or target/<profile>/<benchmark>
            let folder = test.parent().unwrap();
            let profile = if folder.ends_with("deps") { folder.parent().unwrap() } else { folder };
            let binary = profile.join("claviger");
            if std::env::var_os("CLAVIGER_TEST_NO_BUILD").is_none() {
                let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
                build.args(["build", "--quiet", "--package", "claviger"]);
                if profile.ends_with("release") {
                    build.arg("--release");
                }
                assert!(build.status().unwrap().success(), "the binary does not build");
            }
            assert!(binary.exists(), "`{}` is missing", binary.display());
            binary
        })
        .clone()
}
