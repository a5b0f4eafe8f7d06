//! Rounds: each leg in turn, again and again, so that what else happens on the machine falls on all of them.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::MeasureArgs;
use crate::door::Door;
use crate::legs::{self, Leg};
use crate::load::{self, closed};
use crate::meter::Syscalls;
use crate::report::{LegResult, Outcome, WorkResult};
use crate::scene::Scene;
use crate::works::{self, Metric, Sample, Shape, Work};

/// Starts everything, measures it, and says what came of it.
pub(crate) fn measure(args: &MeasureArgs) -> Outcome {
    open_files();
    let scene = Scene::new();
    let (mut legs, mut skipped) = (Vec::new(), Vec::new());
    for (name, start) in legs::ALL {
        let wanted = args.peers.is_empty() || name == "claviger" || args.peers.iter().any(|peer| peer == name);
        if !wanted || name == "before" && std::env::var_os("CLAVIGER_BEFORE").is_none() {
            continue;
        }
        match start(&scene) {
            Ok(leg) => legs.push(leg),
            Err(reason) => {
                eprintln!("compare: without {name}: {reason}");
                skipped.push((name.to_owned(), reason));
            }
        }
    }
    let names: Vec<&str> = works::ALL.iter().map(|work| work.name).collect();
    let unknown = args.only.iter().find(|only| !names.contains(&only.as_str()));
    assert!(unknown.is_none(), "there is no `{}`; there are {}", unknown.unwrap(), names.join(", "));
    let wanted =
        works::ALL.iter().filter(|work| args.only.is_empty() || args.only.iter().any(|only| only == work.name));
    let works = wanted.map(|work| one(work, &legs, args)).collect();
    Outcome::new(args.rounds(), args.time(), works, skipped)
}

fn one(work: &Work, legs: &[Leg], args: &MeasureArgs) -> WorkResult {
    eprintln!("compare: {}", work.title);
    let entered = legs.iter().filter_map(|leg| Some((leg, work.door(leg)?)));
    let mut entered: Vec<(&Leg, &Door, LegResult)> =
        entered.map(|(leg, door)| (leg, door, LegResult::new(leg.name))).collect();
    for round in 0..=args.rounds() {
        for (leg, door, result) in &mut entered {
            // The first round warms up: code paged in, pools filled, leaves minted.
            let time = if round == 0 { args.time() / 4 } else { args.time() };
            let sample = work.measure(leg, door, time, round);
            if round > 0 {
                result.samples.push(sample);
            }
        }
        // Nobody always comes first.
        entered.rotate_left(1);
    }
    if work.counts_syscalls() {
        for (leg, door, result) in &mut entered {
            result.syscalls = syscalls(work, leg, door, args.time());
        }
    }
    let mut results: Vec<LegResult> = entered.into_iter().map(|(_, _, result)| result).collect();
    results.sort_by_key(|result| legs.iter().position(|leg| leg.name == result.name));
    let result = WorkResult { name: work.name.to_owned(), title: work.title.to_owned(), legs: results };
    println!("{}", crate::report::table(&result));
    result
}

/// System calls per request, in a pass of its own, since counting costs time.
fn syscalls(work: &Work, leg: &Leg, door: &Door, time: Duration) -> Option<f64> {
    let (with, Shape::Closed(connections)) = (Syscalls::with()?, work.shape) else { return None };
    let job = (work.job)();
    load::block_on(async {
        let senders = closed::warm(door, &job, connections).await.ok()?;
        let counting = Syscalls::start(leg.running.tree(), with);
        let tally = closed::keep_alive(door, &job, senders, time).await;
        counting.finish().map(|calls| calls as f64 / tally.units.max(1) as f64)
    })
}

/// As many open files as this user may have.
fn open_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

/// The figures of a metric, round by round.
pub(crate) fn figures(samples: &[Sample], metric: Metric) -> Vec<f64> {
    samples.iter().map(|sample| sample.figures.get(&metric).copied().unwrap_or(0.0)).collect()
}
