//! Which requests a question to the ledger is about.

use clap::{Args, ValueEnum};
use claviger_contract::{Clock as _, SystemClock};
use claviger_ledger::query::{Principals, Select, Window};
use claviger_policy::{IdPattern, SpiffeId};

use crate::command::Failure;
use crate::command::when::moment_ms;

/// The window of time.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct WindowArgs {
    /// From when on: RFC 3339, or how long ago, as `2h`
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Until when (exclusive): RFC 3339, or how long ago
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) until: Option<String>,
}

impl WindowArgs {
    pub(crate) fn window(&self) -> Result<Window, Failure> {
        let now = SystemClock.now_ms();
        let moment = |text: &Option<String>| text.as_deref().map(|text| moment_ms(text, now)).transpose();
        let window = Window { since_ms: moment(&self.since)?, until_ms: moment(&self.until)? };
        match window {
            Window { since_ms: Some(since), until_ms: Some(until) } if until <= since => {
                Err(Failure::Call("`--until` is not behind `--since`".to_owned()))
            }
            window => Ok(window),
        }
    }
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DecisionArg {
    /// It went upstream
    Allow,
    /// It was refused
    Deny,
}

/// All that can be asked for.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ChooseArgs {
    #[command(flatten)]
    pub(crate) window: WindowArgs,
    /// Of this SPIFFE ID, or of a pattern, as `spiffe://acme.test/payments/**`
    #[arg(long, value_name = "SPIFFE_ID")]
    pub(crate) principal: Option<String>,
    /// To this service
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// With this credential
    #[arg(long, value_name = "NAME")]
    pub(crate) credential: Option<String>,
    /// Only what was allowed, or only what was refused
    #[arg(long, value_enum)]
    pub(crate) decision: Option<DecisionArg>,
    /// With this code, as `no_rule`
    #[arg(long, value_name = "CODE")]
    pub(crate) code: Option<String>,
    /// Only alerts: a placeholder of one workload that another used, or that was on the way elsewhere
    #[arg(long)]
    pub(crate) alerts: bool,
    /// To this host, with its port or without
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
}

impl ChooseArgs {
    pub(crate) fn select(&self) -> Result<Select, Failure> {
        Ok(Select {
            window: self.window.window()?,
            principal: self.principal.as_deref().map(principals).transpose()?,
            service: self.service.clone(),
            credential: self.credential.clone(),
            allowed: self.decision.map(|decision| decision == DecisionArg::Allow),
            code: self.code.clone(),
            host: self.host.clone(),
            observed: false,
            alerts: self.alerts,
        })
    }
}

/// Whether a principal of a record is meant: the last answer is kept, for records of one caller follow each other.
pub(crate) fn principals(text: &str) -> Result<Principals, Failure> {
    let pattern = IdPattern::parse(text).map_err(Failure::Call)?;
    let last = std::cell::RefCell::new((String::new(), false));
    Ok(Box::new(move |id| {
        let mut last = last.borrow_mut();
        if last.0 != id {
            *last = (id.to_owned(), SpiffeId::parse(id).is_ok_and(|id| pattern.matches(&id)));
        }
        last.1
    }))
}
