//! Who goes around the proxy, and where to: in the command's own network every address is this session.
//!
//! A client that knows of no proxy asks for a name first. It is told an address of the benchmark network (RFC 2544), one
//! for each name, and arrives here with it: so that its destination is known by name, on whatever port. On the ports of the
//! web it is let in for as long as it takes to read whom it wants; on all others it is refused by the kernel. Nothing that
//! it sends goes any further.

mod client;
mod hello;
mod names;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use claviger_contract::event::{ConnectionEvent, Event};
use claviger_contract::{Clock, EventSink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use self::names::Names;
use super::linux::Caught;
use super::stage::CAUGHT;
use crate::console;
use crate::os::sandbox::{Call, next_call};

/// The listener that records of this name: no configuration has one of it.
const LISTENER: &str = "sandbox";

/// The stable code of such a record.
pub(crate) const BYPASSED: &str = "bypassed";

/// How long a client may take to say whom it wants.
const PATIENCE: Duration = Duration::from_secs(5);

/// As much of a client's first words as is read.
const FIRST_WORDS: usize = 16 * 1024;

/// How many attempts at one destination are recorded; the rest is only counted.
const RECORDED: u64 = 20;

/// As many destinations as are told apart.
const DESTINATIONS: usize = 1_000;

/// What a client of plain HTTP is told.
const TOLD: &str = "HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\nconnection: close\r\nclaviger-refused: bypassed\r\n\r\n\
    claviger: this client does not use the proxy of its environment (HTTP_PROXY), and nothing leaves but through it\n";

/// A fatal TLS alert, `access_denied` (RFC 8446 §6): most clients print its name.
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// The sockets at which clients arrive.
pub(crate) struct Witness(pub(super) Caught);

/// What all of its tasks share.
struct Notes {
    names: Mutex<Names>,
    seen: Mutex<BTreeMap<String, u64>>,
    events: Arc<dyn EventSink>,
    clock: Arc<dyn Clock>,
    quiet: bool,
}

impl Witness {
    /// Watches until the runtime ends. `quiet`: records, and prints nothing.
    pub(crate) fn serve(
        self,
        runtime: &tokio::runtime::Handle,
        events: Arc<dyn EventSink>,
        clock: Arc<dyn Clock>,
        quiet: bool,
    ) {
        let names = Mutex::new(Names::new(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default()));
        let notes = Arc::new(Notes { names, seen: Mutex::default(), events, clock, quiet });
        let _entered = runtime.enter();
        for (port, socket) in self.0.tcp {
            let made = socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket));
            if let Ok(listener) = made {
                runtime.spawn(catch(listener, port, notes.clone()));
            }
        }
        for socket in self.0.calls {
            let notes = notes.clone();
            // It ends with the process: nothing wakes it before.
            let _ = std::thread::Builder::new().name("calls".to_owned()).spawn(move || overhear(&socket, &notes));
        }
        for socket in self.0.names {
            if let Ok(socket) = socket.set_nonblocking(true).and_then(|()| UdpSocket::from_std(socket)) {
                runtime.spawn(answer(socket, notes.clone()));
            }
        }
    }
}

/// Tells clients an address for each name.
async fn answer(socket: UdpSocket, notes: Arc<Notes>) {
    let mut question = [0_u8; 1500];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut question).await else { continue };
        let asked = question.get(..length).unwrap_or_default();
        let answer = locked(&notes.names).answer(asked);
        if let Some(answer) = answer {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// Sees calls that the kernel refuses: to ports at which nobody is let in.
fn overhear(socket: &OwnedFd, notes: &Notes) {
    loop {
        match next_call(socket) {
            Ok(Some(call)) => notes.overheard(call),
            Ok(None) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Lets clients in for as long as it takes to know whom they want.
async fn catch(listener: TcpListener, port: u16, notes: Arc<Notes>) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => drop(tokio::spawn(listen_to(stream, from, port, notes.clone()))),
            // Out of descriptors, most likely: somebody will close one.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn listen_to(mut stream: TcpStream, from: SocketAddr, port: u16, notes: Arc<Notes>) {
    let Ok(wanted) = stream.local_addr().map(|address| address.ip().to_canonical()) else { return };
    // While it waits for an answer it is still there to be looked at.
    let who = client::holding(from, SocketAddr::new(wanted, port));
    let mut words = Vec::new();
    let read = async {
        while words.len() < FIRST_WORDS && hello::name_in(&words, port).is_none() {
            if stream.read_buf(&mut words).await.unwrap_or(0) == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(PATIENCE, read).await;
    let told = hello::name_in(&words, port).flatten();
    if wanted.is_loopback() && told.as_deref().is_none_or(is_local_name) {
        notes.own_localhost(port);
    } else {
        let known = locked(&notes.names).name_of(wanted).map(str::to_owned);
        let host = known.or(told).unwrap_or_else(|| shown(wanted));
        notes.bypassed(&host, port, who.as_deref());
    }
    let parting = if port == 443 { ALERT.as_slice() } else { TOLD.as_bytes() };
    let _ = stream.write_all(parting).await;
    let _ = stream.shutdown().await;
}

fn is_local_name(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn shown(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Notes {
    /// How often this was seen, this time included; 0: there is too much to be told apart.
    fn count(&self, what: String) -> u64 {
        let mut seen = locked(&self.seen);
        if !seen.contains_key(&what) && seen.len() >= DESTINATIONS {
            return 0;
        }
        let count = seen.entry(what).or_default();
        *count += 1;
        *count
    }

    fn record(&self, count: u64, detail: String) {
        if (1..=RECORDED).contains(&count) {
            self.events.emit(Event::Connection(ConnectionEvent {
                at_ms: self.clock.now_ms(),
                listener: LISTENER.into(),
                peer: LISTENER.into(),
                code: BYPASSED,
                detail: Some(detail.into()),
            }));
        }
    }

    fn bypassed(&self, host: &str, port: u16, who: Option<&str>) {
        let host = console::visible(host);
        let who = who.map_or("a client".to_owned(), |who| format!("`{}`", console::visible(who)));
        let count = self.count(format!("{host}:{port}"));
        self.record(count, format!("`{host}:{port}` was asked for directly by {who}: it does not use the proxy"));
        if count == 1 && !self.quiet {
            console::aside(&format!(
                "claviger: {who} went around the proxy to {host}:{port}, and was stopped: it does not use {} (docs/clients.md)",
                if port == 80 { "HTTP_PROXY" } else { "HTTPS_PROXY" }
            ));
        }
    }

    fn overheard(&self, call: Call) {
        // Whoever is let in there is noted there, and better.
        if !call.is_udp && CAUGHT.contains(&call.port) {
            return;
        }
        let known = locked(&self.names).name_of(call.address.into()).map(str::to_owned);
        let host = console::visible(&known.unwrap_or_else(|| call.address.to_string()));
        let (port, how) = (call.port, if call.is_udp { "UDP" } else { "TCP" });
        let count = self.count(format!("{how} {host}:{port}"));
        self.record(
            count,
            format!("`{host}:{port}` was asked for directly by {how}: only what the proxy takes goes out"),
        );
        if count == 1 && !self.quiet {
            let help = if call.is_udp {
                String::new()
            } else {
                format!("; `--local {host}:{port}` lets it go there as localhost:{port}")
            };
            console::aside(&format!(
                "claviger: the command went around the proxy to {host}:{port} ({how}), and was stopped{help}"
            ));
        }
    }

    /// Not a way around, but seldom what was meant.
    fn own_localhost(&self, port: u16) {
        if self.count(format!("localhost:{port}")) == 1 && !self.quiet {
            console::aside(&format!(
                "claviger: the command has a localhost of its own, where nothing listens on port {port}: `--local {port}` lets it reach the machine's"
            ));
        }
    }
}
