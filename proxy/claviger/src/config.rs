//! The configuration file: found, read once, and turned into a generation. The only code that sees
//! the whole file; every part takes its own keys from the tree.

mod asked;
mod at_start;
mod comments;
mod discover;
mod effective;
mod files;
mod format;
mod keys;
mod pattern;
pub(crate) mod schema;
mod probing;
mod services;
mod texts;
pub(crate) mod trust;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use claviger_contract::{Clock, EventSink, Outbound};
use claviger_credential::{BoundHost, CredentialEnv, Credentials};
use claviger_identity::{Attestors, IdentityEnv};
use claviger_ledger::LedgerSettings;
use claviger_policy::document::{self, Diagnostics, Located, Table};
use claviger_policy::{Inputs, Policy, ServiceRoute, TrustDomain, compile_with};
use claviger_wire::{
    Bind, Generation, InterceptionAuthority, InterceptionRoot, Limits, Listener, ListenerSettings, Mode, Service,
};

use crate::admin::AdminSettings;

pub(crate) use at_start::AtStart;
pub(crate) use discover::{Source, default_state_dir, discover, in_project, project_file};
pub(crate) use effective::{Effective, Leaf};
pub(crate) use files::{Files, files};
pub(crate) use format::format;
pub(crate) use probing::{Probing, Use};
pub(crate) use texts::Texts;

/// A file that was read; its parts are taken out of it step by step.
pub(crate) struct Draft {
    root: Table,
    /// The file.
    pub(crate) path: PathBuf,
    /// The name of the trust domain.
    pub(crate) trust_domain: Option<TrustDomain>,
    /// Where sealed secrets, authorities and the ledger live.
    pub(crate) state_dir: PathBuf,
    /// The ledger's settings.
    pub(crate) ledger: LedgerSettings,
    /// Where the process is looked at and administered.
    pub(crate) admin: AdminSettings,
    /// Where the keys stand that a process reads once.
    places: at_start::Places,
}

/// What compiling a configuration needs from the process.
#[derive(Clone)]
pub(crate) struct Env {
    pub(crate) outbound: Arc<dyn Outbound>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) control: tokio::runtime::Handle,
}

/// A configuration that may be put in force.
pub(crate) struct Compiled {
    pub(crate) generation: Generation,
    pub(crate) attestors: Attestors,
    pub(crate) watched: Vec<PathBuf>,
}

/// The files of a configuration, if they may be used; what is wrong with them is in `out`.
pub(crate) fn files_of(source: &Source, out: &mut Diagnostics) -> Option<Files> {
    let (mut texts, mut found) = (Texts::default(), Diagnostics::default());
    let files = files(source.path(), &mut texts, &mut found);
    // What is wrong with a file that may not be used is nobody's business.
    trust::admit(source, files.as_ref(), &mut texts, out)?;
    out.append(found);
    files
}

/// Reads a file and takes what concerns the process as a whole.
pub(crate) fn read(source: &Source, out: &mut Diagnostics) -> Option<Draft> {
    let Files { root, teams, patterns, .. } = files_of(source, out)?;
    let mut root = root?;
    for (name, team) in &teams {
        out.append(team.found.clone());
        out.error(&team.location, format!("team.{name}"), "teams are not supported yet").help("leave the table out");
    }
    root = files::join(root, teams.values().flat_map(|team| &team.files), out);
    let places = at_start::Places::of(&root);
    if !root.has("version") {
        root.missing("version", out).help("write `version = 1`");
    }
    files::check_version(&mut root, out);
    let trust_domain = root.required_string("trust_domain", out).and_then(|text| {
        let parsed = TrustDomain::parse(&text.value);
        if let Err(error) = &parsed {
            out.error(&text.location, "trust_domain", format!("`{}`: {error}", text.value))
                .help("write a bare name in lower case, as `acme.internal`");
        }
        parsed.ok()
    });
    let state_dir = match root.string("state_dir", out) {
        Some(written) => claviger_contract::path::resolve(&written),
        None => discover::default_state_dir(),
    };
    let ledger = LedgerSettings::take(&mut root, &state_dir, out);
    let admin = AdminSettings::take(&mut root, &state_dir, out);
    Some(Draft { root, path: source.path().to_owned(), trust_domain, state_dir, ledger, admin, places })
}

impl Draft {
    /// Compiles everything. All findings go to `out`; `None` if there is an error among them.
    pub(crate) fn compile(
        mut self,
        env: &Env,
        number: u64,
        interception: impl FnOnce() -> Result<InterceptionRoot, String>,
        previous: Option<&Generation>,
        out: &mut Diagnostics,
    ) -> Option<Compiled> {
        let root = &mut self.root;
        let limits = Limits::take(root, out);
        let listener_settings = take_listeners(root, self.admin.bind.as_ref(), out);
        let (services, shorthands) = services::take(root, out);
        let Some(trust_domain) = self.trust_domain else {
            // Nobody has an identity without it, but a misspelt key of the root is named.
            for key in ["attestor", "store", "credential", "workload", "schedule", "allow", "deny", "test"] {
                root.take(key);
            }
            self.root.finish(out);
            return None;
        };
        let identity = IdentityEnv {
            trust_domain: trust_domain.clone(),
            outbound: env.outbound.clone(),
            clock: env.clock.clone(),
            runtime: env.control.clone(),
        };
        let attestors = Attestors::take(root, &identity, out);
        let credential_env = CredentialEnv {
            state_dir: self.state_dir,
            outbound: env.outbound.clone(),
            clock: env.clock.clone(),
            events: env.events.clone(),
            runtime: env.control.clone(),
        };
        let leases = previous.map(|generation| &generation.credentials);
        let credentials = Credentials::take(root, shorthands, &credential_env, leases, out);
        let routes: Vec<ServiceRoute> = services.iter().map(|parts| parts.route.clone()).collect();
        let inputs =
            Inputs { trust_domain, services: routes.clone(), credentials: credentials.facts(), generation: number };
        let check = |policy: &Policy, out: &mut Diagnostics| {
            asked::attestors(policy, &attestors, out);
            asked::fields(policy, &services, &credentials, out);
        };
        let policy = compile_with(root, inputs, check, out);
        let mut watched = vec![self.path.clone()];
        watched.extend(attestors.watched_files());
        watched.extend(services.iter().filter_map(|parts| parts.settings.ca_file.clone()));
        for settings in &listener_settings {
            watched.extend(settings.tls.iter().flat_map(|tls| tls.files.clone()));
        }
        let forwards = listener_settings.iter().any(|settings| settings.mode == Mode::Forward);
        let listeners: Vec<_> =
            listener_settings.into_iter().filter_map(|settings| Listener::new(settings, &attestors, out)).collect();
        self.root.finish(out);
        if out.has_errors() {
            return None;
        }
        let services = services
            .into_iter()
            .map(|parts| {
                let service = Service::new(&parts.route, &parts.settings, parts.plan, previous)
                    .map_err(|error| out.error(parts.route.location(), "", format!("TLS cannot be set up: {error}")));
                service.ok().map(|service| (service.name.clone(), service))
            })
            .collect::<Option<_>>()?;
        let intercept = |root: InterceptionRoot| {
            let hosts = Generation::intercepted_hosts(&routes);
            InterceptionAuthority::new(&root, &hosts, number, env.clock.clone()).map_err(|error| error.to_string())
        };
        let interception = forwards.then(|| interception().and_then(intercept)).transpose();
        let interception = interception
            .map_err(|error| out.error_nowhere(format!("failed to make the interception authority: {error}")).clone())
            .ok()?;
        let generation = Generation { number, policy: policy?, credentials, services, listeners, interception, limits };
        Some(Compiled { generation, attestors, watched })
    }
}

fn take_listeners(
    root: &mut Table,
    admin: Option<&Located<SocketAddr>>,
    out: &mut Diagnostics,
) -> Vec<ListenerSettings> {
    let listeners = ListenerSettings::take_all(root, out);
    if let Some(admin) = admin
        && let Some(other) = listeners.iter().find(|listener| listener.bind.conflicts(&Bind::Tcp(admin.value)))
    {
        let message = format!("`{}` is bound by listener `{}` already", admin.value, other.name);
        out.error(&admin.location, "admin.bind", message).help("give it a port of its own");
    }
    if root.names_of("listener").is_empty() {
        out.warning(root.location(), "listener", "there is no listener, so that nobody is served")
            .help("add a `[listener.NAME]` table with `mode`, `bind` and `authenticate`");
    }
    listeners
}

impl Draft {
    /// The ledger's file, if it writes one.
    pub(crate) fn ledger_file(&self) -> Option<PathBuf> {
        self.ledger.sinks.contains(&claviger_ledger::Sink::File).then(|| self.ledger.path.clone())
    }

    /// The hosts of one service, whatever else is wrong with the file; `None` with the reason in `out`.
    pub(crate) fn service_hosts(mut self, name: &str, out: &mut Diagnostics) -> Option<Vec<String>> {
        let mut found = Diagnostics::default();
        let (services, _) = services::take(&mut self.root, &mut found);
        let Some(parts) = services.iter().find(|parts| &**parts.route.name() == name) else {
            let written = self.root.names_of("service");
            if written.iter().any(|written| written == name) {
                out.append(found);
            } else {
                let key = format!("service.{name}");
                let error = out.error(self.root.location(), key, format!("there is no service `{name}`"));
                match document::nearest(name, written.iter().map(String::as_str)) {
                    Some(near) => error.help(format!("did you mean `{near}`?")),
                    None => error.help(format!("define `[service.{name}]`, or name the hosts with `--host`")),
                };
            }
            return None;
        };
        Some(BoundHost::of_service(&parts.route).iter().map(ToString::to_string).collect())
    }
}
