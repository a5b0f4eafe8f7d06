//! `--local` and `--publish`: single ports that lead from the command's own network to the machine's, and back.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use super::Local;
use crate::os::sandbox as kernel;
use crate::os::sandbox::Channel;

/// The word by which this program knows that it is to be a doorman; after it comes the number of a socket.
pub(super) const DOORMAN: &str = "sandbox-doorman";

/// The command finds `wanted` at this listener of its own network.
pub(super) fn lead_out(runtime: &Handle, listener: std::net::TcpListener, wanted: Local) {
    let _entered = runtime.enter();
    let Ok(listener) = listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)) else { return };
    runtime.spawn(relay(listener, move || {
        let wanted = wanted.clone();
        async move { TcpStream::connect((wanted.host.as_str(), wanted.port)).await }
    }));
}

/// The machine finds the command's port at this listener.
pub(super) fn lead_in(runtime: &Handle, listener: std::net::TcpListener, port: u16, doorman: &Arc<Doorman>) {
    let _entered = runtime.enter();
    let Ok(listener) = listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)) else { return };
    let doorman = doorman.clone();
    runtime.spawn(relay(listener, move || {
        let doorman = doorman.clone();
        async move {
            let connected = tokio::task::spawn_blocking(move || doorman.connect(port)).await;
            let socket = connected.map_err(io::Error::other)??;
            socket.set_nonblocking(true)?;
            TcpStream::from_std(socket)
        }
    }));
}

/// Joins whoever connects with what `connect` yields.
async fn relay<F: Future<Output = io::Result<TcpStream>> + Send + 'static>(
    listener: TcpListener,
    connect: impl Fn() -> F + Send + 'static,
) {
    loop {
        let Ok((mut here, _)) = listener.accept().await else {
            // Out of descriptors, most likely: somebody will close one.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let there = connect();
        tokio::spawn(async move {
            if let Ok(mut there) = there.await {
                let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
            }
        });
    }
}

/// A process in the command's network that connects there and hands the socket out: threads cannot go there.
pub(super) struct Doorman {
    channel: Mutex<Channel>,
    process: Mutex<Child>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Connect(u16);

#[derive(Debug, Serialize, Deserialize)]
struct Connected(Result<(), i32>);

impl Doorman {
    /// Starts it in these namespaces: of users and of the network.
    pub(super) fn start(namespaces: &[OwnedFd]) -> io::Result<Arc<Self>> {
        let (channel, end) = Channel::pair()?;
        let process = Command::new("/proc/self/exe")
            .arg0("claviger")
            .arg(DOORMAN)
            .arg(end.as_raw_fd().to_string())
            .env_clear()
            // Ctrl-C is not meant for it: it ends with the session.
            .process_group(0)
            .spawn()?;
        drop(end);
        let files: Vec<BorrowedFd<'_>> = namespaces.iter().map(std::os::fd::AsFd::as_fd).collect();
        channel.send(&(), &files)?;
        Ok(Arc::new(Self { channel: Mutex::new(channel), process: Mutex::new(process) }))
    }

    fn connect(&self, port: u16) -> io::Result<std::net::TcpStream> {
        let channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        channel.send(&Connect(port), &[])?;
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let (answer, files) = channel.receive::<Connected>()?.ok_or_else(gone)?;
        answer.0.map_err(io::Error::from_raw_os_error)?;
        files.into_iter().next().map(Into::into).ok_or_else(gone)
    }
}

impl Drop for Doorman {
    fn drop(&mut self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = process.kill();
        let _ = process.wait();
    }
}

/// The doorman itself. It ends when the session's end of the channel is closed.
pub(super) fn serve(end: OwnedFd) -> ExitCode {
    let stand = || -> io::Result<()> {
        let channel = Channel::of(end)?;
        let Some(((), namespaces)) = channel.receive::<()>()? else { return Ok(()) };
        for namespace in &namespaces {
            kernel::join(namespace)?;
        }
        while let Some((Connect(port), _)) = channel.receive::<Connect>()? {
            let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            let addresses = both.map(|address| SocketAddr::new(address, port));
            match std::net::TcpStream::connect(addresses.as_slice()) {
                Ok(socket) => channel.send(&Connected(Ok(())), &[std::os::fd::AsFd::as_fd(&socket)])?,
                Err(error) => channel.send(&Connected(Err(error.raw_os_error().unwrap_or_default())), &[])?,
            }
        }
        Ok(())
    };
    if stand().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
