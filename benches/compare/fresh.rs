//! Processes that are started for one figure: how soon they serve, and what idle connections cost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::door::{self, Door, Job, Problem};
use crate::legs::Leg;
use crate::load::block_on;
use crate::load::closed::warm;
use crate::scene::Scene;
use crate::works::{Metric, Sample, Work};

/// How long a proxy may take to serve.
const PATIENCE: Duration = Duration::from_secs(60);

/// From the start of a process to its first answer: asked again each half millisecond.
pub(crate) fn cold(work: &Work, scene: &Scene, leg: &Leg) -> Result<Sample, Problem> {
    let (server, doors) = (leg.launch)(scene)?;
    let door = work.way.door(&doors).ok_or("has no such door")?;
    let took = block_on(async {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match once(door, &(work.job)()).await {
                Ok(()) => return Ok(server.spawned.elapsed()),
                Err(problem) if Instant::now() > deadline => return Err(problem),
                // Nothing else runs on this thread, and tokio's timer would be too coarse.
                Err(_) => std::thread::sleep(Duration::from_micros(500)),
            }
        }
    })?;
    let figures =
        [(Metric::StartMs, took.as_secs_f64() * 1e3), (Metric::StartCpuMs, server.tree().cpu().as_secs_f64() * 1e3)];
    Ok(Sample { figures: BTreeMap::from(figures), ..Sample::default() })
}

async fn once(door: &Door, job: &Job) -> Result<(), Problem> {
    let mut sender = door.connect().await?;
    door::exchange(&mut sender, door.request(job, 0)).await.map(drop)
}

/// Resident memory of a process that has served nothing, and of each of many connections that have served one request.
pub(crate) fn idle(work: &Work, scene: &Scene, leg: &Leg, connections: usize) -> Result<Sample, Problem> {
    let leg = Leg::start(scene, leg.name, leg.launch)?;
    let door = work.way.door(&leg.doors).ok_or("has no such door")?;
    let job = (work.job)();
    block_on(async {
        settle().await;
        let process = leg.tree().resident_kib();
        // What the first connections bring into memory for good is not what a connection costs.
        drop(warm(door, &job, 64).await?);
        settle().await;
        let before = leg.tree().resident_kib();
        let held = warm(door, &job, connections).await?;
        settle().await;
        let after = leg.tree().resident_kib();
        let open = held.iter().filter(|sender| !sender.is_closed()).count();
        if open < connections {
            return Err(format!("{} of {connections} idle connections were closed", connections - open));
        }
        let connection = (after - before) / connections as f64;
        let figures = [(Metric::ProcessMib, process / 1024.0), (Metric::ConnectionKib, connection.max(0.01))];
        Ok(Sample { figures: BTreeMap::from(figures), ..Sample::default() })
    })
}

/// Until what idles does so with as little as it can, what was freed has been given back, and what is periodic has run.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}
