//! Child processes: started with nothing but what they need, and all that they write is kept.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::command::Failure;

/// How long any of them may take: they need milliseconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often a condition is looked at that nothing announces.
const POLL: Duration = Duration::from_millis(5);

/// Starts children in one folder, where the records of them go too.
pub(crate) struct Children {
    folder: PathBuf,
    records: PathBuf,
    claviger: PathBuf,
    started: u32,
}

/// A command that ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Where its standard output is kept.
    pub(crate) record: PathBuf,
}

impl Children {
    /// `folder` is the working and home folder of all children, `records` takes what they write.
    pub(crate) fn new(folder: &Path, records: &Path) -> Result<Self, Failure> {
        let claviger = std::env::current_exe().map_err(|error| Failure::doing("find claviger's own file")(&error))?;
        Ok(Self { folder: folder.to_owned(), records: records.to_owned(), claviger, started: 0 })
    }

    /// This program's own file.
    pub(crate) fn claviger(&self) -> &Path {
        &self.claviger
    }

    /// Runs a program to its end.
    pub(crate) async fn run(&mut self, program: &Path, args: &[String]) -> Result<Ended, Failure> {
        let (mut command, record) = self.command(program, args)?;
        let what = program.display();
        let output = timeout(PATIENCE, command.output())
            .await
            .map_err(|_| Failure::Other(format!("`{what}` did not end within {} s", PATIENCE.as_secs())))?
            .map_err(|error| Failure::Other(format!("failed to run `{what}`: {error}")))?;
        let record = |end: &str| record.with_extension(end);
        keep(&record("stdout"), &output.stdout)?;
        keep(&record("stderr"), &output.stderr)?;
        Ok(Ended {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            record: record("stdout"),
        })
    }

    /// Runs one of claviger's own commands.
    pub(crate) async fn run_claviger(&mut self, args: &[&str]) -> Result<Ended, Failure> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        self.run(&self.claviger.clone(), &args).await
    }

    /// Starts the proxy and waits until its socket takes connections.
    pub(crate) async fn start_proxy(&mut self, config: &str, socket: &Path) -> Result<Proxy, Failure> {
        // One data core is plenty for a handful of requests.
        let args = ["run", "--config", config, "--cores", "1"].map(str::to_owned);
        let (mut command, record) = self.command(&self.claviger.clone(), &args)?;
        let file = |end: &str| {
            std::fs::File::create(record.with_extension(end))
                .map_err(|error| Failure::doing("keep the proxy's log")(&error))
        };
        let stderr = record.with_extension("stderr");
        command.stdout(file("stdout")?).stderr(file("stderr")?);
        let child = command.spawn().map_err(|error| Failure::doing("start the proxy")(&error))?;
        let mut proxy = Proxy { child };
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::UnixStream::connect(socket).await.is_err() {
            let ended = proxy.child.try_wait().map_err(|error| Failure::doing("wait for the proxy")(&error))?;
            if let Some(status) = ended {
                let log = std::fs::read_to_string(&stderr).unwrap_or_default();
                return Err(Failure::Other(format!("the proxy ended at once ({status}): {}", log.trim_end())));
            }
            if Instant::now() >= deadline {
                return Err(Failure::Other(format!("the proxy takes no connections after {} s", PATIENCE.as_secs())));
            }
            sleep(POLL).await;
        }
        Ok(proxy)
    }

    /// A command in a bare environment, and the file (less its extension) that it is recorded in.
    fn command(&mut self, program: &Path, args: &[String]) -> Result<(Command, PathBuf), Failure> {
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.folder).stdin(Stdio::null()).kill_on_drop(true);
        command.env_clear().env("HOME", &self.folder);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        self.started += 1;
        let name = program.file_stem().unwrap_or_default().to_string_lossy();
        let record = self.records.join(format!("{:02}-{name}", self.started));
        keep(&record.with_extension("started-with"), &started_with(command.as_std()))?;
        Ok((command, record))
    }
}

/// The running proxy; killed when this is dropped.
pub(crate) struct Proxy {
    child: Child,
}

impl Proxy {
    /// Asks it to stop, as a service manager does, and waits until it did.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        let Some(pid) = pid else { return Err(Failure::Other("the proxy ended by itself".to_owned())) };
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .map_err(|error| Failure::doing("stop the proxy")(&error))?;
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(Failure::Other(format!("the proxy stopped badly: {status}"))),
            Ok(Err(error)) => Err(Failure::doing("wait for the proxy's end")(&error)),
            Err(_) => Err(Failure::Other(format!("the proxy did not stop within {} s", PATIENCE.as_secs()))),
        }
    }
}

/// Waits until a file holds a text.
pub(crate) async fn wait_for(file: &Path, text: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    while !std::fs::read_to_string(file).is_ok_and(|content| content.contains(text)) {
        if Instant::now() >= deadline {
            return Err(Failure::Other(format!("`{}` does not show `{text}`", file.display())));
        }
        sleep(POLL).await;
    }
    Ok(())
}

/// What a child is given, one word or variable a line: it is searched for the key as what it writes is.
fn started_with(command: &std::process::Command) -> Vec<u8> {
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(|word| word.as_bytes().to_vec());
    let variables =
        command.get_envs().map(|(name, value)| [name.as_bytes(), b"=", value.unwrap_or_default().as_bytes()].concat());
    words.chain(variables).flat_map(|line| [line, b"\n".to_vec()].concat()).collect()
}

fn keep(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(file, bytes)
        .map_err(|error| Failure::Other(format!("failed to write `{}`: {error}", file.display())))
}
