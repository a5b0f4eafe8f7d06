//! The systemd unit: judged by systemd's own tools, and its filter of system calls by what the binary calls.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Instant;

use claviger_tests::{PATIENCE, World};

use crate::pod::Pod;
use crate::tools::{deploy, said, static_binary, succeed};

/// The exposure that `systemd-analyze security` may find, times ten: "OK" ends at 20, and what Debian's own services have
/// is around 90. What is left is the network, which a proxy needs, and the host's users, which `unix-peer` tells apart.
const EXPOSURE_MAX: &str = "15";

/// The unit with a program that is there.
fn unit() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::TempDir::new().unwrap();
    let text = std::fs::read_to_string(deploy("systemd/claviger.service")).unwrap();
    let file = folder.path().join("claviger.service");
    std::fs::write(&file, text.replace("/usr/bin/claviger", static_binary().to_str().unwrap())).unwrap();
    (folder, file)
}

#[test]
fn the_unit_is_hardened() {
    let (_folder, file) = unit();
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output().unwrap();
    // A key that this systemd does not know is only a line, not a failure.
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
    let analyze = |threshold: &str| {
        let threshold = format!("--threshold={threshold}");
        Command::new("systemd-analyze")
            .args(["security", "--offline=yes", "--no-pager", &threshold])
            .arg(&file)
            .output()
            .unwrap()
    };
    let output = analyze(EXPOSURE_MAX);
    assert!(output.status.success(), "{}", said(&output));
    assert!(!analyze("1").status.success(), "the threshold decides nothing");
}

#[test]
fn the_configuration_to_begin_with_loads() {
    let output =
        World::new().command(&["check", "--strict", "--config"]).arg(deploy("systemd/claviger.toml")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

/// Users and folders are made as the files say, in a root of their own.
#[test]
fn users_and_folders_are_made() {
    let root = tempfile::TempDir::new().unwrap();
    let place = format!("--root={}", root.path().display());
    std::fs::create_dir(root.path().join("etc")).unwrap();
    succeed(Command::new("systemd-sysusers").arg(&place).arg(deploy("systemd/claviger.sysusers")));
    let users = std::fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    let user = users.lines().find(|line| line.starts_with("claviger:")).unwrap();
    assert!(user.ends_with(":Claviger egress proxy:/var/lib/claviger:/usr/sbin/nologin"), "{user}");
    if crate::pod::is_root() {
        succeed(Command::new("systemd-tmpfiles").args([&place, "--create"]).arg(deploy("systemd/claviger.tmpfiles")));
        let mode = |path: &str| {
            let found = std::fs::metadata(root.path().join(path)).unwrap();
            std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o777
        };
        assert_eq!((mode("etc/claviger"), mode("etc/claviger/keys")), (0o750, 0o700));
    }
}

/// The system calls of a set, with those of the sets in it.
fn calls_of(set: &str) -> BTreeSet<String> {
    let text = succeed(Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", set]));
    let lines = text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .flat_map(|line| if line.starts_with('@') { calls_of(line) } else { BTreeSet::from([line.to_owned()]) })
        .collect()
}

/// `SystemCallFilter=` of the unit: the first names what may be called, `~` takes away, later ones add.
fn permitted() -> BTreeSet<String> {
    let text = std::fs::read_to_string(deploy("systemd/claviger.service")).unwrap();
    let mut permitted = calls_of("@default");
    for line in text.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (takes, names) = line.strip_prefix('~').map_or((false, line), |names| (true, names));
        for name in names.split_whitespace() {
            let calls = if name.starts_with('@') { calls_of(name) } else { BTreeSet::from([name.to_owned()]) };
            if takes {
                permitted.retain(|call| !calls.contains(call));
            } else {
                permitted.extend(calls);
            }
        }
    }
    permitted
}

/// All that the binary calls from its start over a reload to its end, with the unit's configuration, is permitted.
#[test]
fn the_filter_permits_what_is_called() {
    let pod = Pod::new();
    let config = std::fs::read_to_string(deploy("systemd/claviger.toml")).unwrap();
    pod.file("/etc/claviger/claviger.toml", config.replace("127.0.0.1:7071", "127.0.0.1:0"));
    pod.folder("/run/claviger");
    let trace = tempfile::TempDir::new().unwrap();
    let world = World::new();
    let inside = pod.command(&["run", "--config", "/etc/claviger/claviger.toml"]);
    let mut command = Command::new("strace");
    // The tracer is the child of what it traces, so that this process starts and stops Claviger itself.
    command.args(["--daemonize", "--follow-forks", "--quiet=attach", "--seccomp-bpf", "-e", "signal=none"]);
    command.args(["--output-separately", "-o"]).arg(trace.path().join("calls"));
    command.arg(inside.get_program()).args(inside.get_args()).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let proxy = world.start_command(command);
    let address = proxy.address("admin").to_owned();
    assert!(world.run(&["health", "--address", &address]).status.success());
    let socket = pod.path("/run/claviger/egress.sock");
    succeed(Command::new("curl").args(["--silent", "--unix-socket"]).arg(socket).arg("http://any/github/repos/acme/x"));
    proxy.signal(rustix::process::Signal::HUP);
    proxy.wait_for_line("generation 2 is in force");
    let main = trace.path().join(format!("calls.{}", proxy.pid()));
    proxy.stop();
    let deadline = Instant::now() + PATIENCE;
    while !std::fs::read_to_string(&main).unwrap_or_default().contains("+++ exited with 0 +++") {
        assert!(Instant::now() < deadline, "the trace does not end");
        std::thread::yield_now();
    }
    let mut called = BTreeSet::new();
    for file in std::fs::read_dir(trace.path()).unwrap() {
        let text = String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap()).into_owned();
        // What `chroot` and `unshare` call before they become the binary is not the unit's matter.
        let own = text.rfind("execve(\"/claviger\"").map_or(text.as_str(), |at| &text[at..]);
        let calls = own.lines().filter_map(|line| line.split_once('(')).map(|(call, _)| call.to_owned());
        called.extend(calls.filter(|call| call.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')));
    }
    assert!(["epoll_wait", "accept4", "clone3", "fdatasync"].iter().any(|call| called.contains(*call)), "{called:?}");
    let permitted = permitted();
    let refused: Vec<_> = called.difference(&permitted).collect();
    assert!(refused.is_empty(), "the unit's filter refuses {refused:?}");
}
