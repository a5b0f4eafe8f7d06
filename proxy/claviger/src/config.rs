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
mod probing;
pub(crate) mod schema;
mod services;
mod standing;
mod teams;
mod texts;
pub(crate) mod trust;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use claviger_contract::{Clock, EventSink, Outbound};
use claviger_credential::{BoundHost, CredentialEnv, Credentials};
use claviger_identity::{Attestors, IdentityEnv};
use claviger_ledger::LedgerSettings;
use claviger_policy::analyze::Suppression;
use claviger_policy::document::{self, Diagnostics, Located, Table};
use claviger_policy::{Inputs, Policy, ServiceRoute, TrustDomain, compile_untested, compile_with};
use claviger_wire::{
    Bind, Generation, InterceptionAuthority, InterceptionRoot, Limits, Listener, ListenerSettings, Mode, Service,
};

use crate::admin::{Access, AdminSettings};
use crate::analyze::Surface;

pub(crate) use at_start::AtStart;
pub(crate) use discover::{Source, default_state_dir, discover, in_project, project_file};
pub(crate) use effective::{Effective, Leaf};
pub(crate) use files::{Files, More, TeamFiles, files};
pub(crate) use format::format;
pub(crate) use pattern::Pattern;
pub(crate) use probing::{Probing, Use};
pub(crate) use standing::{Load, Standing, TeamState};
pub(crate) use teams::{Stand, Stands};
pub(crate) use texts::Texts;

/// A configuration that was read; its parts are taken out of it step by step.
pub(crate) struct Draft {
    /// What the platform's files say.
    root: Table,
    /// What teams say, and within which bounds.
    pub(crate) teams: BTreeMap<Arc<str>, TeamFiles>,
    files: Vec<PathBuf>,
    patterns: Vec<Pattern>,
    /// Of all its texts: a record of a generation says by it which configuration was in force.
    pub(crate) digest: Arc<str>,
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
    /// Whether a `[[test]]` that fails is no error: for whoever runs them itself.
    pub(crate) untested: bool,
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
    /// Who may administer from afar.
    pub(crate) access: Access,
    pub(crate) watched: Vec<PathBuf>,
    /// Where files may come to lie that belong to it.
    pub(crate) patterns: Vec<Pattern>,
    /// What only `analyze` looks at.
    pub(crate) surface: Surface,
    pub(crate) suppressions: Vec<Suppression>,
}

/// The files of a configuration, if they may be used; what is wrong with them is in `out`.
pub(crate) fn files_of(source: &Source, out: &mut Diagnostics) -> Option<Files> {
    let (mut texts, mut found) = (Texts::of(source), Diagnostics::default());
    let files = files(source.path(), &mut texts, &mut found);
    // What is wrong with a file that may not be used is nobody's business.
    trust::admit(source, files.as_ref(), &mut texts, out)?;
    out.append(found);
    files
}

/// Reads a file and takes what concerns the process as a whole.
pub(crate) fn read(source: &Source, out: &mut Diagnostics) -> Option<Draft> {
    read_with(source, None, out)
}

/// As [`read`], with tables that no file holds yet.
pub(crate) fn read_with(source: &Source, more: Option<&More>, out: &mut Diagnostics) -> Option<Draft> {
    let mut files = files_of(source, out)?;
    if let Some(more) = more {
        files.add(more, out);
    }
    draft(&files, out)
}

/// Takes what concerns the process as a whole out of files that were read.
pub(crate) fn draft(files: &Files, out: &mut Diagnostics) -> Option<Draft> {
    let digest = files.digest().into();
    let watched = files.iter().map(|file| file.path.clone()).collect();
    let (teams, patterns) = (files.teams.clone(), files.patterns.clone());
    let mut root = files.root.clone()?;
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
    Some(Draft {
        root,
        teams,
        files: watched,
        patterns,
        digest,
        trust_domain,
        state_dir,
        ledger,
        admin,
        places,
        untested: false,
    })
}

impl Draft {
    /// Compiles everything. All findings go to `out`; `None` if there is an error among them.
    pub(crate) fn compile(
        self,
        env: &Env,
        number: u64,
        interception: impl FnOnce() -> Result<InterceptionRoot, String>,
        previous: Option<&Generation>,
        out: &mut Diagnostics,
    ) -> Option<Compiled> {
        self.compile_with(&Stands::new(), env, number, interception, previous, out)
    }

    /// As [`compile`](Self::compile), where not every team stands by the files that lie there now.
    pub(crate) fn compile_with(
        mut self,
        stands: &Stands,
        env: &Env,
        number: u64,
        interception: impl FnOnce() -> Result<InterceptionRoot, String>,
        previous: Option<&Generation>,
        out: &mut Diagnostics,
    ) -> Option<Compiled> {
        let limits = Limits::take(&mut self.root, out);
        let listener_settings = take_listeners(&mut self.root, &self.admin, out);
        let AdminSettings { remote, roles, .. } = self.admin;
        let (services, shorthands) = services::take(&mut self.root, out);
        let Some(trust_domain) = self.trust_domain else {
            // Nobody has an identity without it, but a misspelt key of the root is named.
            for key in ["attestor", "store", "credential", "workload", "schedule", "allow", "deny", "test", "suppress"]
            {
                self.root.take(key);
            }
            self.root.finish(out);
            return None;
        };
        let (mut joined, teams) = teams::take(self.root, &self.teams, stands, &trust_domain, &services, out);
        let root = &mut joined;
        let suppressions = Suppression::take(root, out);
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
            teams: teams.scopes,
        };
        let leases = previous.map(|generation| &generation.credentials);
        let credentials = Credentials::take(root, shorthands, &credential_env, leases, out);
        let surface = Surface {
            services: services.iter().map(services::ServiceParts::surface).collect(),
            admin: self.admin.bind.clone(),
        };
        let routes: Vec<ServiceRoute> = services.iter().map(|parts| parts.route.clone()).collect();
        let inputs = Inputs {
            trust_domain,
            services: routes.clone(),
            credentials: credentials.facts(),
            teams: teams.bounds,
            generation: number,
        };
        // A listener that is wrong may be one, and without any nobody is served at all.
        let has_addresses = listener_settings.len() < root.names_of("listener").len()
            || listener_settings.is_empty()
            || listener_settings.iter().any(|settings| matches!(settings.bind, Bind::Tcp(_)));
        let check = |policy: &Policy, out: &mut Diagnostics| {
            asked::attestors(policy, &attestors, has_addresses, out);
            asked::fields(policy, &services, &credentials, out);
            roles.check(policy, out);
        };
        let policy = if self.untested {
            compile_untested(root, inputs, check, out)
        } else {
            compile_with(root, inputs, check, out)
        };
        let mut watched = self.files;
        watched.extend(attestors.watched_files());
        watched.extend(services.iter().filter_map(|parts| parts.settings.ca_file.clone()));
        for settings in listener_settings.iter().chain(&remote) {
            watched.extend(settings.tls.iter().flat_map(|tls| tls.files.clone()));
        }
        let forwards = listener_settings.iter().any(|settings| settings.mode == Mode::Forward);
        let listeners: Vec<_> =
            listener_settings.into_iter().filter_map(|settings| Listener::new(settings, &attestors, out)).collect();
        let access = Access::new(remote, roles, policy.as_ref(), &attestors, out);
        joined.finish(out);
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
        let generation = Generation {
            number,
            configuration: self.digest,
            policy: policy?,
            credentials,
            services,
            listeners,
            interception,
            limits,
        };
        Some(Compiled {
            generation,
            attestors,
            access: access?,
            watched,
            patterns: self.patterns,
            surface,
            suppressions,
        })
    }
}

fn take_listeners(root: &mut Table, admin: &AdminSettings, out: &mut Diagnostics) -> Vec<ListenerSettings> {
    let listeners = ListenerSettings::take_all(root, out);
    for (key, bind, place) in admin.addresses() {
        if let Some(other) = listeners.iter().find(|listener| listener.bind.conflicts(&bind)) {
            let message = format!("`{bind}` is bound by listener `{}` already", other.name);
            out.error(&place, key, message).help("give it a port of its own");
        }
    }
    if root.names_of("listener").is_empty() {
        out.warning(root.location(), "listener", "there is no listener, so that nobody is served")
            .help("add a `[listener.NAME]` table with `mode`, `bind` and `authenticate`");
    }
    listeners
}

impl Draft {
    /// The names of services and of credentials, whatever else is wrong with the file; those of teams not among them.
    pub(crate) fn names(mut self) -> (Vec<String>, Vec<String>) {
        let mut names = |key| {
            let tables = self.root.named_tables(key, &mut Diagnostics::default());
            tables.into_iter().map(|(name, _)| name.value).collect()
        };
        (names("service"), names("credential"))
    }

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
