//! The composition root: the only place where the parts are joined.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use claviger_contract::event::{Event, SystemEvent};
use claviger_contract::{Clock, EventSink, SystemClock};
use claviger_ledger::Ledger;
use claviger_policy::document::{Diagnostics, Severity};
use claviger_wire::{Bind, Metrics, ReqwestOutbound, Resolver, Server, ServerEnv};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::admin::{self, Access, Ask, Desk, Doors, Facts, Finding, Listening, Reloaded};
use crate::command::{Failure, report};
use crate::config::{self, AtStart, Compiled, Draft, Env, Files, Load, Source, Standing};
use crate::delegation::{Change, Delegation};
use crate::observe::Counted;
use crate::watch::Watcher;
use crate::{console, interception, os, state};

/// A running proxy.
pub(crate) struct App {
    source: Source,
    env: Env,
    at_start: AtStart,
    delegation: Delegation,
    ledger: Arc<Ledger>,
    server: Server,
    attestors: claviger_identity::Attestors,
    complaints: Vec<(Arc<str>, String)>,
    watcher: Watcher,
    signals: Signals,
    /// What the admin doors look at, and what they ask of this loop.
    desk: Arc<Desk>,
    doors: Doors,
    asks: mpsc::Receiver<Ask>,
    /// Mints, key sets, the admin listener and reloads run here, away from the data cores.
    control: tokio::runtime::Runtime,
}

/// How often the attestors are asked how they do.
const HEALTH: Duration = Duration::from_secs(5);

/// What the control loop does next.
enum Next {
    Reload,
    TakeUpChanges,
    Answer(Ask),
    Look,
    Stop,
}

/// What an operator or service manager can tell the process.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on. Done before the proxy says that it is ready: an early SIGHUP must not end it.
    fn listen(control: &tokio::runtime::Runtime) -> Result<Self, Failure> {
        let _inside = control.enter();
        let failed = |error: std::io::Error| Failure::doing("listen for signals")(&error);
        // By default it ends the process: a file that may not grow is the ledger's matter, as a full disk is.
        drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map_err(failed)?);
        Ok(Self {
            hangup: signal(SignalKind::hangup()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        })
    }
}

/// The environment of a command that compiles a configuration without serving.
pub(crate) fn idle_env(control: &tokio::runtime::Runtime) -> Result<Env, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let outbound = Arc::new(ReqwestOutbound::new(Resolver::new()));
    Ok(Env { outbound, clock, events: Arc::new(Nowhere), control: control.handle().clone(), session: None })
}

/// The control plane's runtime.
pub(crate) fn control_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(|error| Failure::doing("start the control runtime")(&error))
}

/// The files, and what of them concerns the process as a whole; every error of all parts, if there is one.
fn first_draft(
    control: &tokio::runtime::Runtime,
    source: &Source,
    found: &mut Diagnostics,
) -> Result<(Files, Draft), Failure> {
    let mut said = Diagnostics::default();
    let Some(files) = config::files_of(source, found) else { return Err(refused(found)) };
    let Some(draft) = config::draft(&files, &mut said) else { return Err(refused(found)) };
    if found.has_errors() || said.has_errors() {
        // Compiled all the same, for the errors of all parts to be shown together.
        found.append(said);
        let _ = draft.compile(&idle_env(control)?, 1, no_interception, None, found);
        return Err(refused(found));
    }
    Ok((files, draft))
}

/// Takes no events: for commands that serve nothing.
#[derive(Debug)]
struct Nowhere;

impl EventSink for Nowhere {
    fn emit(&self, _: Event) {}
}

impl App {
    /// Reads, compiles, binds. Nothing serves unless everything is right.
    pub(crate) fn start(source: Source, cores: Option<usize>, ca_dir: Option<&Path>) -> Result<Self, Failure> {
        os::raise_file_limit();
        let control = control_runtime()?;
        let signals = Signals::listen(&control)?;
        let mut found = Diagnostics::default();
        let (files, draft) = first_draft(&control, &source, &mut found)?;
        let cores = cores.unwrap_or_else(os::cores).max(1);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ledger =
            Ledger::start(draft.ledger.clone(), clock.clone(), cores).map_err(|error| Failure::with_causes(&error))?;
        let registry = prometheus::Registry::new();
        let counted = Counted::new(ledger.clone(), &registry).map_err(unregistered)?;
        let env = Env { events: counted, clock, ..idle_env(&control)? };
        let at_start = AtStart::of(&draft);
        let state_dir = draft.state_dir.clone();
        let doors = Doors { bind: draft.admin.bind.clone(), socket: draft.admin.socket.clone() };
        // Before anything is served: what is suspended stays so.
        let state = state::start(&control, &state_dir, &env, &registry)?;
        let make_root = || interception::load_or_create(&state_dir);
        let mut delegation = Delegation::new(&registry).map_err(unregistered)?;
        let load = Load { env: &env, number: 1, interception: &make_root, previous: None, at_start: None };
        let Some((compiled, standing)) = delegation.compile(&files, &load, &mut found) else {
            return Err(refused(&found));
        };
        found.sort();
        console::diagnostics(&found);
        if let Some(folder) = ca_dir {
            make_root().and_then(|_| interception::publish(&state_dir, folder)).map_err(Failure::Other)?;
        }
        compiled.attestors.start(None);
        let metrics = Metrics::new(&registry).map_err(unregistered)?;
        let server = Server::start(ServerEnv {
            generation: compiled.generation,
            ledger: ledger.clone(),
            clock: env.clock.clone(),
            resolver: Resolver::new(),
            metrics,
            suspended: state.suspended().clone(),
            cores,
            adopted: Vec::new(),
            refused: None,
        })
        .map_err(|error| Failure::Other(error.to_string()))?;
        let changes = delegation.take_up(standing);
        state.attach(server.view());
        control.spawn(state.clone().watch());
        let facts = facts(&server, &delegation);
        let (desk, asks) = Desk::new(&env, ledger.clone(), registry, state, server.view(), (compiled.access, facts));
        admin::open(&control, &doors, &desk)?;
        let mut watcher = Watcher::new();
        watcher.watch(source.watched(compiled.watched), compiled.patterns);
        for (name, bind) in server.addresses() {
            console::note(&format!("listener `{name}` listens on {bind}"));
        }
        let app = Self {
            source,
            env,
            at_start,
            delegation,
            ledger,
            server,
            attestors: compiled.attestors,
            complaints: Vec::new(),
            watcher,
            signals,
            desk,
            doors,
            asks,
            control,
        };
        app.say_ready(changes);
        Ok(app)
    }

    fn say_ready(&self, changes: Vec<Change>) {
        self.record("started", None, None);
        self.record_changes(changes);
        self.tell_unenforced();
        console::note("ready");
        os::tell_manager("READY=1");
    }

    /// Runs until SIGTERM or SIGINT; SIGHUP and changed files reload.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        let handle = self.control.handle().clone();
        loop {
            let (watcher, signals, asks) = (&mut self.watcher, &mut self.signals, &mut self.asks);
            let next = handle.block_on(async {
                tokio::select! {
                    _ = signals.hangup.recv() => Next::Reload,
                    () = watcher.changed() => Next::TakeUpChanges,
                    Some(ask) = asks.recv() => Next::Answer(ask),
                    _ = signals.terminate.recv() => Next::Stop,
                    _ = signals.interrupt.recv() => Next::Stop,
                    () = tokio::time::sleep(HEALTH) => Next::Look,
                }
            });
            os::tell_manager("WATCHDOG=1");
            match next {
                Next::Reload => drop(self.reload(None)),
                Next::TakeUpChanges => self.take_up_changes(),
                Next::Answer(Ask::Reload { actor, reply }) => {
                    // Whoever asked may have gone; what was loaded stays.
                    drop(reply.send(self.reload(Some(actor))));
                }
                Next::Look => self.tell_health(),
                Next::Stop => break,
            }
        }
        self.stop();
        Ok(())
    }

    /// As [`reload`](Self::reload), of files that were found changed, and only of what they settled to.
    fn take_up_changes(&mut self) {
        let (compiled, found) = self.compile_next();
        if self.watcher.is_settled() {
            self.put_in_force(compiled, found, None);
        } else {
            // Somebody is at them still: the watcher tells of it again.
            os::tell_manager("READY=1");
        }
    }

    /// Puts the file as it is now in force, or says why not; the running generation then stays.
    fn reload(&mut self, actor: Option<Arc<str>>) -> Reloaded {
        self.watcher.mark();
        let (compiled, found) = self.compile_next();
        self.put_in_force(compiled, found, actor)
    }

    /// Compiles the next generation of the files as they are now.
    fn compile_next(&self) -> (Option<(Compiled, Standing)>, Diagnostics) {
        os::tell_manager("RELOADING=1");
        let mut found = Diagnostics::default();
        let previous = self.server.generation();
        let compiled = config::files_of(&self.source, &mut found).filter(|_| !found.has_errors()).and_then(|files| {
            let make_root = || interception::load_or_create(self.at_start.state_dir());
            let (number, at_start) = (previous.number + 1, Some(&self.at_start));
            let load = Load { env: &self.env, number, interception: &make_root, previous: Some(&previous), at_start };
            self.delegation.compile(&files, &load, &mut found)
        });
        (compiled, found)
    }

    /// Puts a generation in force, or says why there is none.
    fn put_in_force(
        &mut self,
        compiled: Option<(Compiled, Standing)>,
        mut found: Diagnostics,
        actor: Option<Arc<str>>,
    ) -> Reloaded {
        let before = self.server.generation().number;
        found.sort();
        console::diagnostics(&found);
        let mut changes = Vec::new();
        let refusal = match compiled {
            Some((compiled, standing)) => match self.server.replace(compiled.generation) {
                Ok(()) => {
                    compiled.attestors.start(Some(&self.attestors));
                    self.attestors = compiled.attestors;
                    changes = self.delegation.take_up(standing);
                    self.take_up(compiled.access);
                    self.watcher.watch(self.source.watched(compiled.watched), compiled.patterns);
                    None
                }
                Err(error) => Some(error.to_string()),
            },
            None => Some(first_error(&found)),
        };
        let by = actor.as_ref().map_or_else(String::new, |actor| format!(", asked for by {actor}"));
        match &refusal {
            None => {
                self.record("generation_loaded", actor, None);
                self.tell_unenforced();
                console::note(&format!("generation {} is in force{by}", self.server.generation().number));
            }
            Some(why) => {
                console::note(&format!("the configuration was not reloaded{by}, generation {before} stays: {why}"));
                self.record("generation_refused", actor, Some(why.clone()));
            }
        }
        self.record_changes(changes);
        os::tell_manager("READY=1");
        Reloaded {
            outcome: if refusal.is_none() { "loaded" } else { "refused" }.to_owned(),
            generation: self.server.generation().number,
            why: refusal,
            diagnostics: found.iter().map(Finding::from).collect(),
        }
    }

    /// What of a new generation is not the data plane's.
    fn take_up(&self, access: Access) {
        self.desk.access.store(Arc::new(access));
        self.desk.facts.store(Arc::new(facts(&self.server, &self.delegation)));
        // Credentials that were read anew are suspended as before.
        self.desk.state.drop_leases();
    }

    /// Says what attestors complain about, once: a broken bundle, an issuer that does not answer.
    fn tell_health(&mut self) {
        let now = self.attestors.health();
        for (attestor, complaint) in now.iter().filter(|one| !self.complaints.contains(one)) {
            console::note(&format!("attestor `{attestor}`: {complaint}"));
        }
        for (attestor, _) in self.complaints.iter().filter(|one| !now.contains(one)) {
            console::note(&format!("attestor `{attestor}`: the last complaint no longer holds"));
        }
        self.complaints = now;
    }

    fn stop(mut self) {
        self.desk.ready.store(false, Ordering::Release);
        // Who asks for a reload from now on is told that it is too late; suspending goes on to the end.
        self.asks.close();
        while self.asks.try_recv().is_ok() {}
        self.record("draining", None, None);
        console::note("draining");
        os::tell_manager("STOPPING=1");
        self.server.drain();
        admin::close(&self.control, &self.doors, &self.desk);
        self.ledger.emit(Event::System(SystemEvent {
            at_ms: self.env.clock.now_ms(),
            kind: "stopped",
            generation: None,
            configuration: None,
            actor: None,
            detail: None,
        }));
        self.ledger.shutdown();
        // A mint in flight has nobody left to wait for it.
        self.control.shutdown_timeout(Duration::from_millis(200));
    }

    /// Says where denials are not applied: nobody should find that out by surprise.
    fn tell_unenforced(&self) {
        for name in self.server.generation().unenforced() {
            console::note(&format!(
                "listener `{name}` does not enforce policy: what would be refused passes, and is recorded"
            ));
        }
    }

    fn record_changes(&self, changes: Vec<Change>) {
        changes.into_iter().for_each(|change| self.record(change.kind, None, Some(change.detail)));
    }

    fn record(&self, kind: &'static str, actor: Option<Arc<str>>, detail: Option<String>) {
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

fn unregistered(error: prometheus::Error) -> Failure {
    Failure::doing("register metrics")(&error)
}

/// What the status tells of a generation.
fn facts(server: &Server, delegation: &Delegation) -> Facts {
    let listening = |(name, bind): (Arc<str>, Bind)| Listening { name: name.to_string(), bind: bind.to_string() };
    Facts { listeners: server.addresses().into_iter().map(listening).collect(), teams: delegation.facts() }
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

fn refused(found: &Diagnostics) -> Failure {
    match report(found) {
        Err(failure) => failure,
        Ok(()) => Failure::Other("the configuration could not be read".to_owned()),
    }
}

/// For commands that intercept nothing: a root that exists only in memory.
pub(crate) fn no_interception() -> Result<claviger_wire::InterceptionRoot, String> {
    claviger_wire::InterceptionRoot::generate(&SystemClock).map_err(|error| error.to_string())
}
