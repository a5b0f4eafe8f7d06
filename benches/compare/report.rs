//! What came of a run: a table, a file with all samples, a plot, and the page's part.

mod page;
mod plot;
mod verdict;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use page::page;
pub(crate) use verdict::{Verdict, verdicts};

use crate::rounds::figures;
use crate::stats::{Ratio, median, ratio};
use crate::works::{Metric, Sample};

/// A whole run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// What it ran on, and what was measured.
    pub(crate) machine: String,
    pub(crate) commit: String,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) works: Vec<WorkResult>,
    /// Peers that could not be had, and why.
    pub(crate) skipped: Vec<(String, String)>,
}

/// One work.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkResult {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) legs: Vec<LegResult>,
}

/// One leg at one work.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LegResult {
    pub(crate) name: String,
    /// One a round.
    pub(crate) samples: Vec<Sample>,
    pub(crate) syscalls: Option<f64>,
}

impl LegResult {
    /// Nothing yet.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), samples: Vec::new(), syscalls: None }
    }

    /// The median over the rounds; `None` where it was not measured, or is void.
    pub(crate) fn median(&self, metric: Metric) -> Option<f64> {
        if metric == Metric::Syscalls {
            return self.syscalls;
        }
        let values = figures(&self.samples, metric);
        median(&values).filter(|value| *value > 0.0 && self.problem().is_none())
    }

    /// Errors make the figures void.
    pub(crate) fn problem(&self) -> Option<String> {
        let errors: u64 = self.samples.iter().map(|sample| sample.errors).sum();
        let first = self.samples.iter().find_map(|sample| sample.problem.clone());
        (errors > 0).then(|| format!("{errors} errors: {}", first.unwrap_or_default()))
    }
}

impl WorkResult {
    /// A leg by its name.
    pub(crate) fn leg(&self, name: &str) -> Option<&LegResult> {
        self.legs.iter().find(|leg| leg.name == name)
    }

    /// Ours by a peer's.
    pub(crate) fn ratio(&self, peer: &str, metric: Metric) -> Option<Ratio> {
        let (ours, peer) = (self.leg("claviger")?, self.leg(peer)?);
        if ours.problem().is_some() || peer.problem().is_some() {
            return None;
        }
        ratio(&figures(&ours.samples, metric), &figures(&peer.samples, metric))
    }
}

impl Outcome {
    /// With what is known of the machine.
    pub(crate) fn new(rounds: u32, time: Duration, works: Vec<WorkResult>, skipped: Vec<(String, String)>) -> Self {
        let told = |program: &str, args: &[&str]| {
            let output = Command::new(program).args(args).output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
        };
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let kernel = told("uname", &["-r"]);
        let kernel = kernel.split('-').next().unwrap_or_default();
        let machine = format!("{} with {cores} cores, Linux {kernel}", model.unwrap_or("a processor"));
        let commit = told("git", &["describe", "--always", "--dirty"]);
        Self { machine, commit, rounds, seconds: time.as_secs_f64(), works, skipped }
    }
}

/// One work as a Markdown table.
pub(crate) fn table(work: &WorkResult) -> String {
    let mut text = format!("\n**{}** (`{}`)\n\n", work.title, work.name);
    let columns: Vec<Metric> = Metric::ALL
        .into_iter()
        .filter(|metric| *metric != Metric::PerSecond)
        .filter(|metric| work.legs.iter().any(|leg| leg.median(*metric).is_some()))
        .collect();
    text += &format!(
        "| proxy | {} | ours ÷ its CPU time |\n",
        columns.iter().map(|m| m.title()).collect::<Vec<_>>().join(" | ")
    );
    text += &format!("|---|{}---|\n", "---|".repeat(columns.len()));
    for leg in &work.legs {
        let cell = |metric: &Metric| leg.median(*metric).map_or("–".to_owned(), |value| metric.show(value));
        let cells: Vec<String> = columns.iter().map(cell).collect();
        let ratio = work.ratio(&leg.name, Metric::CpuUs).filter(|_| leg.name != "claviger");
        let ratio = ratio.map_or(String::new(), |Ratio { median, bound }| format!("{median:.2} (≤ {bound:.2})"));
        let ratio = leg.problem().map_or(ratio, |problem| format!("void: {problem}"));
        text += &format!("| {} | {} | {ratio} |\n", leg.name, cells.join(" | "));
    }
    for Verdict { what, measured, met } in verdicts(work) {
        text +=
            &format!("- {what}: {measured}{}\n", met.map_or("", |met| if met { ": **met**" } else { ": **missed**" }));
    }
    text
}

impl Metric {
    /// In the order of a table.
    const ALL: [Self; 9] = [
        Self::CpuUs,
        Self::P50Us,
        Self::P99Us,
        Self::PerSecond,
        Self::Syscalls,
        Self::StartMs,
        Self::StartCpuMs,
        Self::ProcessMib,
        Self::ConnectionKib,
    ];

    /// As a table's column.
    fn title(self) -> &'static str {
        match self {
            Self::CpuUs => "CPU time each",
            Self::P50Us => "p50",
            Self::P99Us => "p99",
            Self::PerSecond => "a second",
            Self::Syscalls => "system calls each",
            Self::StartMs => "first answer after",
            Self::StartCpuMs => "CPU time until then",
            Self::ProcessMib => "idle process",
            Self::ConnectionKib => "each idle connection",
        }
    }

    /// A value with its unit.
    fn show(self, value: f64) -> String {
        match self {
            Self::CpuUs | Self::P50Us | Self::P99Us if value >= 10_000.0 => format!("{:.1} ms", value / 1000.0),
            Self::CpuUs | Self::P50Us | Self::P99Us if value >= 1_000.0 => format!("{value:.0} µs"),
            Self::CpuUs | Self::P50Us | Self::P99Us => format!("{value:.1} µs"),
            Self::PerSecond => format!("{value:.0}"),
            Self::Syscalls => format!("{value:.1}"),
            Self::StartMs | Self::StartCpuMs => format!("{value:.1} ms"),
            Self::ProcessMib => format!("{value:.1} MiB"),
            Self::ConnectionKib => format!("{value:.1} KiB"),
        }
    }
}

/// Writes `result.json`, `result.md` and `result.svg` into a folder.
pub(crate) fn store(outcome: &Outcome, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("result.json"), serde_json::to_string_pretty(outcome).unwrap()).unwrap();
    fs::write(folder.join("result.md"), page::whole(outcome)).unwrap();
    fs::write(folder.join("result.svg"), plot::svg(outcome)).unwrap();
    println!("\n{}", page::short(outcome));
    println!("stored in {}", folder.display());
}
