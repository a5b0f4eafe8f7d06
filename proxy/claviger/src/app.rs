//! The composition root: the only place where the parts are joined.

mod serving;
mod session;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use claviger_contract::event::Event;
use claviger_contract::{Clock, EventSink, SystemClock};
use claviger_credential::InProcess;
use claviger_policy::document::Diagnostics;
use claviger_wire::{Bind, ReqwestOutbound, Resolver, Server};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::admin::{self, Access, Ask, Desk, Doors, Facts, Listening, Reloaded};
use crate::canary::Keyed;
use crate::command::Failure;
use crate::config::{self, Begun, Compiled, Env, Files, Source, Standing};
use crate::delegation::{Change, Delegation};
use crate::handles::Handles;
use crate::renewing::Renewing;
use crate::{console, issuer, os};

pub(crate) use self::serving::SessionParts;
use self::serving::{Plan, Serving, refused_by};
pub(crate) use self::session::Session;

/// A running proxy that many workloads share.
pub(crate) struct App {
    serving: Serving,
    complaints: Vec<(Arc<str>, String)>,
    signals: Signals,
    /// What the admin doors look at, and what they ask of this loop.
    desk: Arc<Desk>,
    doors: Doors,
    asks: mpsc::Receiver<Ask>,
}

/// How often the attestors are asked how they do.
const HEALTH: Duration = Duration::from_secs(5);

/// Starting is over then, also on other threads: memory that only starting needed is given back.
const SETTLED: Duration = Duration::from_secs(1);

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
    let (events, issuer) = (Arc::new(Nowhere), Arc::default());
    let here = InProcess::new(outbound.clone(), clock.clone(), control.handle().clone());
    let renewer = Arc::new(Renewing::new(here, control.handle().clone()));
    Ok(Env {
        outbound,
        clock,
        events,
        issuer,
        renewer,
        control: control.handle().clone(),
        canaries: Keyed::default(),
        handles: Handles::default(),
        session: None,
    })
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
) -> Result<(Files, Begun), Failure> {
    let mut said = Diagnostics::default();
    let Some(mut files) = config::files_of(source, found) else { return Err(refused_by(found)) };
    let Some(draft) = config::draft_once(&mut files, &mut said) else { return Err(refused_by(found)) };
    if found.has_errors() || said.has_errors() {
        // Compiled all the same, for the errors of all parts to be shown together.
        found.append(said);
        let _ = draft.compile(&idle_env(control)?, 1, no_interception, None, found);
        return Err(refused_by(found));
    }
    Ok((files, (draft, said)))
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
        let cores = cores.unwrap_or_else(os::cores).max(1);
        let (serving, started) = Serving::start(control, Plan { source, cores, ca_dir, session: None })?;
        let (bind, socket) = started.admin;
        let doors = Doors { bind, socket };
        let facts = facts(&serving.server, &serving.delegation);
        let (desk, asks) = Desk::new(
            &serving.env,
            serving.ledger.clone(),
            started.registry,
            serving.state.clone(),
            serving.server.view(),
            (started.access, facts),
        );
        admin::open(&serving.control, &doors, &desk)?;
        if let Some(bind) = &started.public {
            issuer::open(&serving.control, bind, serving.showing.clone())?;
        }
        for (name, bind) in serving.server.addresses() {
            console::note(&format!("listener `{name}` listens on {bind}"));
        }
        let app = Self { serving, complaints: Vec::new(), signals, desk, doors, asks };
        app.say_ready(started.changes);
        Ok(app)
    }

    fn say_ready(&self, changes: Vec<Change>) {
        self.serving.record("started", None, None);
        self.serving.record_changes(changes);
        self.serving.tell_unenforced();
        console::note("ready");
        os::tell_manager("READY=1");
    }

    /// Runs until SIGTERM or SIGINT; SIGHUP and changed files reload.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        let mut look = SETTLED;
        let handle = self.serving.control.handle().clone();
        loop {
            let (watcher, signals, asks) = (&mut self.serving.watcher, &mut self.signals, &mut self.asks);
            let next = handle.block_on(async {
                tokio::select! {
                    _ = signals.hangup.recv() => Next::Reload,
                    () = watcher.changed() => Next::TakeUpChanges,
                    Some(ask) = asks.recv() => Next::Answer(ask),
                    _ = signals.terminate.recv() => Next::Stop,
                    _ = signals.interrupt.recv() => Next::Stop,
                    () = tokio::time::sleep(look) => Next::Look,
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
                Next::Look => {
                    if std::mem::replace(&mut look, HEALTH) == SETTLED {
                        os::memory::give_back_start();
                    } else {
                        self.tell_health();
                        os::memory::give_back_freed();
                    }
                }
                Next::Stop => break,
            }
        }
        self.stop();
        Ok(())
    }

    /// As [`reload`](Self::reload), of files that were found changed, and only of what they settled to.
    fn take_up_changes(&mut self) {
        os::tell_manager("RELOADING=1");
        let (compiled, found) = self.serving.compile_next();
        if self.serving.watcher.is_settled() {
            self.put_in_force(compiled, found, None);
        } else {
            // Somebody is at them still: the watcher tells of it again.
            os::tell_manager("READY=1");
        }
    }

    /// Puts the file as it is now in force, or says why not; the running generation then stays.
    fn reload(&mut self, actor: Option<Arc<str>>) -> Reloaded {
        os::tell_manager("RELOADING=1");
        self.serving.watcher.mark();
        let (compiled, found) = self.serving.compile_next();
        self.put_in_force(compiled, found, actor)
    }

    fn put_in_force(
        &mut self,
        compiled: Option<(Compiled, Standing)>,
        found: Diagnostics,
        actor: Option<Arc<str>>,
    ) -> Reloaded {
        let desk = &self.desk;
        let reloaded = self.serving.put_in_force(compiled, found, actor, |serving: &Serving, access: Access| {
            desk.access.store(Arc::new(access));
            desk.facts.store(Arc::new(facts(&serving.server, &serving.delegation)));
        });
        os::tell_manager("READY=1");
        reloaded
    }

    /// Says what attestors complain about, once: a broken bundle, an issuer that does not answer.
    fn tell_health(&mut self) {
        let now = self.serving.attestors.health();
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
        console::note("draining");
        os::tell_manager("STOPPING=1");
        let (doors, desk) = (self.doors, self.desk);
        self.serving.stop(|control| admin::close(control, &doors, &desk));
    }
}

pub(crate) fn unregistered(error: prometheus::Error) -> Failure {
    Failure::doing("register metrics")(&error)
}

/// What the status tells of a generation.
fn facts(server: &Server, delegation: &Delegation) -> Facts {
    let listening = |(name, bind): (Arc<str>, Bind)| Listening { name: name.to_string(), bind: bind.to_string() };
    Facts { listeners: server.addresses().into_iter().map(listening).collect(), teams: delegation.facts() }
}

/// For commands that intercept nothing: a root that exists only in memory.
pub(crate) fn no_interception() -> Result<claviger_wire::InterceptionRoot, String> {
    claviger_wire::InterceptionRoot::generate(&SystemClock).map_err(|error| error.to_string())
}
