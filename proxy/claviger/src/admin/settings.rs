//! `[admin]`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use claviger_policy::document::{Diagnostics, Located, Table};

/// Where the process is looked at and administered.
#[derive(Debug)]
pub(crate) struct AdminSettings {
    /// The read-only TCP listener; none unless it is asked for.
    pub(crate) bind: Option<Located<SocketAddr>>,
    /// The Unix socket through which changes are made.
    pub(crate) socket: PathBuf,
}

impl AdminSettings {
    /// Takes the root key `admin`. A key that is wrong is in `out`.
    pub(crate) fn take(root: &mut Table, state_dir: &Path, out: &mut Diagnostics) -> Self {
        let mut settings = Self { bind: None, socket: state_dir.join("admin.sock") };
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
        table.finish(out);
        settings
    }
}
