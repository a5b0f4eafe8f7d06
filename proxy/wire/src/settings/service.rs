//! The connection keys of `[service.X]`.

use std::path::PathBuf;
use std::time::Duration;

use claviger_contract::outbound::take_networks;
use claviger_contract::path;
use claviger_policy::document::{Diagnostics, Located, Table};
use claviger_policy::{Authority, HostPattern, Scheme};

use super::{Check, ClientSettings, LoginSettings};
use crate::address::AddressGuard;
use crate::trust::TrustRoots;

/// The connection keys of one `[service.X]`: how its upstream is reached.
#[derive(Debug)]
pub struct ServiceSettings {
    /// Dial this instead of resolving the host; TLS still verifies the host.
    pub connect: Option<Authority>,
    /// Addresses that may be dialled though they are private or reserved.
    pub guard: AddressGuard,
    /// The networks of `guard` as written, to tell whether a reload changed them.
    pub allow_addresses: Vec<ipnet::IpNet>,
    /// The roots that verify the upstream.
    pub roots: TrustRoots,
    /// The PEM of `ca`, to tell whether a reload changed it.
    pub ca_pem: Option<Vec<u8>>,
    /// The file of `ca`, to be watched.
    pub ca_file: Option<PathBuf>,
    /// Whether h2 may be negotiated.
    pub http2: bool,
    /// From the request's head until the head of the answer.
    pub response_timeout: Duration,
    /// At most this many bytes in a request's body.
    pub body_max: Option<u64>,
    /// The call that shows whether a credential works.
    pub check: Option<Check>,
    /// What its clients want to be told.
    pub client: ClientSettings,
    /// How its clients log in, which is answered here.
    pub login: Option<LoginSettings>,
}

impl ServiceSettings {
    /// Takes the connection keys; the others of the table belong to policy and credential.
    pub fn take(scheme: Scheme, hosts: &[HostPattern], table: &mut Table, out: &mut Diagnostics) -> Self {
        let connect = table.parsed("connect", out, |text| {
            if text.contains('/') {
                return Err(format!("`{text}`: write a host and a port without scheme and path, as `10.0.3.7:8443`"));
            }
            Authority::parse(text, scheme.default_port()).map_err(|error| format!("`{text}`: {error}"))
        });
        let allow_addresses = take_networks(table, "allow_addresses", out);
        let ca_pem = table.string("ca", out).and_then(|written| {
            let file = path::resolve(&written);
            std::fs::read(&file)
                .map_err(|error| {
                    let message = format!("failed to read `{}`: {error}", file.display());
                    out.error(&written.location, table.key_of("ca"), message);
                })
                .ok()
                .map(|pem| (written.location, file, pem))
        });
        let roots = match &ca_pem {
            None => TrustRoots::bundled(),
            Some((location, _, pem)) => match TrustRoots::from_pem(pem) {
                Ok(roots) => roots,
                Err(error) => {
                    out.error(location, table.key_of("ca"), format!("it cannot be used as a root: {error}"));
                    TrustRoots::bundled()
                }
            },
        };
        Self {
            connect: connect.map(|at| at.value),
            guard: AddressGuard::new(allow_addresses.clone()),
            allow_addresses,
            roots,
            ca_file: ca_pem.as_ref().map(|(_, file, _)| file.clone()),
            ca_pem: ca_pem.map(|(_, _, pem)| pem),
            http2: table.boolean("http2", out).is_none_or(|at| at.value),
            response_timeout: take_timeout(table, "response_timeout", out)
                .map_or(Duration::from_secs(600), |at| at.value),
            body_max: table.size("body_max", out).map(|at| at.value),
            check: Check::take(table, out),
            client: ClientSettings::take(table, out),
            login: LoginSettings::take(scheme, hosts, table, out),
        }
    }
}

/// A time to wait, which is not zero.
pub(super) fn take_timeout(table: &mut Table, key: &'static str, out: &mut Diagnostics) -> Option<Located<Duration>> {
    let at = table.duration(key, out)?;
    if at.value.is_zero() {
        out.error(&at.location, table.key_of(key), "nothing can happen in no time")
            .help("write a duration, as `30s`, or leave the key out for the default");
        return None;
    }
    Some(at)
}
