//! Rounds: each leg in turn, again and again, so that what else happens on the machine falls on all of them.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::MeasureArgs;
use crate::door::{Door, Problem};
use crate::legs::{self, Leg, claviger, nginx};
use crate::load::{self, closed};
use crate::meter::Syscalls;
use crate::report::{LegResult, Outcome, WorkResult};
use crate::scene::Scene;
use crate::works::{self, Metric, NGINX_SMALL, SMALL, Sample, Shape, Work};

/// Starts everything, measures it, and says what came of it.
pub(crate) fn measure(args: &MeasureArgs) -> Outcome {
    open_files();
    let scene = Scene::new();
    let (mut legs, mut skipped) = (Vec::new(), Vec::new());
    for (name, launch) in legs::ALL {
        let wanted = args.peers.is_empty() || name == "claviger" || args.peers.iter().any(|peer| peer == name);
        if !wanted || name == "before" && std::env::var_os("CLAVIGER_BEFORE").is_none() {
            continue;
        }
        match Leg::start(&scene, name, launch) {
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
    let works = wanted.filter_map(|work| {
        eprintln!("compare: {}", work.title);
        let Shape::Growth { small, large } = work.shape else { return Some(one(work, &scene, &legs, args)) };
        let mut grown: Vec<Result<Leg, Problem>> = [("claviger", large), (SMALL, small)]
            .map(|(name, size)| {
                let launched = claviger::variant(&scene, &claviger_tests::binary(), size.variant)?;
                Leg::of(name, claviger::launch, launched)
            })
            .into();
        // What more connections cost a peer, beside it.
        if !args.short && small.connections != large.connections && legs.iter().any(|leg| leg.name == "nginx") {
            grown.extend(["nginx", NGINX_SMALL].map(|name| Leg::start(&scene, name, nginx::launch)));
        }
        match grown.into_iter().collect::<Result<Vec<Leg>, Problem>>() {
            Ok(legs) => Some(one(work, &scene, &legs, args)),
            Err(reason) => {
                eprintln!("compare: without {}: {reason}", work.name);
                skipped.push((work.name.to_owned(), reason));
                None
            }
        }
    });
    let works = works.collect();
    Outcome::new(args.rounds(), args.time(), works, skipped)
}

fn one(work: &Work, scene: &Scene, legs: &[Leg], args: &MeasureArgs) -> WorkResult {
    let entered = legs.iter().filter(|leg| work.door(leg).is_some());
    let mut entered: Vec<(&Leg, LegResult)> = entered.map(|leg| (leg, LegResult::new(leg.name))).collect();
    // A process that is started for its figure has nothing to warm up.
    let turns = match work.shape {
        Shape::Cold => 1..=args.cold_rounds(),
        Shape::Idle => 1..=args.idle_rounds(),
        _ => 0..=args.rounds(),
    };
    for round in turns {
        for (leg, result) in &mut entered {
            let sample = work.measure(scene, leg, args.time_of(work.shape), round, args.idle());
            // The first round warms up: code paged in, pools filled, leaves minted.
            if round > 0 {
                result.samples.push(sample);
            }
        }
        // Nobody always comes first.
        entered.rotate_left(1);
    }
    if work.counts_syscalls() {
        for (leg, result) in &mut entered {
            result.syscalls = work.door(leg).and_then(|door| syscalls(work, leg, door, args.time()));
        }
    }
    let mut results: Vec<LegResult> = entered.into_iter().map(|(_, result)| result).collect();
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
        let counting = Syscalls::start(leg.tree(), with);
        let tally = closed::keep_alive(door, &job, senders, connections, time).await;
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
