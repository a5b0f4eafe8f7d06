//! One client program against the probe: run, waited for, and judged by how far it came.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::probe::{Probe, Seen};
use super::runtime::{ABSENT, Runtime};

/// `exec` itself ends with this where its command never ran.
pub(super) const NEVER_RAN: i32 = 125;

/// What came of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The request arrived.
    Worked,
    /// It is not installed, or does not run at all.
    Absent,
    /// It took the proxy and did not accept the certificate; what TLS or the client says of it.
    Untrusting(String),
    /// It did not take the proxy; what the client says.
    Around(String),
    /// It could not be tried.
    Untried(String),
    /// It did not end in time.
    Slow,
}

/// How clients are run, and who tells how far they came.
pub(super) struct Way<'a> {
    /// What stands before a program.
    pub(super) prefix: Vec<OsString>,
    /// The variables, and no others.
    pub(super) environment: BTreeMap<OsString, OsString>,
    pub(super) seen: &'a (dyn Fn(&str) -> Seen + Sync),
    /// How long one may take.
    pub(super) patience: Duration,
}

/// Runs a client.
pub(super) async fn run(runtime: &Runtime, program: &Path, way: &Way<'_>) -> Outcome {
    let Ok(folder) = tempfile::Builder::new().prefix("claviger-doctor-").tempdir() else {
        return Outcome::Untried("no folder could be made for it".to_owned());
    };
    if let Some((name, text)) = runtime.file {
        let _ = std::fs::write(folder.path().join(name), text);
    }
    let url = format!("https://{}/", Probe::host_of(runtime.name));
    let filled = |text: &str| text.replace("{url}", &url).replace("{folder}", &folder.path().display().to_string());
    let mut words = way.prefix.iter().map(OsString::as_os_str).chain([program.as_os_str()]);
    let mut command = std::process::Command::new(words.next().unwrap_or_default());
    command.args(words).args(runtime.arguments.iter().map(|argument| filled(argument)));
    command.env_clear().envs(&way.environment).current_dir(folder.path());
    command.envs(runtime.variables.iter().map(|(name, value)| (name, filled(value))));
    // A group of its own, so that what it starts can be ended with it.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    let mut command = Command::from(command);
    let Ok(child) = command.kill_on_drop(true).spawn() else { return Outcome::Absent };
    let group = child.id();
    let ended = tokio::time::timeout(way.patience, child.wait_with_output()).await;
    if ended.is_err() {
        end(group);
    }
    let seen = (way.seen)(runtime.name);
    match ended {
        Ok(Ok(output)) => judge(&seen, output.status.code(), &String::from_utf8_lossy(&output.stderr)),
        Ok(Err(error)) => Outcome::Untried(error.to_string()),
        // What waits for more after its request came has shown what was to be seen.
        Err(_) if seen.asked => Outcome::Worked,
        Err(_) => Outcome::Slow,
    }
}

fn end(group: Option<u32>) {
    let group = group.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

fn judge(seen: &Seen, code: Option<i32>, said: &str) -> Outcome {
    let last = || last_line(said).unwrap_or_default();
    match (seen, code) {
        (Seen { asked: true, .. }, _) => Outcome::Worked,
        (Seen { tls: Some(why), .. }, _) => Outcome::Untrusting(last_line(said).unwrap_or_else(|| why.clone())),
        (Seen { connected: true, .. }, _) => Outcome::Untrusting(last()),
        (Seen { around: true, .. }, _) => Outcome::Around(last()),
        // Nothing of it ran: a library that is missing, a shim without its program, Java without a compiler.
        (_, Some(ABSENT | 126 | 127)) => Outcome::Absent,
        _ if said.contains("jdk.compiler") => Outcome::Absent,
        (_, Some(NEVER_RAN)) => Outcome::Untried(last()),
        _ => Outcome::Around(last()),
    }
}

/// What a program says last is most often why it ended.
fn last_line(said: &str) -> Option<String> {
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let telling = |line: &&str| ["rror", "ertif", "SSL", "TLS", "roxy"].iter().any(|word| line.contains(word));
    let line = lines.clone().rfind(telling).or(lines.clone().next_back())?;
    Some(line.chars().take(200).collect())
}

/// The environment of this process.
pub(super) fn inherited() -> BTreeMap<OsString, OsString> {
    std::env::vars_os().collect()
}

/// A path list of an environment.
pub(super) fn path_of(environment: &BTreeMap<OsString, OsString>) -> OsString {
    environment.get(OsStr::new("PATH")).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_client_came_is_what_counts() {
        let seen = |connected, around, tls: Option<&str>, asked| Seen {
            connected,
            around,
            tls: tls.map(ToOwned::to_owned),
            asked,
        };
        let nothing = || seen(false, false, None, false);
        let said = "noise\ncurl: (60) SSL certificate problem\nsee the page\n";
        for (seen, code, said, expected) in [
            (seen(true, true, None, true), Some(1), "404", Outcome::Worked),
            (nothing(), Some(42), "", Outcome::Absent),
            (nothing(), Some(127), "pyenv: pip: command not found", Outcome::Absent),
            (nothing(), Some(1), "module jdk.compiler not found", Outcome::Absent),
            (
                seen(true, false, Some("UnknownCA"), false),
                Some(60),
                said,
                Outcome::Untrusting("curl: (60) SSL certificate problem".to_owned()),
            ),
            (seen(true, false, Some("UnknownCA"), false), Some(60), "", Outcome::Untrusting("UnknownCA".to_owned())),
            (seen(true, false, None, false), Some(1), "x", Outcome::Untrusting("x".to_owned())),
            (seen(false, true, None, false), Some(1), "reset", Outcome::Around("reset".to_owned())),
            (nothing(), Some(6), "no such host", Outcome::Around("no such host".to_owned())),
            (nothing(), Some(0), "", Outcome::Around(String::new())),
            (nothing(), Some(125), "claviger: no", Outcome::Untried("claviger: no".to_owned())),
        ] {
            assert_eq!(judge(&seen, code, said), expected, "{seen:?} {code:?} {said}");
        }
    }
}
