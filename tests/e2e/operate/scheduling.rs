//! Who is interrupted when a data core is woken.

use std::collections::BTreeMap;
use std::process::Command;

use claviger_tests::{Proxy, World};

use crate::scene::prepared;

/// `SCHED_OTHER` and `SCHED_BATCH` (sched(7)).
const OTHER: u32 = 0;
const BATCH: u32 = 3;

/// The policy of each thread, by its name (`/proc/PID/task/TID/stat`, the 41st field).
fn policies(proxy: &Proxy) -> BTreeMap<String, u32> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", proxy.pid())).unwrap();
    tasks
        .filter_map(|task| {
            // A thread that only starting needed may end meanwhile.
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).ok()?;
            // The name is in parentheses, and may have spaces.
            let (name, rest) = stat.split_once('(').unwrap().1.rsplit_once(") ").unwrap();
            Some((name.to_owned(), rest.split(' ').nth(38).unwrap().parse().unwrap()))
        })
        .collect()
}

/// Whether the system that runs this schedules by deadlines.
fn has_deadlines() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|other: char| !other.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 6)
}

fn assert_all(world: &World, proxy: Proxy, expected: u32, what: &str) {
    let found = policies(&proxy);
    for name in ["core-0", "core-1", "ledger", "control"] {
        assert_eq!(found.get(name), Some(&expected), "{what}: {found:?} in {}", world.path().display());
    }
    assert!(proxy.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_core_that_is_woken_lets_whoever_woke_it_go_on() {
    let (world, _origin) = prepared("").await;
    let usual = if has_deadlines() { BATCH } else { OTHER };
    assert_all(&world, world.start(), usual, "by default");
    assert_all(&world, world.start_with(&["--cores", "2", "--scheduling", "normal"]), OTHER, "as it is");
    // What whoever starts it chose stays: SCHED_IDLE, as `chrt --idle 0`.
    let claviger = world.command(&["run", "--config", "claviger.toml", "--cores", "2"]);
    let mut idle = Command::new("chrt");
    idle.args(["--idle", "0"]).arg(claviger.get_program()).args(claviger.get_args());
    idle.current_dir(claviger.get_current_dir().unwrap());
    idle.envs(claviger.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert_all(&world, world.start_command(idle), 5, "started as idle");
}
