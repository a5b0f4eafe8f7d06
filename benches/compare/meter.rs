//! What a process and its children use: CPU time, memory, system calls.
//!
//! CPU time holds on a shared machine where wall time does not, as long as ratios are taken within a run.

use std::fs::read_to_string;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// A process, its children and theirs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree(pub(crate) u32);

impl Tree {
    /// The processes that live now.
    pub(crate) fn pids(self) -> Vec<u32> {
        let mut pids = vec![self.0];
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.0)).into_iter().flatten().flatten();
        for thread in threads {
            let children = read_to_string(thread.path().join("children")).unwrap_or_default();
            pids.extend(children.split_whitespace().flat_map(|child| Tree(child.parse().unwrap()).pids()));
        }
        pids
    }

    /// User and system time so far, also of threads and children that ended.
    pub(crate) fn cpu(self) -> Duration {
        self.pids().into_iter().map(|pid| own(pid) + ended(pid)).sum()
    }

    /// Memory that is resident, in KiB; what processes share is split among them.
    pub(crate) fn resident_kib(self) -> f64 {
        let of = |pid: u32| {
            let text = read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("0 kB").to_owned();
            line.trim().trim_end_matches(" kB").parse::<f64>().unwrap()
        };
        self.pids().into_iter().map(of).sum()
    }
}

/// The CPU clock of a process: exact to nanoseconds, threads that ended included.
fn own(pid: u32) -> Duration {
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(pid).unwrap()));
    clock.and_then(|clock| clock.now()).map(Duration::from).unwrap_or_default()
}

/// Children that ended and were waited for (`cutime`, `cstime`; ticks of 10 ms).
fn ended(pid: u32) -> Duration {
    let Ok(text) = read_to_string(format!("/proc/{pid}/stat")) else { return Duration::ZERO };
    // The name in parentheses may hold anything; the two are the 14th and 15th field behind it.
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[13].parse::<u64>().unwrap() + fields[14].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// Counts the system calls of a tree while it lives: by the kernel's counter, or by strace where that is closed.
pub(crate) struct Syscalls {
    child: Child,
    perf: bool,
}

impl Syscalls {
    /// Whether this machine can count, and how.
    pub(crate) fn with() -> Option<&'static str> {
        let works = |command: &mut Command| {
            command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        };
        if works(Command::new("perf").args(["stat", "-e", "raw_syscalls:sys_enter", "true"])) {
            Some("perf")
        } else if works(Command::new("strace").args(["-f", "-c", "true"])) {
            Some("strace")
        } else {
            None
        }
    }

    /// Begins to count.
    pub(crate) fn start(tree: Tree, with: &str) -> Self {
        let pids: Vec<String> = tree.pids().iter().map(ToString::to_string).collect();
        let perf = with == "perf";
        let mut command = Command::new(with);
        if perf {
            command.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", &pids.join(",")]);
        } else {
            command.args(["-f", "-c", "-U", "calls"]);
            for pid in &pids {
                command.args(["-p", pid]);
            }
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // Neither says when it is attached.
        std::thread::sleep(Duration::from_millis(300));
        Self { child, perf }
    }

    /// Ends it; how many calls were made.
    pub(crate) fn finish(self) -> Option<u64> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let output = self.child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        if self.perf {
            let line = text.lines().find(|line| line.contains("sys_enter"))?;
            return line.split(',').next()?.parse().ok();
        }
        let counts = text.lines().filter_map(|line| line.trim().parse::<u64>().ok());
        counts.max()
    }
}
