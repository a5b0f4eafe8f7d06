//! How the system shares its processors between this process and those that wake it.

use clap::ValueEnum;

/// How the threads of a process are scheduled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scheduling {
    /// What wakes a thread goes on first (Linux 6.6 and later; elsewhere as `normal`): fewer switches
    #[default]
    Batch,
    /// As the system does it, or as the process was started
    Normal,
}

impl Scheduling {
    /// For this thread and those that it begins from now on. Refused by the system: it stays as it is.
    pub(crate) fn take_effect(self) {
        #[cfg(target_os = "linux")]
        if self == Self::Batch && running().is_some_and(has_deadlines) {
            linux::wait_for_wakers();
        }
    }
}

/// The first Linux whose scheduler goes by deadlines (EEVDF). Those before let a thread of `SCHED_BATCH` wait for whatever
/// computes on its processor, however long that has been computing.
#[cfg(target_os = "linux")]
const SINCE: (u32, u32) = (6, 6);

#[cfg(target_os = "linux")]
fn has_deadlines(version: (u32, u32)) -> bool {
    version >= SINCE
}

/// The version of the system that runs.
#[cfg(target_os = "linux")]
fn running() -> Option<(u32, u32)> {
    version(rustix::system::uname().release().to_str().ok()?)
}

/// Of `6.18.44-generic` the first two numbers.
#[cfg(target_os = "linux")]
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|other: char| !other.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "rustix has no sched_setscheduler")]
mod linux {
    /// `SCHED_BATCH` (sched(7)): a thread that is woken does not take the processor from the one that runs on it.
    ///
    /// A client or upstream on the same machine that writes to a socket would be interrupted by the one that it wakes,
    /// only to be asked for more by it. What whoever started the process chose stays.
    pub(super) fn wait_for_wakers() {
        // SAFETY: it takes a number, of which 0 is the calling thread.
        if unsafe { libc::sched_getscheduler(0) } != libc::SCHED_OTHER {
            return;
        }
        // SAFETY: a plain structure of numbers, for which 0 is what this policy asks for.
        let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a structure that outlives the call, which only reads it.
        let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_a_version() {
        for (release, expected) in [
            ("6.18.44-fc-v669", Some((6, 18))),
            ("6.6.0", Some((6, 6))),
            ("5.14.0-427.el9.x86_64", Some((5, 14))),
            ("7.0-rc1", Some((7, 0))),
            ("6", None),
            ("x.1", None),
            ("", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
        assert!(running().is_some());
        for (version, expected) in [((5, 15), false), ((6, 5), false), ((6, 6), true), ((6, 18), true), ((7, 0), true)]
        {
            assert_eq!(has_deadlines(version), expected, "{version:?}");
        }
    }
}
