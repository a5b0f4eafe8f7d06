//! The command line: its commands, and what they share. What one command takes stands beside it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::command;

/// Secretless egress proxy: workloads prove who they are, policy decides, Claviger injects the credential.
#[derive(Debug, Parser)]
#[command(name = "claviger", version, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// What the process was called with; ends it if that is no call.
    pub(crate) fn read() -> Self {
        Self::run_alone(std::env::args_os().skip(1)).unwrap_or_else(Self::parse)
    }

    /// `run` by itself: to describe all the other commands takes a twentieth of a start. What is not understood so is
    /// read as a whole, and said then.
    fn run_alone(mut words: impl Iterator<Item = OsString>) -> Option<Self> {
        let name = words.next().filter(|word| word == "run")?;
        let only = command::run::RunArgs::augment_args(clap::Command::new("run"));
        let given = only.try_get_matches_from(std::iter::once(name).chain(words)).ok()?;
        let args = command::run::RunArgs::from_arg_matches(&given).ok()?;
        Some(Self { command: Command::Run(args) })
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a program without its secrets: it reaches its services through a proxy of its own
    Exec(command::exec::ExecArgs),
    #[command(hide = true)]
    ExecJanitor(command::exec::janitor::JanitorArgs),
    /// Look at this project and write a configuration for it
    Init(command::init::InitArgs),
    /// Say why something does not work: one line for each thing that is looked at
    Doctor(command::doctor::DoctorArgs),
    /// Have this machine's clients trust the proxy's certificates, or no longer
    Trust(command::trust::TrustArgs),
    /// The services that are known by name
    Preset(command::preset::PresetArgs),
    /// Run the proxy
    Run(command::run::RunArgs),
    /// Check a configuration: everything `run` would refuse, and what it would warn about
    Check(command::check::CheckArgs),
    /// Find what is wrong with rules that load: dead, redundant, over-broad, expired
    Analyze(command::analyze::AnalyzeArgs),
    /// Run the `[[test]]` blocks, and say what they cover
    Test(command::test::TestArgs),
    /// Say why a request is allowed or denied, before it is made or after
    #[command(alias = "can-i")]
    Explain(command::explain::ExplainArgs),
    /// Print the narrowest rule that would allow a request that was denied
    Suggest(command::suggest::SuggestArgs),
    /// Stop a principal, credential or service at once, until it is resumed
    Suspend(command::suspend::SuspendArgs),
    /// End a suspension
    Resume(command::resume::ResumeArgs),
    /// Say what runs: generation, listeners, what is suspended
    Status(command::status::StatusArgs),
    /// Have the running process take up its configuration
    Reload(command::reload::ReloadArgs),
    /// List credentials: what is behind them, and how they stand
    Credential(command::credential::CredentialArgs),
    /// Print the placeholders of a workload: one that turns up elsewhere is a thief's
    Canary(command::canary::CanaryArgs),
    /// Seal, list, rotate and remove secrets
    Secret(command::secret::SecretArgs),
    /// Log in for a credential that somebody has to grant: by a browser, or by a code on another device
    Login(command::login::LoginArgs),
    /// End what was granted by a login: at its server, then here
    Logout(command::logout::LogoutArgs),
    #[command(hide = true)]
    RenewGrant,
    /// Read and verify the record of what happened
    Ledger(command::ledger::LedgerArgs),
    /// Trust a project's configuration, and show what is in force
    Config(command::configuration::ConfigurationArgs),
    /// Print the JSON Schema of the configuration, for editors
    Schema(command::schema::SchemaArgs),
    /// Write configuration files in the usual form
    Fmt(command::fmt::FmtArgs),
    /// Ask a running proxy whether it lives, and whether it is ready
    Health(command::health::HealthArgs),
    /// Work on Kubernetes manifests
    K8s(command::k8s::K8sArgs),
    /// What verifiers of minted tokens read, and the rotation of its keys
    Issuer(command::issuer::IssuerArgs),
    /// Print the certificate that clients of forward listeners must trust
    Ca(command::ca::CaArgs),
    /// Show it all working, with nothing configured, in seconds
    Quickstart(command::quickstart::QuickstartArgs),
}

/// Where the configuration is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration file [default: $CLAVIGER_CONFIG, then claviger.toml in the project's folder, if it was allowed,
    /// then claviger/claviger.toml in the XDG configuration folder]
    #[arg(long, short, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}
