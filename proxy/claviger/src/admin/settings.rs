//! `[admin]`, and `[role.X]`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use claviger_policy::document::{Diagnostics, Located, Location, Table};
use claviger_wire::{Bind, ListenerSettings};

use super::access::Roles;

/// Where the process is looked at and administered.
#[derive(Debug)]
pub(crate) struct AdminSettings {
    /// The read-only TCP listener; none unless it is asked for.
    pub(crate) bind: Option<Located<SocketAddr>>,
    /// The Unix socket through which changes are made.
    pub(crate) socket: PathBuf,
    /// Where attested principals with a role make them.
    pub(crate) remote: Option<ListenerSettings>,
    /// Who has which role.
    pub(crate) roles: Roles,
}

impl AdminSettings {
    /// Takes the root keys `admin` and `role`. A key that is wrong is in `out`.
    pub(crate) fn take(root: &mut Table, state_dir: &Path, out: &mut Diagnostics) -> Self {
        let roles = Roles::take(root, out);
        let mut settings = Self { bind: None, socket: state_dir.join("admin.sock"), remote: None, roles };
        let Some(mut table) = root.table("admin", out) else { return settings };
        settings.bind = table.parsed("bind", out, |text| {
            text.parse::<SocketAddr>().map_err(|_| format!("`{text}` is not an address; write it as `127.0.0.1:7071`"))
        });
        if let Some(written) = table.string("socket", out) {
            match written.value.strip_prefix("unix:").filter(|file| !file.is_empty()) {
                Some(file) => {
                    let file = Located { value: file.to_owned(), location: written.location.clone() };
                    settings.socket = claviger_contract::path::resolve(&file);
                }
                None => {
                    let message = format!("`{}` is not a Unix socket", written.value);
                    out.error(&written.location, table.key_of("socket"), message)
                        .help("write it as `unix:/run/claviger/admin.sock`");
                }
            }
        }
        if let Some(mut remote) = table.table("remote", out) {
            settings.remote = ListenerSettings::take_control(&mut remote, out);
            remote.finish(out);
            if let (Some(remote), Some(bind)) = (&settings.remote, &settings.bind)
                && remote.bind.conflicts(&Bind::Tcp(bind.value))
            {
                let message = format!("`{}` is bound by `admin.bind` already", remote.bind);
                out.error(&remote.bind_location.location, "admin.remote.bind", message)
                    .help("give it a port of its own");
            }
        }
        table.finish(out);
        settings
    }

    /// The addresses that are bound: key, address, place.
    pub(crate) fn addresses(&self) -> Vec<(&'static str, Bind, Location)> {
        let bind = self.bind.as_ref().map(|at| ("admin.bind", Bind::Tcp(at.value), at.location.clone()));
        let remote = self.remote.as_ref();
        let remote = remote.map(|at| ("admin.remote.bind", at.bind.clone(), at.bind_location.location.clone()));
        bind.into_iter().chain(remote).collect()
    }
}
