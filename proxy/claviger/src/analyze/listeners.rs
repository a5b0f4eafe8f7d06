//! Where clients come in.

use std::net::SocketAddr;
use std::sync::Arc;

use claviger_policy::analyze::{Code, Finding};
use claviger_policy::document::Located;
use claviger_wire::{Bind, Listener, Unmatched};

/// "Others" may write, which is what connecting takes.
const OTHERS_MAY_CONNECT: u32 = 0o002;

pub(super) fn find(listeners: &[Arc<Listener>], admin: Option<&Located<SocketAddr>>, out: &mut Vec<Finding>) {
    for settings in listeners.iter().map(|listener| &listener.settings) {
        let place = &settings.bind_location.location;
        let finding = |code, message: String| Finding::new(code, format!("listener.{}", settings.name), place, message);
        if settings.unmatched == Unmatched::Tunnel {
            let message =
                "`unmatched = \"tunnel\"`: hosts that no service names pass unseen, for every attested caller";
            out.push(
                finding(Code::Tunnel, message.to_owned())
                    .help("name the hosts as services, then write `unmatched = \"refuse\"`"),
            );
        }
        if let Bind::Unix(file) = &settings.bind
            && settings.socket_mode & OTHERS_MAY_CONNECT != 0
        {
            let message = format!(
                "`socket_mode = \"{:04o}\"`: every local user may connect to `{}`",
                settings.socket_mode,
                file.display()
            );
            out.push(
                finding(Code::SocketOpen, message).help("give the socket to a group, as `socket_mode = \"0660\"`"),
            );
        }
    }
    if let Some(bind) = admin.filter(|bind| !bind.value.ip().is_loopback()) {
        let message = format!(
            "`{}` is open to the network without TLS or proof: names of services and counters are read there",
            bind.value
        );
        let finding = Finding::new(Code::AdminExposed, "admin", &bind.location, message);
        out.push(finding.help("bind it to a loopback address, or keep others away with a firewall and suppress this"));
    }
}
