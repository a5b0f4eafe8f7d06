//! `--detach` and `--end`: a session that goes on in a process of its own, for commands that are started later.
//!
//! The process that is typed starts another with the same arguments, hands on what that prints until it serves, and
//! ends. The other one has no terminal, writes what was refused into `log` in the session's folder, and ends by
//! `--end`, after `--for`, with the process of `--while`, or by SIGTERM.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use claviger_policy::document::nearest;
use rustix::process::{Pid, Signal};

use super::denials::{Denials, NextCommand};
use super::janitor::{Janitor, own_program};
use super::print_env::{self, Format};
use super::serve::{self, Begun};
use super::{ExecArgs, config_option, folder, supervise};
use crate::command::Failure;
use crate::console;

/// The file with the number of the session's process.
const PROCESS: &str = "pid";
/// What was refused.
const LOG: &str = "log";
/// How long a session may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts the process of the session; what it prints until it serves is the output.
pub(super) fn start() -> Result<u8, Failure> {
    let failed = |error: std::io::Error| Failure::doing("start the session's process")(&error);
    let mut command = Command::new(own_program().map_err(failed)?);
    command.args(std::env::args_os().skip(1).take_while(|argument| argument != "--")).arg("--serve");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().map_err(failed)?;
    let (mut out, mut err) = (String::new(), String::new());
    // It closes neither while it serves: the end of what is for the caller is marked.
    if let (Some(stdout), Some(stderr)) = (process.stdout.take(), process.stderr.take()) {
        err = until_mark(stderr);
        out = until_mark(stdout);
    }
    console::out_raw(&out);
    console::err_raw(&err);
    match out.is_empty() {
        false => Ok(0),
        true => {
            let _ = process.wait();
            Ok(super::OWN_FAILURE)
        }
    }
}

/// Ends what is meant for the caller.
const MARK: u8 = 0;

fn until_mark(mut stream: impl Read) -> String {
    let (mut read, mut byte) = (Vec::new(), [0_u8; 1]);
    while let Ok(1) = stream.read(&mut byte) {
        if byte == [MARK] {
            break;
        }
        read.extend(byte);
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// The session in its own process.
pub(super) fn serve(args: &ExecArgs, format: Format) -> Result<u8, Failure> {
    let failed = |what: &'static str| move |error: std::io::Error| Failure::doing(what)(&error);
    // No terminal of its caller's, and no signal of it.
    let _ = rustix::process::setsid();
    let through = super::through(args);
    let signals = supervise::Signals::take().map_err(failed("take signals"))?;
    let folder = serve::folder()?;
    let janitor = Janitor::start(folder.path()).map_err(failed("start the session's janitor"))?;
    std::fs::write(folder.path().join(PROCESS), std::process::id().to_string()).map_err(failed("write a file"))?;
    let log = std::fs::File::create(folder.path().join(LOG)).map_err(failed("make the log of the session"))?;
    let next = NextCommand { config: config_option(&args.config), is_here: through.is_none() };
    let denials = Denials::into_file(next, log).map_err(failed("start the session"))?;
    let Begun { session, endpoint, .. } = super::begin(args, through, &folder, &denials)?;
    let mut made = super::make_environment(&endpoint)?;
    made.set.insert("CLAVIGER_EXEC_ID".to_owned(), folder.name().into());
    let (_, token) = &endpoint.proof;
    let (out, err) = print_env::text(format, &made, token);
    let mark = char::from(MARK);
    console::err_raw(&format!("{err}{mark}"));
    console::out_raw(&format!("{out}{mark}"));
    let lifetime = args.lifetime;
    let alongside = args.alongside.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    session.run(async move {
        tokio::select! {
            () = supervise::asked_to_end(signals) => {}
            () = tokio::time::sleep(lifetime) => {}
            () = supervise::gone(alongside) => {}
        }
    });
    denials.finish();
    drop(folder);
    janitor.dismiss();
    Ok(0)
}

/// `--end ID`.
pub(super) fn end(id: &str) -> Result<u8, Failure> {
    let base = folder::base().map_err(|error| Failure::doing("find the sessions")(&error))?;
    folder::sweep(&base);
    let running = folder::running(&base);
    let detached: Vec<_> = running.iter().filter(|path| path.join(PROCESS).exists()).collect();
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(path) = detached.iter().find(|path| name(path) == id) else {
        let names: Vec<String> = detached.iter().map(|path| name(path)).collect();
        let help = match nearest(id, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "there is none".to_owned(),
            None => format!("there are {}", names.join(", ")),
        };
        // Made just now, if it was not there.
        let _ = std::fs::remove_dir(&base);
        return Err(Failure::Other(format!("there is no detached session `{id}`\n  help: {help}")));
    };
    let process = std::fs::read_to_string(path.join(PROCESS)).ok().and_then(|text| text.trim().parse().ok());
    if let Some(pid) = process.and_then(Pid::from_raw) {
        // Its lock is held, so that it is the process that wrote the number.
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
    let since = Instant::now();
    while path.exists() {
        if since.elapsed() > PATIENCE {
            return Err(Failure::Other(format!("session `{id}` does not end")));
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(0)
}

/// Appends to the log; a full disk ends nothing.
pub(super) fn append(log: &mut std::fs::File, text: &str) {
    let _ = writeln!(log, "{text}");
}
