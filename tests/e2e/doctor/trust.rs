//! `claviger trust`, in a folder that stands for the root of a machine: this machine's own stores are never changed.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use claviger_tests::{World, binary};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use crate::stage::{installed, script, text};

/// A machine's root with a store as Debian has it, and a command that takes certificates up as Debian's does.
struct Machine {
    world: World,
}

const ANCHORS: &str = "image/usr/local/share/ca-certificates";
const BUNDLE: &str = "image/etc/ssl/certs/ca-certificates.crt";

/// As much of Debian's command as is needed, with its options.
const UPDATE: &str = r#"while [ $# -gt 0 ]; do
  case $1 in
    --localcertsdir) local=$2; shift ;;
    --etccertsdir) etc=$2; shift ;;
  esac
  shift
done
echo run >> "$(dirname "$0")/runs"
cat "$local"/*.crt > "$etc/ca-certificates.crt" 2> /dev/null || true"#;

impl Machine {
    fn new() -> Self {
        let world = World::new();
        for folder in ["bin", ANCHORS, "image/etc/ssl/certs"] {
            std::fs::create_dir_all(world.path().join(folder)).unwrap();
        }
        let machine = Self { world };
        script(&machine.path("bin"), "update-ca-certificates", UPDATE);
        machine.world.write("one.pem", certificate("one", 900));
        machine.world.write("two.pem", certificate("two", 900));
        machine.world.write(&format!("{ANCHORS}/corporate.crt"), certificate("corporate", 900));
        // Looks like one of ours, and is not what its name says.
        machine.world.write(&format!("{ANCHORS}/claviger-mine.crt"), certificate("mine", 900));
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let all: Vec<&str> = ["trust"].iter().chain(args).chain(&["--root", "image"]).copied().collect();
        let mut command = self.world.command(&all);
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()));
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Names of what lies among the anchors.
    fn anchors(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(ANCHORS)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn ours(&self) -> Vec<String> {
        self.anchors().into_iter().filter(|name| name != "corporate.crt" && name != "claviger-mine.crt").collect()
    }

    fn status(&self, ca: &str) -> Value {
        let output = self.run(&["status", "--system", "-o", "json", "--ca", ca]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let is_installed = report["stores"][0]["status"] == "installed";
        assert_eq!(output.status.code(), Some(if is_installed { 0 } else { 1 }), "{report}");
        report
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(self.path("bin/runs")).unwrap_or_default().lines().count()
    }
}

/// An authority that ends so many days from now.
fn certificate(name: &str, days: i64) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = OffsetDateTime::now_utc() - Duration::days(100);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(days);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

fn inner(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("---")).collect()
}

fn holds(bundle: &Path, pem: &Path) -> bool {
    let flat = |path| std::fs::read_to_string(path).unwrap_or_default();
    inner(&flat(bundle)).contains(&inner(&flat(pem)))
}

#[test]
fn what_is_installed_is_removed_and_nothing_else() {
    let machine = Machine::new();
    let (one, two) = (machine.path("one.pem"), machine.path("two.pem"));
    assert_eq!(machine.status("one.pem")["stores"][0]["status"], "absent");

    let said = machine.ok(&["install", "--ca", "one.pem", "--yes"]);
    assert_eq!(machine.ours().len(), 1);
    assert!(holds(&machine.path(BUNDLE), &one));
    let report = machine.status("one.pem");
    let fingerprint = report["authority"]["sha256"].as_str().unwrap();
    assert_eq!(report["stores"][0]["status"], "installed");
    assert_eq!(report["stores"][0]["fingerprints"], serde_json::json!([fingerprint]));
    // It says what it changes, what that means, and what has changed.
    for word in [fingerprint, "pretend to be any host", "claviger exec", "added    ", "changed  "] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let mode = std::fs::metadata(machine.path(ANCHORS).join(&machine.ours()[0])).unwrap().mode();
    assert_eq!(mode & 0o777, 0o644);

    // A second time nothing happens.
    let (before, runs) = (machine.anchors(), machine.runs());
    let said = machine.ok(&["install", "--ca", "one.pem"]);
    assert!(said.contains("holds it already"), "{said}");
    assert_eq!((machine.anchors(), machine.runs()), (before, runs));

    // Another authority: the store holds one of ours, and not the one that counts.
    assert_eq!(machine.status("two.pem")["stores"][0]["status"], "other");
    machine.ok(&["install", "--ca", "two.pem", "--yes"]);
    assert_eq!(machine.ours().len(), 2);
    assert!(holds(&machine.path(BUNDLE), &two));

    // Both go, also without any authority at hand; what others put there stays.
    let said = machine.ok(&["remove", "--system", "--yes"]);
    assert!(said.contains(fingerprint), "{said}");
    assert_eq!(machine.anchors(), ["claviger-mine.crt", "corporate.crt"]);
    let bundle = machine.path(BUNDLE);
    assert!(!holds(&bundle, &one) && !holds(&bundle, &two));
    assert!(holds(&bundle, &machine.path(ANCHORS).join("corporate.crt")));
    let said = machine.ok(&["remove", "--system"]);
    assert!(said.contains("no store holds anything"), "{said}");
}

#[test]
fn nothing_happens_without_consent() {
    let machine = Machine::new();
    let before = machine.anchors();
    let said = machine.ok(&["install", "--ca", "one.pem", "--dry-run"]);
    assert!(said.contains("Would do, as root:") && said.contains("install -D -m 0644"), "{said}");
    let output = machine.run(&["install", "--ca", "one.pem"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--yes"), "{}", text(&output.stderr));
    assert_eq!((machine.anchors(), machine.runs()), (before, 0));
    machine.ok(&["install", "--ca", "one.pem", "--yes"]);
    let before = machine.anchors();
    assert_eq!(machine.run(&["remove", "--system"]).status.code(), Some(2));
    machine.ok(&["remove", "--system", "--dry-run"]);
    assert_eq!(machine.anchors(), before);
}

#[test]
fn what_cannot_be_taken_up_is_not_left_behind() {
    let machine = Machine::new();
    for (update, says) in [("echo no disk >&2; exit 3", "no disk"), ("exit 0", "does not hold the certificate")] {
        script(&machine.path("bin"), "update-ca-certificates", update);
        let output = machine.run(&["install", "--ca", "one.pem", "--yes"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(says), "{}", text(&output.stderr));
        assert_eq!(machine.ours(), Vec::<String>::new(), "{update}");
    }
}

#[test]
fn only_an_authority_that_is_good_for_something_is_installed() {
    let machine = Machine::new();
    machine.world.write("old.pem", certificate("old", -1));
    machine.world.write("two.crt", [certificate("a", 9), certificate("b", 9)].concat());
    machine.world.write("leaf.pem", {
        let key = KeyPair::generate().unwrap();
        CertificateParams::new(["api.test".to_owned()]).unwrap().self_signed(&key).unwrap().pem()
    });
    for (file, says) in [
        ("old.pem", "has expired on"),
        ("two.crt", "exactly one certificate"),
        ("leaf.pem", "of no authority"),
        ("jwks.json", "exactly one certificate"),
        ("nothing.pem", "No such file"),
    ] {
        let output = machine.run(&["install", "--ca", file, "--yes"]);
        assert_eq!(output.status.code(), Some(1), "{file}");
        assert!(text(&output.stderr).contains(says), "{file}: {}", text(&output.stderr));
    }
    assert_eq!(machine.ours(), Vec::<String>::new());
    // A configuration's own authority is not made by this: under sudo it would be another user's.
    machine.world.write("claviger.toml", machine.world.usual(1, "").replace("secret = \"secret://sealed/api\"\n", ""));
    let output = machine.run(&["install", "--config", "claviger.toml", "--yes"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("`claviger ca` makes the authority"), "{}", text(&output.stderr));
    assert!(!machine.path("state/ca.pem").exists());
    assert!(machine.world.run(&["ca", "--config", "claviger.toml"]).status.success());
    machine.ok(&["install", "--config", "claviger.toml", "--yes"]);
    assert!(holds(&machine.path(BUNDLE), &machine.path("state/ca.pem")));
    // One that was good when it was installed.
    let file = machine.path(ANCHORS).join(&machine.ours()[0]);
    std::fs::remove_file(file).unwrap();
    let old = std::fs::read_to_string(machine.path("old.pem")).unwrap();
    let print = machine.status("old.pem")["authority"]["sha256"].as_str().unwrap()[..16].to_owned();
    machine.world.write(&format!("{ANCHORS}/claviger-{print}.crt"), old);
    assert_eq!(machine.status("old.pem")["stores"][0]["status"], "expired");
    assert_eq!(machine.status("one.pem")["stores"][0]["status"], "expired");
}

#[test]
fn each_system_has_its_store() {
    for (sign, anchors) in [
        ("usr/local/share/ca-certificates", "image/usr/local/share/ca-certificates"),
        ("usr/share/ca-certificates", "image/usr/local/share/ca-certificates"),
        ("etc/pki/ca-trust/source/anchors", "image/etc/pki/ca-trust/source/anchors"),
        ("etc/pki/trust/anchors", "image/etc/pki/trust/anchors"),
        ("etc/ca-certificates/trust-source/anchors", "image/etc/ca-certificates/trust-source/anchors"),
    ] {
        let machine = Machine::new();
        std::fs::remove_dir_all(machine.path("image")).unwrap();
        std::fs::create_dir_all(machine.path("image").join(sign)).unwrap();
        let report = machine.status("one.pem");
        let path = Path::new(report["stores"][0]["path"].as_str().unwrap());
        assert!(path.is_absolute() && path.ends_with(anchors), "{sign}: {report}");
    }
    let machine = Machine::new();
    std::fs::remove_dir_all(machine.path("image/usr")).unwrap();
    let output = machine.run(&["install", "--ca", "one.pem", "--yes"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("none of the stores that are known"), "{}", text(&output.stderr));
}

/// Who may not change the store is told what to type.
#[test]
fn without_rights_the_commands_are_printed() {
    let machine = Machine::new();
    let everybody = |path: PathBuf| std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    everybody(machine.world.path().to_owned());
    std::fs::set_permissions(machine.path(ANCHORS), PermissionsExt::from_mode(0o555)).unwrap();
    let copy = machine.path("bin/claviger");
    std::fs::copy(binary(), &copy).unwrap();
    let mut command = Command::new(copy);
    command.args(["trust", "install", "--ca", "one.pem", "--yes", "--root", "image"]);
    command.current_dir(machine.world.path()).env_clear().env("HOME", machine.world.path());
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let output = command.output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}{}", text(&output.stderr));
    assert!(said.contains("  sudo install -D -m 0644 /"), "{said}");
    assert!(said.contains("  sudo update-ca-certificates "), "{said}");
    assert_eq!(machine.ours(), Vec::<String>::new());
}

#[test]
fn debians_own_command_takes_it_up_and_lets_it_go() {
    let Some(real) = installed("update-ca-certificates") else {
        eprintln!("skipped: update-ca-certificates is not installed");
        return;
    };
    let machine = Machine::new();
    std::fs::remove_file(machine.path("bin/update-ca-certificates")).unwrap();
    std::os::unix::fs::symlink(real, machine.path("bin/update-ca-certificates")).unwrap();
    std::fs::create_dir_all(machine.path("image/usr/share/ca-certificates")).unwrap();
    machine.world.write("image/etc/ca-certificates.conf", "");
    machine.ok(&["install", "--ca", "one.pem", "--yes"]);
    let bundle = machine.path(BUNDLE);
    assert!(holds(&bundle, &machine.path("one.pem")));
    // Inside of the image its links lead to the image's own files.
    let links = |machine: &Machine| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(machine.path("image/etc/ssl/certs")).unwrap().flatten();
        entries.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect()
    };
    let anchors = Path::new("/usr/local/share/ca-certificates");
    let to_ours = links(&machine).into_iter().filter(|link| link.starts_with(anchors)).count();
    assert!(to_ours >= 1, "{:?}", links(&machine));
    assert!(links(&machine).iter().all(|link| !link.starts_with(machine.world.path())), "{:?}", links(&machine));
    machine.ok(&["remove", "--system", "--yes"]);
    assert!(!holds(&bundle, &machine.path("one.pem")));
    assert!(holds(&bundle, &machine.path(ANCHORS).join("corporate.crt")));
}

#[test]
fn javas_store_is_changed_by_its_keytool() {
    let (Some(keytool), Some(java)) = (installed("keytool"), installed("java")) else {
        eprintln!("skipped: no keytool is installed");
        return;
    };
    let home = java.canonicalize().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let machine = Machine::new();
    let security = "image/usr/lib/jvm/java-99/lib/security";
    std::fs::create_dir_all(machine.path(security)).unwrap();
    let cacerts = machine.path(security).join("cacerts");
    std::fs::copy(home.join("lib/security/cacerts"), &cacerts).unwrap();
    std::fs::set_permissions(&cacerts, PermissionsExt::from_mode(0o644)).unwrap();
    std::os::unix::fs::symlink(keytool, machine.path("bin/keytool")).unwrap();
    let entries = |machine: &Machine| -> Vec<String> {
        let mut list = Command::new(machine.path("bin/keytool"));
        let output = list.args(["-list", "-storepass", "changeit", "-keystore"]).arg(&cacerts).output().unwrap();
        let mut lines: Vec<String> =
            text(&output.stdout).lines().filter(|line| line.contains("(SHA-256)")).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let before = entries(&machine);
    let status = |machine: &Machine, ca| -> String {
        let output = machine.run(&["status", "--java", "-o", "json", "--ca", ca]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report["stores"][0]["status"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(status(&machine, "one.pem"), "absent");
    machine.ok(&["install", "--java", "--ca", "one.pem", "--yes"]);
    assert_eq!(status(&machine, "one.pem"), "installed");
    assert_eq!(status(&machine, "two.pem"), "other");
    assert_eq!(entries(&machine).len(), before.len() + 1);
    assert!(machine.ok(&["install", "--java", "--ca", "one.pem", "--yes"]).contains("holds it already"));
    // Only Java was asked for.
    assert_eq!(machine.ours(), Vec::<String>::new());
    machine.ok(&["remove", "--java", "--yes"]);
    assert_eq!(entries(&machine), before);
    assert_eq!(status(&machine, "one.pem"), "absent");
}
