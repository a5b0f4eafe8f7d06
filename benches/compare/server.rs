//! Programs that run for the length of a benchmark.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::door::Problem;
use crate::meter::Tree;

/// How long a program may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program with a folder of its own; ends with the value.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// When it was started.
    pub(crate) spawned: Instant,
    folder: TempDir,
}

impl Server {
    /// Starts what `command` makes for the folder. What it prints goes to `output.log` there.
    pub(crate) fn spawn(command: impl FnOnce(&Path) -> Command) -> Result<Self, Problem> {
        let folder = TempDir::new().unwrap();
        let mut command = command(folder.path());
        let output = File::create(folder.path().join("output.log")).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let program = PathBuf::from(command.get_program());
        let spawned = Instant::now();
        let child = command.spawn().map_err(|error| format!("failed to start `{}`: {error}", program.display()))?;
        Ok(Self { child, spawned, folder })
    }

    /// Waits until it listens there.
    pub(crate) fn listening(mut self, address: SocketAddr) -> Result<Self, Problem> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || Instant::now() > deadline {
                return Err(format!("does not listen ({ended:?}): {}", self.printed()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(self)
    }

    /// Its processes.
    pub(crate) fn tree(&self) -> Tree {
        Tree(self.child.id())
    }

    /// The last lines that it printed.
    fn printed(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("output.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" / ")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Workers end with their parent only if it is asked, not if it is killed.
        let pids = self.tree().pids();
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(3);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            for pid in pids {
                let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}

/// A program of `benches/compare/run`'s installation, of the tests', or of the system.
pub(crate) fn program(name: &str) -> Result<PathBuf, Problem> {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = ["debian/usr/sbin", "debian/usr/lib/squid", "venv/bin", "target/release"];
    let own = own.into_iter().map(|folder| benches.join(".peers").join(folder));
    let tests = benches.join("../tests/.peers/debian/usr/sbin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/lib/squid".into()]);
    let found = own.chain([tests]).chain(system).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| format!("`{name}` is not installed"))
}

/// Where unpacked programs find their libraries, if this one was unpacked.
pub(crate) fn library_path(program: &Path) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers/debian/usr/lib");
    let unpacked = program.starts_with(Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers/debian"));
    let triple = std::fs::read_dir(root).ok()?.flatten().map(|entry| entry.path());
    let triple = triple.filter(|path| path.to_string_lossy().ends_with("-linux-gnu")).find(|path| path.is_dir());
    triple.filter(|_| unpacked)
}
