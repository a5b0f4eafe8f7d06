//! One running server process.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const START_SECONDS_MAX: u64 = 90;
const POLL_EVERY: Duration = Duration::from_millis(5);

/// Runs a server until its own standard input ends, which it does when the test process goes, however it goes. It leads
/// the process group, so that what the server started ends too; and it ends when the server does.
const GUARD: &str = r#"{ "$@"; kill -KILL 0; } </dev/null & cat >/dev/null; kill -KILL 0"#;

/// A server process with its folder. Dropping it kills the process and whatever that started.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    guard: Child,
    dir: TempDir,
}

impl Server {
    /// Starts `command` in an environment that holds only what `command` sets, a home folder and a path.
    /// The closure may write files into the server's own folder, which it is given.
    pub fn spawn(name: &'static str, command: impl FnOnce(&Path) -> Command) -> Self {
        let dir = TempDir::new().unwrap();
        let wanted = command(dir.path());
        let log = File::create(dir.path().join("log")).unwrap();
        let mut guard = Command::new("/bin/sh");
        guard.args(["-c", GUARD, name]).arg(wanted.get_program()).args(wanted.get_args());
        // Nothing is inherited: variables such as NODE_EXTRA_CA_CERTS change what a server trusts.
        guard.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", dir.path());
        guard.envs(wanted.get_envs().filter_map(|(key, value)| value.map(|value| (key, value))));
        guard.current_dir(dir.path()).process_group(0);
        guard.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        let guard = guard.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name, guard, dir }
    }

    /// Waits until `probe` says that the server answers. A server that ends before, or takes too long, fails the test
    /// with its log.
    pub async fn ready(mut self, probe: impl AsyncFn() -> bool) -> Self {
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        while !probe().await {
            let ended = self.guard.try_wait().unwrap();
            assert!(ended.is_none(), "{} ended before it was ready:\n{}", self.name, self.log());
            assert!(Instant::now() < deadline, "{} is not ready in time:\n{}", self.name, self.log());
            sleep(POLL_EVERY).await;
        }
        self
    }

    /// The server's own folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it wrote to standard output and standard error so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.path().join("log")).unwrap()).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = i32::try_from(self.guard.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // It may have ended already; there is nothing to do about it then.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.guard.wait();
    }
}

/// Where a server that speaks TLS is: the name on its certificate, and the loopback address that it listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The DNS name that its certificate carries.
    pub name: String,
    /// Where to dial.
    pub addr: SocketAddr,
}

impl Endpoint {
    /// This name at a loopback port that is free.
    pub fn reserve(name: &str) -> Self {
        Self { name: name.to_owned(), addr: free_port() }
    }

    /// `name:port`.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.name, self.addr.port())
    }

    /// `https://name:port` and this path, which begins with `/` or is empty.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.authority())
    }

    /// The same by address, which its certificate carries too: for a client that can't be told where a name leads.
    pub fn url_by_address(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    /// The argument of curl's `--resolve` that leads this name here.
    pub fn curl_resolve(&self) -> String {
        format!("{}:{}", self.authority(), self.addr.ip())
    }

    /// Whether a `GET` with this client gets this status.
    pub(super) async fn answers(&self, http: reqwest::ClientBuilder, path: &str, status: u16) -> bool {
        let http = http.resolve(&self.name, self.addr).build().unwrap();
        http.get(self.url(path)).send().await.is_ok_and(|answer| answer.status() == status)
    }
}

/// A loopback port that the kernel gives to nobody else for a minute, because a connection over it has just been closed
/// (TIME_WAIT), while a server that names the port can still bind it.
pub(super) fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let client = TcpStream::connect(addr).unwrap();
    drop(listener.accept().unwrap());
    drop(client);
    addr
}

/// A path as text.
pub(super) fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// The template of this name under `tests/peers/conf`, each `@KEY@` filled in.
pub(super) fn render(template: &str, values: &[(&str, &str)]) -> String {
    let path: PathBuf = super::Installed::sources().join("conf").join(template);
    let mut text = fs::read_to_string(&path).unwrap();
    for (key, value) in values {
        text = text.replace(&format!("@{key}@"), value);
    }
    text
}
