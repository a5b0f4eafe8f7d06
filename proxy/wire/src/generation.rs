//! One configuration, compiled: everything that a request needs and that a reload replaces at once.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use claviger_credential::{Credentials, InjectionPlan};
use claviger_identity::{Attestors, Chain};
use claviger_policy::document::Diagnostics;
use claviger_policy::{Authority, HostPattern, Policy, Scheme, ServiceRoute};
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;

use crate::address::AddressGuard;
use crate::authority::InterceptionAuthority;
use crate::canary::Canaries;
use crate::phantom::{HandleKey, Login};
use crate::settings::{Bind, Limits, ListenerSettings, LoginSettings, ServiceSettings};
use crate::trust::{self, TrustError, TrustRoots};

/// A configuration in force. Immutable; requests hold the one they began with.
#[derive(Debug)]
pub struct Generation {
    /// Counts up from 1.
    pub number: u64,
    /// The digest of the texts that it was compiled from.
    pub configuration: Arc<str>,
    /// The compiled rules.
    pub policy: Policy,
    /// Leases and sources.
    pub credentials: Credentials,
    /// By name.
    pub services: HashMap<Arc<str>, Service>,
    /// In the order of the file.
    pub listeners: Vec<Arc<Listener>>,
    /// Signs leaves for intercepted hosts; `None` without a forward listener.
    pub interception: Option<InterceptionAuthority>,
    /// What one peer may cost.
    pub limits: Limits,
    /// The placeholders that tell on a thief; `None` where there is no key to make them with.
    pub canaries: Option<Canaries>,
}

impl Generation {
    /// The listener of that name.
    pub(crate) fn listener(&self, name: &str) -> Option<&Arc<Listener>> {
        self.listeners.iter().find(|listener| &*listener.settings.name == name)
    }

    /// The listeners with `enforce = false`.
    pub fn unenforced(&self) -> impl Iterator<Item = &Arc<str>> {
        self.listeners.iter().map(|listener| &listener.settings).filter(|it| it.unenforced.is_some()).map(|it| &it.name)
    }

    /// The hosts that the interception authority may speak for.
    pub fn intercepted_hosts(routes: &[ServiceRoute]) -> Vec<HostPattern> {
        let over_tls = routes.iter().filter(|route| route.scheme() == Scheme::Https);
        over_tls.flat_map(|route| route.hosts().iter().cloned()).collect()
    }
}

/// A listener with what it needs compiled.
#[derive(Debug)]
pub struct Listener {
    /// As written.
    pub settings: ListenerSettings,
    /// Who may prove identity here, in order.
    pub chain: Arc<Chain>,
    /// TLS towards clients.
    pub tls: Option<Arc<ServerConfig>>,
}

impl Listener {
    /// Resolves the attestors and checks what must not be combined.
    pub fn new(settings: ListenerSettings, attestors: &Attestors, out: &mut Diagnostics) -> Option<Arc<Self>> {
        let key = format!("{}.authenticate", settings.key);
        let chain = attestors.chain(&settings.authenticate, &key, out)?;
        let place = settings.authenticate.first().map_or(&settings.bind_location.location, |name| &name.location);
        if chain.takes_tokens() && settings.is_exposed_cleartext() {
            out.error(place, key.clone(), "a bearer proof would cross the network in clear text")
                .help("add `tls = { certificate = …, key = … }`, or bind to a loopback address or a Unix socket");
            return None;
        }
        if chain.takes_unix_peer() && matches!(settings.bind, Bind::Tcp(_)) {
            out.error(place, key, "a `unix-peer` attestor knows nobody on a TCP listener")
                .help("bind to a Unix socket, as `bind = \"unix:claviger.sock\"`");
            return None;
        }
        if chain.takes_neighbours() && !is_near(&settings.bind) {
            out.error(place, key, "with a `locality` attestor whoever reaches this listener is the workload itself")
                .help("bind to a loopback address, as `bind = \"127.0.0.1:7070\"`, or to a Unix socket");
            return None;
        }
        if let Some(strangers) = strangers(&settings).filter(|_| chain.takes_strange_neighbours()) {
            out.warning(place, &*key, format!("{strangers} is the workload itself here")).help(
                "bind to a Unix socket with `socket_mode = \"0600\"`; or, where nobody else shares this network or \
                 socket, write `loopback = \"private\"` at the `locality` attestor",
            );
        }
        let verifier = chain.client_verifier();
        if verifier.is_some() && settings.tls.is_none() {
            out.error(place, key, "an `x509-svid` attestor needs `tls` on this listener")
                .help("add `tls = { certificate = \"…\", key = \"…\" }`");
            return None;
        }
        let tls = match &settings.tls {
            None => None,
            Some(identity) => {
                let built = trust::server_config(|builder| {
                    let builder = match &verifier {
                        Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
                        None => builder.with_no_client_auth(),
                    };
                    builder.with_single_cert(identity.chain.clone(), identity.key.clone_key())
                });
                match built {
                    Ok(mut config) => {
                        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
                        if verifier.is_some() {
                            // A resumed session would skip the check of the client's certificate
                            // against the bundle that holds now.
                            config.session_storage = Arc::new(NoServerSessionStorage {});
                            config.send_tls13_tickets = 0;
                        }
                        Some(Arc::new(config))
                    }
                    Err(error) => {
                        let key = format!("{}.tls", settings.key);
                        let message = match error {
                            rustls::Error::InconsistentKeys(_) => "the key is not the certificate's".to_owned(),
                            error => format!("the certificate or key cannot be used: {error}"),
                        };
                        out.error(&identity.location, key, message);
                        return None;
                    }
                }
            }
        };
        Some(Arc::new(Self { settings, chain, tls }))
    }
}

impl Listener {
    /// A private listener of a session: who it is for is the chain's matter, and nobody else is asked.
    pub fn of_session(settings: ListenerSettings, chain: Arc<Chain>) -> Arc<Self> {
        Arc::new(Self { settings, chain, tls: None })
    }
}

/// A destination with what its upstream needs compiled.
#[derive(Debug)]
pub struct Service {
    /// X of `[service.X]`.
    pub name: Arc<str>,
    /// How the credential is written.
    pub plan: InjectionPlan,
    /// How the upstream is reached.
    pub(crate) transport: Arc<Transport>,
    /// From the request's head until the head of the answer.
    pub(crate) response_timeout: Duration,
    /// At most this many bytes in a request's body.
    pub(crate) body_max: Option<u64>,
    /// How its clients log in; boxed, for few do.
    pub(crate) login: Option<Box<Login>>,
}

impl Service {
    /// Compiles one service. Upstream connections survive a reload that does not change how the
    /// upstream is reached.
    pub fn new(
        route: &ServiceRoute,
        settings: &ServiceSettings,
        plan: InjectionPlan,
        previous: Option<&Generation>,
    ) -> Result<Self, TrustError> {
        let name: Arc<str> = route.name().clone();
        let mut hasher = DefaultHasher::new();
        (route.scheme() == Scheme::Https, &settings.allow_addresses, &settings.ca_pem, settings.http2)
            .hash(&mut hasher);
        settings.connect.as_ref().map(ToString::to_string).hash(&mut hasher);
        let digest = hasher.finish();
        let kept = previous
            .and_then(|generation| generation.services.get(&name))
            .filter(|service| service.transport.digest == digest)
            .map(|service| service.transport.clone());
        let transport = match kept {
            Some(transport) => transport,
            None => Arc::new(Transport::new(route.scheme(), settings, digest)?),
        };
        let (response_timeout, body_max) = (settings.response_timeout, settings.body_max);
        Ok(Self { name, plan, transport, response_timeout, body_max, login: None })
    }

    /// Answers the logins of its clients by handles of this key.
    #[must_use]
    pub fn with_login(mut self, settings: LoginSettings, key: HandleKey, previous: Option<&Generation>) -> Self {
        self.login = Some(Box::new(Login::new(&self.name, settings, key, previous)));
        self
    }
}

/// How one service's upstream is reached; connections are pooled per transport.
#[derive(Debug)]
pub(crate) struct Transport {
    /// Unique in this process: the pool's key.
    pub(crate) id: u64,
    digest: u64,
    /// `None`: the service is listed as cleartext.
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    pub(crate) guard: AddressGuard,
    pub(crate) connect: Option<Authority>,
}

impl Transport {
    fn new(scheme: Scheme, settings: &ServiceSettings, digest: u64) -> Result<Self, TrustError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let tls = match scheme {
            Scheme::Http => None,
            Scheme::Https => {
                let alpn: &[&[u8]] = if settings.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
                let roots: &TrustRoots = &settings.roots;
                Some(trust::client_config(roots, alpn, None)?)
            }
        };
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            digest,
            tls,
            guard: settings.guard.clone(),
            connect: settings.connect.clone(),
        })
    }
}

/// Whether only this machine can reach an address.
fn is_near(bind: &Bind) -> bool {
    match bind {
        Bind::Tcp(address) => address.ip().is_loopback(),
        Bind::Unix(_) => true,
    }
}

/// Who else on this machine can reach a listener, in words; `None`: only the user who runs Claviger.
fn strangers(settings: &ListenerSettings) -> Option<&'static str> {
    const WRITE_GROUP: u32 = 0o020;
    const WRITE_OTHER: u32 = 0o002;
    // To connect to a socket takes write permission.
    match settings.bind {
        Bind::Tcp(_) => Some("every process on this host"),
        Bind::Unix(_) if settings.socket_mode & WRITE_OTHER != 0 => Some("every user of this host"),
        Bind::Unix(_) if settings.socket_mode & WRITE_GROUP != 0 => Some("every member of the socket's group"),
        Bind::Unix(_) => None,
    }
}
