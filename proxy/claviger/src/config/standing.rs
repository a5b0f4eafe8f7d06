//! By which files each team stands: a bad file freezes its team, and nobody else.
//!
//! A team whose files are wrong keeps those that were in force; if there are none, or if they do not hold under the
//! platform's own change, it is denied. What the platform itself writes wrong refuses the whole, and so does a change
//! of the platform that puts unchanged files of a team beyond their bounds: nobody is denied by surprise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use claviger_policy::document::{Diagnostic, Diagnostics, Severity};
use claviger_wire::{Generation, InterceptionRoot};

use super::files::ConfigFile;
use super::{AtStart, Compiled, Draft, Env, Files, Stand, Stands, TeamFiles};

/// How one team stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct TeamState {
    /// The files that are, or were last, in force.
    good: Option<Arc<[ConfigFile]>>,
    /// The generation since which its files are in force; `None`: none are, and the team is denied.
    pub(crate) in_force: Option<u64>,
    /// Set while the files that lie there are wrong.
    pub(crate) frozen: Option<Frozen>,
}

/// Since when a team is frozen, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frozen {
    /// Milliseconds since the Unix epoch.
    pub(crate) since_ms: i64,
    /// The first error with its place.
    pub(crate) why: String,
}

/// How all teams stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing(BTreeMap<Arc<str>, TeamState>);

/// What a load needs besides the files.
pub(crate) struct Load<'a> {
    pub(crate) env: &'a Env,
    pub(crate) number: u64,
    pub(crate) interception: &'a dyn Fn() -> Result<InterceptionRoot, String>,
    pub(crate) previous: Option<&'a Generation>,
    /// What a reload keeps as it was.
    pub(crate) at_start: Option<&'a AtStart>,
}

/// A draft of the files that somebody made already, with what was found on the way.
pub(crate) type Begun = (Draft, Diagnostics);

impl Standing {
    /// Every team, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &TeamState)> {
        self.0.iter()
    }

    /// How one team stands.
    pub(crate) fn get(&self, team: &str) -> Option<&TeamState> {
        self.0.get(team)
    }

    /// Compiles what holds. `None`: the platform's files are wrong; why is in `out`. What is wrong with files of teams
    /// is in `out` too, also where the rest was compiled.
    pub(crate) fn compile(
        &self,
        files: &Files,
        begun: Option<Begun>,
        load: &Load<'_>,
        out: &mut Diagnostics,
    ) -> Option<(Compiled, Self)> {
        let compiled = self.compile_all(files, begun, load, out);
        abridge(out);
        compiled
    }

    fn compile_all(
        &self,
        files: &Files,
        mut begun: Option<Begun>,
        load: &Load<'_>,
        out: &mut Diagnostics,
    ) -> Option<(Compiled, Self)> {
        let mut stands = Stands::new();
        let mut why: BTreeMap<Arc<str>, String> = BTreeMap::new();
        loop {
            let mut found = Diagnostics::default();
            let compiled = attempt(files, begun.take(), &stands, load, &mut found);
            if let Some(compiled) = compiled.filter(|_| !found.has_errors()) {
                out.append(found);
                return Some((compiled, self.next(files, &stands, &why, load)));
            }
            let errors = || found.iter().filter(|one| one.severity == Severity::Error);
            let culprits: BTreeSet<Arc<str>> = errors().filter_map(|one| one.team.clone()).collect();
            if culprits.is_empty() || errors().any(|one| one.team.is_none()) {
                out.append(found);
                return None;
            }
            for team in &culprits {
                let first = errors().find(|one| one.team.as_ref() == Some(team)).map(said);
                why.entry(team.clone()).or_insert(first.unwrap_or_default());
            }
            if let Some(team) = culprits.iter().find(|team| self.demote(files, team, &mut stands).is_none()) {
                out.append(found);
                let message = format!("the files of team `{team}` are in force and unchanged, and no longer hold");
                out.error_nowhere(message)
                    .help("change what the platform's files say, or the team's files together with them");
                return None;
            }
            // What is said of others is said again once these are out of the way.
            found.retain(|one| one.team.as_ref().is_some_and(|team| culprits.contains(team)));
            out.append(found);
        }
    }

    /// Takes the next lower stand of a team; `None`: there is none, or its files did not change.
    fn demote(&self, files: &Files, team: &Arc<str>, stands: &mut Stands) -> Option<()> {
        let state = self.0.get(team);
        let good = state.and_then(|state| state.good.clone());
        let is_same = || good.as_ref().is_some_and(|good| files.teams.get(team).is_some_and(|now| now.is_as(good)));
        let next = match stands.get(team).unwrap_or(&Stand::Current) {
            Stand::Current => good.clone().map_or(Stand::Frozen, Stand::Good),
            // Nothing around them excuses it, and nobody but the platform changed anything.
            Stand::Good(_) if is_same() && state.is_some_and(|state| state.in_force.is_some()) => return None,
            Stand::Good(_) => Stand::Frozen,
            Stand::Frozen => return None,
        };
        stands.insert(team.clone(), next);
        Some(())
    }

    /// How teams stand once this is in force.
    fn next(&self, files: &Files, stands: &Stands, why: &BTreeMap<Arc<str>, String>, load: &Load<'_>) -> Self {
        let state = |(team, now): (&Arc<str>, &TeamFiles)| {
            let before = self.0.get(team).cloned().unwrap_or_default();
            let frozen = || {
                let since_ms = before.frozen.as_ref().map_or_else(|| load.env.clock.now_ms(), |frozen| frozen.since_ms);
                Some(Frozen { since_ms, why: why.get(team).cloned().unwrap_or_default() })
            };
            let state = match stands.get(team).unwrap_or(&Stand::Current) {
                Stand::Current => {
                    let is_same = before.good.as_ref().is_some_and(|good| now.is_as(good));
                    let since = before.in_force.filter(|_| is_same).unwrap_or(load.number);
                    TeamState { good: Some(now.files.clone().into()), in_force: Some(since), frozen: None }
                }
                Stand::Good(good) => {
                    let in_force = before.in_force.or(Some(load.number));
                    TeamState { good: Some(good.clone()), in_force, frozen: frozen() }
                }
                Stand::Frozen => TeamState { good: before.good.clone(), in_force: None, frozen: frozen() },
            };
            (team.clone(), state)
        };
        Self(files.teams.iter().map(state).collect())
    }
}

fn attempt(
    files: &Files,
    begun: Option<Begun>,
    stands: &Stands,
    load: &Load<'_>,
    found: &mut Diagnostics,
) -> Option<Compiled> {
    let mut draft = match begun {
        Some((draft, said)) => {
            found.append(said);
            draft
        }
        None => super::draft(files, found)?,
    };
    if !stands.is_empty() {
        draft.digest = files.digest_of(stands).into();
    }
    if let Some(at_start) = load.at_start {
        at_start.keep(&mut draft, found);
    }
    draft.compile_with(stands, load.env, load.number, load.interception, load.previous, found)
}

/// The longest reason that is kept: it stands in a record, the status and a line of the log, and a team wrote some of it.
const SAID_MAX: usize = 500;

/// A finding in one line, with its place.
fn said(one: &Diagnostic) -> String {
    let place = one.location.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
    let message = one.message.lines().next().unwrap_or_default();
    let said =
        if one.key.is_empty() { format!("{place}{message}") } else { format!("{place}`{}`: {message}", one.key) };
    match said.char_indices().nth(SAID_MAX) {
        Some((end, _)) => format!("{}…", said.get(..end).unwrap_or_default()),
        None => said,
    }
}

/// How many findings about one team's files a load shows.
const FOUND_MAX: usize = 100;

/// Nor does a team fill the log.
fn abridge(out: &mut Diagnostics) {
    let mut counts: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    out.retain(|one| {
        let Some(team) = &one.team else { return true };
        let count = counts.entry(team.clone()).or_default();
        *count += 1;
        *count <= FOUND_MAX
    });
    for (team, count) in counts.into_iter().filter(|(_, count)| *count > FOUND_MAX) {
        let more = count - FOUND_MAX;
        let message = format!("{more} more findings about the files of team `{team}`: `claviger check` shows all");
        out.error_nowhere(message).blame(Some(team)).severity = Severity::Warning;
    }
}

#[cfg(test)]
mod tests {
    use claviger_policy::document::{Located, SourceFile, parse};

    use super::*;

    #[test]
    fn a_team_fills_neither_log_nor_record() {
        let long = "x".repeat(100_000);
        let file = SourceFile::of_team("t.toml".to_owned(), format!("{long} = 1\n"), "pay".into());
        let mut out = Diagnostics::default();
        let tree = parse(&file, &mut out).unwrap();
        let (Located { location, .. }, _) = tree.into_entries().remove(0);
        for at in 0..1_000 {
            out.error(&location, long.clone(), format!("{at}"));
        }
        let first = said(out.iter().next().unwrap());
        assert!(first.starts_with("t.toml:1:1: `xxx") && first.chars().count() == SAID_MAX + 1, "{}", first.len());
        out.error_nowhere("the platform's");
        abridge(&mut out);
        assert_eq!(out.iter().count(), FOUND_MAX + 2);
        let said: Vec<&str> = out.iter().skip(FOUND_MAX).map(|one| one.message.as_str()).collect();
        let more = "900 more findings about the files of team `pay`: `claviger check` shows all";
        assert_eq!(said, ["the platform's", more]);
    }
}
