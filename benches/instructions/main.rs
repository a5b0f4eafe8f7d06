//! How many instructions the steps of a request take, each with a budget that fails when it is exceeded.
//!
//!     benches/instructions/run
//!
//! Counted by callgrind: unlike time, the count is the same on a busy machine, so that a slower step shows in a single run.
//! A step runs so many times and twice as many times in processes of their own; the difference is the step's, without what
//! was set up for it. A budget is about a seventh above what was counted when it was set: hash seeds move the counts a
//! little. Who makes a step dearer on purpose raises its budget in the same commit and says why.

#![allow(clippy::print_stdout, reason = "it prints its figures")]

#[path = "../../policy/tests/support/fleet.rs"]
mod fleet;
#[path = "../../proxy/credential/tests/support/joined.rs"]
mod joined;
#[path = "../../policy/tests/support/load.rs"]
mod load;
mod steps;

use std::process::{Command, ExitCode, Stdio};

/// As the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [name, times] = arguments.as_slice() {
        let step = steps::ALL.iter().find(|step| step.name == name).unwrap();
        (step.run)(times.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    if cfg!(debug_assertions) {
        println!("count a release build: benches/instructions/run");
        return ExitCode::FAILURE;
    }
    println!("| step | instructions | budget | |\n|---|---|---|---|");
    let mut failed = false;
    for step in &steps::ALL {
        let (Some(once), Some(twice)) = (count(step, step.times), count(step, 2 * step.times)) else {
            println!("callgrind did not run: is valgrind installed?");
            return ExitCode::FAILURE;
        };
        let each = twice.saturating_sub(once) / step.times;
        let over = each > step.budget;
        failed |= over;
        println!("| {} | {each} | {} | {} |", step.what, step.budget, if over { "**exceeded**" } else { "kept" });
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Instructions of a process that takes a step so many times.
fn count(step: &steps::Step, times: u64) -> Option<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(std::env::current_exe().unwrap());
    command.args([step.name, &times.to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.stderr(Stdio::piped()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let counted = text.lines().find_map(|line| line.split_once("Collected : "))?.1.trim().parse().ok();
    if !output.status.success() {
        println!("{text}");
        return None;
    }
    counted
}
