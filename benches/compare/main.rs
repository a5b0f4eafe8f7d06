//! Claviger and other proxies at the same work, side by side.
//!
//! `benches/compare/run` installs the peers and starts this; docs/performance.md says how it measures.

#![allow(
    clippy::disallowed_methods,
    reason = "sleep: it waits for programs that do not say when they are ready, and times nothing by it"
)]

mod door;
mod fresh;
mod legs;
mod load;
mod meter;
mod origin;
mod report;
mod rounds;
mod scene;
mod server;
mod stats;
mod works;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::works::Shape;

#[derive(Debug, Parser)]
#[command(name = "compare")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure, print a table, and store it with all samples and a plot
    Measure(MeasureArgs),
    /// Write a stored result into docs/performance.md and README.md, between their markers
    Page {
        /// A `result.json` of an earlier run
        result: PathBuf,
    },
    /// What stands behind the upstream, at this port; `measure` starts it
    #[command(hide = true)]
    Origin { port: u16 },
}

/// No work of few requests a second is measured for less.
const OPEN_LEAST: Duration = Duration::from_secs(1);

/// What is measured, and for how long.
#[derive(Clone, Debug, Args)]
pub(crate) struct MeasureArgs {
    /// Under three minutes: a look, not a result
    #[arg(long)]
    short: bool,
    /// Rounds that count; each leg is measured once in each
    #[arg(long, default_value_t = 40)]
    rounds: u32,
    /// How long one leg is measured in one round
    #[arg(long, default_value_t = 0.4)]
    seconds: f64,
    /// Works to do, by name; default: all
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Proxies to compare with, by name; default: all
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Where the result goes
    #[arg(long)]
    out: Option<PathBuf>,
}

impl MeasureArgs {
    fn rounds(&self) -> u32 {
        if self.short { self.rounds.min(2) } else { self.rounds }
    }

    /// Of works that start a process in each.
    fn cold_rounds(&self) -> u32 {
        if self.short { 1 } else { self.rounds }
    }

    /// Of works that wait for what idles: memory is the same each time.
    fn idle_rounds(&self) -> u32 {
        self.cold_rounds().min(7)
    }

    /// Idle connections that are held.
    fn idle(&self) -> usize {
        if self.short { 500 } else { 2_000 }
    }

    fn time(&self) -> Duration {
        Duration::from_secs_f64(if self.short { self.seconds.min(0.15) } else { self.seconds })
    }

    /// As [`time`](Self::time), of this work: the slowest of so few that none has a hundredth would be one request's luck.
    fn time_of(&self, shape: Shape) -> Duration {
        match shape {
            Shape::Open(_) if !self.short => self.time().max(OPEN_LEAST),
            _ => self.time(),
        }
    }
}

fn main() {
    let cli = Cli::parse();
    if cfg!(debug_assertions) {
        panic!("measure a release build: benches/compare/run");
    }
    match cli.command {
        Command::Measure(args) => {
            let result = rounds::measure(&args);
            let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
            report::store(&result, &args.out.unwrap_or(default));
        }
        Command::Page { result } => report::page(&result),
        Command::Origin { port } => load::block_on(origin::serve(port)),
    }
}
