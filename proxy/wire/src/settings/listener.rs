//! `[listener.X]`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use claviger_contract::outbound::take_networks;
use claviger_contract::path;
use claviger_policy::Unenforced;
use claviger_policy::document::{Diagnostics, Located, Location, Table};
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::SessionSettings;
use crate::address::AddressGuard;
use crate::trust;

/// How a listener understands requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `/<service>/…`, or a service's own host name in `Host`.
    Gateway,
    /// Absolute-form and CONNECT, as `HTTPS_PROXY` clients speak.
    Forward,
}

/// What a forward listener does with a host that no service names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// Refuses.
    Refuse,
    /// Passes the bytes untouched, for attested workloads, and records it.
    Tunnel,
}

/// Where the proof of a forward listener's client is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthenticateAt {
    /// At CONNECT, in `Proxy-Authorization`.
    Connect,
    /// Inside the intercepted connection, where the API key would stand.
    Request,
}

/// The address a listener binds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bind {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Bind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(file) => write!(f, "unix:{}", file.display()),
        }
    }
}

/// A listener's own certificate.
#[derive(Debug)]
pub struct ServerIdentity {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// Where the certificate is named, for errors.
    pub location: Location,
    /// The files it came from, to be watched.
    pub files: [PathBuf; 2],
}

/// Where something is served that anybody may read.
#[derive(Debug)]
pub struct PublicBind {
    /// The address.
    pub bind: Located<SocketAddr>,
    /// TLS for HTTP/1.1, if it is spoken there; clients show no certificate.
    pub tls: Option<Arc<ServerConfig>>,
    /// The files that TLS came from, to be watched.
    pub files: Vec<PathBuf>,
}

impl PublicBind {
    /// Takes `bind` and `tls`; `None` if nothing is to be served, or if it is wrong.
    pub fn take(table: &mut Table, out: &mut Diagnostics) -> Option<Self> {
        let bind = table.parsed("bind", out, |text| {
            text.parse::<SocketAddr>().map_err(|_| format!("`{text}` is not an address; write it as `127.0.0.1:7072`"))
        });
        let (place, key) = (table.place_of("tls").cloned(), table.key_of("tls"));
        let identity = take_tls(table, out);
        let (Some(bind), Some(identity)) = (&bind, identity) else {
            if let (None, Some(place)) = (&bind, place) {
                out.error(&place, key, "nothing is served without `bind`").help("add `bind`, or leave `tls` out");
            }
            return bind.map(|bind| Self { bind, tls: None, files: Vec::new() });
        };
        let identity = identity?;
        match identity.server_config() {
            Ok(config) => Some(Self { bind: bind.clone(), tls: Some(config), files: identity.files.to_vec() }),
            Err(error) => {
                let message = match error {
                    rustls::Error::InconsistentKeys(_) => "the key is not the certificate's".to_owned(),
                    error => format!("the certificate or key cannot be used: {error}"),
                };
                out.error(&identity.location, key, message);
                None
            }
        }
    }
}

impl ServerIdentity {
    fn server_config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = trust::server_config(|builder| {
            builder.with_no_client_auth().with_single_cert(self.chain.clone(), self.key.clone_key())
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// One `[listener.X]`.
#[derive(Debug)]
pub struct ListenerSettings {
    /// X.
    pub name: Arc<str>,
    /// `listener.X`, as errors name it.
    pub key: String,
    /// Gateway or forward.
    pub mode: Mode,
    /// Where it listens.
    pub bind: Bind,
    /// Permission bits of a Unix socket: who may connect at all.
    pub socket_mode: u32,
    /// Where the `bind` key stands, for errors at start.
    pub bind_location: Located<String>,
    /// Attestors in the order in which they are asked.
    pub authenticate: Vec<Located<String>>,
    /// At CONNECT, or inside.
    pub authenticate_at: AuthenticateAt,
    /// TLS, if the listener speaks it.
    pub tls: Option<ServerIdentity>,
    /// Hosts that no service names.
    pub unmatched: Unmatched,
    /// Private or reserved addresses that a tunnel may dial.
    pub tunnel_guard: AddressGuard,
    /// At most this many connections at a time and data core.
    pub connections_max: usize,
    /// `enforce = false`: what policy would refuse is recorded, and passes.
    pub unenforced: Option<Unenforced>,
    /// Set for the private listeners of a session.
    pub session: Option<SessionSettings>,
}

impl ListenerSettings {
    /// Takes all `[listener.X]` tables.
    pub fn take_all(root: &mut Table, out: &mut Diagnostics) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for (name, mut table) in root.named_tables("listener", out) {
            let listener = Self::take(&name, &mut table, out);
            table.finish(out);
            let Some(listener) = listener else { continue };
            if let Some(other) = all.iter().find(|other| other.bind.conflicts(&listener.bind)) {
                let message = format!("`{}` is bound by listener `{}` already", listener.bind, other.name);
                out.error(&listener.bind_location.location, format!("listener.{}.bind", listener.name), message)
                    .help("give each listener a port or a socket of its own");
                continue;
            }
            all.push(listener);
        }
        all
    }

    fn take(name: &Located<String>, table: &mut Table, out: &mut Diagnostics) -> Option<Self> {
        if !table.has("mode") {
            table.missing("mode", out);
        }
        let mode = table.choice("mode", &[("gateway", Mode::Gateway), ("forward", Mode::Forward)], out);
        let bind_text = table.required_string("bind", out);
        let bind = bind_text.as_ref().and_then(|text| take_bind(text, table, out));
        let socket_mode = take_socket_mode(bind.as_ref(), table, out);
        let authenticate = take_authenticate(table, out);
        let words = [("connect", AuthenticateAt::Connect), ("request", AuthenticateAt::Request)];
        let authenticate_at = table.choice("authenticate_at", &words, out);
        let words = [("refuse", Unmatched::Refuse), ("tunnel", Unmatched::Tunnel)];
        let unmatched = table.choice("unmatched", &words, out);
        let tls = take_tls(table, out);
        let tunnel_guard = AddressGuard::new(take_networks(table, "allow_addresses", out));
        let connections_max = table.integer("connections_max", 1..=1_000_000, out).map_or(10_000, |at| at.value);
        let unenforced = Unenforced::take(table, out);
        let mode = mode?.value;
        if mode == Mode::Gateway {
            for (key, location) in [
                ("authenticate_at", authenticate_at.as_ref().map(|at| &at.location)),
                ("unmatched", unmatched.as_ref().map(|at| &at.location)),
            ] {
                if let Some(location) = location {
                    out.error(location, table.key_of(key), "this key is for `mode = \"forward\"` only");
                }
            }
        }
        Some(Self {
            name: name.value.as_str().into(),
            key: table.key().to_owned(),
            mode,
            bind: bind?,
            socket_mode,
            bind_location: bind_text?,
            authenticate,
            authenticate_at: authenticate_at.map_or(AuthenticateAt::Connect, |at| at.value),
            tls: match tls {
                None => None,
                Some(identity) => Some(identity?),
            },
            unmatched: unmatched.map_or(Unmatched::Refuse, |at| at.value),
            tunnel_guard,
            connections_max: usize::try_from(connections_max).unwrap_or(10_000),
            unenforced,
            session: None,
        })
    }

    /// Takes a listener of the process itself, which carries no requests of workloads: `bind`, `socket_mode`,
    /// `authenticate` and `tls`.
    pub fn take_control(table: &mut Table, out: &mut Diagnostics) -> Option<Self> {
        let bind_text = table.required_string("bind", out);
        let bind = bind_text.as_ref().and_then(|text| take_bind(text, table, out));
        let socket_mode = take_socket_mode(bind.as_ref(), table, out);
        let authenticate = take_authenticate(table, out);
        let tls = take_tls(table, out);
        Some(Self {
            name: table.key().into(),
            key: table.key().to_owned(),
            mode: Mode::Gateway,
            bind: bind?,
            socket_mode,
            bind_location: bind_text?,
            authenticate,
            authenticate_at: AuthenticateAt::Connect,
            tls: match tls {
                None => None,
                Some(identity) => Some(identity?),
            },
            unmatched: Unmatched::Refuse,
            tunnel_guard: AddressGuard::new(Vec::new()),
            connections_max: 64,
            unenforced: None,
            session: None,
        })
    }

    /// Whether a bearer proof would cross a network in clear text.
    pub fn is_exposed_cleartext(&self) -> bool {
        self.tls.is_none() && matches!(self.bind, Bind::Tcp(address) if !address.ip().is_loopback())
    }
}

impl Bind {
    /// Whether both cannot be bound: the same socket, or the same port where one is bound on all addresses.
    pub fn conflicts(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) => {
                let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
                let same_address = one.ip() == other.ip() || (is_any && one.is_ipv4() == other.is_ipv4());
                // The system chooses another port each time for port 0.
                one.port() == other.port() && one.port() != 0 && same_address
            }
            (Self::Unix(one), Self::Unix(other)) => one == other,
            (Self::Tcp(_), Self::Unix(_)) | (Self::Unix(_), Self::Tcp(_)) => false,
        }
    }
}

fn take_bind(text: &Located<String>, table: &Table, out: &mut Diagnostics) -> Option<Bind> {
    if let Some(file) = text.value.strip_prefix("unix:").filter(|file| !file.is_empty()) {
        let file = Located { value: file.to_owned(), location: text.location.clone() };
        return Some(Bind::Unix(path::resolve(&file)));
    }
    match text.value.parse() {
        Ok(address) => Some(Bind::Tcp(address)),
        Err(_) => {
            out.error(&text.location, table.key_of("bind"), format!("`{}` is not an address", text.value)).help(
                "write an address and a port, as `127.0.0.1:7070`, or a socket, as `unix:/run/claviger/egress.sock`",
            );
            None
        }
    }
}

/// The attestors, at least one.
fn take_authenticate(table: &mut Table, out: &mut Diagnostics) -> Vec<Located<String>> {
    let authenticate = table.strings("authenticate", out).unwrap_or_default();
    if authenticate.is_empty() {
        out.error(table.location(), table.key_of("authenticate"), "a listener must name at least one attestor")
            .help("write `authenticate = [\"NAME\"]`, where NAME stands in an `[attestor.NAME]` table");
    }
    authenticate
}

/// What is written as TLS and is wrong (`Some(None)`) must not be taken for a listener without.
fn take_tls(table: &mut Table, out: &mut Diagnostics) -> Option<Option<ServerIdentity>> {
    let is_written = table.has("tls");
    let tls = table.table("tls", out);
    is_written.then(|| {
        let mut tls = tls?;
        let identity = take_server_identity(&mut tls, out);
        tls.finish(out);
        identity
    })
}

/// Octal permission bits; only the owner may connect unless the file says otherwise.
fn take_socket_mode(bind: Option<&Bind>, table: &mut Table, out: &mut Diagnostics) -> u32 {
    const OWNER_ONLY: u32 = 0o600;
    let mode = table.parsed("socket_mode", out, |text| match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        Ok(_) | Err(_) => Err(format!("`{text}` is not a mode; write octal digits, as `0600` or `0666`")),
    });
    match (mode, bind) {
        (Some(mode), Some(Bind::Tcp(_))) => {
            out.error(&mode.location, table.key_of("socket_mode"), "this key is for Unix sockets only");
            OWNER_ONLY
        }
        (mode, _) => mode.map_or(OWNER_ONLY, |mode| mode.value),
    }
}

fn take_server_identity(table: &mut Table, out: &mut Diagnostics) -> Option<ServerIdentity> {
    let certificate = table.required_string("certificate", out);
    let key = table.required_string("key", out);
    let (certificate, key) = (certificate?, key?);
    let files = [path::resolve(&certificate), path::resolve(&key)];
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&files[0]).and_then(|certificates| certificates.collect());
    let chain = match chain {
        Ok(chain) if !chain.is_empty() => Some(chain),
        Ok(_) => {
            let message = format!("`{}` holds no certificate", files[0].display());
            out.error(&certificate.location, table.key_of("certificate"), message);
            None
        }
        Err(error) => {
            let message = pem_problem(&files[0], &error, "certificate");
            out.error(&certificate.location, table.key_of("certificate"), message);
            None
        }
    };
    let private = match PrivateKeyDer::from_pem_file(&files[1]) {
        Ok(private) => Some(private),
        Err(error) => {
            out.error(&key.location, table.key_of("key"), pem_problem(&files[1], &error, "private key"));
            None
        }
    };
    Some(ServerIdentity { chain: chain?, key: private?, location: certificate.location, files })
}

/// What the parser says of a broken file can hold a line of it, perhaps of the key: only its kind is told.
fn pem_problem(file: &Path, error: &pem::Error, what: &str) -> String {
    match error {
        pem::Error::Io(error) => format!("failed to read `{}`: {error}", file.display()),
        pem::Error::NoItemsFound => format!("`{}` holds no {what}", file.display()),
        _ => format!("`{}` is not valid PEM", file.display()),
    }
}
