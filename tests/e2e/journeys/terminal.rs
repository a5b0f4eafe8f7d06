//! A shell that is typed into.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How long a command may take: some make keys, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(90);

/// Ends what a command shows; no command shows it.
const END: char = '\u{1e}';

/// One terminal of a reader.
pub(crate) struct Terminal {
    shell: Child,
    keyboard: ChildStdin,
    screen: Receiver<Vec<u8>>,
    all: Vec<u8>,
    /// How much of it is accounted for.
    read: usize,
}

impl Terminal {
    /// Opens one in a folder, with the binary on the path, and programs that a reader has installed.
    pub(crate) fn open(folder: &Path, programs: &Path) -> Self {
        let binary = claviger_tests::binary();
        let python = claviger_tests::peers::Installed::python();
        let folders = [binary.parent().unwrap(), programs, python.parent().unwrap()];
        let folders = folders.iter().map(|folder| format!("{}:", folder.display())).collect::<String>();
        let path = format!("{folders}{}", std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc"]).current_dir(folder).env("PATH", path).env("HOME", folder);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            let is_ours = ["CLAVIGER_", "XDG_", "CURL_", "SSL_"].iter().any(|prefix| name.starts_with(prefix));
            if is_ours || name.to_ascii_lowercase().ends_with("_proxy") {
                command.env_remove(&*name);
            }
        }
        // A group of its own, so that all that it starts ends with it.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = command.spawn().unwrap();
        let mut output = shell.stdout.take().unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        let mut keyboard = shell.stdin.take().unwrap();
        writeln!(keyboard, "exec 2>&1").unwrap();
        Self { shell, keyboard, screen, all: Vec::new(), read: 0 }
    }

    /// Types a command; yields what it shows until it ends, or until that is enough.
    pub(crate) fn run(&mut self, command: &str, is_enough: impl Fn(&str) -> bool) -> String {
        writeln!(self.keyboard, "{command}\nprintf '\\n{END}\\n'").unwrap();
        self.watch(command, |said| match said.split_once(END) {
            Some((said, _)) => Some(said.strip_suffix('\n').unwrap_or(said).to_owned()),
            None => is_enough(said).then(|| said.to_owned()),
        })
    }

    /// Waits until it shows what is enough, after what it has shown so far.
    pub(crate) fn wait(&mut self, is_enough: impl Fn(&str) -> bool) -> String {
        self.watch("what runs there", |said| {
            let said = said.trim_start_matches('\n');
            is_enough(said).then(|| said.to_owned())
        })
    }

    fn watch(&mut self, what: &str, enough: impl Fn(&str) -> Option<String>) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = String::from_utf8_lossy(&self.all[self.read..]).into_owned();
            if let Some(said) = enough(&said) {
                self.read = self.all.len();
                return said;
            }
            match self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(more) => self.all.extend(more),
                Err(RecvTimeoutError::Timeout) => panic!("{what} takes too long; so far:\n{said}"),
                Err(RecvTimeoutError::Disconnected) => panic!("{what} ended the shell:\n{said}"),
            }
        }
    }

    /// All that it has shown.
    pub(crate) fn screen(&self) -> String {
        String::from_utf8_lossy(&self.all).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.shell.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.shell.wait();
    }
}
