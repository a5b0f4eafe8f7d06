//! Namespaces of users, mounts, networks and System V IPC (namespaces(7)), and what root may still do in them.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::process::{Pid, getegid, geteuid};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};

/// Moves this process into namespaces of its own. It has no ids there until [`map_self`] or [`map_as_parent`].
#[allow(unsafe_code, reason = "unshare(2) is unsafe where threads share descriptors")]
pub(crate) fn enter() -> io::Result<()> {
    let all = UnshareFlags::NEWUSER | UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC;
    // SAFETY: the table of descriptors is not unshared, which is the one thing that could be unsafe.
    Ok(unsafe { rustix::thread::unshare_unsafe(all) }?)
}

/// Moves this process into a namespace that somebody else made: into one of users first, then into what that one owns.
pub(crate) fn join(namespace: &std::os::fd::OwnedFd) -> io::Result<()> {
    let any = rustix::thread::ThreadNameSpaceType::empty();
    Ok(rustix::thread::move_into_thread_name_spaces(namespace.as_fd(), any)?)
}

/// The caller's own ids, and no others (user_namespaces(7)): all that an ordinary user may ask for. Called before
/// [`enter`] nothing is known of them, so they are given.
pub(crate) fn map_self(uid: u32, gid: u32) -> io::Result<()> {
    // Without this a process could drop a group that denies it something.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// All ids that this process knows, for a process that entered its namespaces: root in it stays root to every file, and
/// package managers may still become their own users.
pub(crate) fn map_as_parent(process: Pid) -> io::Result<()> {
    let folder = format!("/proc/{}", process.as_raw_nonzero());
    for kind in ["uid_map", "gid_map"] {
        let own = fs::read_to_string(Path::new("/proc/self").join(kind))?;
        fs::write(Path::new(&folder).join(kind), identity(&own))?;
    }
    Ok(())
}

/// Each range of a map, mapped to itself.
fn identity(map: &str) -> String {
    let ranges = map.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (first, _, count) = (fields.next()?, fields.next()?, fields.next()?);
        Some(format!("{first} {first} {count}\n"))
    });
    ranges.collect()
}

/// What root keeps in its namespaces: power over files and processes of its own ids. Gone is what would change mounts,
/// networks and namespaces, since those are the walls.
const KEPT: [CapabilitySet; 15] = [
    CapabilitySet::CHOWN,
    CapabilitySet::DAC_OVERRIDE,
    CapabilitySet::DAC_READ_SEARCH,
    CapabilitySet::FOWNER,
    CapabilitySet::FSETID,
    CapabilitySet::KILL,
    CapabilitySet::SETGID,
    CapabilitySet::SETUID,
    CapabilitySet::SETPCAP,
    // Without it no namespace of its own could have a root (user_namespaces(7)).
    CapabilitySet::SETFCAP,
    CapabilitySet::NET_BIND_SERVICE,
    CapabilitySet::IPC_LOCK,
    CapabilitySet::IPC_OWNER,
    CapabilitySet::SYS_CHROOT,
    CapabilitySet::SYS_PTRACE,
];

/// Takes away what root could undo the sandbox with. It does not come back with another program, nor with another user
/// namespace: mounts that one inherits are locked in it. Of an ordinary user nothing is left anyway when it runs a program.
pub(crate) fn drop_powers() -> io::Result<()> {
    let kept = KEPT.into_iter().collect::<CapabilitySet>();
    let had = rustix::thread::capabilities(None)?;
    for number in 0..64_u32 {
        let Some(one) = CapabilitySet::from_bits(1 << number) else { continue };
        if kept.contains(one) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // Not known to this kernel.
            Err(rustix::io::Errno::INVAL) => {}
            Err(other) => return Err(other.into()),
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    let less = |set: CapabilitySet| set & kept;
    let sets = CapabilitySets {
        effective: less(had.effective),
        permitted: less(had.permitted),
        inheritable: CapabilitySet::empty(),
    };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// The ids of this process: user, group.
pub(crate) fn ids() -> (u32, u32) {
    (geteuid().as_raw(), getegid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::identity;

    #[test]
    fn ranges_are_mapped_to_themselves() {
        for (map, expected) in [
            ("         0          0 4294967295\n", "0 0 4294967295\n"),
            ("         0     100000      65536\n    65536       1000          1\n", "0 0 65536\n65536 65536 1\n"),
            ("", ""),
        ] {
            assert_eq!(identity(map), expected);
        }
    }
}
