//! `claviger doctor`: why something does not work, one line for each thing that is looked at.
//!
//! It only looks. No file is written but in a folder of its own, which is removed; no request leaves this machine.

mod authority;
mod check;
mod clients;
mod clock;
mod command;
mod configuration;
mod kernel;
mod network;
mod process;
mod scene;
mod show;
mod state;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;
use claviger_contract::{Clock as _, SystemClock};

use self::check::{Category, Check, Status};
use self::scene::Scene;
use self::show::Look;
use crate::app;
use crate::cli::{ConfigArgs, Output};
use crate::command::when::moment_ms;
use crate::command::{Done, Failure};
use crate::console;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Look only at these
    #[arg(long, value_enum, value_name = "CATEGORY", value_delimiter = ',', conflicts_with = "command")]
    pub(crate) only: Vec<Category>,
    /// Warnings count as faults do
    #[arg(long)]
    pub(crate) strict: bool,
    /// Letters instead of signs
    #[arg(long)]
    pub(crate) ascii: bool,
    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// How far back records are looked at: RFC 3339, or how long ago
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub(crate) since: String,
    /// How long one client program may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) timeout: u64,
    /// Who the command is, as `claviger exec --as` takes it
    #[arg(long = "as", value_name = "ID", requires = "command")]
    pub(crate) identity: Option<String>,
    /// Run this command under `claviger exec`, and say what became of its requests
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// In the order in which they are told.
const ALL: [Category; 8] = [
    Category::Configuration,
    Category::State,
    Category::Process,
    Category::Authority,
    Category::Clients,
    Category::Network,
    Category::Clock,
    Category::Kernel,
];

pub(crate) fn run(args: &DoctorArgs) -> Done {
    let since_ms = moment_ms(&args.since, SystemClock.now_ms())?;
    let look = Look::of(args.ascii, &|name| std::env::var(name).ok());
    let control = app::control_runtime()?;
    let scene = Scene::look(args, &control)?;
    if !args.command.is_empty() {
        let all = command::checks(&scene, &control)?;
        if args.output == Output::Text {
            look.tell(Category::Command, &all);
        }
        return finish(args, look, &all);
    }
    let wanted = |category: &&Category| args.only.is_empty() || args.only.contains(category);
    let mut all = Vec::new();
    for category in ALL.iter().filter(wanted) {
        let checks = match category {
            Category::Configuration => configuration::checks(&scene),
            Category::State => state::checks(&scene),
            Category::Process => process::checks(&scene),
            Category::Authority => authority::checks(&scene),
            Category::Clients => clients::checks(&scene, &control),
            Category::Network => network::checks(&scene, since_ms),
            Category::Clock => clock::checks(&scene, since_ms),
            Category::Kernel | Category::Command => kernel::checks(),
        };
        if args.output == Output::Text {
            look.tell(*category, &checks);
        }
        all.extend(checks);
    }
    finish(args, look, &all)
}

fn finish(args: &DoctorArgs, look: Look, all: &[Check]) -> Result<ExitCode, Failure> {
    match args.output {
        Output::Text => look.sum_up(all),
        Output::Json => console::out(&show::json(all)?),
    }
    let worst = all.iter().map(|check| check.status).max().unwrap_or(Status::Ok);
    let bad = if args.strict { Status::Warning } else { Status::Error };
    Ok(if worst >= bad { ExitCode::from(1) } else { ExitCode::SUCCESS })
}
