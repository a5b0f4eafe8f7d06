//! Sockets: bound before anything else changes, accepted on every data core.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use claviger_contract::event::{ConnectionEvent, Event};
use claviger_identity::{IdentityError, UnixPeer};
use socket2::{Domain, Protocol as Layer, Socket, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use crate::connection::{Connection, Peer, Protocol, serve};
use crate::generation::Listener;
use crate::io::Stream;
use crate::server::Core;
use crate::settings::Bind;
use crate::tls::Tls;

/// How long unacknowledged bytes may hang before the kernel gives a client up.
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// A bound socket for one data core.
#[derive(Debug)]
pub(crate) enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// Binds one socket per core; says where, which matters for port 0.
pub(crate) fn bind(bind: &Bind, socket_mode: u32, cores: usize) -> io::Result<(Bind, Vec<Bound>)> {
    match bind {
        Bind::Tcp(address) => {
            // SO_REUSEPORT would let two processes share the port unnoticed: ask without it first.
            if address.port() != 0 {
                drop(tcp(*address, false)?);
            }
            let first = tcp(*address, true)?;
            let actual = first.local_addr()?;
            let mut sockets = vec![Bound::Tcp(first)];
            for _ in 1..cores {
                sockets.push(Bound::Tcp(tcp(actual, true)?));
            }
            Ok((Bind::Tcp(actual), sockets))
        }
        Bind::Unix(file) => {
            let first = bind_unix(file, socket_mode)?;
            let mut sockets = Vec::new();
            for _ in 1..cores {
                sockets.push(Bound::Unix(first.try_clone()?));
            }
            sockets.push(Bound::Unix(first));
            Ok((bind.clone(), sockets))
        }
    }
}

/// A TCP socket that somebody else has bound and listens on, shared by all cores.
pub(crate) fn adopt(socket: &std::net::TcpListener, cores: usize) -> io::Result<(Bind, Vec<Bound>)> {
    socket.set_nonblocking(true)?;
    watch_over(socket)?;
    let sockets = (0..cores).map(|_| socket.try_clone().map(Bound::Tcp)).collect::<io::Result<_>>()?;
    Ok((Bind::Tcp(socket.local_addr()?), sockets))
}

/// Binds a Unix socket with these permission bits; one that a process left that died is replaced.
///
/// # Errors
/// If another process listens there, the path is no socket's, or the system refuses.
pub fn bind_unix(file: &std::path::Path, mode: u32) -> io::Result<std::os::unix::net::UnixListener> {
    remove_stale(file)?;
    let socket = unix(file, mode)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Bound under another name first, so that nobody connects before the mode is set.
fn unix(file: &std::path::Path, mode: u32) -> io::Result<std::os::unix::net::UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(format!(".{}", std::process::id()));
    let early = file.with_file_name(name);
    let socket = std::os::unix::net::UnixListener::bind(&early)?;
    let placed = std::fs::set_permissions(&early, std::fs::Permissions::from_mode(mode))
        .and_then(|()| std::fs::rename(&early, file));
    if placed.is_err() {
        let _ = std::fs::remove_file(&early);
    }
    placed.map(|()| socket)
}

fn tcp(address: SocketAddr, reuse_port: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Layer::TCP))?;
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if reuse_port {
        watch_over(&socket)?;
        socket.listen(1_024)?;
    }
    Ok(socket.into())
}

/// A client that vanished without a word is noticed, and no small write waits for an earlier one to be acknowledged.
fn watch_over<'a>(socket: impl Into<socket2::SockRef<'a>>) -> io::Result<()> {
    let socket = socket.into();
    socket.set_tcp_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(USER_TIMEOUT))
}

/// A socket file that nobody listens on was left by a process that died; any other file stays.
fn remove_stale(file: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let Ok(metadata) = std::fs::symlink_metadata(file) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path exists and is no socket"));
    }
    match std::os::unix::net::UnixStream::connect(file) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on this socket")),
        Err(_) => std::fs::remove_file(file),
    }
}

/// Accepts on one socket until it is closed.
pub(crate) async fn accept(core: Rc<Core>, name: Arc<str>, socket: Bound, closed: tokio::sync::watch::Receiver<bool>) {
    let open = Rc::new(());
    let mut closed = closed;
    let socket = match socket {
        Bound::Tcp(socket) => TcpListener::from_std(socket).map(Accepting::Tcp),
        Bound::Unix(socket) => UnixListener::from_std(socket).map(Accepting::Unix),
    };
    let Ok(socket) = socket else { return };
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = closed.wait_for(|closed| *closed) => return,
        };
        let (stream, remote, unix) = match accepted {
            Ok(accepted) => accepted,
            Err(_) => {
                // Out of descriptors, or a client that left at once: others must still get in.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let generation = core.generation();
        // Its listener is being removed; the close that follows ends this loop.
        let Some(listener) = generation.listener(&name).cloned() else { continue };
        if Rc::strong_count(&open) > listener.settings.connections_max {
            core.metrics.connections_refused.with_label_values(&["connections_max"]).inc();
            continue;
        }
        let counted = open.clone();
        let core = core.clone();
        tokio::task::spawn_local(async move {
            let _open = core.count_connection();
            greet(&core, listener, stream, remote, unix, counted).await;
        });
    }
}

enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Accepting {
    async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>, Option<UnixPeer>)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, remote) = socket.accept().await?;
                // Linux passes on what the socket that listens has.
                #[cfg(not(target_os = "linux"))]
                watch_over(&stream)?;
                Ok((Stream::Tcp(stream), Some(remote), None))
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                // The kernel's word is asked for at once: the process may be gone later.
                let peer = UnixPeer::of(&stream).ok();
                Ok((Stream::Unix(stream), None, peer))
            }
        }
    }
}

/// TLS if the listener speaks it, then HTTP.
async fn greet(
    core: &Rc<Core>,
    listener: Arc<Listener>,
    stream: Stream,
    remote: Option<SocketAddr>,
    unix: Option<UnixPeer>,
    counted: Rc<()>,
) {
    let ip = remote.map(|remote| remote.ip().to_canonical());
    let Some(tls) = listener.tls.clone() else {
        let peer = Peer { unix, remote, _counted: counted, ..Peer::default() };
        let connection = Connection::new(core.clone(), listener, ip, peer, None);
        return serve(connection, stream, Protocol::Http1).await;
    };
    let timeout = core.generation().limits.header_timeout;
    let name = listener.settings.name.clone();
    match tokio::time::timeout(timeout, Box::pin(shake_hands(tls, stream))).await {
        Ok(Ok(stream)) => {
            let session = stream.session();
            let certificates =
                session.peer_certificates().unwrap_or_default().iter().map(|one| one.clone().into_owned());
            let peer = Peer { certificates: certificates.collect(), unix, remote, _counted: counted };
            let protocol = protocol_of(session.alpn_protocol());
            let connection = Connection::new(core.clone(), listener, ip, peer, None);
            serve(connection, stream, protocol).await;
        }
        Ok(Err(error)) => {
            let of_identity = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match of_identity.and_then(IdentityError::of_handshake) {
                Some(bad) => refused(core, &name, remote, bad.code(), bad.to_string()),
                None => refused(core, &name, remote, "tls_failed", error.to_string()),
            }
        }
        Err(_) => refused(core, &name, remote, "tls_timeout", "the handshake took too long".to_owned()),
    }
}

/// Ends the client's TLS. To be boxed, as the stream is: what only the handshake needs is not kept, and a session that
/// stood in a task for a moment would have its room there for good.
pub(crate) async fn shake_hands(tls: Arc<rustls::ServerConfig>, stream: Stream) -> io::Result<Box<Tls<Stream>>> {
    Ok(Box::new(Tls::new(TlsAcceptor::from(tls).accept(stream).await?)))
}

pub(crate) fn protocol_of(alpn: Option<&[u8]>) -> Protocol {
    if alpn == Some(b"h2") { Protocol::Http2 } else { Protocol::Http1 }
}

/// Records a connection that never made a request; the flood of a scanner is only counted.
pub(crate) fn refused(
    core: &Core,
    listener: &Arc<str>,
    remote: Option<SocketAddr>,
    code: &'static str,
    detail: String,
) {
    core.metrics.connections_refused.with_label_values(&[code]).inc();
    if core.may_record_connection() {
        core.events.emit(Event::Connection(ConnectionEvent {
            at_ms: core.clock.now_ms(),
            listener: listener.clone(),
            peer: remote.map_or_else(|| "unix".into(), |remote| remote.ip().to_string().into()),
            code,
            detail: Some(detail.into()),
        }));
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn accepted_sockets_are_watched_over() {
        let ours = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let adopted = adopt(&ours, 1).unwrap();
        let bound = bind(&Bind::Tcp(([127, 0, 0, 1], 0).into()), 0, 1).unwrap();
        for (at, sockets) in [adopted, bound] {
            let (Bind::Tcp(at), [Bound::Tcp(socket)]) = (at, &*sockets) else { panic!("one TCP socket") };
            let _client = std::net::TcpStream::connect(at).unwrap();
            socket.set_nonblocking(false).unwrap();
            let (accepted, _) = socket.accept().unwrap();
            let accepted = socket2::SockRef::from(&accepted);
            assert!(accepted.tcp_nodelay().unwrap());
            assert!(accepted.keepalive().unwrap());
            assert_eq!(accepted.tcp_keepalive_time().unwrap(), USER_TIMEOUT);
            assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
        }
    }
}
