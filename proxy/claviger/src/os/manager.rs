//! The service manager that started this process, if one did.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;

/// Tells the service manager how the process does (sd_notify(3)), where one asked for it by `$NOTIFY_SOCKET`.
///
/// A manager that does not listen is no reason not to serve.
pub(crate) fn tell_manager(state: &str) {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else { return };
    let Ok(socket) = UnixDatagram::unbound() else { return };
    #[cfg(target_os = "linux")]
    if let Some(name) = address.as_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt;
        if let Ok(name) = std::os::unix::net::SocketAddr::from_abstract_name(name) {
            let _ = socket.send_to_addr(state.as_bytes(), &name);
        }
        return;
    }
    let _ = socket.send_to(state.as_bytes(), address);
}
