//! Refresh tokens are sent by a process of their own.
//!
//! A server that rotates them gives each out once. If the process that waits for the answer is killed, whatever killed it,
//! the answer is lost with it, and with the answer the grant. So a small process sends the token, seals what comes back and
//! ends; it has no other work that could bring it down, is in no process group that a terminal ends, and holds the lock of
//! the grant until it is done, so that whoever starts meanwhile waits for what it seals.
//!
//! It is this program again. What it needs is written into its standard input, which is a socket, and never stands in
//! arguments or variables; its standard output is the open file that is the lock.

use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use claviger_credential::{InProcess, Outcome, Renewal, Renewer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::command::exec::janitor::own_program;

/// The hidden command.
pub(crate) const COMMAND: &str = "renew-grant";

/// How long a process that ends waits for renewals: it may be the first of a container, which takes all others along.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// Starts a process for each renewal.
#[derive(Debug)]
pub(crate) struct Renewing {
    /// Where no process can be started.
    here: InProcess,
    under_way: Arc<watch::Sender<usize>>,
    control: tokio::runtime::Handle,
}

impl Renewing {
    pub(crate) fn new(here: InProcess, control: tokio::runtime::Handle) -> Self {
        Self { here, under_way: Arc::new(watch::Sender::new(0)), control }
    }

    /// Waits for renewals that are under way, for a while.
    pub(crate) fn settle(&self) {
        let mut under_way = self.under_way.subscribe();
        let settled = self
            .control
            .block_on(async { tokio::time::timeout(LAST_WAIT, under_way.wait_for(|count| *count == 0)).await.is_ok() });
        if !settled {
            crate::console::note(
                "a refresh token was sent and is not answered yet: another process waits for the answer",
            );
        }
    }
}

/// Counts itself.
struct Counted(Arc<watch::Sender<usize>>);

impl Counted {
    fn new(under_way: &Arc<watch::Sender<usize>>) -> Self {
        under_way.send_modify(|count| *count += 1);
        Self(under_way.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

#[async_trait]
impl Renewer for Renewing {
    async fn renew(&self, renewal: Renewal) -> Outcome {
        let counted = Counted::new(&self.under_way);
        // Inside of the runtime, which looks after the child.
        let started = start(&renewal);
        let (child, socket) = match started {
            Ok(started) => started,
            Err(_) => return self.here.renew(renewal).await,
        };
        // A task of its own: the mint that asked may be given up before there is an answer.
        let conversation = self.control.spawn(async move {
            let outcome = converse(socket, &renewal.to_bytes(), child).await;
            drop((renewal, counted));
            outcome
        });
        let broken = |why: String| Outcome::Unsealed(format!("the process that renews it failed: {why}"));
        match conversation.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => broken(error.to_string()),
            Err(error) => broken(error.to_string()),
        }
    }
}

fn start(renewal: &Renewal) -> std::io::Result<(Child, tokio::net::UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let ours = tokio::net::UnixStream::from_std(ours)?;
    let mut command = Command::new(own_program()?);
    command.arg0("claviger").arg(COMMAND).env_clear().current_dir("/").process_group(0);
    let theirs = std::os::fd::OwnedFd::from(theirs);
    command.stdin(Stdio::from(theirs)).stdout(Stdio::from(renewal.lock()?)).stderr(Stdio::null());
    Ok((command.spawn()?, ours))
}

async fn converse(mut socket: tokio::net::UnixStream, said: &[u8], mut child: Child) -> std::io::Result<Outcome> {
    socket.write_all(said).await?;
    socket.shutdown().await?;
    let mut told = zeroize::Zeroizing::new(Vec::with_capacity(ANSWER_ROOM));
    socket.read_to_end(&mut told).await?;
    // It must not stay behind unwaited.
    let status = child.wait().await?;
    Outcome::from_bytes(&told).ok_or_else(|| std::io::Error::other(format!("it ended with {status}")))
}

/// As much as an answer takes, so that its buffer does not grow and leave copies behind.
const ANSWER_ROOM: usize = 80 * 1024;
