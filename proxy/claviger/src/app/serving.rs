//! What serves: a configuration in force, its data plane, ledger and state. The same for a process that many workloads
//! share and for a session of one command; they differ in what is around it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use claviger_contract::event::{Event, SystemEvent};
use claviger_contract::{Clock, EventSink, SystemClock};
use claviger_identity::Issuer;
use claviger_ledger::{Ledger, LedgerError, LedgerSettings};
use claviger_policy::document::{Diagnostics, Located, Severity};
use claviger_wire::{Generation, InterceptionRoot, Metrics, OnRefused, Resolver, Server, ServerEnv};

use super::{first_draft, idle_env, unregistered};
use crate::admin::{Access, Finding, Reloaded};
use crate::ahead::Ahead;
use crate::canary::Keyed;
use crate::command::{Failure, report};
use crate::config::{self, AtStart, Compiled, Env, Load, SessionAsk, SessionFacts, Source, Standing};
use crate::delegation::{Change, Delegation};
use crate::handles::Handles;
use crate::issuer::Showing;
use crate::observe::Counted;
use crate::state::State;
use crate::watch::Watcher;
use crate::{console, interception, os, state};

/// What makes a session of one command differ from a process that many share.
pub(crate) struct SessionParts {
    pub(crate) ask: Arc<SessionAsk>,
    /// Made for the session, and nowhere else.
    pub(crate) root: InterceptionRoot,
    /// The sockets of its listeners, by name.
    pub(crate) sockets: Vec<(Arc<str>, std::net::TcpListener)>,
    pub(crate) refused: OnRefused,
}

/// How to start.
pub(crate) struct Plan<'a> {
    pub(crate) source: Source,
    pub(crate) cores: usize,
    /// Where `ca.pem` and `bundle.pem` are written for clients.
    pub(crate) ca_dir: Option<&'a Path>,
    pub(crate) session: Option<SessionParts>,
}

/// A running data plane with what it was made of.
pub(crate) struct Serving {
    pub(crate) source: Source,
    pub(crate) env: Env,
    pub(crate) at_start: AtStart,
    pub(crate) delegation: Delegation,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) server: Server,
    pub(crate) attestors: claviger_identity::Attestors,
    pub(crate) watcher: Watcher,
    pub(crate) state: Arc<State>,
    /// The issuer in force, and its listener's TLS.
    pub(crate) showing: Showing,
    /// Of a session: the root that signs what its clients are shown.
    root: Option<InterceptionRoot>,
    /// Mints, key sets, the admin listener and reloads run here, away from the data cores.
    pub(crate) control: tokio::runtime::Runtime,
}

/// What only whoever starts it needs.
pub(crate) struct Started {
    pub(crate) registry: prometheus::Registry,
    pub(crate) access: Access,
    pub(crate) changes: Vec<Change>,
    pub(crate) admin: (Option<Located<std::net::SocketAddr>>, std::path::PathBuf),
    /// Where the issuer's documents are served.
    pub(crate) public: Option<Located<std::net::SocketAddr>>,
    pub(crate) session: Option<SessionFacts>,
}

impl Serving {
    /// Reads, compiles, binds. Nothing serves unless everything is right.
    pub(crate) fn start(control: tokio::runtime::Runtime, plan: Plan<'_>) -> Result<(Self, Started), Failure> {
        let Plan { source, cores, ca_dir, session } = plan;
        // First: what changes while this starts is taken up after it.
        let mut watcher = Watcher::new();
        let is_session = session.is_some();
        let mut found = Diagnostics::default();
        let (files, begun) = first_draft(&control, &source, &mut found)?;
        let draft = &begun.0;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ledger = start_ledger(&draft.ledger, &clock, cores, is_session)?;
        let registry = prometheus::Registry::new();
        let counted = Counted::new(ledger.clone(), &registry).map_err(unregistered)?;
        let ask = session.as_ref().map(|session| session.ask.clone());
        let state_dir = draft.state_dir.clone();
        let canaries = canary_key(&state_dir, is_session);
        let handles = if is_session { Handles::default() } else { Handles::Sealed };
        let env = Env { events: counted, clock, session: ask, canaries, handles, ..idle_env(&control)? };
        let (at_start, admin) = (AtStart::of(draft), (draft.admin.bind.clone(), draft.admin.socket.clone()));
        // What is on disk is read while the configuration compiles.
        let root_there = (!is_session).then(|| root_there(&state_dir));
        let mut opening = state::open(&control, &state_dir, &env, &registry)?;
        let parts = session.map(|parts| (Some(parts.root), parts.sockets, Some(parts.refused)));
        let (root, sockets, refused) = parts.unwrap_or_default();
        let make_root = || own_root(root.as_ref().or(root_there.as_ref().and_then(Ahead::get)), &state_dir);
        let mut delegation = Delegation::new(&registry).map_err(unregistered)?;
        let load = Load { env: &env, number: 1, interception: &make_root, previous: None, at_start: None };
        let compiled = delegation.compile(&files, Some(begun), &load, &mut found);
        // Before anything is served: what is suspended stays so. Where there was no state, nothing is.
        opening.before_serving(&control)?;
        let Some((compiled, standing)) = compiled else { return Err(refused_by(&found)) };
        found.sort();
        (!is_session).then(|| console::diagnostics(&found));
        if let Some(folder) = ca_dir {
            make_root().and_then(|_| interception::publish(&state_dir, folder)).map_err(Failure::Other)?;
        }
        let showing = Showing { issuer: env.issuer.clone(), ..Showing::default() };
        showing.prepare(compiled.issuer.as_ref()).map_err(Failure::Other)?;
        compiled.attestors.start(None);
        let server = Server::start(ServerEnv {
            generation: compiled.generation,
            ledger: ledger.clone(),
            clock: env.clock.clone(),
            resolver: Resolver::new(),
            metrics: Metrics::new(&registry).map_err(unregistered)?,
            suspended: opening.state.suspended().clone(),
            cores,
            adopted: sockets,
            refused,
            tidy: os::memory::give_back_freed,
        })
        .map_err(|error| Failure::Other(error.to_string()))?;
        let state = opening.finish(&control)?;
        let public = compiled.public.as_ref().map(|public| public.bind.clone());
        showing.take_up(compiled.issuer, compiled.public, control.handle());
        let changes = delegation.take_up(standing);
        state.attach(server.view());
        control.spawn(state.clone().watch());
        watcher.watch(source.watched(compiled.watched), compiled.patterns);
        let started = Started { registry, access: compiled.access, changes, admin, public, session: compiled.session };
        let serving = Self {
            source,
            env,
            at_start,
            delegation,
            ledger,
            server,
            attestors: compiled.attestors,
            watcher,
            state,
            showing,
            root,
            control,
        };
        Ok((serving, started))
    }

    /// Whether one command alone is served.
    fn is_session(&self) -> bool {
        self.root.is_some()
    }

    /// Compiles the next generation of the files as they are now.
    pub(crate) fn compile_next(&self) -> (Option<(Compiled, Standing)>, Diagnostics) {
        let mut found = Diagnostics::default();
        let previous = self.server.generation();
        let compiled = config::files_of(&self.source, &mut found).filter(|_| !found.has_errors()).and_then(|files| {
            let make_root = || own_root(self.root.as_ref(), self.at_start.state_dir());
            let (number, at_start) = (previous.number + 1, Some(&self.at_start));
            let load = Load { env: &self.env, number, interception: &make_root, previous: Some(&previous), at_start };
            self.delegation.compile(&files, None, &load, &mut found)
        });
        (compiled, found)
    }

    /// Puts a generation in force, or says why there is none. `take_up` is handed what is not the data plane's.
    pub(crate) fn put_in_force(
        &mut self,
        compiled: Option<(Compiled, Standing)>,
        mut found: Diagnostics,
        actor: Option<Arc<str>>,
        take_up: impl FnOnce(&Self, Access),
    ) -> Reloaded {
        let previous = self.server.generation();
        let before = previous.number;
        found.sort();
        if !self.is_session() || found.has_errors() {
            console::diagnostics(&found);
        }
        let mut changes = Vec::new();
        let refusal = match compiled {
            Some((compiled, standing)) => match self.replace(compiled.issuer.as_ref(), compiled.generation) {
                Ok(()) => {
                    self.showing.take_up(compiled.issuer, compiled.public, self.control.handle());
                    compiled.attestors.start(Some(&self.attestors));
                    self.attestors = compiled.attestors;
                    self.let_go(&previous);
                    changes = self.delegation.take_up(standing);
                    take_up(self, compiled.access);
                    // Credentials that were read anew are suspended as before.
                    self.state.drop_leases();
                    self.watcher.watch(self.source.watched(compiled.watched), compiled.patterns);
                    None
                }
                Err(error) => Some(error),
            },
            None => Some(first_error(&found)),
        };
        let by = actor.as_ref().map_or_else(String::new, |actor| format!(", asked for by {actor}"));
        match &refusal {
            None => {
                self.record("generation_loaded", actor, None);
                if !self.is_session() {
                    self.tell_unenforced();
                    console::note(&format!("generation {} is in force{by}", self.server.generation().number));
                }
            }
            Some(why) => {
                console::note(&format!("the configuration was not reloaded{by}, generation {before} stays: {why}"));
                self.record("generation_refused", actor, Some(why.clone()));
            }
        }
        self.record_changes(changes);
        Reloaded {
            outcome: if refusal.is_none() { "loaded" } else { "refused" }.to_owned(),
            generation: self.server.generation().number,
            why: refusal,
            diagnostics: found.iter().map(Finding::from).collect(),
        }
    }

    /// Replaces what the data plane serves, unless the issuer has no keys or a listener cannot be bound.
    fn replace(&self, issuer: Option<&Arc<Issuer>>, generation: Generation) -> Result<(), String> {
        self.showing.prepare(issuer)?;
        self.server.replace(generation).map_err(|error| error.to_string())
    }

    /// Ends the data plane; `between` is done when it has drained, before the ledger closes.
    pub(crate) fn stop(self, between: impl FnOnce(&tokio::runtime::Runtime)) {
        self.record("draining", None, None);
        let last = self.server.generation();
        self.server.drain();
        // What issuers can end is of no use to anybody any more.
        self.control.block_on(last.credentials.close(REVOKING));
        between(&self.control);
        self.ledger.emit(Event::System(SystemEvent {
            at_ms: self.env.clock.now_ms(),
            kind: "stopped",
            generation: None,
            configuration: None,
            actor: None,
            detail: None,
        }));
        self.ledger.shutdown();
        // A refresh token that was sent is answered once.
        self.env.renewer.settle();
        // A mint in flight has nobody left to wait for it.
        self.control.shutdown_timeout(Duration::from_millis(200));
    }

    /// What was minted for credentials that nobody is allowed any more is ended at its issuer.
    fn let_go(&self, previous: &claviger_wire::Generation) {
        let now = self.server.generation();
        let used = now.policy.uses().map(|(_, credential, _)| &**credential).collect();
        now.credentials.supersede(&previous.credentials, &used);
    }

    /// Says where denials are not applied: nobody should find that out by surprise.
    pub(crate) fn tell_unenforced(&self) {
        for name in self.server.generation().unenforced() {
            console::note(&format!(
                "listener `{name}` does not enforce policy: what would be refused passes, and is recorded"
            ));
        }
    }

    pub(crate) fn record_changes(&self, changes: Vec<Change>) {
        changes.into_iter().for_each(|change| self.record(change.kind, None, Some(change.detail)));
    }

    pub(crate) fn record(&self, kind: &'static str, actor: Option<Arc<str>>, detail: Option<String>) {
        let generation = self.server.generation();
        self.ledger.emit(Event::System(SystemEvent {
            at_ms: self.env.clock.now_ms(),
            kind,
            generation: Some(generation.number),
            configuration: Some(generation.configuration.clone()),
            actor,
            detail: detail.map(Into::into),
        }));
    }
}

/// For values to be ended at their issuers when the process stops.
const REVOKING: Duration = Duration::from_secs(5);

/// The key of placeholders that tell on a thief. Without one they are as everybody knows them, and nothing else is amiss.
fn canary_key(state_dir: &Path, is_session: bool) -> Keyed {
    Keyed::begin(state_dir, move |error| {
        if !is_session {
            console::note(&format!("no placeholder of a workload of its own: {error}"));
        }
    })
}

/// The root of the state folder, if it has one that can be read: whoever needs one that is not there makes it, and is
/// told what is wrong.
fn root_there(state_dir: &Path) -> Ahead<InterceptionRoot> {
    let state_dir = state_dir.to_owned();
    Ahead::begin("root", move || interception::load(&state_dir).ok().flatten())
}

/// A root that is at hand, a session's own or one that was read ahead, or that of the state folder.
fn own_root(root: Option<&InterceptionRoot>, state_dir: &Path) -> Result<InterceptionRoot, String> {
    root.map_or_else(|| interception::load_or_create(state_dir), |root| Ok(root.clone()))
}

/// So many sessions write their ledgers at a time.
const LEDGERS_MAX: usize = 256;

/// Slots of a session's ring: one command, not a gateway.
const SESSION_RING: usize = 1_024;

/// A process has one ledger, a session the first that no other session writes.
fn start_ledger(
    settings: &LedgerSettings,
    clock: &Arc<dyn Clock>,
    cores: usize,
    is_session: bool,
) -> Result<Arc<Ledger>, Failure> {
    let ledger = match is_session {
        false => Ledger::start(settings.clone(), clock.clone(), cores),
        true => session_ledger(settings, clock, cores),
    };
    ledger.map_err(|error| Failure::with_causes(&error))
}

/// The ledger of a session: the first of those in `exec/`, beside the ledger of the configuration, that no other
/// session writes. A later session goes on with its chain.
fn session_ledger(settings: &LedgerSettings, clock: &Arc<dyn Clock>, cores: usize) -> Result<Arc<Ledger>, LedgerError> {
    let mut last = None;
    for number in 1..=LEDGERS_MAX {
        let settings = LedgerSettings {
            // Standard output is the command's.
            sinks: vec![claviger_ledger::Sink::File],
            path: claviger_ledger::sessions::path(&settings.path, number),
            ring: SESSION_RING,
            ..settings.clone()
        };
        match Ledger::start(settings, clock.clone(), cores) {
            Err(error @ LedgerError::Locked { .. }) => last = Some(error),
            started => return started,
        }
    }
    Err(last.unwrap_or_else(|| LedgerError::NotFound { path: settings.path.clone() }))
}

/// The first error with its place, for the record; all of them are printed.
fn first_error(found: &Diagnostics) -> String {
    let errors = || found.iter().filter(|one| one.severity == Severity::Error);
    // What is wrong with a team's files refuses nothing.
    let first = errors().find(|one| one.team.is_none()).or_else(|| errors().next());
    first.map_or_else(String::new, |first| match &first.location {
        Some(place) => format!("{place}: {}", first.message),
        None => first.message.clone(),
    })
}

pub(super) fn refused_by(found: &Diagnostics) -> Failure {
    match report(found) {
        Err(failure) => failure,
        Ok(()) => Failure::Other("the configuration could not be read".to_owned()),
    }
}
