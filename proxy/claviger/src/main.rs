//! Claviger: a secretless, credential-injecting egress proxy.

mod admin;
mod ahead;
mod analyze;
mod app;
mod canary;
mod cli;
mod command;
mod config;
mod console;
mod delegation;
mod environment;
mod handles;
mod interception;
mod issuer;
mod machine;
mod observe;
mod os;
mod renewing;
mod state;
mod watch;

use crate::cli::{Cli, Command};

/// Many small allocations on few threads: measured against the system's allocator in benches/.
#[global_allocator]
static ALLOCATOR: os::Allocator = os::Allocator;

fn main() -> std::process::ExitCode {
    // Before anything else: a stage is a process of one thread, and becomes another program.
    #[cfg(target_os = "linux")]
    if let Some(ended) = command::exec::sandbox::stage::dispatch() {
        return ended;
    }
    os::harden();
    let cli = Cli::read();
    let done = match cli.command {
        Command::Exec(args) => command::exec::run(&args),
        Command::ExecJanitor(args) => command::exec::janitor::run(&args),
        Command::Init(args) => command::init::run(&args),
        Command::Doctor(args) => command::doctor::run(&args),
        Command::Trust(args) => command::trust::run(&args),
        Command::Preset(args) => command::preset::run(&args),
        Command::Run(args) => command::run::run(&args),
        Command::Check(args) => command::check::run(&args),
        Command::Explain(args) => command::explain::run(&args),
        Command::Credential(args) => command::credential::run(&args),
        Command::Canary(args) => command::canary::run(&args),
        Command::Secret(args) => command::secret::run(&args),
        Command::Login(args) => command::login::run(&args),
        Command::Logout(args) => command::logout::run(&args),
        Command::RenewGrant => command::renew_grant::run(),
        Command::Ledger(args) => command::ledger::run(&args),
        Command::Ca(args) => command::ca::run(&args),
        Command::Issuer(args) => command::issuer::run(&args),
        Command::Analyze(args) => command::analyze::run(&args),
        Command::Test(args) => command::test::run(&args),
        Command::Suggest(args) => command::suggest::run(&args),
        Command::Suspend(args) => command::suspend::run(&args),
        Command::Resume(args) => command::resume::run(&args),
        Command::Status(args) => command::status::run(&args),
        Command::Reload(args) => command::reload::run(&args),
        Command::Config(args) => command::configuration::run(&args),
        Command::Schema(args) => command::schema::run(&args),
        Command::Fmt(args) => command::fmt::run(&args),
        Command::Health(args) => command::health::run(&args),
        Command::K8s(args) => command::k8s::run(&args),
        Command::Quickstart(args) => command::quickstart::run(&args),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            console::failure(&failure.to_string());
            std::process::ExitCode::from(failure.exit_code())
        }
    }
}
