//! What this shell exports, and the client programs of this machine, each by a real request.

mod probe;
mod runtime;
mod session;
mod trial;
mod variables;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use claviger_contract::SystemClock;
use claviger_wire::InterceptionRoot;
use futures_util::StreamExt;

use self::probe::Probe;
use self::runtime::{RUNTIMES, Runtime};
use self::session::Ground;
use self::trial::{Outcome, Way};
use super::check::{Check, Id};
use super::scene::Scene;
use crate::{command::plural, interception};

/// So many run at a time: some of them are large.
const AT_ONCE: usize = 2;

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

/// Each client as `claviger exec` starts it: in a session of its own, in the sandbox of this machine.
async fn through_exec(programs: &[(&'static Runtime, PathBuf)], patience: Duration) -> Result<Vec<Check>, String> {
    let root = InterceptionRoot::generate(&SystemClock).map_err(|error| error.to_string())?;
    let probe = Probe::start(&root).await?;
    let ground = Ground::make(&probe, &root)?;
    if let Err(why) = ground.try_out(patience).await {
        return Ok(vec![unusable(&why)]);
    }
    let seen = |client: &str| ground.seen(&probe, client);
    let way = Way { prefix: ground.prefix(), environment: trial::inherited(), seen: &seen, patience };
    let outcomes = each(programs, &way).await;
    let checks = outcomes.iter().filter_map(|(runtime, outcome)| under_exec(runtime, outcome));
    let mut all: Vec<Check> = checks.collect();
    if all.is_empty() {
        let known = plural(RUNTIMES.len(), "client");
        all.push(Check::ok(Id::ClientExec, format!("none of {known} that are known is on PATH")));
    }
    Ok(all)
}

fn under_exec(runtime: &Runtime, outcome: &Outcome) -> Option<Check> {
    let name = runtime.name;
    let next = format!("docs/clients.md has what `{name}` needs; `which {name}` shows which one this is");
    let (what, cause) = match outcome {
        Outcome::Absent => return None,
        Outcome::Worked => {
            return Some(Check::ok(Id::ClientExec, format!("{name} works under `claviger exec`")).of(name));
        }
        Outcome::Slow => return Some(slow(Id::ClientExec, name)),
        Outcome::Untried(said) => {
            let next = "`claviger exec -- true` shows the same";
            return Some(Check::error(
                Id::ClientExec,
                "`claviger exec` does not work on this machine",
                words(said),
                next,
            ));
        }
        Outcome::Untrusting(said) => {
            (format!("{name} does not trust the session's authority under `claviger exec`"), said)
        }
        Outcome::Around(said) => (format!("{name} does not take the proxy under `claviger exec`"), said),
    };
    Some(Check::error(Id::ClientExec, what, words(cause), next).of(name))
}

fn unusable(why: &str) -> Check {
    let next = "`claviger exec -- true` shows the same";
    Check::error(Id::ClientExec, "`claviger exec` does not work on this machine", words(why), next)
}

fn words(said: &str) -> String {
    if said.is_empty() { "it says nothing about it".to_owned() } else { said.to_owned() }
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
    let probe = Probe::start(root).await?;
    let url = OsString::from(format!("http://{}", probe.address));
    let mut environment = trial::inherited();
    for name in variables::PROXY {
        if let Some(value) = environment.get_mut(std::ffi::OsStr::new(name)).filter(|value| !value.is_empty()) {
            value.clone_from(&url);
        }
    }
    let seen = |client: &str| probe.seen(client);
    let way = Way { prefix: Vec::new(), environment, seen: &seen, patience };
    let outcomes = each(programs, &way).await;
    Ok(outcomes.iter().filter_map(|(runtime, outcome)| as_it_is(runtime, outcome)).collect())
}

fn as_it_is(runtime: &Runtime, outcome: &Outcome) -> Option<Check> {
    let name = runtime.name;
    Some(match outcome {
        Outcome::Absent => return None,
        Outcome::Worked => {
            Check::ok(Id::ClientTrust, format!("{name} takes the proxy of this shell, and trusts the authority"))
                .of(name)
        }
        Outcome::Untrusting(said) => {
            let what = format!("{name} does not trust the authority in this shell");
            Check::error(Id::ClientTrust, what, words(said), runtime.trust).of(name)
        }
        Outcome::Around(said) => {
            let what = format!("{name} does not take the proxy of this shell");
            let next = "start it by `claviger exec -- CMD`; docs/clients.md says which variables it reads";
            Check::warning(Id::ClientProxy, what, words(said), next).of(name)
        }
        Outcome::Untried(said) => {
            let what = format!("{name} could not be tried in this shell");
            Check::warning(Id::ClientProxy, what, words(said), "start it by `claviger exec -- CMD`").of(name)
        }
        Outcome::Slow => slow(Id::ClientProxy, name),
    })
}

/// All of them, a few at a time, in the order in which they stand.
async fn each(programs: &[(&'static Runtime, PathBuf)], way: &Way<'_>) -> Vec<(&'static Runtime, Outcome)> {
    let one = |(runtime, program): &(&'static Runtime, PathBuf)| {
        let (runtime, program) = (*runtime, program.clone());
        async move { (runtime, trial::run(runtime, &program, way).await) }
    };
    futures_util::stream::iter(programs.iter().map(one)).buffered(AT_ONCE).collect().await
}
