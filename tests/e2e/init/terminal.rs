//! A terminal at which somebody answers.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use claviger_tests::{PATIENCE, binary};

use crate::project::{Project, Said};

/// Gives a command a terminal of its own, and passes what is typed and shown on.
const PTY: &str = "import os, pty, sys
code = pty.spawn(sys.argv[1:])
sys.exit(os.waitstatus_to_exitcode(code))";

#[derive(Debug)]
pub(crate) struct Terminal<'a> {
    project: &'a Project,
    child: Child,
    keyboard: ChildStdin,
    screen: Receiver<Vec<u8>>,
    shown: Vec<u8>,
    read: usize,
}

impl<'a> Terminal<'a> {
    pub(crate) fn open(project: &'a Project, args: &[&str]) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", PTY]).arg(binary()).args(args);
        project.place(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        let keyboard = child.stdin.take().unwrap();
        Self { project, child, keyboard, screen, shown: Vec::new(), read: 0 }
    }

    /// Waits for a question, then answers it.
    pub(crate) fn answer(&mut self, question: &str, answer: &str) -> &mut Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let new = String::from_utf8_lossy(&self.shown[self.read..]).into_owned();
            if let Some(at) = new.find(question) {
                self.read += at + question.len();
                break;
            }
            match self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(more) => self.shown.extend(more),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("`{question}` was not asked:\n{}", String::from_utf8_lossy(&self.shown))
                }
            }
        }
        writeln!(self.keyboard, "{answer}").unwrap();
        self
    }

    /// All that was shown until it ended.
    pub(crate) fn end(mut self) -> Said {
        // What is typed after the end has nobody to read it.
        while let Ok(more) = self.screen.recv_timeout(PATIENCE) {
            self.shown.extend(more);
        }
        drop(self.keyboard);
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        let out = String::from_utf8_lossy(&self.shown).replace("\r\n", "\n");
        self.project.no_key_in(&out);
        Said { code, out, err: String::new() }
    }
}
