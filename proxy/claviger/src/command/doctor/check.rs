//! What is looked at: each check by its stable id, in its category, with what came out.

use clap::ValueEnum;
use serde::Serialize;

/// Checks belong together by what they are about. In the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Category {
    /// Which file counts, whether it may, and whether it loads
    Configuration,
    /// The state folder, the sealed store, secret references, the ledger
    State,
    /// The running proxy and its listeners
    Process,
    /// The certificate authority that clients of forward listeners trust
    Authority,
    /// What this shell exports, and the client programs of this machine, each by a real request
    Clients,
    /// What was refused, and what went around the proxy
    Network,
    /// Whether this machine's clock can be right
    Clock,
    /// What the kernel supports
    Kernel,
    /// What a command did that was run under `exec` (`claviger doctor -- CMD`)
    #[value(skip)]
    Command,
}

impl Category {
    /// For programs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::State => "state",
            Self::Process => "process",
            Self::Authority => "authority",
            Self::Clients => "clients",
            Self::Network => "network",
            Self::Clock => "clock",
            Self::Kernel => "kernel",
            Self::Command => "command",
        }
    }

    /// For people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Configuration => "Configuration",
            Self::State => "Secrets and state",
            Self::Process => "Running proxy and listeners",
            Self::Authority => "Certificate authority",
            Self::Clients => "Clients",
            Self::Network => "Network",
            Self::Clock => "Clock",
            Self::Kernel => "Kernel",
            Self::Command => "Command",
        }
    }
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// As it should be.
    Ok,
    /// It works, and somebody should look.
    Warning,
    /// It does not work, or a secret is in danger.
    Error,
}

/// What is checked. Programs rest on the words: they are never renamed. Each has its row in `docs/doctor.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Id {
    ConfigFound,
    ConfigTrusted,
    ConfigLoads,
    ConfigWarnings,
    ConfigFiles,
    ConfigNamed,
    ConfigTeams,
    ConfigUnenforced,
    StateFolder,
    StateKey,
    StateSealed,
    StateDatabase,
    StateSpace,
    SecretsResolve,
    SecretsFiles,
    LedgerChain,
    LedgerLost,
    ProcessAnswers,
    ProcessGeneration,
    ProcessHealth,
    ProcessSuspended,
    ListenerBind,
    CaPresent,
    CaFits,
    CaExpires,
    CaChain,
    EnvironmentProxy,
    EnvironmentNoProxy,
    EnvironmentCa,
    EnvironmentSecrets,
    ClientExec,
    ClientProxy,
    ClientTrust,
    NetworkDenied,
    NetworkFailed,
    NetworkTls,
    NetworkBypassed,
    ClockBuild,
    ClockLedger,
    ClockTokens,
    ClockCertificates,
    ClockCallers,
    ClockSync,
    KernelSandbox,
    KernelPeer,
    KernelFiles,
    CommandEnded,
    CommandAllowed,
    CommandDenied,
    CommandFailed,
    CommandTls,
    CommandBypassed,
}

impl Id {
    /// The word, and where it belongs.
    fn row(self) -> (&'static str, Category) {
        use Category as C;
        match self {
            Self::ConfigFound => ("config.found", C::Configuration),
            Self::ConfigTrusted => ("config.trusted", C::Configuration),
            Self::ConfigLoads => ("config.loads", C::Configuration),
            Self::ConfigWarnings => ("config.warnings", C::Configuration),
            Self::ConfigFiles => ("config.files", C::Configuration),
            Self::ConfigNamed => ("config.named", C::Configuration),
            Self::ConfigTeams => ("config.teams", C::Configuration),
            Self::ConfigUnenforced => ("config.unenforced", C::Configuration),
            Self::StateFolder => ("state.folder", C::State),
            Self::StateKey => ("state.key", C::State),
            Self::StateSealed => ("state.sealed", C::State),
            Self::StateDatabase => ("state.database", C::State),
            Self::StateSpace => ("state.space", C::State),
            Self::SecretsResolve => ("secrets.resolve", C::State),
            Self::SecretsFiles => ("secrets.files", C::State),
            Self::LedgerChain => ("ledger.chain", C::State),
            Self::LedgerLost => ("ledger.lost", C::State),
            Self::ProcessAnswers => ("process.answers", C::Process),
            Self::ProcessGeneration => ("process.generation", C::Process),
            Self::ProcessHealth => ("process.health", C::Process),
            Self::ProcessSuspended => ("process.suspended", C::Process),
            Self::ListenerBind => ("listener.bind", C::Process),
            Self::CaPresent => ("ca.present", C::Authority),
            Self::CaFits => ("ca.fits", C::Authority),
            Self::CaExpires => ("ca.expires", C::Authority),
            Self::CaChain => ("ca.chain", C::Authority),
            Self::EnvironmentProxy => ("environment.proxy", C::Clients),
            Self::EnvironmentNoProxy => ("environment.no_proxy", C::Clients),
            Self::EnvironmentCa => ("environment.ca", C::Clients),
            Self::EnvironmentSecrets => ("environment.secrets", C::Clients),
            Self::ClientExec => ("client.exec", C::Clients),
            Self::ClientProxy => ("client.proxy", C::Clients),
            Self::ClientTrust => ("client.trust", C::Clients),
            Self::NetworkDenied => ("network.denied", C::Network),
            Self::NetworkFailed => ("network.failed", C::Network),
            Self::NetworkTls => ("network.tls", C::Network),
            Self::NetworkBypassed => ("network.bypassed", C::Network),
            Self::ClockBuild => ("clock.build", C::Clock),
            Self::ClockLedger => ("clock.ledger", C::Clock),
            Self::ClockTokens => ("clock.tokens", C::Clock),
            Self::ClockCertificates => ("clock.certificates", C::Clock),
            Self::ClockCallers => ("clock.callers", C::Clock),
            Self::ClockSync => ("clock.sync", C::Clock),
            Self::KernelSandbox => ("kernel.sandbox", C::Kernel),
            Self::KernelPeer => ("kernel.peer", C::Kernel),
            Self::KernelFiles => ("kernel.files", C::Kernel),
            Self::CommandEnded => ("command.ended", C::Command),
            Self::CommandAllowed => ("command.allowed", C::Command),
            Self::CommandDenied => ("command.denied", C::Command),
            Self::CommandFailed => ("command.failed", C::Command),
            Self::CommandTls => ("command.tls", C::Command),
            Self::CommandBypassed => ("command.bypassed", C::Command),
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        self.row().0
    }

    pub(crate) fn category(self) -> Category {
        self.row().1
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) id: Id,
    pub(crate) status: Status,
    /// What it is about, where one id is about several: a client, a listener, a host.
    pub(crate) subject: Option<String>,
    /// What came out.
    pub(crate) what: String,
    /// Why it is not as it should be.
    pub(crate) cause: Option<String>,
    /// What to type, or to do.
    pub(crate) next: Option<String>,
}

impl Check {
    /// As it should be.
    pub(crate) fn ok(id: Id, what: impl Into<String>) -> Self {
        Self { id, status: Status::Ok, subject: None, what: what.into(), cause: None, next: None }
    }

    /// It works, and somebody should look. What is not as it should be always says why, and what to do.
    pub(crate) fn warning(id: Id, what: impl Into<String>, cause: impl Into<String>, next: impl Into<String>) -> Self {
        let (cause, next) = (Some(cause.into()), Some(next.into()));
        Self { status: Status::Warning, cause, next, ..Self::ok(id, what) }
    }

    /// It does not work.
    pub(crate) fn error(id: Id, what: impl Into<String>, cause: impl Into<String>, next: impl Into<String>) -> Self {
        Self { status: Status::Error, ..Self::warning(id, what, cause, next) }
    }

    /// A warning in general, and the very thing that is asked for here.
    pub(crate) fn worse(self) -> Self {
        Self { status: Status::Error, ..self }
    }

    /// Names what it is about.
    pub(crate) fn of(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }
}
