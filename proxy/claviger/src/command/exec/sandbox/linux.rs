//! The session's side: starts the stage, and tells it what to hide and what to become.

use std::ffi::OsString;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;

use claviger_contract::{Clock, EventSink};
use tokio::runtime::Handle;

use super::hidden::{self, Caller, Hidden, Wishes};
use super::plan::{Brought, Failed, Mapped, Order, Plan, Report, STAGE};
use super::relay::{self, Doorman};
use super::witness::Witness;
use super::{Mode, SandboxArgs, readable};
use crate::command::Failure;
use crate::command::exec::child::{Launch, Sockets, SpawnError, Surroundings, command, loopback};
use crate::console;
use crate::os::sandbox::{Channel, Cover, Covers, FileRules, landlock_abi, map_as_parent};

/// The first version of Landlock with rules for TCP.
const LANDLOCK_WITH_TCP: u32 = 4;

/// How well the command is kept away.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Grade {
    Namespaces,
    /// Why there are no namespaces.
    Landlock(String),
    /// Why there is nothing.
    Nothing(String),
}

/// A sandbox that was made and waits for its command.
pub(crate) struct Sandbox {
    grade: Grade,
    stage: Option<Stage>,
    args: SandboxArgs,
    folder: PathBuf,
    wishes: Wishes,
    /// Ports of the session's listeners.
    ports: Vec<u16>,
    caught: Caught,
    /// Of `--publish`, at the machine's loopback address.
    published: Vec<(u16, TcpListener)>,
    doorman: Option<Arc<Doorman>>,
}

/// A process that waits to become the command.
struct Stage {
    child: Child,
    channel: Channel,
}

/// Sockets in the command's network besides the session's own.
#[derive(Default)]
pub(super) struct Caught {
    /// Where clients arrive that go around the proxy.
    pub(super) tcp: Vec<(u16, TcpListener)>,
    /// Where they ask for names.
    pub(super) names: Vec<UdpSocket>,
    /// Where they find what `--local` lets them.
    pub(super) local: Vec<(u16, TcpListener)>,
    /// What sees calls to other ports.
    pub(super) calls: Vec<OwnedFd>,
    /// The namespaces of users and of the network, for `--publish`.
    pub(super) namespaces: Vec<OwnedFd>,
}

impl Sandbox {
    /// Makes the sandbox that was asked for, with the sockets of the session in it; `None`: there is to be none.
    pub(crate) fn prepare(args: &SandboxArgs, around: &Surroundings) -> Result<Option<(Self, Sockets)>, Failure> {
        // Beside this session's folder lie those of others.
        let others = around.folder.parent().filter(|path| is_of_sessions(path)).map(Path::to_owned);
        let others = others.as_ref();
        let wishes = Wishes {
            hide: args
                .hide
                .iter()
                .chain([&around.state_dir])
                .chain(others)
                .filter(|path| path.exists())
                .cloned()
                .collect(),
            allow: args.allow_read.clone(),
            keep: vec![around.folder.clone()],
            fixed: around.configuration.clone(),
        };
        for path in &args.hide {
            if path.symlink_metadata().is_err() {
                return Err(Failure::Call(format!("`--hide {}`: there is no such file", path.display())));
            }
        }
        let mut made = Self {
            grade: Grade::Nothing("--sandbox=off".to_owned()),
            stage: None,
            args: args.clone(),
            folder: around.folder.clone(),
            wishes,
            ports: vec![],
            caught: Caught::default(),
            published: vec![],
            doorman: None,
        };
        let sockets = if args.sandbox == Mode::Off { None } else { made.begin()? };
        let sockets = match sockets {
            Some(sockets) => sockets,
            None => Sockets { forward: loopback()?, gateway: loopback()? },
        };
        for socket in [&sockets.forward, &sockets.gateway] {
            made.ports.push(socket.local_addr().map_err(|error| Failure::doing("read a port")(&error))?.port());
        }
        Ok(Some((made, sockets)))
    }

    /// As high a grade as this machine has; sockets where they lie in the command's own network.
    fn begin(&mut self) -> Result<Option<Sockets>, Failure> {
        let no_namespaces = match Stage::start(self.order(true)) {
            Ok((stage, brought, files)) => {
                self.grade = Grade::Namespaces;
                self.stage = Some(stage);
                let sockets = self.caught.take(&brought, files)?;
                self.publish()?;
                return Ok(Some(sockets));
            }
            Err(why) => why,
        };
        let abi = landlock_abi();
        if abi < LANDLOCK_WITH_TCP {
            let landlock = match abi {
                0 => "the kernel has no Landlock".to_owned(),
                abi => format!("the kernel's Landlock (version {abi}) has no rules for TCP"),
            };
            self.grade = Grade::Nothing(format!("{no_namespaces}, and {landlock}"));
        } else {
            match Stage::start(self.order(false)) {
                Ok((stage, _, _)) => {
                    self.stage = Some(stage);
                    self.grade = Grade::Landlock(no_namespaces);
                }
                Err(why) => self.grade = Grade::Nothing(why),
            }
        }
        match (&self.grade, self.args.sandbox) {
            (Grade::Nothing(why), Mode::Require) => {
                Err(Failure::Other(format!("`--sandbox=require`, but this machine has none: {why}")))
            }
            _ => Ok(None),
        }
    }

    /// Listens outside for what the command will serve inside.
    fn publish(&mut self) -> Result<(), Failure> {
        for port in &self.args.publish {
            let bound = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, *port));
            let bound = bound.map_err(|error| Failure::doing(&format!("publish port {port}"))(&error))?;
            self.published.push((*port, bound));
        }
        if !self.published.is_empty() {
            let doorman = Doorman::start(&self.caught.namespaces);
            self.doorman = Some(doorman.map_err(|error| Failure::doing("publish a port")(&error))?);
        }
        Ok(())
    }

    fn order(&self, namespaces: bool) -> Order {
        let local = self.args.local.iter().map(|one| one.port).collect();
        Order { namespaces, root: rustix::process::geteuid().is_root(), local }
    }

    /// Notices who goes around the proxy, from now on: records it, and says so once per destination unless `quiet`.
    /// Without namespaces nobody can be seen doing so.
    pub(crate) fn watch(&mut self, runtime: &Handle, events: Arc<dyn EventSink>, clock: Arc<dyn Clock>, quiet: bool) {
        if self.grade == Grade::Namespaces {
            let mut caught = std::mem::take(&mut self.caught);
            for (port, listener) in std::mem::take(&mut caught.local) {
                if let Some(wanted) = self.args.local.iter().find(|one| one.port == port) {
                    relay::lead_out(runtime, listener, wanted.clone());
                }
            }
            for (port, listener) in std::mem::take(&mut self.published) {
                if let Some(doorman) = &self.doorman {
                    relay::lead_in(runtime, listener, port, doorman);
                }
            }
            Witness(caught).serve(runtime, events, clock, quiet);
        }
    }

    /// Starts the command in it.
    pub(crate) fn spawn(self, launch: &Launch) -> Result<Child, SpawnError> {
        let place = |error: String| SpawnError::Place(error);
        let caller = Caller::this().map_err(|error| place(format!("the working folder is not known: {error}")))?;
        let hidden = hidden::find(&caller, &self.wishes).map_err(place)?;
        self.say(&caller, &hidden, launch);
        let Some(stage) = self.stage else {
            return command(launch).spawn().map_err(|error| SpawnError::of(&launch.program, error));
        };
        let is_led =
            |pair: &&(OsString, OsString)| hidden.variables.contains(&pair.0) && caller.environment.contains(pair);
        let environment = launch.environment.iter().filter(|pair| !is_led(pair)).cloned().collect();
        let mut plan = Plan {
            program: launch.program.clone(),
            arguments: launch.arguments.clone(),
            environment,
            directory: Some(caller.directory.clone().into_os_string()),
            covers: None,
            rules: None,
        };
        match self.grade {
            Grade::Namespaces => {
                let scratch = self.folder.join("covers");
                std::fs::create_dir_all(&scratch)
                    .map_err(|error| place(format!("`{}` cannot be made: {error}", scratch.display())))?;
                plan.covers = Some(covers(&hidden, scratch.into_os_string(), caller.uid == 0));
            }
            Grade::Landlock(_) | Grade::Nothing(_) => {
                let ports = self.ports.iter().copied().chain(self.args.local.iter().map(|one| one.port));
                plan.rules = Some(FileRules::around(&enforceable(&caller, &hidden).0, ports.collect()));
            }
        }
        stage.go(&plan)
    }

    /// What the user should know of the sandbox, if it is not a whole one.
    fn say(&self, caller: &Caller, hidden: &Hidden, launch: &Launch) {
        let all: Vec<PathBuf> = hidden.found.iter().map(|one| one.path.clone()).collect();
        let (what, mut paths) = match &self.grade {
            Grade::Namespaces => ("the sandbox cannot hide what the command works in".to_owned(), vec![]),
            Grade::Landlock(why) => (
                format!(
                    "half a sandbox, by Landlock alone ({why}): whoever goes around the proxy fails without a record"
                ),
                enforceable(caller, hidden).1,
            ),
            Grade::Nothing(why) => (format!("no sandbox ({why}) around this command"), all),
        };
        paths.extend(hidden.unhidden.iter().cloned());
        let variables = readable::variables(caller, &launch.environment);
        match (readable::sentence(caller, &paths, &variables), &self.grade) {
            (Some(text), Grade::Namespaces) if paths.is_empty() => console::note(&text),
            (Some(text), _) => console::note(&format!("{what}: {text}")),
            (None, Grade::Namespaces) => {}
            (None, _) => console::note(&what),
        }
        if hidden.cut_short {
            console::note("the project is too large to find every .env file: `--hide` those in its deeper folders");
        }
    }
}

/// Whether a folder holds nothing but folders of sessions: by its name, since a session may also live in `/tmp` itself.
fn is_of_sessions(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("claviger-exec"))
}

/// Everything that is covered by mounts.
fn covers(hidden: &Hidden, scratch: OsString, is_root: bool) -> Covers {
    let cover = |one: &hidden::Found| Cover { path: one.path.clone().into(), content: one.content.clone() };
    let mut hide: Vec<Cover> = hidden.found.iter().map(cover).collect();
    if is_root {
        // Whoever owns a disk's device reads every file from it, covered or not.
        hide.extend(block_devices().into_iter().map(|path| Cover { path: path.into(), content: String::new() }));
    }
    Covers {
        scratch,
        hide,
        keep: hidden.keep.iter().map(OsString::from).collect(),
        links: hidden.links.iter().map(|(path, target)| (path.into(), target.into())).collect(),
        read_only: hidden.read_only.iter().map(OsString::from).collect(),
    }
}

/// Disks, in `/dev` and one folder below it.
fn block_devices() -> Vec<PathBuf> {
    use std::os::unix::fs::FileTypeExt;
    let list = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().collect::<Vec<_>>();
    let top = list(PathBuf::from("/dev"));
    let is =
        |entry: &std::fs::DirEntry, what: fn(&std::fs::FileType) -> bool| entry.file_type().is_ok_and(|it| what(&it));
    let below = top.iter().filter(|entry| is(entry, std::fs::FileType::is_dir)).flat_map(|entry| list(entry.path()));
    let below: Vec<_> = below.collect();
    let all = top.into_iter().chain(below);
    all.filter(|entry| is(entry, FileTypeExt::is_block_device)).map(|entry| entry.path()).collect()
}

/// What Landlock's rules can hide, and what not. They grant what exists when the command starts, so a folder in which
/// something is hidden takes no new files: not to be borne in a project, nor where temporary files are made.
fn enforceable(caller: &Caller, hidden: &Hidden) -> (Vec<PathBuf>, Vec<PathBuf>) {
    use std::os::unix::fs::FileTypeExt;
    let mut open =
        vec![PathBuf::from("/tmp"), PathBuf::from("/var/tmp"), PathBuf::from("/dev/shm"), std::env::temp_dir()];
    open.extend(super::project::root_of(&caller.directory, &caller.homes));
    open.push(caller.directory.clone());
    open.extend(hidden.keep.iter().cloned());
    let is_enforceable = |path: &PathBuf| {
        let is_socket = path.symlink_metadata().is_ok_and(|about| about.file_type().is_socket());
        !is_socket && !open.iter().any(|folder| path.starts_with(folder) || folder.starts_with(path))
    };
    hidden.found.iter().map(|one| one.path.clone()).partition(is_enforceable)
}

impl Caught {
    /// Sorts what came with [`Report::Made`].
    fn take(&mut self, brought: &Brought, files: Vec<OwnedFd>) -> Result<Sockets, Failure> {
        let too_few = || Failure::Other("the sandbox brought too few sockets".to_owned());
        let mut files = files.into_iter();
        let mut next = || files.next().ok_or_else(too_few);
        if brought.session != 2 {
            return Err(too_few());
        }
        let sockets = Sockets { forward: next()?.into(), gateway: next()?.into() };
        for port in &brought.local {
            self.local.push((*port, next()?.into()));
        }
        for port in &brought.catchers {
            self.tcp.push((*port, next()?.into()));
        }
        for _ in 0..brought.names {
            self.names.push(next()?.into());
        }
        for _ in 0..brought.calls {
            self.calls.push(next()?);
        }
        for _ in 0..brought.namespaces {
            self.namespaces.push(next()?);
        }
        Ok(sockets)
    }
}

/// Why there are no namespaces, in words that lead to what switched them off.
fn reason(failed: &Failed) -> String {
    let hint = match failed.errno {
        Some(libc::ENOSPC) => "user namespaces are switched off: `sysctl user.max_user_namespaces`",
        Some(libc::EPERM | libc::EACCES) => {
            "user namespaces are not for this user: a container's seccomp profile, AppArmor, or `sysctl kernel.unprivileged_userns_clone`"
        }
        Some(libc::ENOSYS | libc::EINVAL) => "the kernel has no user namespaces",
        _ => return format!("failed to {}: {}", failed.step, failed.why),
    };
    hint.to_owned()
}

impl Stage {
    /// Starts the process and has it make what it can; or says why it could not.
    fn start(order: Order) -> Result<(Self, Brought, Vec<OwnedFd>), String> {
        let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let (channel, end) = Channel::pair().map_err(|error| failed("no socket pair", &error))?;
        // Nothing is inherited but the end of the channel: the environment comes with the plan.
        let child = Command::new("/proc/self/exe")
            .arg0("claviger")
            .arg(STAGE)
            .arg(end.as_raw_fd().to_string())
            .env_clear()
            .spawn()
            .map_err(|error| failed("the stage did not start", &error))?;
        drop(end);
        let mut stage = Self { child, channel };
        match stage.made(&order) {
            Ok((brought, files)) => Ok((stage, brought, files)),
            Err(why) => {
                stage.end();
                Err(why)
            }
        }
    }

    fn made(&mut self, order: &Order) -> Result<(Brought, Vec<OwnedFd>), String> {
        let lost = |error: std::io::Error| format!("the stage does not answer: {error}");
        self.channel.send(order, &[]).map_err(lost)?;
        loop {
            match self.channel.receive::<Report>().map_err(lost)? {
                Some((Report::MapMe, _)) => {
                    let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
                    let mapped = pid.is_some_and(|pid| map_as_parent(pid).is_ok());
                    self.channel.send(&Mapped(mapped), &[]).map_err(lost)?;
                }
                Some((Report::Made(brought), files)) => return Ok((brought, files)),
                Some((Report::Failed(failed), _)) => return Err(reason(&failed)),
                None => return Err("the stage ended".to_owned()),
            }
        }
    }

    /// Has it become the command. The channel is closed at that moment.
    fn go(mut self, plan: &Plan) -> Result<Child, SpawnError> {
        let lost = |error: std::io::Error| SpawnError::Place(format!("the sandbox does not answer: {error}"));
        let sent = self.channel.send(plan, &[]).map_err(lost);
        let answer = sent.and_then(|()| self.channel.receive::<Report>().map_err(lost));
        match answer {
            Ok(None) => Ok(self.child),
            Ok(Some((Report::Failed(failed), _))) => {
                self.end();
                let error = failed
                    .errno
                    .map_or_else(|| std::io::Error::other(failed.why.clone()), std::io::Error::from_raw_os_error);
                Err(if failed.is_command {
                    SpawnError::of(&plan.program, error)
                } else {
                    SpawnError::Place(format!(
                        "the sandbox failed to {}: {}\n  help: `--allow-read PATH` leaves one thing within reach, `--sandbox=off` everything",
                        failed.step, failed.why
                    ))
                })
            }
            Ok(Some(_)) => {
                self.end();
                Err(SpawnError::Place("the sandbox answered out of turn".to_owned()))
            }
            Err(error) => {
                self.end();
                Err(error)
            }
        }
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
