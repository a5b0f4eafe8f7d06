//! State that an operator sets: what is suspended. It outlives restarts, and reloads neither make nor end it.
//!
//! While it cannot be read or written, what was suspended last stays suspended, and nothing more can be changed. A
//! process that cannot read it at all does not start: it would serve what somebody stopped. Where there was none, nobody
//! stopped anything, and what can be served need not wait until SQLite has made one.

pub(crate) mod detail;
mod sqlite;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use claviger_contract::event::{Event, SystemEvent};
use claviger_contract::{Clock, EventSink, SharedState, StateError, Suspendable, Suspension};
use claviger_policy::SpiffeId;
use claviger_wire::{Suspended, View};
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

use crate::app::unregistered;
use crate::command::Failure;
use crate::config::Env;

pub(crate) use self::sqlite::SqliteState;

/// How often the state is looked at for what others changed, and for what has ended.
const LOOK: Duration = Duration::from_secs(1);

/// The file of a state folder.
pub(crate) fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("state.db")
}

/// A state whose file is being read.
pub(crate) struct Opening {
    pub(crate) state: Arc<State>,
    is_new: bool,
    file: PathBuf,
    reading: Option<tokio::task::JoinHandle<Result<(), StateError>>>,
}

/// Opens the state of a state folder, or makes it, and begins to put in force what is suspended.
pub(crate) fn open(
    control: &tokio::runtime::Runtime,
    state_dir: &Path,
    env: &Env,
    registry: &Registry,
) -> Result<Opening, Failure> {
    let file = file(state_dir);
    let (shared, is_new) = SqliteState::at(&file).map_err(|error| refused(&file, &error))?;
    let shared = Arc::new(shared);
    let state = State::new(shared.clone(), env.clock.clone(), env.events.clone(), registry).map_err(unregistered)?;
    let reader = state.clone();
    let reading = control.spawn(async move {
        shared.connect().await?;
        reader.refresh().await
    });
    Ok(Opening { state, is_new, file, reading: Some(reading) })
}

impl Opening {
    /// Waits until what is suspended is in force, unless nothing can be: the file was made just now.
    pub(crate) fn before_serving(&mut self, control: &tokio::runtime::Runtime) -> Result<(), Failure> {
        if self.is_new { Ok(()) } else { self.read(control) }
    }

    /// Waits for what there is to be read. Without it nothing goes on.
    pub(crate) fn finish(mut self, control: &tokio::runtime::Runtime) -> Result<Arc<State>, Failure> {
        self.read(control)?;
        Ok(self.state)
    }

    fn read(&mut self, control: &tokio::runtime::Runtime) -> Result<(), Failure> {
        let Some(reading) = self.reading.take() else { return Ok(()) };
        let read = control.block_on(reading).map_err(|error| Failure::doing("open the state")(&error))?;
        read.map_err(|error| refused(&self.file, &error))
    }
}

fn refused(file: &Path, error: &StateError) -> Failure {
    let file = file.display();
    let help = match error {
        StateError::Newer { .. } => "run the newer Claviger that wrote it".to_owned(),
        _ => format!(
            "without it nobody knows what is suspended, so that nothing is served; restore `{file}`, or, if nothing is to \
             stay suspended, move it away"
        ),
    };
    Failure::Other(format!("{error}\n  help: {help}"))
}

/// The state of a running process: what is shared, and what the data cores look at.
#[derive(Debug)]
pub(crate) struct State {
    shared: Arc<dyn SharedState>,
    suspended: Arc<Suspended>,
    clock: Arc<dyn Clock>,
    events: Arc<dyn EventSink>,
    metrics: Metrics,
    /// One change is published after the other, in the order in which they were made.
    publishing: tokio::sync::Mutex<()>,
    /// What is wrong with the state, if anything is.
    complaint: Mutex<Option<String>>,
    view: std::sync::OnceLock<View>,
}

#[derive(Debug)]
struct Metrics {
    suspensions: IntGaugeVec,
    healthy: IntGauge,
}

impl Metrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let suspensions = Opts::new("claviger_suspensions", "Suspensions in force, by what is suspended");
        let metrics = Self {
            suspensions: IntGaugeVec::new(suspensions, &["suspended"])?,
            healthy: IntGauge::new("claviger_state_healthy", "1 while suspensions can be read and changed")?,
        };
        registry.register(Box::new(metrics.suspensions.clone()))?;
        registry.register(Box::new(metrics.healthy.clone()))?;
        Ok(metrics)
    }

    fn count(&self, suspensions: &[Suspension]) {
        for kind in Suspendable::ALL {
            let count = suspensions.iter().filter(|one| one.kind == kind).count();
            self.suspensions.with_label_values(&[kind.as_str()]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

impl State {
    /// A state of which nothing has been read.
    fn new(
        shared: Arc<dyn SharedState>,
        clock: Arc<dyn Clock>,
        events: Arc<dyn EventSink>,
        registry: &Registry,
    ) -> Result<Arc<Self>, prometheus::Error> {
        Ok(Arc::new(Self {
            shared,
            suspended: Suspended::nothing(),
            clock,
            events,
            metrics: Metrics::new(registry)?,
            publishing: tokio::sync::Mutex::default(),
            complaint: Mutex::default(),
            view: std::sync::OnceLock::new(),
        }))
    }

    /// What the data cores look at.
    pub(crate) fn suspended(&self) -> &Arc<Suspended> {
        &self.suspended
    }

    /// Whose leases are dropped when a credential is suspended; known once the data plane runs.
    pub(crate) fn attach(&self, view: View) {
        // Attached once, by whoever starts the data plane.
        let _ = self.view.set(view);
        self.drop_leases();
    }

    /// Why the state cannot be read or changed at present.
    pub(crate) fn complaint(&self) -> Option<String> {
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Suspends, and has it in force when this returns. Yields what it replaced.
    ///
    /// In force before it is written: a disk may take its time, and whoever suspends has none. What then cannot be
    /// written is taken back, so that an error means what it says.
    pub(crate) async fn suspend(&self, suspension: &Suspension) -> Result<Option<Suspension>, StateError> {
        let _one_at_a_time = self.publishing.lock().await;
        let former: Vec<Suspension> = self.suspended.list().iter().map(|one| (**one).clone()).collect();
        if self.complaint().is_none() {
            self.publish(with(&former, suspension));
        }
        match self.noted(self.shared.suspend(suspension).await) {
            Ok(before) => {
                // Written and in force; that the rest could not be read is a complaint, and not the caller's.
                let _ = self.noted(self.read().await);
                Ok(before)
            }
            Err(error) => {
                self.publish(former);
                Err(error)
            }
        }
    }

    /// Resumes, and has it in force when this returns. Yields the suspension; `None` if there was none.
    pub(crate) async fn resume(
        &self,
        kind: Suspendable,
        name: &str,
        actor: &str,
    ) -> Result<Option<Suspension>, StateError> {
        let ended = self.noted(self.shared.resume(kind, name, actor, self.clock.now_ms()).await)?;
        self.refresh().await?;
        Ok(ended)
    }

    /// Takes up what others changed and what has ended, until the runtime ends.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            // Kept as a complaint; what was suspended last stays so.
            let _ = self.refresh().await;
            // A request that was let through just before may have had something minted since.
            self.drop_leases();
        }
    }

    /// Reads the state and publishes it, if it differs from what is in force; records what no ledger has.
    async fn refresh(&self) -> Result<(), StateError> {
        let _one_at_a_time = self.publishing.lock().await;
        self.noted(self.read().await)
    }

    async fn read(&self) -> Result<(), StateError> {
        let now_ms = self.clock.now_ms();
        let mut suspensions = self.shared.suspensions().await?;
        if suspensions.iter().any(|one| !one.holds_at(now_ms)) {
            self.shared.expire(now_ms).await?;
            suspensions.retain(|one| one.holds_at(now_ms));
        }
        self.publish(suspensions);
        self.record().await
    }

    fn publish(&self, suspensions: Vec<Suspension>) {
        self.metrics.count(&suspensions);
        let in_force = self.suspended.list();
        if in_force.len() == suspensions.len() && in_force.iter().zip(&suspensions).all(|(one, other)| **one == *other)
        {
            return;
        }
        self.suspended.publish(suspensions);
        self.drop_leases();
    }

    /// A credential that is suspended is not kept at hand, and neither is what was minted for a caller that is; also after
    /// a reload, which reads it anew. What can be ended at its issuer is. A service that is suspended has no values of its own.
    pub(crate) fn drop_leases(&self) {
        let Some(view) = self.view.get() else { return };
        let (generation, suspended, why) = (view.generation(), self.suspended.list(), Arc::from("suspended"));
        for one in suspended.iter().filter(|one| one.kind == Suspendable::Credential) {
            generation.credentials.drop_leases(&one.name, &why);
        }
        if suspended.iter().any(|one| one.kind == Suspendable::Principal) {
            let now_ms = self.clock.now_ms();
            let is_meant = |principal: &SpiffeId| self.suspended.stops(principal, now_ms);
            generation.credentials.drop_leases_of(&is_meant, &why);
        }
    }

    /// Writes the records of changes, also of those that were made while no process ran. A crash in between makes two
    /// records of one change, never none.
    async fn record(&self) -> Result<(), StateError> {
        let changes = self.shared.unrecorded().await?;
        let Some(last) = changes.last().map(|change| change.number) else { return Ok(()) };
        for change in changes {
            self.events.emit(Event::System(SystemEvent {
                at_ms: change.at_ms,
                kind: change.kind.as_str(),
                generation: self.view.get().map(|view| view.generation().number),
                configuration: None,
                actor: Some(change.actor),
                detail: Some(change.detail),
            }));
        }
        self.shared.recorded(last).await
    }

    /// Keeps what is wrong for whoever looks, and records when that changes.
    fn noted<T>(&self, done: Result<T, StateError>) -> Result<T, StateError> {
        let now = done.as_ref().err().map(ToString::to_string);
        self.metrics.healthy.set(i64::from(now.is_none()));
        let before =
            std::mem::replace(&mut *self.complaint.lock().unwrap_or_else(PoisonError::into_inner), now.clone());
        if before.is_some() != now.is_some() {
            let kind = if now.is_some() { "state_unavailable" } else { "state_available" };
            self.events.emit(Event::System(SystemEvent {
                at_ms: self.clock.now_ms(),
                kind,
                generation: None,
                configuration: None,
                actor: None,
                detail: now.map(Into::into),
            }));
        }
        done
    }
}

/// These and one more, in the order in which the state has them.
fn with(former: &[Suspension], one: &Suspension) -> Vec<Suspension> {
    let key = |suspension: &Suspension| (suspension.kind.as_str(), suspension.name.clone());
    let mut all: Vec<_> = former.iter().filter(|other| key(other) != key(one)).chain([one]).cloned().collect();
    all.sort_by_key(key);
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Another process has its turn at the state, for as long as this test likes.
    fn turn(folder: &Path) -> std::fs::File {
        let turn = std::fs::File::open(folder).unwrap();
        turn.lock().unwrap();
        turn
    }

    #[test]
    fn a_state_that_was_there_is_in_force_before_anything_is_served_and_a_new_one_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let env = crate::app::idle_env(&control).unwrap();
        let opened = || open(&control, folder.path(), &env, &Registry::new()).unwrap();

        let busy = turn(folder.path());
        let mut opening = opened();
        // Would wait for ever.
        opening.before_serving(&control).unwrap();
        drop(busy);
        let state = opening.finish(&control).unwrap();
        let (kind, since_ms) = (Suspendable::Service, 1_000);
        let stopped =
            Suspension { kind, name: "api".into(), reason: None, actor: "alice".into(), since_ms, until_ms: None };
        control.block_on(state.suspend(&stopped)).unwrap();
        drop(state);

        let busy = turn(folder.path());
        let mut opening = opened();
        assert!(opening.state.suspended().list().is_empty(), "nothing can have been read yet");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                opening.before_serving(&control).unwrap();
                opening.state.suspended().list().len()
            });
            drop(busy);
            assert_eq!(waiting.join().unwrap(), 1);
        });
    }
}
