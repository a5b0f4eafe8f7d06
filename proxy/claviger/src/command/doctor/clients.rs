//! What this shell exports, and the client programs of this machine, each by a real request.

mod probe;
mod runtime;
mod trial;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use claviger_contract::SystemClock;
use claviger_wire::InterceptionRoot;
use tokio::sync::Semaphore;

use self::probe::Probe;
use self::runtime::{RUNTIMES, Runtime};
use self::trial::Outcome;
use super::check::{Check, Id};
use super::scene::Scene;
use crate::environment::{self, Endpoint};
use crate::{command::plural, interception};

/// So many run at a time: some of them are large.
const AT_ONCE: usize = 2;

/// The proof of the probe's own session. It opens nothing, and ends with this command.
const PROOF: (&str, &str) = ("doctor", "nothing-is-behind-this");

/// All of this category.
pub(crate) fn checks(scene: &Scene<'_>, control: &tokio::runtime::Runtime) -> Vec<Check> {
    let mut all = variables::checks(scene, &|name| std::env::var(name).ok());
    let programs: Vec<(&'static Runtime, PathBuf)> = {
        let path = trial::path_of(&trial::inherited());
        RUNTIMES.iter().filter_map(|runtime| Some((runtime, runtime.find(&path)?))).collect()
    };
    let patience = Duration::from_secs(scene.args.timeout);
    match control.block_on(through_exec(&programs, patience)) {
        Ok(checks) => all.extend(checks),
        Err(why) => {
            let next = "let this user write into the folder for temporary files, and listen on 127.0.0.1";
            all.push(Check::error(Id::ClientExec, "no client could be tried", why, next));
        }
    }
    if let Some(root) = judged(scene) {
        all.extend(control.block_on(in_this_shell(&programs, &root, patience)).unwrap_or_default());
    }
    all
}

/// Each client as `claviger exec` starts it.
async fn through_exec(programs: &[(&'static Runtime, PathBuf)], patience: Duration) -> Result<Vec<Check>, String> {
    let root = InterceptionRoot::generate(&SystemClock).map_err(|error| error.to_string())?;
    let (user, password) = PROOF;
    let probe = Probe::start(&root, Some(format!("{user}:{password}"))).await?;
    let folder = tempfile::Builder::new().prefix("claviger-doctor-").tempdir().map_err(|error| error.to_string())?;
    let endpoint = Endpoint {
        host: probe.address.ip().to_string(),
        port: probe.address.port(),
        proof: (user.to_owned(), password.to_owned()),
        authority: root.certificate_pem(),
        folder: folder.path().to_owned(),
        services: Vec::new(),
        gateway: None,
        pass: BTreeSet::new(),
        withheld: BTreeSet::new(),
    };
    let made = environment::make(&endpoint, &|name| std::env::var_os(name)).map_err(|error| error.to_string())?;
    let mut environment = trial::inherited();
    environment.retain(|name, _| !name.to_str().is_some_and(|name| made.remove.contains(name)));
    environment.extend(made.set.into_iter().map(|(name, value)| (name.into(), value)));
    let outcomes = each(programs, &environment, probe, patience).await;
    let (worked, other): (Vec<_>, Vec<_>) = outcomes.iter().partition(|(_, outcome)| *outcome == Outcome::Worked);
    let mut all: Vec<Check> = worked
        .iter()
        .map(|(runtime, _)| {
            Check::ok(Id::ClientExec, format!("{} works under `claviger exec`", runtime.name)).of(runtime.name)
        })
        .collect();
    all.extend(other.iter().filter_map(|(runtime, outcome)| under_exec(runtime, outcome)));
    if all.is_empty() {
        all.push(Check::ok(
            Id::ClientExec,
            format!("none of {} that are known is on PATH", plural(RUNTIMES.len(), "client")),
        ));
    }
    Ok(all)
}

fn under_exec(runtime: &Runtime, outcome: &Outcome) -> Option<Check> {
    let name = runtime.name;
    let next = format!("docs/clients.md has what `{name}` needs; `which {name}` shows which one this is");
    let (what, cause) = match outcome {
        Outcome::Worked | Outcome::Absent => return None,
        Outcome::Untrusting(said) => {
            (format!("{name} does not trust the session's authority under `claviger exec`"), said)
        }
        Outcome::Around(said) => (format!("{name} does not take the proxy under `claviger exec`"), said),
        Outcome::Stuck(said) => (format!("{name} does not get through under `claviger exec`"), said),
        Outcome::Slow => return Some(slow(Id::ClientExec, name)),
    };
    let cause = if cause.is_empty() { "it says nothing about it" } else { cause };
    Some(Check::error(Id::ClientExec, what, cause, next).of(name))
}

fn slow(id: Id, name: &str) -> Check {
    let cause = "this machine is busy, or the program waits for something";
    Check::warning(id, format!("{name} did not end in time"), cause, "`claviger doctor --timeout 60` waits longer")
        .of(name)
}

/// The authority to judge this shell's own clients by: only where they are meant to come to a forward listener, by a
/// variable that is set, and where its key may be read.
fn judged(scene: &Scene<'_>) -> Option<InterceptionRoot> {
    let set = variables::PROXY.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    if !set || !scene.forwards() {
        return None;
    }
    interception::load(&scene.state_dir).ok().flatten()
}

/// Each client as this shell starts it, less the address of the proxy: the probe stands in its place, and shows what the
/// configured listener would show.
async fn in_this_shell(
    programs: &[(&'static Runtime, PathBuf)],
    root: &InterceptionRoot,
    patience: Duration,
) -> Result<Vec<Check>, String> {
    let probe = Probe::start(root, None).await?;
    let url = OsString::from(format!("http://{}", probe.address));
    let mut environment = trial::inherited();
    for name in variables::PROXY {
        if let Some(value) = environment.get_mut(std::ffi::OsStr::new(name)).filter(|value| !value.is_empty()) {
            value.clone_from(&url);
        }
    }
    let outcomes = each(programs, &environment, probe, patience).await;
    Ok(outcomes.iter().filter_map(|(runtime, outcome)| as_it_is(runtime, outcome)).collect())
}

fn as_it_is(runtime: &Runtime, outcome: &Outcome) -> Option<Check> {
    let name = runtime.name;
    let says = |said: &str| if said.is_empty() { "it says nothing about it".to_owned() } else { said.to_owned() };
    Some(match outcome {
        Outcome::Absent => return None,
        Outcome::Worked => {
            Check::ok(Id::ClientTrust, format!("{name} takes the proxy of this shell, and trusts the authority"))
                .of(name)
        }
        Outcome::Untrusting(said) => {
            let what = format!("{name} does not trust the authority in this shell");
            Check::error(Id::ClientTrust, what, says(said), runtime.trust).of(name)
        }
        Outcome::Around(said) => {
            let what = format!("{name} does not take the proxy of this shell");
            let next = "start it by `claviger exec -- CMD`; docs/clients.md says which variables it reads";
            Check::warning(Id::ClientProxy, what, says(said), next).of(name)
        }
        Outcome::Stuck(said) => {
            let what = format!("{name} does not get through in this shell");
            Check::warning(Id::ClientProxy, what, says(said), "start it by `claviger exec -- CMD`").of(name)
        }
        Outcome::Slow => slow(Id::ClientProxy, name),
    })
}

/// All of them, a few at a time, in the order in which they stand.
async fn each(
    programs: &[(&'static Runtime, PathBuf)],
    environment: &BTreeMap<OsString, OsString>,
    probe: Probe,
    patience: Duration,
) -> Vec<(&'static Runtime, Outcome)> {
    let (probe, turn) = (Arc::new(probe), Arc::new(Semaphore::new(AT_ONCE)));
    let environment = Arc::new(environment.clone());
    let running: Vec<_> = programs
        .iter()
        .map(|(runtime, program)| {
            let (runtime, program) = (*runtime, program.clone());
            let (probe, turn, environment) = (probe.clone(), turn.clone(), environment.clone());
            tokio::spawn(async move {
                let _turn = turn.acquire().await;
                (runtime, trial::run(runtime, &program, &environment, &probe, patience).await)
            })
        })
        .collect();
    let mut all = Vec::new();
    for one in running {
        if let Ok(done) = one.await {
            all.push(done);
        }
    }
    all
}
