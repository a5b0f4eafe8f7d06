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
        let all = naming(command::checks(&scene, &control)?, args);
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
        let checks = naming(checks, args);
        if args.output == Output::Text {
            look.tell(*category, &checks);
        }
        all.extend(checks);
    }
    finish(args, look, &all)
}

/// Commands that read the configuration.
const READ_IT: [&str; 12] =
    ["ca", "check", "config", "explain", "ledger", "reload", "resume", "run", "secret", "status", "suggest", "trust"];

/// Where a file was named with `--config`, what is to be typed next names it too.
fn naming(mut checks: Vec<Check>, args: &DoctorArgs) -> Vec<Check> {
    let Some(file) = &args.config.config else { return checks };
    let option = format!(" --config {}", file.display());
    for next in checks.iter_mut().filter_map(|check| check.next.as_mut()) {
        *next = named(next, &option);
    }
    checks
}

/// Every second part of a text stands in backticks.
fn named(next: &str, option: &str) -> String {
    let reads = |part: &str| {
        let command = part.strip_prefix("claviger ").and_then(|rest| rest.split(' ').next());
        command.is_some_and(|command| READ_IT.contains(&command)) && !part.contains("--config")
    };
    let part = |(number, part): (usize, &str)| match number % 2 == 1 && reads(part) {
        true => format!("{part}{option}"),
        false => part.to_owned(),
    };
    next.split('`').enumerate().map(part).collect::<Vec<_>>().join("`")
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

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn what_is_typed_next_is_about_the_same_file() {
        for (next, expected) in [
            ("`claviger check`", "`claviger check --config a.toml`"),
            (
                "put it right (`claviger check`), then `claviger reload`",
                "put it right (`claviger check --config a.toml`), then `claviger reload --config a.toml`",
            ),
            ("`claviger check --config b.toml` shows", "`claviger check --config b.toml` shows"),
            ("`claviger init` writes one", "`claviger init` writes one"),
            ("claviger check", "claviger check"),
            ("`chmod 0600 claviger run`", "`chmod 0600 claviger run`"),
            ("start it by `claviger exec -- CMD`", "start it by `claviger exec -- CMD`"),
        ] {
            assert_eq!(named(next, " --config a.toml"), expected);
        }
    }
}
