//! Who cleans up when a session's own process is killed: a small process that holds the other end of a pipe.
//!
//! The pipe tells the death of the session's process, whatever killed it. What is told beforehand by the pipe: the
//! command, which must not go on with a proxy that is dead and is asked to end (SIGTERM); and that all ended well.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Pid, Signal};

use super::folder;
use crate::command::Done;

/// The hidden command.
#[derive(Debug, Args)]
pub(crate) struct JanitorArgs {
    folder: PathBuf,
}

/// The session's end of the pipe.
pub(crate) struct Janitor {
    tell: ChildStdin,
    process: Child,
}

impl Janitor {
    /// Starts it, in a process group of its own: Ctrl-C is not meant for it.
    pub(crate) fn start(folder: &Path) -> std::io::Result<Self> {
        let mut command = Command::new(own_program()?);
        command.arg0("claviger").arg("exec-janitor").arg(folder).env_clear().current_dir("/").process_group(0);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let tell = process.stdin.take().ok_or_else(|| std::io::Error::other("no pipe"))?;
        Ok(Self { tell, process })
    }

    /// Whom to end when this process is gone.
    pub(crate) fn look_after(&mut self, command: u32) {
        // A janitor that is gone looks after nobody: the next session sweeps.
        let _ = writeln!(self.tell, "{command}");
    }

    /// All ended well, and the folder is gone.
    pub(crate) fn dismiss(mut self) {
        let _ = writeln!(self.tell, "{DONE}");
        drop(self.tell);
        // It has nothing left to do, and must not stay behind unwaited.
        let _ = self.process.wait();
    }
}

const DONE: &str = "done";

/// This program, whatever lies at its path by now.
pub(crate) fn own_program() -> std::io::Result<PathBuf> {
    let own = Path::new("/proc/self/exe");
    if own.exists() { Ok(own.to_owned()) } else { std::env::current_exe() }
}

/// How long a command that was asked to end keeps its files.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &JanitorArgs) -> Done {
    let (mut told, mut buffer) = (Vec::new(), [0_u8; 256]);
    let mut command: Option<Watched> = None;
    let mut pipe = std::io::stdin().lock();
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => told.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        }
        let text = String::from_utf8_lossy(&told);
        if text.lines().any(|line| line == DONE) {
            return Ok(ExitCode::SUCCESS);
        }
        if command.is_none() && text.ends_with('\n') {
            // While its parent lives and has not waited for it, the number is its own.
            command = text.lines().find_map(|line| Pid::from_raw(line.parse().ok()?)).map(Watched::of);
        }
    }
    if let Some(command) = command {
        command.end();
    }
    folder::remove(&args.folder);
    Ok(ExitCode::SUCCESS)
}

/// A process that is no child of this one, and stays the same process.
struct Watched {
    #[cfg(target_os = "linux")]
    handle: Option<std::os::fd::OwnedFd>,
    #[cfg(not(target_os = "linux"))]
    pid: Pid,
}

impl Watched {
    #[cfg(target_os = "linux")]
    fn of(pid: Pid) -> Self {
        Self { handle: rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok() }
    }

    #[cfg(not(target_os = "linux"))]
    fn of(pid: Pid) -> Self {
        Self { pid }
    }

    /// Asks it to end, and waits a while.
    #[cfg(target_os = "linux")]
    fn end(&self) {
        let Some(handle) = &self.handle else { return };
        if rustix::process::pidfd_send_signal(handle, Signal::TERM).is_err() {
            return;
        }
        let until = Instant::now() + GRACE;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let timeout = rustix::event::Timespec::try_from(left).ok();
            let mut ended = [rustix::event::PollFd::new(handle, rustix::event::PollFlags::IN)];
            match rustix::event::poll(&mut ended, timeout.as_ref()) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn end(&self) {
        // Without a handle the number could be somebody else's by now; asking is all that is done.
        let _ = (rustix::process::kill_process(self.pid, Signal::TERM), GRACE, Instant::now());
    }
}
