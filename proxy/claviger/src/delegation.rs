//! How teams stand, for whoever looks: a line on the console, a record in the ledger, a metric, the status.

use std::sync::Arc;

use claviger_policy::document::Diagnostics;
use prometheus::{IntGaugeVec, Opts, Registry};

use crate::admin::TeamFacts;
use crate::config::{Begun, Compiled, Files, Load, Standing, TeamState};
use crate::console;

/// How teams stand, and what shows it.
pub(crate) struct Delegation {
    standing: Standing,
    frozen: IntGaugeVec,
    generation: IntGaugeVec,
}

/// What became of a team, for the ledger.
pub(crate) struct Change {
    /// `team_frozen` or `team_thawed`.
    pub(crate) kind: &'static str,
    pub(crate) detail: String,
}

impl Delegation {
    /// Registers the metrics; there is no team yet.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &["team"]);
        let frozen = gauge("claviger_team_frozen", "1 while the files of a team are wrong")?;
        let generation = gauge(
            "claviger_team_generation",
            "The generation since which a team's files are in force; 0: none, it is denied",
        )?;
        registry.register(Box::new(frozen.clone()))?;
        registry.register(Box::new(generation.clone()))?;
        Ok(Self { standing: Standing::default(), frozen, generation })
    }

    /// Compiles what holds, teams as they stand; what it would make of them is taken up once it is in force.
    pub(crate) fn compile(
        &self,
        files: &Files,
        begun: Option<Begun>,
        load: &Load<'_>,
        out: &mut Diagnostics,
    ) -> Option<(Compiled, Standing)> {
        self.standing.compile(files, begun, load, out)
    }

    /// Says what changed for teams.
    pub(crate) fn take_up(&mut self, next: Standing) -> Vec<Change> {
        let mut changes = Vec::new();
        self.frozen.reset();
        self.generation.reset();
        for (team, state) in next.iter() {
            self.frozen.with_label_values(&[&**team]).set(i64::from(state.frozen.is_some()));
            let generation = state.in_force.map_or(0, |number| i64::try_from(number).unwrap_or(i64::MAX));
            self.generation.with_label_values(&[&**team]).set(generation);
            changes.extend(change(team, self.standing.get(team), state));
        }
        for change in &changes {
            console::note(&change.detail);
        }
        self.standing = next;
        changes
    }

    /// What the status tells.
    pub(crate) fn facts(&self) -> Vec<TeamFacts> {
        let facts = |(team, state): (&Arc<str>, &TeamState)| TeamFacts {
            name: team.to_string(),
            state: match (&state.frozen, state.in_force) {
                (None, _) => "loaded",
                (Some(_), Some(_)) => "frozen",
                (Some(_), None) => "denied",
            },
            generation: state.in_force,
            since_ms: state.frozen.as_ref().map(|frozen| frozen.since_ms),
            why: state.frozen.as_ref().map(|frozen| frozen.why.clone()),
        };
        self.standing.iter().map(facts).collect()
    }
}

fn change(team: &str, before: Option<&TeamState>, now: &TeamState) -> Option<Change> {
    let was = before.and_then(|state| state.frozen.as_ref());
    let were_in_force = before.and_then(|state| state.in_force);
    match &now.frozen {
        Some(frozen) if was.is_none_or(|was| was.why != frozen.why) || were_in_force != now.in_force => {
            let stays = match now.in_force {
                Some(number) => format!("its files of generation {number} stay in force"),
                None => "none of its files is in force, and it is denied".to_owned(),
            };
            Some(Change { kind: "team_frozen", detail: format!("team `{team}` is frozen, {stays}: {}", frozen.why) })
        }
        Some(_) => None,
        None => {
            was?;
            Some(Change { kind: "team_thawed", detail: format!("team `{team}` is no longer frozen") })
        }
    }
}
