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
pub(crate) mod preset;
mod probing;
pub(crate) mod schema;
mod services;
pub(crate) mod session;
mod standing;
mod teams;
mod texts;
pub(crate) mod trust;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use claviger_contract::{Clock, EventSink, Outbound};
use claviger_credential::{BoundHost, CredentialEnv, Credentials, TeamScope};
use claviger_identity::{Attestors, IdentityEnv, Issuer};
use claviger_ledger::LedgerSettings;
use claviger_policy::analyze::Suppression;
use claviger_policy::document::{self, Diagnostics, Located, Table};
use claviger_policy::{Inputs, Policy, ServiceRoute, TrustDomain, compile_untested, compile_with};
use claviger_wire::{
    Bind, Canaries, Generation, HandleKey, InterceptionAuthority, InterceptionRoot, Limits, Listener, ListenerSettings,
    Mode, PublicBind, Service,
};

use crate::admin::{Access, AdminSettings, Roles};
use crate::analyze::Surface;
use crate::canary::Keyed;
use crate::command::exec::running::Door;
use crate::environment::ClientService;
use crate::handles::Handles;
use crate::issuer::{self, IssuerTable};
use crate::renewing::Renewing;

pub(crate) use at_start::AtStart;
pub(crate) use comments::remarks;
pub(crate) use discover::{Source, default_state_dir, discover, in_project, project_file};
pub(crate) use effective::{Effective, Leaf};
pub(crate) use files::{Files, More, TeamFiles, files};
pub(crate) use format::format;
pub(crate) use pattern::Pattern;
pub(crate) use probing::{Probing, Use};
pub(crate) use session::{SessionAsk, SessionFacts};
pub(crate) use standing::{Begun, Load, Standing, TeamState};
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
    /// Who mints tokens for principals, and where that is shown.
    pub(crate) issuer: Option<IssuerTable>,
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
    /// The issuer in force: a configuration that says the same keeps it.
    pub(crate) issuer: Arc<ArcSwapOption<Issuer>>,
    /// Sends refresh tokens.
    pub(crate) renewer: Arc<Renewing>,
    pub(crate) control: tokio::runtime::Handle,
    /// What placeholders are made with that tell on a thief.
    pub(crate) canaries: Keyed,
    /// What clients are given that log in themselves.
    pub(crate) handles: Handles,
    /// The session that the process serves, and nobody else.
    pub(crate) session: Option<Arc<SessionAsk>>,
}

impl Env {
    fn identity(&self, trust_domain: &TrustDomain) -> IdentityEnv {
        IdentityEnv {
            trust_domain: trust_domain.clone(),
            outbound: self.outbound.clone(),
            clock: self.clock.clone(),
            runtime: self.control.clone(),
        }
    }

    fn credential(&self, state_dir: PathBuf, issuer: Option<&Arc<Issuer>>, teams: Vec<TeamScope>) -> CredentialEnv {
        CredentialEnv {
            state_dir,
            outbound: self.outbound.clone(),
            clock: self.clock.clone(),
            events: self.events.clone(),
            tokens: issuer::tokens(issuer),
            renewer: self.renewer.clone(),
            runtime: self.control.clone(),
            teams,
        }
    }
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
    /// Mints tokens for principals.
    pub(crate) issuer: Option<Arc<Issuer>>,
    /// Where its documents are served.
    pub(crate) public: Option<PublicBind>,
    /// What the command of a session is told.
    pub(crate) session: Option<SessionFacts>,
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
    draft_once(&mut files, out)
}

/// Reads and compiles what holds, as a cold start would: a team whose files are wrong is denied. `None`: the platform's
/// are. What is wrong is in `out` either way.
pub(crate) fn compile_standing(source: &Source, env: &Env, out: &mut Diagnostics) -> Option<Compiled> {
    let files = files_of(source, out).filter(|_| !out.has_errors())?;
    let interception = crate::app::no_interception;
    let load = Load { env, number: 1, interception: &interception, previous: None, at_start: None };
    Standing::default().compile(&files, None, &load, out).map(|(compiled, _)| compiled)
}

/// Takes what concerns the process as a whole out of files that were read.
pub(crate) fn draft(files: &Files, out: &mut Diagnostics) -> Option<Draft> {
    draft_of(files.root.clone()?, files, out)
}

/// As [`draft`], of the files' own tree where it is not needed again: a large policy is not copied to be read once.
pub(crate) fn draft_once(files: &mut Files, out: &mut Diagnostics) -> Option<Draft> {
    let root = files.hand_over()?;
    draft_of(root, files, out)
}

fn draft_of(mut root: Table, files: &Files, out: &mut Diagnostics) -> Option<Draft> {
    let digest = files.digest().into();
    let watched = files.iter().map(|file| file.path.clone()).collect();
    let (teams, patterns) = (files.teams.clone(), files.patterns.clone());
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
    let issuer = IssuerTable::take(&mut root, out);
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
        issuer,
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
        let limits = session::limits(env, Limits::take(&mut self.root, out));
        let listener_settings = take_listeners(&mut self.root, &self.admin, self.issuer.as_ref(), out);
        let AdminSettings { remote, roles, .. } = self.admin;
        let (services, shorthands) = services::take(&mut self.root, out);
        let Some(trust_domain) = self.trust_domain else {
            finish_without_identities(self.root, out);
            return None;
        };
        let (mut joined, teams) = teams::take(self.root, &self.teams, stands, &trust_domain, &services, out);
        let root = &mut joined;
        let suppressions = Suppression::take(root, out);
        let attestors = Attestors::take(root, &env.identity(&trust_domain), out);
        let issuer = self.issuer.as_ref().map(|table| table.issuer(&self.state_dir, env));
        let env_of_teams = env.credential(self.state_dir.clone(), issuer.as_ref(), teams.scopes);
        let credentials = Credentials::take(root, shorthands, &env_of_teams, previous.map(|one| &one.credentials), out);
        let surface = surface(&services, self.admin.bind.clone());
        let routes: Vec<ServiceRoute> = services.iter().map(|parts| parts.route.clone()).collect();
        let inputs = Inputs {
            trust_domain,
            services: routes.clone(),
            credentials: credentials.facts(),
            teams: teams.bounds,
            generation: number,
        };
        let addressed = may_have_addresses(root, &listener_settings);
        let around = Around { attestors: &attestors, services: &services, credentials: &credentials, addressed };
        let policy = around.compile(root, inputs, &roles, self.untested, out);
        let public = self.issuer.and_then(|table| table.public);
        let named = named_files(&services, listener_settings.iter().chain(&remote), public.as_ref());
        let watched = self.files.into_iter().chain(attestors.watched_files()).chain(named).collect();
        warn_of_no_listener(&joined, policy.as_ref(), out);
        let forwards = env.session.is_some() || listener_settings.iter().any(|settings| settings.mode == Mode::Forward);
        let mut listeners = around.listeners(listener_settings, out);
        let session = env.session.as_ref().zip(policy.as_ref()).map(|(ask, policy)| {
            // The configuration's own are checked, and not bound.
            listeners = ask.listeners(policy, &env.clock, out).unwrap_or_default();
            ask.facts(&services, &credentials, (policy, env.canaries.get().map(AsRef::as_ref)), out)
        });
        let access = Access::new(remote, roles, policy.as_ref(), &attestors, out);
        joined.finish(out);
        if out.has_errors() {
            return None;
        }
        let texts = services.iter().map(|parts| (parts.route.name().clone(), parts.plan.placeholders())).collect();
        let services = join_services(services, previous, || env.handles.key(&self.state_dir), out)?;
        let interception = authority(forwards.then_some(interception), &routes, number, env, out)?;
        let (policy, access, patterns, configuration) = (policy?, access?, self.patterns, self.digest);
        let canaries = env.canaries.get().cloned().map(|key| Canaries::new(key, &policy, texts));
        let generation = Generation {
            number,
            configuration,
            policy,
            credentials,
            services,
            listeners,
            interception,
            limits,
            canaries,
        };
        Some(Compiled {
            generation,
            attestors,
            access,
            watched,
            patterns,
            surface,
            suppressions,
            issuer,
            public,
            session,
        })
    }
}

/// What a policy is checked against.
struct Around<'a> {
    attestors: &'a Attestors,
    services: &'a [services::ServiceParts],
    credentials: &'a Credentials,
    /// Whether clients may have addresses.
    addressed: bool,
}

impl Around<'_> {
    fn compile(
        &self,
        root: &mut Table,
        inputs: Inputs,
        roles: &Roles,
        untested: bool,
        out: &mut Diagnostics,
    ) -> Option<Policy> {
        let check = |policy: &Policy, out: &mut Diagnostics| {
            asked::attestors(policy, self.attestors, self.addressed, out);
            asked::fields(policy, self.services, self.credentials, out);
            policy.narrowings().for_each(|(credential, narrow, _)| self.credentials.narrow(credential, narrow, out));
            roles.check(policy, out);
        };
        match untested {
            true => compile_untested(root, inputs, check, out),
            false => compile_with(root, inputs, check, out),
        }
    }

    /// The listeners with the attestors that they ask.
    fn listeners(&self, settings: Vec<ListenerSettings>, out: &mut Diagnostics) -> Vec<Arc<Listener>> {
        settings.into_iter().filter_map(|settings| Listener::new(settings, self.attestors, out)).collect()
    }
}

/// The authority that signs what intercepted clients are shown, where any are; the outer `None` if it cannot be made.
#[allow(clippy::option_option, reason = "none is needed, or none can be had")]
fn authority(
    interception: Option<impl FnOnce() -> Result<InterceptionRoot, String>>,
    routes: &[ServiceRoute],
    number: u64,
    env: &Env,
    out: &mut Diagnostics,
) -> Option<Option<InterceptionAuthority>> {
    let Some(interception) = interception else { return Some(None) };
    let made = interception().and_then(|root| intercept(&root, routes, number, env));
    made.map_err(|error| out.error_nowhere(format!("failed to make the interception authority: {error}")))
        .ok()
        .map(Some)
}

fn surface(services: &[services::ServiceParts], admin: Option<Located<SocketAddr>>) -> Surface {
    Surface { services: services.iter().map(services::ServiceParts::surface).collect(), admin }
}

/// Without a trust domain nobody has an identity, but a misspelt key of the root is named.
fn finish_without_identities(mut root: Table, out: &mut Diagnostics) {
    for key in ["attestor", "store", "credential", "workload", "schedule", "allow", "deny", "test", "suppress"] {
        root.take(key);
    }
    root.finish(out);
}

/// The files that services, listeners and the issuer name.
fn named_files<'a>(
    services: &[services::ServiceParts],
    listeners: impl Iterator<Item = &'a ListenerSettings>,
    issuer: Option<&PublicBind>,
) -> Vec<PathBuf> {
    let of_listeners = listeners.flat_map(|settings| settings.tls.iter().flat_map(|tls| tls.files.clone()));
    let of_services = services.iter().filter_map(|parts| parts.settings.ca_file.clone());
    let of_issuer = issuer.into_iter().flat_map(|public| public.files.clone());
    of_services.chain(of_listeners).chain(of_issuer).collect()
}

/// Whether clients may have addresses: a listener that is wrong may be one where they do, and without any listener
/// nobody is served at all.
fn may_have_addresses(root: &Table, listeners: &[ListenerSettings]) -> bool {
    listeners.len() < root.names_of("listener").len()
        || listeners.is_empty()
        || listeners.iter().any(|settings| matches!(settings.bind, Bind::Tcp(_)))
}

fn intercept(
    root: &InterceptionRoot,
    routes: &[ServiceRoute],
    number: u64,
    env: &Env,
) -> Result<InterceptionAuthority, String> {
    let hosts = Generation::intercepted_hosts(routes);
    InterceptionAuthority::new(root, &hosts, number, env.clock.clone()).map_err(|error| error.to_string())
}

fn join_services(
    services: Vec<services::ServiceParts>,
    previous: Option<&Generation>,
    handles: impl Fn() -> Result<HandleKey, String>,
    out: &mut Diagnostics,
) -> Option<HashMap<Arc<str>, Service>> {
    let join = |parts: services::ServiceParts| {
        let service = Service::new(&parts.route, &parts.settings, parts.plan, previous)
            .map_err(|error| out.error(parts.route.location(), "", format!("TLS cannot be set up: {error}")));
        let service = match parts.settings.login {
            None => service.ok()?,
            Some(login) => match handles() {
                Ok(key) => service.ok()?.with_login(login, key, previous),
                Err(error) => {
                    let key = format!("service.{}.login", parts.route.name());
                    out.error(parts.route.location(), key, format!("the key of handles cannot be had: {error}"));
                    return None;
                }
            },
        };
        Some((service.name.clone(), service))
    };
    services.into_iter().map(join).collect()
}

fn take_listeners(
    root: &mut Table,
    admin: &AdminSettings,
    issuer: Option<&IssuerTable>,
    out: &mut Diagnostics,
) -> Vec<ListenerSettings> {
    let listeners = ListenerSettings::take_all(root, out);
    let public = issuer.and_then(|table| table.public.as_ref()).map(|public| &public.bind);
    let public = public.map(|at| ("issuer.bind", Bind::Tcp(at.value), at.location.clone()));
    for (key, bind, place) in admin.addresses().into_iter().chain(public) {
        if let Some(other) = listeners.iter().find(|listener| listener.bind.conflicts(&bind)) {
            let message = format!("`{bind}` is bound by listener `{}` already", other.name);
            out.error(&place, key, message).help("give it a port of its own");
        }
    }
    listeners
}

/// Of a configuration that serves nobody. One that sessions of `claviger exec` use needs no listener of its own.
fn warn_of_no_listener(root: &Table, policy: Option<&Policy>, out: &mut Diagnostics) {
    let permits_sessions = policy.is_none_or(|policy| policy.exec_workloads().next().is_some());
    if permits_sessions || !root.names_of("listener").is_empty() {
        return;
    }
    out.warning(root.location(), "listener", "there is no listener, so that nobody is served")
        .help("add a `[listener.NAME]` table with `mode`, `bind` and `authenticate`");
}

impl Draft {
    /// The forward listeners, and the services as their clients see them, whatever else is wrong with the file.
    pub(crate) fn clients(mut self) -> (Vec<Door>, Vec<ClientService>) {
        let mut found = Diagnostics::default();
        let mut kinds = HashMap::new();
        for (name, mut table) in self.root.clone().named_tables("attestor", &mut found) {
            kinds.extend(table.string("kind", &mut found).map(|kind| (name.value, kind.value)));
        }
        let listeners = ListenerSettings::take_all(&mut self.root, &mut found).into_iter();
        let doors = listeners.filter_map(|settings| Door::of(settings, |name| kinds.get(name).cloned())).collect();
        let (services, _) = services::take(&mut self.root, &mut found);
        (doors, services.iter().map(services::ServiceParts::client).collect())
    }

    /// The names of services and of credentials, whatever else is wrong with the file; those of teams not among them.
    pub(crate) fn names(mut self) -> (Vec<String>, Vec<String>) {
        let mut names = |key| {
            let tables = self.root.named_tables(key, &mut Diagnostics::default());
            tables.into_iter().map(|(name, _)| name.value).collect()
        };
        (names("service"), names("credential"))
    }

    /// The files that it was read from.
    pub(crate) fn files(&self) -> &[PathBuf] {
        &self.files
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
