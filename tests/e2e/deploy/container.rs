//! The container image: built by a real builder, and run as it is meant to.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use claviger_tests::World;
use serde_json::Value;
use tempfile::TempDir;

use crate::pod::is_root;
use crate::tools::{deploy, installed, said, static_binary, succeed};

/// A store of images of its own, and the builder over it.
struct Builder {
    folder: TempDir,
}

impl Builder {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        // Read for signatures only: nothing is pulled.
        std::fs::write(folder.path().join("policy.json"), r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)
            .unwrap();
        Self { folder }
    }

    fn run(&self, args: &[&str]) -> String {
        let unpacked = installed("deploy-debian");
        let mut command = Command::new(unpacked.join("usr/bin/buildah"));
        if !is_root() {
            command = Command::new("unshare");
            command.args(["--map-root-user", "--mount"]).arg(unpacked.join("usr/bin/buildah"));
        }
        for (option, name) in [("--root", "images"), ("--runroot", "run")] {
            command.arg(option).arg(self.folder.path().join(name));
        }
        command.args(["--storage-driver", "vfs"]).args(args);
        command.env("LD_LIBRARY_PATH", libraries(&unpacked)).env("BUILDAH_ISOLATION", "chroot");
        succeed(&mut command)
    }
}

/// Where the unpacked libraries lie.
fn libraries(unpacked: &Path) -> String {
    let folders = ["usr/lib", "lib"].map(|lib| unpacked.join(lib)).into_iter().filter(|lib| lib.is_dir());
    let inner = folders.flat_map(|lib| std::fs::read_dir(lib).unwrap().map(|entry| entry.unwrap().path()));
    inner.map(|path| path.display().to_string()).collect::<Vec<_>>().join(":")
}

/// The context that the release script leaves.
fn context(folder: &Path) -> PathBuf {
    let context = folder.join("context");
    std::fs::create_dir(&context).unwrap();
    let binary = static_binary();
    std::fs::copy(&binary, context.join(binary.file_name().unwrap())).unwrap();
    context
}

/// Runs the image's binary with a root that cannot be written, as its user, without privileges: what `--read-only`,
/// `--user` and `--cap-drop all` of a container engine do.
const CONTAINER: &str = r#"
set -eu
root=$1 config=$2 state=$3
shift 3
mount --bind "$root" "$root"
mkdir -p "$root/etc/claviger" "$root/var/lib/claviger"
mount --bind "$config" "$root/etc/claviger"
mount --bind "$state" "$root/var/lib/claviger"
mount -o remount,bind,ro "$root"
cd /
if [ "$(id -u)" = 0 ] && [ "$IS_ROOT" = yes ]; then
    exec chroot --userspec=65532:65532 "$root" "$@"
fi
exec chroot "$root" "$@"
"#;

/// What is mounted: a configuration, and a folder for the state.
fn prepare(folder: &Path, world: &World) {
    for name in ["config", "state"] {
        std::fs::create_dir(folder.join(name)).unwrap();
        std::fs::set_permissions(folder.join(name), PermissionsExt::from_mode(0o777)).unwrap();
    }
    // Engines let the user pass through; a test's folder does not by itself.
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(
        folder.join("config/claviger.toml"),
        "version = 1\ntrust_domain = \"acme.test\"\n[listener.egress]\nmode = \"forward\"\nbind = \"127.0.0.1:0\"\n\
         authenticate = [\"ci\"]\n[attestor.ci]\nkind = \"jwt\"\nissuer = \"https://ci.test\"\naudience = \"claviger\"\n\
         jwks = \"jwks.json\"\nidentity = \"spiffe://acme.test/ci/{sub}\"\n[admin]\nbind = \"127.0.0.1:0\"\n",
    )
    .unwrap();
    std::fs::write(folder.join("config/jwks.json"), world.issuer.jwks()).unwrap();
}

#[test]
fn the_image_is_the_binary_alone_and_serves() {
    let builder = Builder::new();
    let folder = builder.folder.path();
    let policy = folder.join("policy.json").display().to_string();
    let file = deploy("container/Containerfile").display().to_string();
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let image = "claviger:test";
    builder.run(&[
        "build",
        "--quiet",
        "--signature-policy",
        &policy,
        "--format",
        "docker",
        "--file",
        &file,
        "--build-arg",
        &format!("TARGETARCH={arch}"),
        "--build-arg",
        "REVISION=abc",
        "--tag",
        image,
        context(folder).to_str().unwrap(),
    ]);
    let image_is: Value = serde_json::from_str(&builder.run(&["inspect", "--type", "image", image])).unwrap();
    let config = &image_is["Docker"]["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], serde_json::json!(["/claviger"]));
    assert_eq!(config["Cmd"], serde_json::json!(["run"]));
    assert_eq!(config["StopSignal"], "SIGTERM");
    let probe = config["Healthcheck"]["Test"].as_array().unwrap();
    assert_eq!(config["Labels"]["org.opencontainers.image.revision"], "abc");
    assert_eq!(config["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));

    let container = builder.run(&["from", "--pull-never", "--signature-policy", &policy, image]);
    let root = builder.run(&["mount", container.trim()]);
    let root = Path::new(root.trim());
    let held: Vec<_> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(held, ["claviger"], "the image holds more than the binary");

    let world = World::new();
    prepare(folder, &world);
    let mut command = Command::new("unshare");
    command.args(if is_root() { &["--mount"][..] } else { &["--map-root-user", "--mount"] });
    command.args(["sh", "-c", CONTAINER, "container"]).arg(root).arg(folder.join("config")).arg(folder.join("state"));
    command.args(["/claviger", "run"]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("IS_ROOT", if is_root() { "yes" } else { "no" });
    for pair in config["Env"].as_array().unwrap().iter().filter_map(|one| one.as_str()?.split_once('=')) {
        if pair.0 != "PATH" {
            command.env(pair.0, pair.1);
        }
    }
    let proxy = world.start_command(command);
    // The probe of the image, with the port that this run has.
    let arguments: Vec<&str> = probe.iter().skip(2).filter_map(Value::as_str).collect();
    assert_eq!((&probe[0], &probe[1]), (&"CMD".into(), &"/claviger".into()));
    let arguments: Vec<&str> =
        arguments.into_iter().map(|one| if one == "127.0.0.1:7071" { proxy.address("admin") } else { one }).collect();
    let output = Command::new(static_binary()).args(arguments).output().unwrap();
    assert_eq!((said(&output).as_str(), output.status.code()), ("ok\n", Some(0)));
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    if is_root() {
        assert!(status.contains("\nUid:\t65532\t65532\t65532\t65532\n"), "{status}");
        assert!(status.contains("\nCapEff:\t0000000000000000\n"), "{status}");
    }
    assert!(folder.join("state/ledger/ledger.jsonl").exists(), "the state is not where it is mounted");
    proxy.stop();
}
