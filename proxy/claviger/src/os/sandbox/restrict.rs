//! What a process gives up for itself and all its children: Landlock (landlock(7)) and system calls (seccomp(2)).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use serde::{Deserialize, Serialize};

/// The version of Landlock's interface that this kernel has; 0: none, or it is switched off.
#[allow(unsafe_code, reason = "no safe wrapper says which version the kernel has")]
pub(crate) fn landlock_abi() -> u32 {
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the call takes a null pointer and a size of 0, and reads no memory (landlock(7)).
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION) };
    u32::try_from(abi).unwrap_or(0)
}

/// What Landlock lets through where there are no namespaces. It knows no denial: everything that is not hidden is granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRules {
    /// Files and folders with all that is in them.
    pub(crate) whole: Vec<OsString>,
    /// Folders in which only the entries named above are granted. They can be listed; what is new in them cannot be used.
    pub(crate) listed: Vec<OsString>,
    /// The ports that may be connected to.
    pub(crate) connect: Vec<u16>,
}

/// Restricts this process. Without rules only signals and abstract sockets of processes outside are out of its reach, and
/// all that needs the right to trace them (`/proc/PID/environ` and `mem`), which any Landlock domain denies.
pub(crate) fn restrict(rules: Option<&FileRules>) -> io::Result<()> {
    let abi = landlock_abi();
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    if abi >= 6 {
        ruleset = ruleset.scope(Scope::from_all(ABI::V6)).map_err(io::Error::other)?;
    }
    let files = AccessFs::from_all(ABI::V5);
    if rules.is_some() {
        ruleset = ruleset.handle_access(files).map_err(io::Error::other)?;
        ruleset = ruleset.handle_access(AccessNet::ConnectTcp).map_err(io::Error::other)?;
    } else if abi < 6 {
        return Ok(());
    }
    let mut ruleset = ruleset.create().map_err(io::Error::other)?;
    if let Some(rules) = rules {
        for path in &rules.whole {
            let Ok(open) = PathFd::new(Path::new(path)) else { continue };
            let rights = if Path::new(path).is_dir() { files } else { files & AccessFs::from_file(ABI::V5) };
            ruleset = ruleset.add_rule(PathBeneath::new(open, rights)).map_err(io::Error::other)?;
        }
        // Inherited by everything beneath, so it is no more than to see names.
        for path in &rules.listed {
            let Ok(open) = PathFd::new(Path::new(path)) else { continue };
            ruleset = ruleset.add_rule(PathBeneath::new(open, AccessFs::ReadDir)).map_err(io::Error::other)?;
        }
        for port in &rules.connect {
            ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp)).map_err(io::Error::other)?;
        }
    }
    ruleset.restrict_self().map_err(io::Error::other)?;
    Ok(())
}

impl FileRules {
    /// Grants everything but what is hidden, by granting the siblings of what is hidden on the way down to it.
    pub(crate) fn around(hidden: &[PathBuf], connect: Vec<u16>) -> Self {
        let mut rules = Self { connect, ..Self::default() };
        rules.grant(Path::new("/"), hidden);
        rules
    }

    fn grant(&mut self, folder: &Path, hidden: &[PathBuf]) {
        let beneath: Vec<_> = hidden.iter().filter(|path| path.starts_with(folder)).cloned().collect();
        if beneath.iter().any(|path| path == folder) {
            return;
        }
        if beneath.is_empty() {
            self.whole.push(folder.into());
            return;
        }
        self.listed.push(folder.into());
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            // A link is judged by what it points at, which is granted or not where it lies.
            if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
                self.grant(&entry.path(), &beneath);
            }
        }
    }
}

/// Refuses system calls that lead around the rest: typing into the terminal of the shell that is waiting (`TIOCSTI`),
/// sockets of families that no network namespace holds (of virtual machines, for one), and io_uring, which makes such
/// sockets past this filter. `tcp_only`: and everything of IP that Landlock's rules for TCP do not see.
pub(crate) fn refuse_calls(tcp_only: bool) -> io::Result<()> {
    let refused = i32::cast_unsigned(libc::EPERM);
    let mut calls: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    calls.insert(libc::SYS_ioctl, vec![all(vec![is(1, libc::TIOCSTI)?])?, all(vec![is(1, libc::TIOCLINUX)?])?]);
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let other = families.into_iter().map(|family| is_not(0, family)).collect::<io::Result<Vec<_>>>()?;
    let mut sockets = vec![all(other)?];
    if tcp_only {
        for family in [libc::AF_INET, libc::AF_INET6] {
            // The kind of a socket is in its lower bits; the upper ones are flags.
            let stream = masked(1, 0xf, u64::from(libc::SOCK_STREAM.cast_unsigned()))?;
            for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_SEQPACKET, libc::SOCK_RDM, libc::SOCK_DCCP] {
                let kind = masked(1, 0xf, u64::from(kind.cast_unsigned()))?;
                sockets.push(all(vec![is_family(family)?, kind])?);
            }
            sockets.push(all(vec![is_family(family)?, stream, is_not(2, 0)?, is_not(2, libc::IPPROTO_TCP)?])?);
        }
        // Data with the first packet connects without `connect`.
        let fast = u64::from(libc::MSG_FASTOPEN.cast_unsigned());
        for (call, flags) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)] {
            calls.insert(call, vec![all(vec![masked(flags, fast, fast)?])?]);
        }
    }
    calls.insert(libc::SYS_socket, sockets);
    apply(calls, SeccompAction::Errno(refused))?;
    // As if the kernel had none: programs then fall back.
    let absent = i32::cast_unsigned(libc::ENOSYS);
    let rings = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
    apply(rings.into_iter().map(|call| (call, vec![])).collect(), SeccompAction::Errno(absent))
}

/// What some kernels for x86-64 add to a call's number, and which of these calls then have another (x32).
const X32: i64 = 0x4000_0000;
const X32_OTHER: [(i64, i64); 3] = [(libc::SYS_ioctl, 514), (libc::SYS_sendmsg, 518), (libc::SYS_sendmmsg, 538)];

fn apply(mut calls: BTreeMap<i64, Vec<SeccompRule>>, action: SeccompAction) -> io::Result<()> {
    if cfg!(target_arch = "x86_64") {
        let other = |call: i64| X32_OTHER.iter().find(|(one, _)| *one == call).map_or(call, |(_, other)| *other);
        let twice: Vec<_> = calls.iter().map(|(call, rules)| (X32 + other(*call), rules.clone())).collect();
        calls.extend(twice);
    }
    let here = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, action, here).map_err(io::Error::other)?;
    let program = BpfProgram::try_from(filter).map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}

fn all(conditions: Vec<SeccompCondition>) -> io::Result<SeccompRule> {
    SeccompRule::new(conditions).map_err(io::Error::other)
}

fn condition(argument: u8, how: SeccompCmpOp, value: u64) -> io::Result<SeccompCondition> {
    // The kernel looks at the lower half of these arguments only, so the filter must not look at the upper.
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, how, value).map_err(io::Error::other)
}

fn is(argument: u8, value: libc::c_ulong) -> io::Result<SeccompCondition> {
    condition(argument, SeccompCmpOp::Eq, value)
}

fn is_family(value: i32) -> io::Result<SeccompCondition> {
    condition(0, SeccompCmpOp::Eq, u64::from(value.cast_unsigned()))
}

fn is_not(argument: u8, value: i32) -> io::Result<SeccompCondition> {
    condition(argument, SeccompCmpOp::Ne, u64::from(value.cast_unsigned()))
}

fn masked(argument: u8, mask: u64, value: u64) -> io::Result<SeccompCondition> {
    condition(argument, SeccompCmpOp::MaskedEq(mask), value)
}

/// A session keyring of its own: the keys that the login left in the old one (Kerberos tickets, disk encryption) are out
/// of reach (keyrings(7)).
#[allow(unsafe_code, reason = "no safe wrapper of keyctl(2)")]
pub(crate) fn leave_keyring() {
    // SAFETY: KEYCTL_JOIN_SESSION_KEYRING with no name reads no memory of this process. A kernel without keyrings has none
    // to leave.
    unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
}
