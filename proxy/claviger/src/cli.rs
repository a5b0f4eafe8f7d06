//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Secretless egress proxy: workloads prove who they are, policy decides, Claviger injects the credential.
#[derive(Debug, Parser)]
#[command(name = "claviger", version, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the proxy
    Run(RunArgs),
    /// Check a configuration: everything `run` would refuse, and what it would warn about
    Check(CheckArgs),
    /// Say why a request is allowed or denied, before it is made or after
    #[command(alias = "can-i")]
    Explain(ExplainArgs),
    /// Seal, list, rotate and remove secrets
    Secret(SecretArgs),
    /// Read and verify the record of what happened
    Ledger(LedgerArgs),
    /// Print the certificate that clients of forward listeners must trust
    Ca(CaArgs),
    /// Show it all working, with nothing configured, in seconds
    Quickstart(QuickstartArgs),
}

/// Where the configuration is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration file [default: $CLAVIGER_CONFIG, then claviger/claviger.toml in the XDG configuration folder]
    #[arg(long, short, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Data cores [default: one per CPU]
    #[arg(long, value_name = "N")]
    pub(crate) cores: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// How to print the findings
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// Warnings fail the check too
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The workload's SPIFFE ID
    #[arg(long = "as", value_name = "SPIFFE_ID", requires = "url")]
    pub(crate) principal: Option<String>,
    /// An attested attribute, as `github.ref=refs/heads/main`; may be repeated
    #[arg(long = "attr", value_name = "NAME=VALUE")]
    pub(crate) attributes: Vec<String>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) source_ip: Option<std::net::IpAddr>,
    /// The moment to judge for, in RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// The method of the request, or the id of a request that was made
    #[arg(value_name = "METHOD|REQUEST_ID")]
    pub(crate) subject: String,
    /// The URL of the request
    #[arg(value_name = "URL", requires = "principal")]
    pub(crate) url: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SecretArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The state folder, instead of the configuration's
    #[arg(long, value_name = "FOLDER", global = true)]
    pub(crate) state_dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) action: SecretAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretAction {
    /// Seal a value, read from the terminal or from stdin, for the hosts of a service
    Set {
        /// The name, as in `secret://sealed/NAME`
        name: String,
        /// The service whose hosts the value may go to
        #[arg(long = "for", value_name = "SERVICE", required_unless_present = "hosts")]
        service: Option<String>,
        /// A host the value may go to, as `api.example.com` or `*.example.com:8443`; may be repeated
        #[arg(long = "host", value_name = "HOST", conflicts_with = "service")]
        hosts: Vec<String>,
        /// Whom to ask about it
        #[arg(long)]
        owner: Option<String>,
    },
    /// List names, hosts, owners and versions; never values
    List {
        /// How to print the list
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Seal a new value, for the same hosts and owner; a running proxy takes it up by itself
    Rotate {
        /// The name
        name: String,
    },
    /// Remove a value
    Remove {
        /// The name
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct LedgerArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The ledger's file or folder, instead of the configuration's
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) path: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) action: LedgerAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerAction {
    /// Print the last records
    Tail {
        /// How many
        #[arg(long, short = 'n', default_value_t = 20)]
        lines: usize,
        /// Go on with new ones
        #[arg(long, short)]
        follow: bool,
        /// How to print them
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Check that no record was changed, removed or reordered
    Verify {
        /// How to print the result
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CaArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

#[derive(Debug, Args)]
pub(crate) struct QuickstartArgs {
    /// Write the demo secret into the child's output on purpose, to see that the scan finds it
    #[arg(long, hide = true)]
    pub(crate) plant_leak: bool,
    /// Act as the bundled client (used by the command itself where no other client is installed)
    #[arg(long, hide = true, num_args = 3, value_names = ["METHOD", "URL", "VIA"])]
    pub(crate) client: Option<Vec<String>>,
}
