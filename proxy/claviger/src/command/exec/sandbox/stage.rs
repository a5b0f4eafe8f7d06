//! The process that becomes the command: it makes the sandbox around itself, and then runs the command in its own place.
//!
//! It is this program, started anew for that: namespaces of users can be had by a process of one thread only, and the
//! session has many. Since it is replaced by the command, pid, process group, terminal and exit code are the command's own.

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use super::plan::{Brought, Failed, Mapped, Order, Plan, Report, STAGE};
use super::relay::{self, DOORMAN};
use crate::os::sandbox as kernel;
use crate::os::sandbox::Channel;

/// Ports that clients go to when they do not know of the proxy.
pub(super) const CAUGHT: [u16; 2] = [443, 80];

/// The port at which names are asked for (RFC 1035 §4.2).
const NAMES: u16 = 53;

/// If this process was started to be a stage, or a doorman: is one, and says how that ended.
pub(crate) fn dispatch() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let word = arguments.next()?;
    let is_doorman = word == OsStr::new(DOORMAN);
    if word != OsStr::new(STAGE) && !is_doorman {
        return None;
    }
    let number = arguments.next()?.to_str()?.parse().ok()?;
    let Ok(end) = kernel::adopt(number) else { return Some(ExitCode::FAILURE) };
    if is_doorman {
        return Some(relay::serve(end));
    }
    let Ok(channel) = Channel::of(end) else { return Some(ExitCode::FAILURE) };
    let Err(failed) = become_the_command(&channel);
    // Nobody to tell: the session has ended, and so does this.
    if let Some(failed) = failed {
        let _ = channel.send(&Report::Failed(failed), &[]);
    }
    Some(ExitCode::FAILURE)
}

/// Never; or why not. `None`: the session is gone.
type Never = Result<std::convert::Infallible, Option<Failed>>;

fn failed(step: &str) -> impl FnOnce(io::Error) -> Option<Failed> {
    let step = step.to_owned();
    move |error| Some(Failed { step, errno: error.raw_os_error(), why: error.to_string(), is_command: false })
}

fn become_the_command(channel: &Channel) -> Never {
    let Some((order, _)) = channel.receive::<Order>().map_err(failed("read what to make"))? else { return Err(None) };
    if order.namespaces {
        let made = make(channel, &order)?;
        let files: Vec<BorrowedFd<'_>> = made.files.iter().map(AsFd::as_fd).collect();
        channel.send(&Report::Made(made.brought), &files).map_err(failed("hand sockets over"))?;
    } else {
        channel.send(&Report::Made(Brought::default()), &[]).map_err(failed("answer"))?;
    }
    let Some((plan, _)) = channel.receive::<Plan>().map_err(failed("read what to run"))? else { return Err(None) };
    hide(&plan)?;
    let error = run(&plan);
    let step = plan.program.to_string_lossy().into_owned();
    Err(Some(Failed { step, errno: error.raw_os_error(), why: error.to_string(), is_command: true }))
}

/// Sockets and namespaces that go to the session.
#[derive(Default)]
struct Made {
    brought: Brought,
    files: Vec<OwnedFd>,
}

/// Namespaces, and in them a network in which everything is this machine.
fn make(channel: &Channel, order: &Order) -> Result<Made, Option<Failed>> {
    let (uid, gid) = kernel::ids();
    kernel::enter().map_err(failed("make namespaces"))?;
    if order.root {
        channel.send(&Report::MapMe, &[]).map_err(failed("ask for ids"))?;
        match channel.receive::<Mapped>().map_err(failed("wait for ids"))? {
            Some((Mapped(true), _)) => {}
            Some((Mapped(false), _)) => kernel::map_self(uid, gid).map_err(failed("map its own id"))?,
            None => return Err(None),
        }
    } else {
        kernel::map_self(uid, gid).map_err(failed("map its own id"))?;
    }
    kernel::bring_up().map_err(failed("make a network"))?;
    sockets(order).map_err(failed("listen in its network"))
}

/// Whatever is bound here lies in the new network, wherever it is used from.
fn sockets(order: &Order) -> io::Result<Made> {
    let mut made = Made::default();
    for _ in 0..2 {
        made.files.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.into());
        made.brought.session += 1;
    }
    for port in &order.local {
        made.files.push(TcpListener::bind((Ipv4Addr::LOCALHOST, *port))?.into());
        made.brought.local.push(*port);
    }
    for port in CAUGHT.into_iter().filter(|port| !order.local.contains(port)) {
        made.files.push(everywhere(port, |address| TcpListener::bind(address).map(OwnedFd::from))?);
        made.brought.catchers.push(port);
    }
    made.files.push(everywhere(NAMES, |address| UdpSocket::bind(address).map(OwnedFd::from))?);
    made.brought.names = 1;
    if let Ok(calls) = kernel::watch_calls() {
        made.files.push(calls);
        made.brought.calls = 1;
    }
    for kind in ["user", "net"] {
        made.files.push(std::fs::File::open(format!("/proc/self/ns/{kind}"))?.into());
        made.brought.namespaces += 1;
    }
    Ok(made)
}

/// Both families at once, or the older where there is one only.
fn everywhere(port: u16, bind: impl Fn(SocketAddr) -> io::Result<OwnedFd>) -> io::Result<OwnedFd> {
    bind((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|_| bind((Ipv4Addr::UNSPECIFIED, port).into()))
}

/// From here on this process cannot do more than the command may.
fn hide(plan: &Plan) -> Result<(), Option<Failed>> {
    kernel::leave_the_outside().map_err(failed("close what was inherited"))?;
    kernel::leave_keyring();
    if let Some(covers) = &plan.covers {
        covers.apply().map_err(|(path, error)| failed(&format!("hide `{}`", path.display()))(error))?;
        kernel::drop_powers().map_err(failed("give up privileges"))?;
    }
    // Its old folder is still the one under the cover.
    if let Some(directory) = &plan.directory {
        std::env::set_current_dir(directory).map_err(failed("go back to its folder"))?;
    }
    rustix::thread::set_no_new_privs(true).map_err(io::Error::from).map_err(failed("give up set-user-id programs"))?;
    kernel::restrict(plan.rules.as_ref()).map_err(failed("restrict itself (Landlock)"))?;
    kernel::refuse_calls(plan.rules.is_some()).map_err(failed("restrict its system calls"))
}

/// Becomes the command; returns only if that is not possible.
fn run(plan: &Plan) -> io::Error {
    let environment = plan.environment.iter().map(|(name, value): &(OsString, OsString)| (name, value));
    Command::new(&plan.program).args(&plan.arguments).env_clear().envs(environment).exec()
}
