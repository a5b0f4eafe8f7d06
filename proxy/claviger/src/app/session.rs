//! A proxy for one command: what `claviger exec` starts.

use super::serving::{Plan, Serving, SessionParts};
use super::{Failure, control_runtime};
use crate::command::exec::child::Place;
use crate::config::{SessionFacts, Source};

/// The proxy of one session. Its command is not its business, nor how the session ends.
pub(crate) struct Session {
    serving: Serving,
}

impl Session {
    /// Reads the configuration and serves it on the session's own listeners.
    pub(crate) fn start(source: Source, parts: SessionParts) -> Result<(Self, SessionFacts), Failure> {
        let control = control_runtime()?;
        // One command: more than one core would cost more at the start than they are worth.
        let (serving, started) =
            Serving::start(control, Plan { source, cores: 1, ca_dir: None, session: Some(parts) })?;
        serving.record("started", None, None);
        serving.record_changes(started.changes);
        let facts = started.session.unwrap_or_default();
        Ok((Self { serving }, facts))
    }

    /// Has a place tell what it notices to the session's ledger.
    pub(crate) fn attend(&self, place: &mut Place, quiet: bool) {
        let (runtime, env) = (self.serving.control.handle(), &self.serving.env);
        place.watch(runtime, env.events.clone(), env.clock.clone(), quiet);
    }

    /// Serves until `end` resolves. A configuration that changes is taken up, so that a rule that was missing need not
    /// end the command.
    pub(crate) fn run<T>(mut self, end: impl Future<Output = T>) -> T {
        let handle = self.serving.control.handle().clone();
        let mut end = std::pin::pin!(end);
        let ended = loop {
            let watcher = &mut self.serving.watcher;
            let changed = handle.block_on(async {
                tokio::select! {
                    ended = &mut end => Some(ended),
                    () = watcher.changed() => None,
                }
            });
            if let Some(ended) = changed {
                break ended;
            }
            let (compiled, found) = self.serving.compile_next();
            if self.serving.watcher.is_settled() {
                self.serving.put_in_force(compiled, found, None, |_, _| {});
            }
        };
        self.serving.stop(|_| {});
        ended
    }
}
