//! A folder with a configuration that permits sessions, and sessions in it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use claviger_tests::{Origin, PATIENCE, World, canary};

/// A world whose configuration permits sessions as `spiffe://acme.test/dev/ada`, and an origin that wants its key.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) origin: Origin,
}

/// What a session printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) const WORKLOAD: &str = "[workload.dev]\nspiffe = \"spiffe://acme.test/dev/ada\"\nexec = true\n";
pub(crate) const RULE: &str = "[allow.dev-api]\nwho = \"dev\"\nto = \"api\"\nops = [\"GET,POST /v1/**\"]\n";

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(&format!("{WORKLOAD}{RULE}")).await
    }

    /// With other tables than the usual workload and rule.
    pub(crate) async fn with(more: &str) -> Self {
        let world = World::new();
        let origin = Origin::keyed(&world.ca, &world.canary).await;
        world.seal("api", &world.canary, &["api.test"]);
        let stage = Self { world, origin };
        stage.configure(more);
        std::fs::create_dir(stage.world.path().join("tmp")).unwrap();
        stage
    }

    /// No listener, one service, and what is given.
    pub(crate) fn configure(&self, more: &str) {
        let port = self.origin.port();
        self.world.configure(&format!(
            "version = 1\ntrust_domain = \"acme.test\"\nstate_dir = \"state\"\n[service.api]\nhosts = [\"api.test\"]\n\
             connect = \"127.0.0.1:{port}\"\nca = \"ca.pem\"\nallow_addresses = [\"127.0.0.1\"]\ninject = [\"bearer\"]\n\
             secret = \"secret://sealed/api\"\n{more}"
        ));
    }

    /// `claviger exec ARGS`, without a sandbox, in an environment that has little more than a path.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut all = vec!["exec", "--config", "claviger.toml", "--sandbox", "off"];
        all.extend(args);
        let mut command = self.world.command(&all);
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("TMPDIR", self.world.path().join("tmp"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A session to its end. The canary is in nothing that it wrote, and it leaves nothing behind.
    pub(crate) fn exec(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().unwrap();
        self.check(output)
    }

    /// As [`exec`](Self::exec), of a shell script.
    pub(crate) fn sh(&self, script: &str) -> Ran {
        self.exec(&["--", "sh", "-c", script])
    }

    pub(crate) fn check(&self, output: Output) -> Ran {
        canary::assert_absent(&self.world.canary, "stdout", &output.stdout);
        canary::assert_absent(&self.world.canary, "stderr", &output.stderr);
        assert_eq!(self.left_behind(), [] as [PathBuf; 0]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// What lies in the folder for sessions.
    pub(crate) fn left_behind(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.world.path().join("tmp")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Starts a session that writes a word into `started` and then goes on with `script`; returns when it has.
    pub(crate) fn start(&self, script: &str) -> Child {
        let script = format!("echo $$ > started.tmp && mv started.tmp started; {script}");
        let child = self.command(&["--", "sh", "-c", &script]).spawn().unwrap();
        let file = self.world.path().join("started");
        wait_until("the command has started", || file.exists());
        child
    }

    /// The process of the command that [`start`](Self::start) started.
    pub(crate) fn command_pid(&self) -> i32 {
        std::fs::read_to_string(self.world.path().join("started")).unwrap().trim().parse().unwrap()
    }
}

/// The request ids of the lines that say what to type next.
pub(crate) fn next_commands(err: &str) -> Vec<String> {
    err.lines().filter_map(|line| line.trim().strip_prefix("next: ")).map(str::to_owned).collect()
}

pub(crate) fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Whether a process is there and no zombie.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}
