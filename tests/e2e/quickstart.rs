//! `claviger quickstart`: what a newcomer runs first.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use claviger_tests::{PATIENCE, binary};
#[cfg(target_os = "linux")]
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const STEPS: [&str; 8] = [
    "1. Setting up",
    "2. Without Claviger, the API refuses the app",
    "3. Through Claviger, the same app gets its answer",
    "4. What the rules do not allow is refused",
    "5. An API that repeats the key in its answer",
    "6. All of it is on record",
    "7. Is the key anywhere it should not be?",
    "8. Now with a real API",
];

/// A machine with nothing on it but the programs named, and an empty folder for temporary files.
struct Machine {
    home: TempDir,
}

impl Machine {
    fn with(programs: &[&str]) -> Self {
        let home = TempDir::new().unwrap();
        for folder in ["bin", "tmp"] {
            fs::create_dir(home.path().join(folder)).unwrap();
        }
        for program in programs {
            let found = ["/usr/bin", "/bin", "/usr/local/bin"].map(|folder| Path::new(folder).join(program));
            let found = found.iter().find(|file| file.is_file()).unwrap_or_else(|| panic!("no `{program}` here"));
            symlink(found, home.path().join("bin").join(program)).unwrap();
        }
        Self { home }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args).current_dir(self.home.path()).env_clear().stdin(Stdio::null());
        command.env("PATH", self.home.path().join("bin")).env("HOME", self.home.path());
        command.env("TMPDIR", self.home.path().join("tmp"));
        command
    }

    fn quickstart(&self, more: &[&str]) -> Output {
        self.command(&[&["quickstart"], more].concat()).output().unwrap()
    }

    /// What is left in the folder for temporary files.
    fn left(&self) -> Vec<std::path::PathBuf> {
        fs::read_dir(self.home.path().join("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// All steps in order, nothing left behind, no other client than the one that is to be there.
fn check(programs: &[&str], client: &str) -> String {
    let machine = Machine::with(programs);
    binary(); // built now, if at all
    let began = Instant::now();
    let output = machine.quickstart(&[]);
    let (told, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}\n{errors}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert_eq!(errors, "");
    let steps: Vec<&str> = told.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert_eq!(steps.len(), STEPS.len(), "{steps:?}");
    for (step, expected) in steps.iter().zip(STEPS) {
        assert!(step.starts_with(expected), "{step}");
    }
    let calls = told.lines().filter(|line| line.starts_with(&format!("   $ {client} "))).count();
    assert!(calls >= 4, "{client} made {calls} calls:\n{told}");
    assert!(!told.contains('\x1b'), "colours though this is no terminal");
    assert_eq!(machine.left(), [] as [&Path; 0]);
    told
}

#[test]
fn quickstart_shows_all_steps_and_leaves_nothing() {
    let told = check(&["curl"], "curl");
    for shown in [
        "401 {\"error\":\"an API key is needed\"}",
        "200 {\"hello\":\"the API accepts this key\"}",
        "403 {\"error\":{\"code\":\"denied\"",
        "the API never saw this request",
        "rule: deny `no-deletes` (claviger.toml:",
        "\"authorization\":\"Bearer ****",
        "ok: ",
        "found nowhere in",
    ] {
        assert!(told.contains(shown), "`{shown}` is missing:\n{told}");
    }
}

#[test]
fn quickstart_takes_python_where_there_is_no_curl() {
    check(&["python3"], "python3");
}

#[test]
fn quickstart_brings_its_own_client_where_there_is_neither() {
    check(&[], "claviger quickstart --client");
}

#[test]
fn quickstart_passes_over_a_curl_that_does_not_work() {
    let machine = Machine::with(&[]);
    let shim = machine.home.path().join("bin").join("curl");
    fs::write(&shim, "#!/bin/sh\nexit 127\n").unwrap();
    fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
    let output = machine.quickstart(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("a client bundled with claviger"));
}

#[test]
fn quickstart_fails_on_a_planted_leak_and_says_where() {
    let machine = Machine::with(&["curl"]);
    let output = machine.quickstart(&["--plant-leak"]);
    let (told, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{told}\n{errors}");
    assert!(!told.contains("found nowhere"), "{told}");
    assert!(errors.contains("the key, or a part of it, was found in 1 place:"), "{errors}");
    let place = errors.lines().find_map(|line| line.trim().strip_suffix(": as it is")).unwrap();
    // The folder is kept, for someone to look; only its owner may.
    let left = machine.left();
    let [folder] = left.as_slice() else { panic!("{left:?}") };
    assert!(errors.contains(&folder.display().to_string()), "{errors}");
    assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
    // Where it says the key is, it is; and the message does not repeat it.
    let leaked = fs::read_to_string(folder.join(place)).unwrap();
    let key = &leaked[leaked.rfind("key/+").unwrap()..];
    assert_eq!(key.len(), "key/+".len() + 43);
    for printed in [&told, &errors] {
        assert!(!printed.contains(&key[8..24]), "{printed}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn quickstart_cleans_up_when_it_is_stopped() {
    let machine = Machine::with(&["curl"]);
    let mut child = machine.command(&["quickstart"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The proxy runs by then, and there is much left to be shown.
    lines.find(|line| line.as_ref().unwrap().starts_with("2.")).unwrap().unwrap();
    let proxy = only_child(child.id());
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let status = child.wait().unwrap();
    // On a slow machine the signal may come after the end: then there is nothing to see here.
    if status.success() {
        return;
    }
    assert_eq!(status.code(), Some(130), "{rest:?}");
    assert_eq!(machine.left(), [] as [&Path; 0]);
    let deadline = Instant::now() + PATIENCE;
    while runs(proxy) {
        assert!(Instant::now() < deadline, "the proxy outlives what started it");
        std::thread::yield_now();
    }
}

/// The configuration that is printed for a real API is valid, and the three lines do what they say, as
/// far as that can be seen without that API.
#[test]
fn what_quickstart_prints_to_go_on_works() {
    let machine = Machine::with(&["curl"]);
    let told = text(&machine.quickstart(&[]).stdout);
    let (_, last) = told.split_once("8. Now with a real API").unwrap();
    let config: String = last
        .lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .map(|line| format!("{}\n", line.strip_prefix("     ").unwrap()))
        .collect();
    assert!(config.starts_with("version") && config.lines().count() <= 12, "{config}");
    fs::write(machine.home.path().join("claviger.toml"), &config).unwrap();
    let commands: Vec<&str> = last.lines().filter_map(|line| line.strip_prefix("   $ ")).collect();
    let [seal, run, call] = commands.as_slice() else { panic!("{commands:?}") };

    let words = |line: &str| line.split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>();
    let claviger = |line: &str| {
        assert!(line.starts_with("claviger "), "{line}");
        let words = words(line);
        machine.command(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let key = machine.home.path().join("key");
    fs::write(&key, "sk-not-a-real-key-0123456789").unwrap();
    let sealed = claviger(seal).stdin(fs::File::open(&key).unwrap()).output().unwrap();
    assert!(sealed.status.success(), "{}", text(&sealed.stderr));
    assert!(text(&sealed.stdout).contains("api.openai.com"), "{}", text(&sealed.stdout));
    let checked = machine.command(&["check", "--strict", "--config", "claviger.toml"]).output().unwrap();
    assert!(checked.status.success(), "{}", text(&checked.stderr));

    let mut proxy = Killed(claviger(run).stderr(Stdio::piped()).spawn().unwrap());
    let mut log = BufReader::new(proxy.0.stderr.take().unwrap()).lines();
    log.find(|line| line.as_ref().unwrap().contains("ready")).unwrap().unwrap();
    // The call as printed would leave this machine; as a DELETE it must not.
    assert!(call.starts_with("curl ") && call.ends_with("/openai/v1/models"), "{call}");
    let mut curl = Command::new(machine.home.path().join("bin/curl"));
    curl.args(words(call)).args(["-sS", "-X", "DELETE", "--max-time"]).arg(PATIENCE.as_secs().to_string());
    let answer = curl.current_dir(machine.home.path()).env_clear().output().unwrap();
    assert!(text(&answer.stdout).contains("\"code\":\"denied\""), "{answer:?}");
}

/// The proxy is the first child and the only one that stays.
#[cfg(target_os = "linux")]
fn only_child(parent: u32) -> u32 {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).unwrap();
    let children = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default());
    let children: Vec<u32> = children.collect::<String>().split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    *children.iter().min().unwrap()
}

/// Whether a process is there and has not ended (`Z`: nobody has taken note of its end yet).
#[cfg(target_os = "linux")]
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// A process that does not outlive its test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
