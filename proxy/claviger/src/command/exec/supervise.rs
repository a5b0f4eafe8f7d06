//! The command while it runs: its signals, its stops, its end.
//!
//! It is in the process group of this process, so a terminal's signals reach it without us (Ctrl-C, Ctrl-\, Ctrl-Z, a
//! changed window). Those that are sent to this process alone are passed on. When the command stops, so does this
//! process, so that the shell sees a stopped job; when the job goes on, so do both.

use std::process::Child;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, waitpid};
use signal_hook::consts::signal::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGUSR1, SIGUSR2};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Cause;
use tokio::sync::oneshot;

/// Taken so that they do not end this process before its command has ended; and SIGCONT, to know that it goes on.
const TAKEN: [i32; 9] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGUSR1, SIGUSR2, SIGCONT];

/// The signals of this process, from before the command starts: one that comes early must not end the session alone.
pub(crate) struct Signals(SignalsInfo<WithOrigin>);

impl Signals {
    pub(crate) fn take() -> std::io::Result<Self> {
        SignalsInfo::with_exfiltrator(TAKEN, WithOrigin::default()).map(Self)
    }
}

/// Looks after the command until it has ended; the result is its exit code as shells count: 128 and the signal's number
/// where a signal ended it.
pub(crate) fn supervise(signals: Signals, command: &Child) -> std::io::Result<oneshot::Receiver<u8>> {
    let pid = i32::try_from(command.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| std::io::Error::other("the command has no process id"))?;
    let (tell, ended) = oneshot::channel();
    let handle = signals.0.handle();
    let (goes_on, continued) = channel();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || forward(signals, pid, &goes_on))?;
    std::thread::Builder::new().name("command".to_owned()).spawn(move || {
        let code = wait(pid, &continued);
        // From now on the number may be another process's.
        handle.close();
        let _ = tell.send(code);
    })?;
    Ok(ended)
}

/// Resolves when this process is asked to end: there is no command that a signal could be for.
pub(crate) async fn asked_to_end(signals: Signals) {
    let (tell, told) = oneshot::channel();
    let mut signals = signals.0;
    let wait = move || {
        let ends = |origin: &signal_hook::low_level::siginfo::Origin| matches!(origin.signal, SIGINT | SIGTERM);
        if signals.forever().any(|origin| ends(&origin)) {
            let _ = tell.send(());
        }
    };
    if std::thread::Builder::new().name("signals".to_owned()).spawn(wait).is_ok() {
        let _ = told.await;
    }
}

/// Resolves when another process has ended; never, if none is meant.
pub(crate) async fn gone(process: Option<Pid>) {
    let Some(process) = process else { return std::future::pending().await };
    let mut tick = tokio::time::interval(std::time::Duration::from_secs(1));
    // Another user's process is there too, though it may not be signalled.
    while !matches!(rustix::process::test_kill_process(process), Err(rustix::io::Errno::SRCH)) {
        tick.tick().await;
    }
}

/// Passes on what was sent to this process alone.
fn forward(mut signals: Signals, command: Pid, goes_on: &Sender<()>) {
    for origin in signals.0.forever() {
        if origin.signal == SIGCONT {
            let _ = goes_on.send(());
            continue;
        }
        // The terminal's driver signals the whole foreground: the command has it already.
        let is_of_terminal = matches!(origin.cause, Cause::Kernel) && origin.signal != SIGHUP;
        if !is_of_terminal && let Some(signal) = Signal::from_named_raw(origin.signal) {
            // It may have ended just now.
            let _ = kill_process(command, signal);
        }
    }
}

fn wait(command: Pid, continued: &Receiver<()>) -> u8 {
    loop {
        match waitpid(Some(command), WaitOptions::UNTRACED) {
            Ok(Some((_, status))) if status.stopped() => stop_with(command, continued),
            Ok(Some((_, status))) => return code(status),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            // Somebody else waited for it; nothing is known of its end.
            Err(_) => return 1,
        }
    }
}

/// Stops this process too: the shell waits for it, and not for the command. Returns when the job goes on.
fn stop_with(command: Pid, continued: &Receiver<()>) {
    while continued.try_recv().is_ok() {}
    let _ = kill_process(getpid(), Signal::STOP);
    // The signal may stop this thread a moment later than it was sent. A command that was continued in that moment would
    // read from a terminal that the shell is taking back.
    let _ = continued.recv();
    // `fg` continues the whole group; who continues this process alone means both.
    let _ = kill_process(command, Signal::CONT);
}

fn code(status: WaitStatus) -> u8 {
    let number = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(1)
}
