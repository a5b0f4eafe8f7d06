//! What the kernel supports of what Claviger would use.

use super::check::{Check, Id};
use crate::command::plural;
#[cfg(target_os = "linux")]
use crate::os;

/// Connections are files: with fewer, a gateway refuses clients.
const FILES_FEW: u64 = 4_096;

/// All of this category.
pub(crate) fn checks() -> Vec<Check> {
    let mut all = sandbox();
    all.push(peers());
    all.push(files());
    all
}

fn peers() -> Check {
    let known = std::os::unix::net::UnixStream::pair().and_then(|(one, _other)| claviger_identity::UnixPeer::of(&one));
    match known {
        Ok(peer) if peer.exe.is_some() => {
            Check::ok(Id::KernelPeer, "the kernel says who is at the other end of a Unix socket, and by which program")
        }
        Ok(_) => Check::warning(
            Id::KernelPeer,
            "the kernel says which user is at the other end of a Unix socket, and not by which program",
            "SO_PEERPIDFD needs Linux 6.5, and /proc",
            "do not rely on `exe` of `kind = \"unix-peer\"` on this machine",
        ),
        Err(error) => Check::warning(
            Id::KernelPeer,
            "this system does not say who is at the other end of a Unix socket",
            error.to_string(),
            "use another kind of attestor than `unix-peer` here",
        ),
    }
}

fn files() -> Check {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    match limit.maximum {
        Some(most) if most < FILES_FEW => {
            let what = format!(
                "this user's processes may open {} at most",
                plural(usize::try_from(most).unwrap_or(usize::MAX), "file")
            );
            let next = "raise it for a shared proxy: `LimitNOFILE=` of the unit, or /etc/security/limits.conf";
            Check::warning(Id::KernelFiles, what, "each connection takes one, with its upstream two", next)
        }
        Some(most) => Check::ok(Id::KernelFiles, format!("a process may open {most} files")),
        None => Check::ok(Id::KernelFiles, "a process may open any number of files"),
    }
}

/// Landlock rules for TCP ports, by which a sandbox without a network of its own lets nothing out but to the proxy.
#[cfg(target_os = "linux")]
const ABI_OF_TCP: u32 = 4;

/// What keeps processes from namespaces of their own: the file, and the value at which it does.
#[cfg(target_os = "linux")]
const BARRIERS: [(&str, &str, &str); 3] = [
    ("/proc/sys/user/max_user_namespaces", "0", "`sysctl user.max_user_namespaces=10000` allows them"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "`sysctl kernel.unprivileged_userns_clone=1` allows them"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "an AppArmor profile with `userns,` for claviger, or `sysctl kernel.apparmor_restrict_unprivileged_userns=0`",
    ),
];

/// What `exec --sandbox` can use.
#[cfg(target_os = "linux")]
fn sandbox() -> Vec<Check> {
    vec![landlock(os::sandbox::landlock_abi()), namespaces(&|file| std::fs::read_to_string(file).ok())]
}

#[cfg(target_os = "linux")]
fn landlock(abi: u32) -> Check {
    let id = Id::KernelSandbox;
    let next = "a newer kernel, or one with `landlock` in its `lsm=` line";
    let check = match abi {
        0 => Check::warning(
            id,
            "the kernel has no Landlock",
            "without it, and without namespaces, `claviger exec` cannot hide files from its command",
            next,
        ),
        1..ABI_OF_TCP => Check::warning(
            id,
            format!("the kernel has Landlock ABI {abi}: files can be hidden, TCP ports cannot"),
            "ports need ABI 4 (Linux 6.7)",
            next,
        ),
        ABI_OF_TCP.. => {
            Check::ok(id, format!("the kernel has Landlock ABI {abi}: files can be hidden, TCP ports closed"))
        }
    };
    check.of("landlock")
}

#[cfg(target_os = "linux")]
fn namespaces(read: &dyn Fn(&str) -> Option<String>) -> Check {
    let barrier = BARRIERS.iter().find(|(file, at, _)| read(file).is_some_and(|value| value.trim() == *at));
    // Of the barriers only the first concerns root.
    let is_root = rustix::process::geteuid().is_root();
    let check = match barrier.filter(|(file, ..)| !is_root || file.ends_with("max_user_namespaces")) {
        None => Check::ok(Id::KernelSandbox, "processes may have namespaces of their own"),
        Some((file, at, next)) => Check::warning(
            Id::KernelSandbox,
            "processes of this user may not have namespaces of their own",
            format!("`{file}` is {at}: `claviger exec` has no network of its own for its command"),
            *next,
        ),
    };
    check.of("namespaces")
}

#[cfg(not(target_os = "linux"))]
fn sandbox() -> Vec<Check> {
    vec![Check::warning(
        Id::KernelSandbox,
        "this system has no sandbox that `claviger exec` can use",
        "Landlock and namespaces are Linux",
        "keep secrets where this user's programs cannot read them",
    )]
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::check::Status;
    use super::*;

    #[test]
    fn landlock_is_told_by_its_version() {
        for (abi, status) in [(0, Status::Warning), (3, Status::Warning), (4, Status::Ok), (7, Status::Ok)] {
            assert_eq!(landlock(abi).status, status, "{abi}");
        }
    }

    #[test]
    fn what_keeps_processes_from_namespaces_is_named() {
        let nowhere = namespaces(&|_| None);
        assert_eq!(nowhere.status, Status::Ok);
        let none = namespaces(&|file| file.ends_with("max_user_namespaces").then(|| "0\n".to_owned()));
        assert_eq!(none.status, Status::Warning);
        assert!(none.next.unwrap().contains("user.max_user_namespaces"));
        let many = namespaces(&|file| file.ends_with("max_user_namespaces").then(|| "100\n".to_owned()));
        assert_eq!(many.status, Status::Ok);
    }
}
