//! Which program a process runs, without mistaking one process for another.

use std::fs;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::socket::peer_pidfd;

/// The executable of the socket's peer.
///
/// A pid may be given to another process as soon as its own has ended. A pidfd names one process for ever: while it
/// says that its process lives, the pid is that process's, and so is what `/proc` said of it in between. The kernel
/// hands out the peer's own pidfd since Linux 6.5 (`SO_PEERPIDFD`); before, it is opened by pid, and the process must
/// have the same start time before and after.
pub(super) fn executable_of_peer(socket: BorrowedFd<'_>, pid: i32) -> Option<PathBuf> {
    let pid = Pid::from_raw(pid)?;
    match peer_pidfd(socket) {
        Ok(pidfd) => executable(pid).filter(|_| is_alive(&pidfd)),
        Err(_) => {
            let before = start_time(pid)?;
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
            executable(pid).filter(|_| start_time(pid) == Some(before) && is_alive(&pidfd))
        }
    }
}

/// The path, if it names here the very file that the process runs.
fn executable(pid: Pid) -> Option<PathBuf> {
    let link = PathBuf::from(format!("/proc/{}/exe", pid.as_raw_nonzero()));
    let path = fs::read_link(&link).ok()?;
    // In a mount namespace of its own a process may run any file under any path.
    (is_same_file(&link, &path)).then_some(path)
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => one.dev() == other.dev() && one.ino() == other.ino(),
        _ => false,
    }
}

/// A pidfd becomes readable when its process ends (pidfd_open(2)).
fn is_alive(pidfd: &OwnedFd) -> bool {
    let mut waited = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut waited, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0)
}

/// Field 22 of `/proc/PID/stat`: ticks since boot (proc_pid_stat(5)).
fn start_time(pid: Pid) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The command in parentheses may hold anything, also parentheses and spaces; state is field 3.
    let (_, after_command) = stat.rsplit_once(')')?;
    after_command.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_fallback_sees_what_the_kernel_names() {
        let own = rustix::process::getpid();
        assert!(start_time(own).unwrap() > 0);
        assert_eq!(executable(own), std::env::current_exe().ok());
        assert!(is_alive(&pidfd_open(own, PidfdFlags::empty()).unwrap()));
    }

    #[test]
    fn a_process_that_ended_is_not_alive() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        child.wait().unwrap();
        assert!(!is_alive(&pidfd));
        assert_eq!(start_time(pid), None);
        assert_eq!(executable(pid), None);
    }
}
